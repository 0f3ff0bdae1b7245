"""One client that has the gateway hold all it can in buffers, from addresses of their own: memory stays bounded, others are served."""

import http.server
import os
import resource
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest

from tests.e2e import sandboxed
from tests.e2e.test_one_client import GET, HOSTILE, ask, dial, metric
from tests.io.serving import CONFIG, Served, eventually, served

MIB = 1 << 20
BOUND, SLACK = 16 * MIB, 12 * MIB  # slack: connections, exchanges, and what control takes to answer scrapes
N = 1200
HALF = b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: " + b"x" * (20 << 10)
BODY = bytes(8 * MIB)
LARGE = b"GET /large HTTP/1.1\r\nHost: shop.example\r\n\r\n"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sandboxed.is_inside(), reason="needs addresses of its own: run tests/e2e alone")]


class Pop(http.server.BaseHTTPRequestHandler):
    """8 MiB at /large, a word elsewhere."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY) if self.path == "/large" else 5))
        self.end_headers()
        with suppress(OSError):  # the client is gone
            self.wfile.write(BODY if self.path == "/large" else b"hello")

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def resident(gateway: Served) -> int:
    with open(f"/proc/{gateway.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def gateway(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * N:
        pytest.skip(f"{N} connections need more descriptors than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * N), hard))
    server = Server(("127.0.0.1", 0), Pop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = CONFIG.replace("127.0.0.1:{port}", "0.0.0.0:{port}").replace("client_ip: {{trusted_proxies: [127.0.0.0/8]}}\n", "")
    text += f"limits: {{{{buffers: {BOUND // MIB}MiB, connections_per_endpoint: 10000}}}}\n"
    address = f"127.0.0.1:{server.server_address[1]}"
    with served(tmp_path, text, fra=address, nyc=address) as made:
        yield made
    server.shutdown()
    server.server_close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Watch:
    """The most that the gateway had of each, from the start of the watch on."""

    def __init__(self, gateway: Served) -> None:
        self.gateway = gateway
        self.before = resident(gateway)
        self.taken = self.buffered = 0
        self.is_ending = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_ending.set()
        self.thread.join(20)

    def _run(self) -> None:
        while not self.is_ending.wait(0.05):
            self.taken = max(self.taken, resident(self.gateway) - self.before)
            self.buffered = max(self.buffered, int(metric(self.gateway, "isochrone_buffered_bytes ")))


def fill(gateway: Served, stack: ExitStack, request: bytes, n: int) -> None:
    for _ in range(n):
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what it doesn't read lies with the gateway
        stack.enter_context(end)
        end.bind((HOSTILE, 0))
        end.settimeout(10)
        with suppress(OSError):  # some have been evicted already
            end.connect(("10.244.0.1", gateway.port))
            end.sendall(request)


@pytest.mark.parametrize(("request_", "n"), [(HALF, N), (LARGE, 200)], ids=["half heads", "slow readers"])
def test_one_client_fills_no_more_than_the_bound_and_costs_no_other_an_answer(gateway, request_, n):
    assert [ask(gateway, f"10.244.2.{n}") for n in range(1, 101)] == ["HTTP/1.1 200 OK"] * 100
    assert metric(gateway, "isochrone_buffered_limit_bytes ") == BOUND
    with ExitStack() as stack, Watch(gateway) as watch:
        for _ in range(3):
            fill(gateway, stack, request_, n)
            assert [ask(gateway, f"10.244.2.{n}") for n in range(1, 101)] == ["HTTP/1.1 200 OK"] * 100
        eventually(lambda: watch.buffered > BOUND / 4, "much is held")  # a scrape may be a second old
    print(f"taken {watch.taken / MIB:.1f} MiB, buffered {watch.buffered / MIB:.1f} MiB")
    assert watch.buffered <= BOUND
    assert watch.taken < BOUND + SLACK
    eventually(lambda: metric(gateway, 'isochrone_evicted_total{cause="buffers"}') > 0, "some were cut")
    assert metric(gateway, 'isochrone_evicted_total{cause="connections"}') == 0
    eventually(lambda: metric(gateway, "isochrone_buffered_bytes ") < BOUND / 8, "it is given back")
    with dial(gateway, HOSTILE) as end:
        end.sendall(GET)
        assert end.makefile("rb").readline().startswith(b"HTTP/1.1 200")
