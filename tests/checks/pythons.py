"""Builds with every other Python of ours that this machine has, and runs the unit tests there.

usage: python -m tests.checks.pythons [3.12 ...]
One line each says how it ended; one that is not here is named as loudly. Each has an environment and a build of its own in build/.
"""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

OURS = [f"3.{minor}" for minor in range(11, 15)]


def candidates(version: str) -> list[Path]:
    """Where an interpreter of this version may be: on the path, of pyenv, of uv."""
    homes = [(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions", version)]
    homes += [(Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "uv/python", f"cpython-{version}")]
    found = [sorted(home.glob(f"{name}.*/bin/python{version}"), reverse=True) for home, name in homes]
    on_path = shutil.which(f"python{version}")
    return [*([Path(on_path)] if on_path else []), *itertools.chain(*found)]


def interpreter(version: str) -> Path | None:
    """The first that starts, is what it says, and has its headers: pyenv's shims answer to every name."""
    script = "import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_path('include'))"
    wanted = f"({version.replace('.', ', ')}) "
    for path in candidates(version):
        ran = subprocess.run([path, "-c", script], capture_output=True, text=True)
        if ran.stdout.startswith(wanted) and Path(ran.stdout.removeprefix(wanted).strip(), "Python.h").exists():
            return path
    return None


def check(version: str, python: Path) -> bool:
    """Builds and tests. What the steps print is seen as it comes."""
    home, built = Path("build", f"python-{version}"), Path("build", f"on-{version}").absolute()
    own = home / "bin/python"
    # The plain build lies beside the sources and must not be found first.
    beside = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(built)}
    steps: list[tuple[list[str | Path], dict[str, str]]] = [
        ([python, "-m", "venv", home], {}),
        ([own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.lock"], {}),
        ([own, "setup.py", "-q", "build", "--build-lib", built, "--build-temp", f"build/tmp-{version}"], {"VARIANT": f"normal-{version}"}),
        ([own, "-m", "pytest", "-q", "-o", f"pythonpath={built} .", "-p", "no:cacheprovider", "-m", "not long", "tests/unit"], beside),
    ]
    return all(subprocess.run(command, env={**os.environ, **more}).returncode == 0 for command, more in steps)


def main(versions: list[str]) -> int:
    own = f"3.{sys.version_info.minor}"
    said = []
    for version in versions or [one for one in OURS if one != own]:
        python = interpreter(version)
        ended = ("ok" if check(version, python) else "FAILED") if python else "SKIPPED, not on this machine (or without its headers)"
        said.append(f"Python {version}: {ended}")
        print(said[-1], flush=True)
    print("\n".join(said[:-1]))
    return any("FAILED" in line for line in said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
