"""One client that takes all it can: others are served all the same. From addresses of their own, for loopback is held to no limit."""

import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e import sandboxed
from tests.io.serving import CONFIG, Served, backends, eventually, served

HOSTILE = "10.244.1.1"
TARGET = "10.244.0.1"
GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sandboxed.is_inside(), reason="needs addresses of its own: run tests/e2e alone")]


def dial(gateway: Served, source: str) -> socket.socket:
    return socket.create_connection((TARGET, gateway.port), timeout=10, source_address=(source, 0))


def ask(gateway: Served, source: str) -> str:
    """The status line of an answer, or what became of the connection."""
    try:
        with dial(gateway, source) as end:
            end.sendall(GET)
            return end.makefile("rb").readline().decode().strip()
    except OSError as error:
        return type(error).__name__


def metric(gateway: Served, name: str) -> float:
    with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=10) as end:
        end.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        lines = end.makefile("rb").read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture
def limited(tmp_path: Path):
    """A gateway with limits, as text; ends with the test."""
    with ExitStack() as stack:
        fra, nyc = stack.enter_context(backends("fra", "nyc"))

        def make(limits: str) -> Served:
            text = CONFIG.replace("127.0.0.1:{port}", "0.0.0.0:{port}").replace("client_ip: {{trusted_proxies: [127.0.0.0/8]}}\n", "")
            text += "limits: " + limits.replace("{", "{{").replace("}", "}}") + "\n"
            return stack.enter_context(served(tmp_path, text, fra=f"127.0.0.1:{fra.port}", nyc=f"127.0.0.1:{nyc.port}"))

        yield make


def test_half_heads_of_one_client_leave_room_for_all_others(limited):
    gateway = limited("{connections: 40}")
    with ExitStack() as stack:
        held = [stack.enter_context(dial(gateway, HOSTILE)) for _ in range(60)]
        for end in held:
            with suppress(OSError):  # some have been evicted already
                end.sendall(GET[:20])
        # However they fall on the workers, 60 are more than fit: one of them is full.
        eventually(lambda: metric(gateway, "isochrone_evicted_total") > 0, "the half heads fill a worker")
        answers = [ask(gateway, f"10.244.2.{n}") for n in range(1, 101)]
    assert answers == ["HTTP/1.1 200 OK"] * 100


def test_a_flood_that_comes_back_at_once_leaves_room_for_all_others(limited):
    """Whoever is evicted opens another one."""
    gateway = limited("{connections: 40}")
    stopped = threading.Event()

    def flood() -> None:
        ends: list[socket.socket] = []
        while not stopped.is_set():
            end = dial(gateway, HOSTILE)
            with suppress(OSError):
                end.sendall(GET[:20])
            ends.append(end)
            for old in ends[:-100]:
                old.close()
            del ends[:-100]
        for end in ends:
            end.close()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        eventually(lambda: metric(gateway, "isochrone_evicted_total") > 100, "a flood")
        answers = [ask(gateway, f"10.244.2.{n}") for n in range(1, 101)]
    finally:
        stopped.set()
        thread.join(20)
    assert answers == ["HTTP/1.1 200 OK"] * 100


def test_a_cap_holds_for_one_client_alone(limited):
    gateway = limited("{per_client: {connections: 10}}")
    with ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(dial(gateway, HOSTILE))
        eventually(lambda: metric(gateway, 'isochrone_rejected_total{cause="client_connections"}') == 5, "five too many")
        assert ask(gateway, "10.244.1.2") == "HTTP/1.1 200 OK"
        assert ask(gateway, HOSTILE) != "HTTP/1.1 200 OK"
