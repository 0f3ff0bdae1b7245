"""A gateway as a real process, and real HTTP backends to stand behind it. For tests that go through sockets.

A backend is an aiohttp server in a thread: it says who it is, can be slow, hash what it is sent, die (its listener and
connections are gone) and come back on the same port.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from tests.support.forked import Forked
from tests.support.stopping import is_stopped

DEADLINE_S = 20.0


# Below net.ipv4.ip_local_port_range, and of several processes of tests each has a part of its own.
_COUNT = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(10_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), 32_000, _COUNT)
_random = random.SystemRandom()  # tests seed the other one, each process alike
_given: set[int] = set()


def free_port() -> int:
    """One that was not given before. Not of those that the kernel gives: until it is bound, any connection of any test may get it."""
    while True:
        port = _random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def eventually(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Polls something that another process does; fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)
    return found


def send_signal(process: Forked | subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Who is stopped stands still when this returns."""
    process.send_signal(number)
    if number == signal.SIGSTOP:
        eventually(lambda: is_stopped(process.pid), f"{process.pid} stands still")


class Backend:
    """One endpoint."""

    def __init__(self, name: str, path: str | None = None) -> None:
        """`path`: a unix socket instead of a port."""
        self.name = name
        self.path = path
        self.port = 0 if path else free_port()
        self.seen: Counter[str] = Counter()  # requests by method and path
        self.bodies: list[str] = []  # of POSTs, their hashes
        self.status = 200  # of /healthz
        self.probe_delay_s = 0.0
        self.refusal: tuple[int, dict[str, str]] | None = None  # status and headers of every other answer
        self.in_flight = 0  # probes not counted
        self.most_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._dying = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.revive()

    @property
    def address(self) -> str:
        return f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"

    def die(self) -> None:
        """As a crash: nothing listens and every connection is cut."""
        self._do(self._stop())

    def revive(self) -> None:
        self._do(self._start())

    def stop_listening(self) -> None:
        """As a server that was told to end: it refuses who comes, and finishes what it has."""
        self._do(self._close_doors())

    def close(self) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    async def _start(self) -> None:
        self._dying.clear()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site: web.BaseSite = (
            web.UnixSite(self._runner, self.path) if self.path else web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        )
        await site.start()

    async def _stop(self) -> None:
        self._dying.set()
        if self._runner is not None:
            # What was accepted just now must become a connection first: asyncio forgets the others open when their server closes, and
            # whoever had sent a request there would wait for ever.
            for door in self._doors():
                self._loop.remove_reader(door)
            for _ in range(5):
                await asyncio.sleep(0)
            await self._runner.cleanup()
            self._runner = None

    async def _close_doors(self) -> None:
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen[f"{request.method} {request.path}"] += 1
        if request.path == "/healthz":
            if self.probe_delay_s:
                await asyncio.sleep(self.probe_delay_s)
            return web.Response(status=self.status)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._serve(request)
        finally:
            self.in_flight -= 1

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.refusal is not None:
            status, headers = self.refusal
            return web.Response(status=status, headers=headers, text=self.name)
        if "delay" in request.query:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dying.wait(), float(request.query["delay"]))
        if request.method == "POST":
            body = hashlib.sha256(await request.read()).hexdigest()
            self.bodies.append(body)
            return web.Response(text=f"{self.name} {body}")
        if "slow" in request.query:  # a download in pieces
            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(int(request.query["slow"])):
                await answer.write(b"x" * 1000)
                await asyncio.sleep(0.02)
            await answer.write_eof()
            return answer
        if "large" in request.query:  # a download of so many pieces, as fast as it is read
            answer = web.StreamResponse()
            await answer.prepare(request)
            with contextlib.suppress(ConnectionError):
                for _ in range(int(request.query["large"])):
                    await answer.write(b"x" * 65536)
                await answer.write_eof()
            return answer
        return web.Response(text=self.name)

    def _doors(self) -> list[int]:
        assert self._runner is not None
        servers = [getattr(site, "_server", None) for site in self._runner.sites]
        return [door.fileno() for server in servers if server is not None for door in server.sockets]

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)


@contextlib.contextmanager
def backends(*names: str) -> Iterator[list[Backend]]:
    opened: list[Backend] = []
    try:
        opened += (Backend(name) for name in names)
        yield opened
    finally:
        for one in opened:
            one.close()


CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
geoip:
  check_interval: 1s
  overrides:
    - {{prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0}}
    - {{prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0}}
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, country: DE}}
  - {{name: nyc, lat: 40.71, lon: -74.01, country: US}}
services:
  - name: shop
    health: {{path: /healthz, interval: 300ms, timeout: 300ms, confirm_interval: 100ms, up_after: 2, down_after: 2}}
    slow_start: 200ms
    backends:
      - {{pop: fra, endpoints: ["{fra}"]}}
      - {{pop: nyc, endpoints: ["{nyc}"]}}
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
drain: {{lameduck: 1s, deadline: 10s}}
gateway: {{workers: 2}}
log: {{format: json}}
debug_headers: true
"""
# One endpoint behind so many workers, and what they may do together.
LIMITED = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68, country: DE}}]
services:
  - name: shop
    health: {{path: /healthz, interval: 1s}}
    backends: [{{pop: fra, endpoints: ["{fra}"]}}]
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: {workers}}}
limits: {limits}
timeouts: {{queue: {queue}}}
"""
GERMAN = {"x-forwarded-for": "10.1.0.1"}
AMERICAN = {"x-forwarded-for": "10.2.0.1"}


