"""A worker that hangs, on a real gateway: one of its threads is stopped as a debugger stops it."""

import ctypes
import http.client
import json
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.io.serving import LIMITED, eventually, served

pytestmark = pytest.mark.slow

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000  # threads too


def threads(gateway, name):
    """Thread ids of that name."""
    found = []
    for task in Path(f"/proc/{gateway.process.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has just ended
            if (task / "comm").read_text().strip() == name:
                found.append(int(task.name))
    return found


@contextmanager
def stopped(thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, thread, None, None) != 0:
        pytest.skip(f"no ptrace on this machine: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
    assert os.waitpid(thread, WALL)[0] == thread
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, thread, None, None)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Slow(socketserver.StreamRequestHandler):
    """Answers all but who asks for /held."""

    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            if b"/held" in line:
                self.server.released.wait(60)
            self.wfile.write(OK)


@pytest.fixture
def slow():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        server.released = threading.Event()
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join(10)


def connections(gateway):
    """Clients', by worker."""
    with gateway_metrics(gateway) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("isochrone_worker_connections{")]


def test_the_others_go_on_with_what_a_worker_had_that_hangs(tmp_path, slow):
    """The only connection that the endpoint may have, and nearly all that the listener may."""
    fra = f"127.0.0.1:{slow.server_address[1]}"
    limits = "{connections_per_endpoint: 1, connections: 3}"
    with served(tmp_path, LIMITED, fra=fra, workers="2", limits=limits, queue="60s") as gateway, ExitStack() as stack:

        def connect(path):
            end = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=50))
            end.sendall(b"GET %b HTTP/1.1\r\nHost: a.example\r\n\r\n" % path)
            return end

        eventually(lambda: gateway.get("/")[0] == 200, "it serves")
        eventually(lambda: sum(connections(gateway)) == 0, "at rest")
        held = connect(b"/held")
        eventually(lambda: sum(connections(gateway)) == 1, "it is there")
        number = connections(gateway).index(1)
        (thread,) = threads(gateway, f"worker-{number}")
        with stopped(thread):
            others = [connect(b"/") for _ in range(2)]
            assert all(other.recv(65536).startswith(b"HTTP/1.1 200 OK") for other in others)
            others.append(connect(b"/"))
            assert others[-1].recv(65536).startswith(b"HTTP/1.1 200 OK"), "beside the one that is stuck"
        slow.released.set()
        assert held.recv(65536).startswith(b"HTTP/1.1 200 OK")
        eventually(lambda: sum(connections(gateway)) <= 3, "as many as may be")
        eventually(lambda: gateway.get("/")[0] == 200, "it serves")


IN_FLIGHT = LIMITED.replace("  - name: shop\n", "  - name: shop\n    max_in_flight: 1\n") + (
    "client_ip: {{trusted_proxies: [127.0.0.0/8]}}\n"
)


def test_what_a_worker_has_in_flight_that_hangs_is_nobodys(tmp_path, slow):
    """Neither its endpoint's `max_in_flight`, nor its client's cap; and it is theirs again when that worker turns."""
    limits, fra = "{per_client: {exchanges: 1}}", f"127.0.0.1:{slow.server_address[1]}"
    with served(tmp_path, IN_FLIGHT, fra=fra, workers="2", limits=limits, queue="60s") as gateway, ExitStack() as stack:

        def begin(path, client):
            end = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=50))
            end.sendall(b"GET %b HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: %b\r\n\r\n" % (path, client))
            return end

        def status(path, client):
            return int(begin(path, client).recv(65536)[9:12])

        eventually(lambda: status(b"/", b"192.0.2.1") == 200, "it serves")
        eventually(lambda: sum(connections(gateway)) >= 1, "at rest")
        before = connections(gateway)
        held = begin(b"/held", b"192.0.2.1")
        eventually(lambda: sum(connections(gateway)) == sum(before) + 1, "it is there")
        number = [now > then for now, then in zip(connections(gateway), before, strict=True)].index(True)
        eventually(lambda: status(b"/", b"192.0.2.1") == 429, "under way")
        (thread,) = threads(gateway, f"worker-{number}")
        with stopped(thread):
            eventually(lambda: status(b"/", b"192.0.2.1") == 200, "another worker serves its client, at its endpoint")
            assert status(b"/", b"192.0.2.2") == 200
        eventually(lambda: status(b"/", b"192.0.2.1") == 429, "it counts again")
        slow.released.set()
        assert held.recv(65536).startswith(b"HTTP/1.1 200 OK")
        eventually(lambda: status(b"/", b"192.0.2.1") == 200, "once")


def ask(gateway, path):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_worker_that_hangs_shows_in_health(gateway):
    (first,) = eventually(lambda: threads(gateway, "worker-0"), "its name")
    (second,) = eventually(lambda: threads(gateway, "worker-1"), "its name")
    eventually(lambda: ask(gateway, "/readyz")[0] == 200, "ready")
    with ExitStack() as hanging:
        hanging.enter_context(stopped(second))
        eventually(lambda: ask(gateway, "/readyz")[0] == 503, "unready")
        assert ask(gateway, "/readyz") == (503, {"ready": False, "reasons": ["worker-1: does not turn"]})
        status, said = ask(gateway, "/healthz")
        assert (status, said["state"]) == (200, "serving"), "the other one serves"
        hanging.enter_context(stopped(first))
        eventually(lambda: ask(gateway, "/healthz")[0] == 503, "ill")
        assert ask(gateway, "/healthz")[1]["error"] == "no worker turns: worker-0, worker-1"
    eventually(lambda: ask(gateway, "/readyz")[0] == 200, "ready again")
    assert ask(gateway, "/healthz")[0] == 200


def test_a_gateway_that_was_paused_blames_no_worker(gateway):
    eventually(lambda: ask(gateway, "/readyz")[0] == 200, "ready")
    gateway.signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        gateway.process.wait(2.5)  # longer than a worker may be silent
    gateway.signal(signal.SIGCONT)
    for _ in range(20):
        assert ask(gateway, "/readyz")[0] == 200
    assert '"worker silent"' not in gateway.log


def test_scrapes_that_nobody_waits_for_cost_no_other_his_time(gateway):
    """Each alone takes some milliseconds of control's time, more where there are many pools: an honest scraper stood in line."""
    eventually(lambda: ask(gateway, "/readyz")[0] == 200, "ready")
    for _ in range(500):
        with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=10) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
    began = time.monotonic()
    with gateway_metrics(gateway) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    assert time.monotonic() - began < 2.0
    scrapes = [line for line in text.splitlines() if line.startswith("isochrone_worker_silence_seconds")]
    assert len(scrapes) == 2


@contextmanager
def gateway_metrics(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        yield connection.getresponse()
    finally:
        connection.close()
