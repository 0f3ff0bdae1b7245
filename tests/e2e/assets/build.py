"""Builds etcd, kube-apiserver and kube-controller-manager for the tests from Go modules: `make kube-assets`.

Owns where these programs are: the folder that KUBEBUILDER_ASSETS names when it has all three, else a cache folder by Kubernetes version.
Knows nothing of how they are run (cluster.py). Versions and hashes stand in go.mod and go.sum beside this file.

Each finished program is renamed into place, so an interrupted build leaves whole programs or none, and the next run builds what is missing.
Exit status: 0 built or there already, 1 the build failed, 3 no Go on this machine.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
MODULE = Path(__file__).resolve().parent
REPORT_EVERY_S = 15.0
NO_GO = 3


def kubernetes_version() -> str:
    """The version that go.mod requires, without its `v`."""
    found = re.search(r"^require k8s\.io/kubernetes v(\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod requires k8s.io/kubernetes"
    return found.group(1)


def cache() -> Path:
    """The folder that this script fills."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "isochrone" / "kube" / kubernetes_version()


def missing(folder: Path) -> list[str]:
    """Which of the three programs are not in `folder`."""
    return [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]


def locate() -> Path | None:
    """The folder with all three programs, or None."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    for folder in ([Path(named)] if named else []) + [cache()]:
        if not missing(folder):
            return folder
    return None


def find_go() -> str | None:
    """Go as on PATH, or where its own installer puts it."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def say(text: str) -> None:
    print(f"kube-assets: {text}", flush=True)


class Progress:
    """Reads what `go build -v` says, one line a package, and prints a line about every 15 s; keeps the end for a failure."""

    def __init__(self, label: str) -> None:
        self.label, self.begin = label, time.monotonic()
        self.compiled = self.downloaded = 0
        self.lines: list[str] = []
        self.over = threading.Event()

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.lines = [*self.lines[-39:], line.rstrip()]
            if line.startswith("go: downloading "):
                self.downloaded += 1
            else:
                self.compiled += 1

    def report(self) -> None:
        while not self.over.wait(REPORT_EVERY_S):
            say(f"{self.label}: {self.passed()}, {self.downloaded} modules fetched, {self.compiled} packages compiled")

    def passed(self) -> str:
        seconds = int(time.monotonic() - self.begin)
        return f"{seconds // 60} min {seconds % 60:02} s"


def go_build(go: str, module: Path, packages: list[str], names: list[str], flags: list[str], into: Path) -> bool:
    """Builds `packages` of `module` and renames the programs `names` into the folder `into`. False when Go refused (said why)."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    progress = Progress(" and ".join(names))
    with tempfile.TemporaryDirectory(prefix=".building-", dir=into) as folder:
        command = [go, "build", "-v", "-trimpath", "-mod=readonly", *flags, "-o", folder + "/", *packages]
        with subprocess.Popen(command, cwd=module, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as build:
            threading.Thread(target=progress.report, daemon=True).start()
            assert build.stderr is not None
            progress.read(build.stderr)
        progress.over.set()
        if build.returncode != 0:
            print("\n".join(progress.lines), file=sys.stderr)
            say(f"FAILED: {' '.join(command)} (in {module}) exited with {build.returncode}")
            return False
        for name in names:
            os.replace(Path(folder) / name, into / name)
    say(f"{progress.label}: built in {progress.passed()}")
    return True


def build(go: str, folder: Path) -> bool:
    """Builds into `folder` what is missing there."""
    wanted = missing(folder)
    version = kubernetes_version()
    major, minor, _ = version.split(".", 2)
    stamp = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    stamps = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
    if "etcd" in wanted and not go_build(go, MODULE / "etcd", ["."], ["etcd"], ["-ldflags=-s -w"], folder):
        return False
    kube = [name for name in wanted if name != "etcd"]
    # One `go build` for both: they share most of what is compiled.
    return not kube or go_build(go, MODULE, [f"k8s.io/kubernetes/cmd/{name}" for name in kube], kube, [f"-ldflags=-s -w {stamps}"], folder)


def main() -> int:
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if named and missing(Path(named)):
        say(f"KUBEBUILDER_ASSETS={named} lacks {', '.join(missing(Path(named)))}; using the cache")
    if (found := locate()) is not None:
        say(f"there already: {found}")
        return 0
    go = find_go()
    if go is None:
        say("NO GO ON THIS MACHINE: tests on a real Kubernetes control plane cannot run; install Go 1.26 or later (https://go.dev/dl/)")
        return NO_GO
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second build at the same time waits, and then finds everything there
        wanted = missing(folder)
        say(f"building {', '.join(wanted)} (Kubernetes {kubernetes_version()}) into {folder}; about 9 minutes from nothing on 2 cores")
        if not build(go, folder):
            return 1
    say(f"done: {folder} (Go's build cache holds 4 GB now, `go clean -cache` frees it)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
