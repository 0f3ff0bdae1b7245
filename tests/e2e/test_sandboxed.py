"""The sandbox: its network, its signals, and above all that nothing survives it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import SANDBOX
from tests.e2e.processes import ROOT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sandbox")]

# A whole cluster with pods, that would stay up for ever.
CLUSTER = """
import sys, pathlib, signal
from tests.e2e.cluster import Clusters
from tests.e2e import manifests
from tests.e2e.processes import wait_until
with Clusters(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as clusters:
    (plane,) = clusters.start("doomed")
    plane.api.apply(manifests.deployment())
    wait_until(lambda: plane.api.is_rolled_out("web"), 20, "pods")
    print("up", flush=True)
    signal.pause()
"""


@contextmanager
def start(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """A sandbox inside this one."""
    with subprocess.Popen([*SANDBOX, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            yield sandbox
        finally:
            sandbox.kill()


def descendants(pid: int) -> set[int]:
    """Every process below `pid`, in whatever namespace: /proc shows those of inner namespaces too."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass  # ended meanwhile
    found: set[int] = set()
    while grown := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= grown
    return found


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_pods_block_is_local() -> None:
    with socket.create_server(("10.244.77.5", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        assert client.getpeername()[0] == "10.244.77.5"


def test_nothing_outside_can_be_reached() -> None:
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
def test_exit_status_is_the_commands(command: str, status: int) -> None:
    with start("sh", "-c", command) as sandbox:
        assert sandbox.wait(10) == status


def test_sigterm_reaches_the_command() -> None:
    with start("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done") as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stdout.readline() == "ready\n"
        sandbox.send_signal(signal.SIGTERM)
        assert sandbox.wait(10) == 9


def test_what_the_command_leaves_behind_ends_with_it() -> None:
    with start("sh", "-c", "setsid sleep 1000 & echo ready; sleep 1001") as sandbox:
        assert sandbox.stdout is not None
        sandbox.stdout.readline()
        wait_until(lambda: "sleep" in map(name_of, descendants(sandbox.pid)), 5, "a process of its own session")
        left = descendants(sandbox.pid)
        sandbox.send_signal(signal.SIGTERM)
        sandbox.wait(10)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), 5, "nothing left")


@pytest.mark.cluster
@pytest.mark.heavy
def test_kill_9_leaves_no_process_of_a_cluster(assets: Path, tmp_path: Path) -> None:
    with start(sys.executable, "-c", CLUSTER, str(tmp_path), str(assets)) as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stdout.readline() == "up\n"
        there = descendants(sandbox.pid)
        names = [name_of(pid) for pid in there]
        assert {"etcd", "kube-apiserver", "kube-controller"} <= set(names)
        assert len(there) >= 9, "init, the script, three programs, the kubelet, three pods"
        os.kill(sandbox.pid, signal.SIGKILL)
        sandbox.wait(10)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in there), 10, "nothing left")
