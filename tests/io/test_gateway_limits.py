"""Limits of a running gateway with many workers hold for all of them together: no sooner, and no later."""

import asyncio
import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.serving import LIMITED, eventually, served

pytestmark = pytest.mark.slow

REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DELAY_S = 0.003


class Counting:
    """An upstream that says how many connections it had at once, those of probes apart: open at both ends, and asked on."""

    def __init__(self) -> None:
        self.door = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self.door.getsockname()[1]}"
        self.most = self.n_served = 0
        self._used: set[socket.socket] = set()
        self._due: list[tuple[float, socket.socket]] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.door, selectors.EVENT_READ)
        self._is_ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._is_ending = True
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_ending:
            for key, _ in self._selector.select(0.001 if self._due else 0.05):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self.door:
                    self._selector.register(self.door.accept()[0], selectors.EVENT_READ)
                else:
                    self._read(key.fileobj)
            while self._due and self._due[0][0] <= time.monotonic():
                self._answer(self._due.pop(0)[1])

    def _read(self, end: socket.socket) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = end.recv(65536)
        if not data:
            self._used.discard(end)
            self._selector.unregister(end)
            end.close()
        elif data.startswith(b"GET /healthz "):
            end.send(ANSWER)
        else:
            self._used.add(end)
            self.most = max(self.most, sum(self._is_open(one) for one in self._used))
            self._due.append((time.monotonic() + DELAY_S, end))

    def _answer(self, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            end.send(ANSWER)
            self.n_served += 1

    @staticmethod
    def _is_open(end: socket.socket) -> bool:
        """An end that has come and is not read yet is an end."""
        try:
            return end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False


@pytest.fixture
def upstream() -> Iterator[Counting]:
    with contextlib.closing(Counting()) as one:
        yield one


def ask_together(n: int, port: int, times: int) -> tuple[set[bytes], list[float]]:
    """So many clients, so many times each: which answers there were, and how long each was waited for."""
    waits_s: list[float] = []

    async def all_ask() -> list[list[bytes]]:
        return await asyncio.gather(*(ask(port, waits_s, times) for _ in range(n)))

    return {line for each in asyncio.run(all_ask()) for line in each}, sorted(waits_s)


async def ask(port: int, waits_s: list[float], times: int) -> list[bytes]:
    """The first line of each answer, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = []
    for _ in range(times):
        begin = time.monotonic()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.partition(b"\r\n")[0])
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        waits_s.append(time.monotonic() - begin)
    writer.close()
    return lines


def test_a_thousand_onto_one_endpoint_of_eight_connections(tmp_path: Path, upstream: Counting) -> None:
    """Each worker's eighth of the queue would be full at once."""
    n, times = 1000, 2
    limits = "{connections_per_endpoint: 8, queue_per_endpoint: 1000}"
    with served(tmp_path, LIMITED, fra=upstream.address, workers="8", limits=limits, queue="60s") as gateway:
        begin = time.monotonic()
        answers, waits_s = ask_together(n, gateway.port, times)
        took_s = time.monotonic() - begin
        print(f"\n{took_s:.1f} s, longest waits {waits_s[-3:]}, at most {upstream.most} connections")
        assert answers == {b"HTTP/1.1 200 OK"}
        assert upstream.n_served == n * times and upstream.most == 8


@pytest.mark.heavy
def test_nobody_starves_where_there_are_fewer_connections_than_workers(tmp_path: Path, upstream: Counting) -> None:
    """Clients of all workers keep asking: each gets on, and none waits a multiple of what all wait."""
    n, times = 80, 20
    limits = "{connections_per_endpoint: 2, queue_per_endpoint: 80}"
    with served(tmp_path, LIMITED, fra=upstream.address, workers="8", limits=limits, queue="4s") as gateway:
        answers, waits_s = ask_together(n, gateway.port, times)
        print(f"\nmean {sum(waits_s) / len(waits_s):.3f} s, longest {waits_s[-3:]}, at most {upstream.most} connections")
        assert answers == {b"HTTP/1.1 200 OK"}, "and none longer than `timeouts.queue`"
        assert upstream.most == 2


def test_idle_connections_are_kept_until_the_whole_gateway_has_as_many_as_it_may(tmp_path: Path, upstream: Counting) -> None:
    n = 40
    with served(tmp_path, LIMITED, fra=upstream.address, workers="4", limits=f"{{connections: {n}}}", queue="1s") as gateway:
        eventually(lambda: gateway.get("/")[0] == 200, "it serves")

        def is_open(end: socket.socket) -> bool:
            end.sendall(REQUEST)
            return end.recv(65536).startswith(b"HTTP/1.1 200 ")

        def is_closed(end: socket.socket) -> bool:
            end.setblocking(False)
            try:
                return end.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        with contextlib.ExitStack() as stack:

            def connect() -> socket.socket:
                return stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))

            ends = [connect() for _ in range(n)]
            assert all(is_open(end) for end in ends), "all that may be are there"
            more = [connect() for _ in range(8)]
            assert all(is_open(end) for end in more)
            eventually(lambda: sum(is_closed(end) for end in ends) == len(more), "one went for each")
