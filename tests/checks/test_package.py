"""What a release holds: an sdist that builds, and a wheel that serves where nothing of this tree is."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.checks import imports, layout
from tests.io.serving import Backend, eventually, free_port

ROOT = Path(__file__).parents[2]
CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: here, lat: 50.11, lon: 8.68, country: DE}}]
services:
  - name: shop
    health: {{path: /healthz}}
    backends: [{{pop: here, endpoints: ["{backend}"]}}]
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
"""
SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def run(*command: object, cwd: Path, timeout: int = 60, **variables: str) -> str:
    """As a user would: nothing of this tree on the path, none of its variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ISOCHRONE", "VARIANT", "ROOMS"))}
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, timeout=timeout)
    assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Made from a copy of what git knows: what was built or written here beside it can't help."""
    folder = tmp_path_factory.mktemp("release")
    for path in layout.tracked():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_bytes((ROOT / path).read_bytes())
    run(sys.executable, "-c", SDIST, folder, cwd=folder / "tree")
    [found] = folder.glob("*.tar.gz")
    return found


def test_the_sdist_holds_each_source_and_what_builds_it(sdist):
    with tarfile.open(sdist) as archive:
        held = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    rooms = {path for path in layout.tracked() if path.parts[0] in layout.ROOMS}
    assert sorted(rooms - held) == []
    assert {Path("setup.py"), Path("pyproject.toml"), Path("README.md"), Path("LICENSE")} <= held


def test_a_warning_stops_our_builds_and_nobody_elses():
    script = "import setuptools; setuptools.setup = lambda **given: print(given['ext_modules'][0].extra_compile_args); import setup"
    for strict, is_error in (("", False), ("1", True)):
        flags = run(sys.executable, "-c", script, cwd=ROOT, ISOCHRONE_STRICT=strict)
        assert "-Wall" in flags and ("-Werror" in flags) == is_error
    assert re.search(r"^export ISOCHRONE_STRICT = 1$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_each_package_that_is_imported_is_declared():
    """What stands in the tools' group is there for us, and not for who installs the wheel."""
    declared = {
        re.split(r"[^\w.-]", text)[0].lower() for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    } | {"pydantic-core"}  # pydantic's other half, pinned by it
    homes = importlib.metadata.packages_distributions()
    for path in layout.modules(layout.tracked()):
        for name, is_optional in imports.python_imports(path.read_text()) if path.suffix == ".py" else ():
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in imports.OURS and not is_optional:
                assert declared & {home.lower().replace("_", "-") for home in homes[top]}, f"{path}: imports {top}"


@pytest.mark.long
def test_a_wheel_built_from_the_sdist_serves_where_nothing_else_is(sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.glob("isochrone-*")
    options = ("-q", "--no-build-isolation", "--no-deps")
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, tree, cwd=tmp_path, timeout=900)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    compiled = {re.sub(r"\.cpython.*", "", name) for name in names if name.endswith(".so")}
    assert compiled == {str(path.with_suffix("")) for path in layout.tracked() if path.suffix == ".pyx" and path.parts[0] in layout.ROOMS}
    assert not [name for name in names if name.endswith((".pyx", ".c")) or name.split("/")[0] in ("tests", "bench")]

    home = tmp_path / "home"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    [site] = home.glob("lib/python*/site-packages")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=tmp_path)
    # Its dependencies are those of this environment. A path in a .pth comes last, and the editable install there is not seen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    where = run(
        python, "-c", "import gateway.dataplane, routing_core; print(gateway.dataplane.__file__, routing_core.__file__)", cwd=tmp_path
    )
    assert all(Path(name).is_relative_to(home) for name in where.split())

    isochrone = home / "bin/isochrone"
    assert re.fullmatch(r"isochrone \d+\.\d+\.\d+\n", run(isochrone, "--version", cwd=tmp_path))
    port, admin = free_port(), free_port()
    backend = Backend("here")
    config = tmp_path / "isochrone.yaml"
    config.write_text(CONFIG.format(port=port, admin=admin, backend=backend.address))
    assert "here" in run(isochrone, "check", "-c", config, cwd=tmp_path)
    gateway = subprocess.Popen([isochrone, "serve", "-c", config], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        curl = ("curl", "-sS", "--max-time", "5")
        ready = [*curl, "-o", os.devnull, "-w", "%{http_code}", f"http://127.0.0.1:{admin}/readyz"]
        eventually(lambda: subprocess.run(ready, capture_output=True, text=True).stdout == "200", "the installed gateway is ready")
        assert run(*curl, f"http://127.0.0.1:{port}/", cwd=tmp_path) == "here"
        said = json.loads(run(isochrone, "explain", "-c", config, "--client", "192.0.2.1", "--json", cwd=tmp_path))
        assert said["decision"]["pop"] == "here"
        gateway.terminate()
        assert gateway.wait(30) == 0
    finally:
        gateway.kill()
        gateway.wait()
        backend.close()