class Answer(NamedTuple):
    status: int
    text: str
    headers: http.client.HTTPMessage


class Client:
    """One that keeps its connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def ask(self, path: str = "/", headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None) -> Answer:
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        return Answer(answer.status, answer.read().decode(), answer.headers)

    def connection(self) -> socket.socket | None:
        """None once the gateway has closed it, until the next request."""
        return self._connection.sock

    def close(self) -> None:
        self._connection.close()


class Served:
    """`isochrone serve` on a configuration."""

    def __init__(
        self,
        folder: Path,
        text: str,
        port: int,
        *,
        descriptors: int | None = None,
        under: Sequence[str] = (),
        is_unprivileged: bool = False,
        is_fresh: bool = False,
    ) -> None:
        """`under`: words of a command that runs it. Fresh: Python starts as on a command line, imports and all."""
        self.port = port
        self.admin_port = 0
        self.config = folder / "isochrone.yaml"
        self.config.write_text(text)
        self.log_path = folder / "log"
        words = ["serve", "-c", str(self.config)]
        with self.log_path.open("ab") as log:
            self.process: Forked | subprocess.Popen[bytes]
            if under or is_fresh:
                command = [*under, sys.executable, "-m", "gateway", *words]
                environment = {**os.environ, "PYTHONWARNINGS": "error"}
                self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, env=environment)
            else:
                is_nobody = is_unprivileged and os.geteuid() == 0
                self.process = Forked(words, log.fileno(), descriptors=descriptors, is_nobody=is_nobody)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_serving(self) -> None:
        eventually(lambda: self.is_listening() or self.process.poll() is not None, "the gateway serves")
        assert self.process.poll() is None, self.log

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_log(self, words: str, count: int = 1) -> None:
        eventually(lambda: self.log.count(words) >= count, f"{words!r} in the log")

    def get(
        self, path: str = "/", headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, str]:
        """Status and text, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def admin(self, path: str, method: str = "GET") -> Any:
        """What the admin API says, as an object."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path)
            return json.loads(connection.getresponse().read())

    def signal(self, number: signal.Signals) -> None:
        send_signal(self.process, number)

    def wait_exit(self, deadline_s: float = DEADLINE_S) -> int:
        return self.process.wait(deadline_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def served(
    folder: Path,
    text: str = CONFIG,
    *,
    wait: bool = True,
    descriptors: int | None = None,
    under: Sequence[str] = (),
    is_unprivileged: bool = False,
    is_fresh: bool = False,
    **names: str,
) -> Iterator[Served]:
    """`names` fill the places in the text; `port` and `admin` are free ones. Unprivileged: as `nobody`, who must be able to read
    `folder`."""
    port, admin = free_port(), free_port()
    whole = text.format(port=port, admin=admin, **names)
    gateway = Served(folder, whole, port, descriptors=descriptors, under=under, is_unprivileged=is_unprivileged, is_fresh=is_fresh)
    gateway.admin_port = admin
    try:
        if wait:
            gateway.wait_serving()
        yield gateway
        assert "Traceback" not in gateway.log
    finally:
        gateway.close()


class Load:
    """Clients in threads that keep asking until told to stop, or until they are turned away. Every fault is kept, with its kind."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.faults: list[str] = []
        self.answers: Counter[str] = Counter()
        self.turned_away = 0  # a new connection was refused: that is how a gateway that has gone looks, and no fault
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def keep_alive(self, n: int, **more: Any) -> "Load":
        """Clients that hold on to their connection for as long as the answers let them."""
        return self._begin(n, lambda: self._client(reuses=True, **more))

    def one_shot(self, n: int, **more: Any) -> "Load":
        """Clients with a connection for each request."""
        return self._begin(n, lambda: self._client(reuses=False, **more))

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in self._threads), "clients that don't end"

    def wait_answers(self, n: int) -> None:
        goal = self.answers.total() + n
        eventually(lambda: self.answers.total() >= goal, f"{n} more answers")

    def _begin(self, n: int, client: Callable[[], None]) -> "Load":
        self._threads += (threading.Thread(target=client, daemon=True) for _ in range(n))
        for thread in self._threads[-n:]:
            thread.start()
        return self

    def _client(self, reuses: bool, path: str = "/", method: str = "GET", body: bytes | None = None, length: int | None = None) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    self.turned_away += 1
                    return
                except OSError as error:
                    self.faults.append(f"connect: {error!r}")
                    return
            try:
                connection.request(method, path, body)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(f"{method} {path}: {error!r}")
                connection = None
                continue
            if answer.status != 200 or (length is not None and len(text) != length):
                self.faults.append(f"{method} {path}: {answer.status} with {len(text)} bytes")
            self.answers[text.decode()[:20]] += 1
            if answer.will_close or not reuses:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
