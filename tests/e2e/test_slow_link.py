"""Clients behind a long way: 100 ms of round trip. The last answer can be read, whatever they send beside it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.e2e import sandboxed
from tests.e2e.slow_link import SlowLink
from tests.io.serving import CONFIG, Served, served

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sandboxed.is_inside(), reason="needs a namespace of its own: run tests/e2e alone")]
BODY = b"y" * 200_000  # more than what is sent before the first acknowledgement
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
STARTS = (b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n")


@pytest.fixture(scope="module")
def link(request: pytest.FixtureRequest) -> Iterator[SlowLink]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(SlowLink(0.1))
        except OSError as error:
            reporter = request.config.pluginmanager.getplugin("terminalreporter")
            reporter.write_line(f"SKIPPED tests/e2e/test_slow_link.py, all of it: no TUN devices on this machine: {error}")
            pytest.skip(f"no TUN devices: {error}")
        yield made


def answer_all(door: socket.socket) -> None:
    while True:
        try:
            end = door.accept()[0]
        except OSError:
            return
        with end:
            if end.recv(65536):
                end.sendall(ANSWER)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with contextlib.ExitStack() as stack:
        doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for door in doors:
            thread = threading.Thread(target=answer_all, args=(door,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(door.close)
            stack.callback(door.shutdown, socket.SHUT_RDWR)
        fra, nyc = (f"127.0.0.1:{door.getsockname()[1]}" for door in doors)
        text = CONFIG.replace("127.0.0.1:{port}", "0.0.0.0:{port}")
        yield stack.enter_context(served(tmp_path_factory.mktemp("slow"), text, fra=fra, nyc=nyc))


@pytest.mark.parametrize("start", STARTS, ids=["close", "HTTP/1.0"])
@pytest.mark.parametrize("when", ["with the request", "behind the first byte", "to the end", "and then its own end"])
def test_the_last_answer_can_be_read(link: SlowLink, gateway: Served, start: bytes, when: str):
    with link.connect(gateway.port) as end:
        end.sendall(start + (b"x" * 100 if when != "behind the first byte" else b""))
        if when == "and then its own end":
            end.shutdown(socket.SHUT_WR)
        got = b""
        while piece := end.recv(20_000):
            if when == "to the end" or (when == "behind the first byte" and not got):
                end.send(b"x" * 100)
            got += piece
    assert got.partition(b"\r\n\r\n")[2] == BODY
