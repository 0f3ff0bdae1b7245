"""Tests on real processes: `pytest tests/e2e` runs itself inside the sandbox, so that nothing it started survives it.

Together with other tests (`pytest tests`) there is no sandbox, and what needs one is skipped with one loud line; with CI=true that is a
failure (tests/conftest.py).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.e2e import sandboxed
from tests.e2e.assets import build
from tests.e2e.cluster import Clusters, write_kubeconfig
from tests.e2e.load import Report

HERE = Path(__file__).resolve().parent
SANDBOX = [sys.executable, str(HERE / "sandboxed.py")]

not_run: set[str] = set()  # reasons, for the end of the session
reports = pytest.StashKey[dict[str, Report]]()  # of scenarios, by test


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Starts this session again, in the sandbox, as the same process; does nothing where that can't be."""
    paths = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    if sandboxed.is_inside() or not all(path.is_relative_to(HERE) for path in paths):
        return
    if subprocess.run([*SANDBOX, "true"], check=False).returncode == 0:
        sys.stdout.flush()
        os.execv(sys.executable, [*SANDBOX, sys.executable, "-m", "pytest", *config.invocation_params.args])


def give_up(reason: str) -> NoReturn:
    not_run.add(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason in sorted(not_run):
        terminalreporter.write_line(f"NOT RUN: {reason}", red=True, bold=True)
    for name, report in terminalreporter.config.stash.get(reports, {}).items():
        counts = "".join(f"  {kind} {count}" for kind, count in report.done.items())
        terminalreporter.write_line(f"{name}: faults {report.problems() or 0}{counts}  slowest GET {report.slowest_ms:.0f} ms")


@pytest.fixture(scope="session")
def scenarios(request: pytest.FixtureRequest) -> dict[str, Report]:
    """What clients saw in each scenario, by the test's name: a line each at the end of the session."""
    return request.config.stash.setdefault(reports, {})


@pytest.fixture(scope="session")
def sandbox() -> None:
    """What needs the pods' addresses or leaves processes behind asks for this."""
    if not sandboxed.is_inside():
        give_up("tests on real processes need the sandbox: pytest tests/e2e, as root or with unprivileged user namespaces")


@pytest.fixture(scope="session")
def assets(sandbox: None) -> Path:
    """The folder with the control plane's programs."""
    found = build.locate()
    if found is None:
        give_up("tests on a real Kubernetes control plane: run `make kube-assets` first (needs Go, about 9 minutes once)")
    return found


@pytest.fixture(scope="session")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file to which all pods write their POSTs."""
    return tmp_path_factory.mktemp("posts") / "posts"


@pytest.fixture(scope="session")
def clusters(assets: Path, posts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Control planes of this session, started on demand: `fra, nyc = clusters.start("fra", "nyc")`."""
    with Clusters(tmp_path_factory.mktemp("clusters"), assets, {"POSTS": str(posts)}) as running:
        yield running


@pytest.fixture
def kubeconfig(clusters: Clusters, tmp_path: Path) -> Path:
    """A kubeconfig with a context for each cluster that runs now."""
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, clusters.running.values())
    return path
