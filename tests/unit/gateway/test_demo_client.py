"""The client that demo, load and drain tests believe: each way an exchange can go wrong is named, and none is taken for another."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.demo.client import Answer, Client, Connection, Fault, Request
from tests.unit.gateway.demo_server import GOOD, server

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def half() -> AsyncIterator[bytes]:
    """A body that never ends."""
    yield b"x" * 1000
    await asyncio.Event().wait()


async def ask(answer: bytes, *, reset: bool = False, body: bool = False, method: str = "GET") -> Answer:
    """One exchange with a peer that reads a head, sends `answer` and closes (or resets)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        connection = await Connection.open(host, port)
        try:
            async with asyncio.timeout(5):
                return await connection.exchange(Request(method, "/", {"host": "h"}, half() if body else None))
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"hello"),
        (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\nsum: 1\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
def test_whole_answers(answer: bytes, body: bytes) -> None:
    assert asyncio.run(ask(answer)).body == body


def test_answer_to_head_has_no_body() -> None:
    found = asyncio.run(ask(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: Close\r\n\r\n", method="HEAD"))
    assert (found.fields["content-length"], found.body, found.is_last()) == ("5", b"", True)


@pytest.mark.parametrize(
    ("kind", "answer", "reset"),
    [
        ("no_answer", b"", False),
        ("reset", b"", True),
        ("truncated", OK[:20], False),
        ("truncated", OK[:-1], False),
        ("truncated", CHUNKED + b"5\r\nhello\r\n", False),
        ("truncated", CHUNKED + b"5\r\nhel", False),
        ("malformed", b"SSH-2.0-x\r\n\r\n", False),
        ("malformed", b"HTTP/1.1 OK\r\n\r\n", False),
        ("malformed", b"HTTP/1.0 200 OK\r\n\r\n", False),
        ("malformed", CHUNKED + b"five\r\n", False),
        ("malformed", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, False),
    ],
)
def test_each_fault_is_named(kind: str, answer: bytes, reset: bool) -> None:
    with pytest.raises(Fault) as fault:
        asyncio.run(ask(answer, reset=reset))
    assert fault.value.kind == kind


def test_an_answer_before_the_request_was_sent_is_a_fault() -> None:
    with pytest.raises(Fault, match="before the body had been sent"):
        asyncio.run(ask(OK, body=True))


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with pytest.raises(Fault) as fault:
        asyncio.run(Connection.open(*address))
    assert fault.value.kind == "refused"


def test_a_connection_is_kept_and_its_answer_read_whole():
    async def main():
        async with server(lambda number, head: GOOD) as (port, seen, connections):
            client = Client(port, 5)
            for _ in range(2):
                answer = await client.ask("GET", "/x", {"x-forwarded-for": "192.0.2.1"})
                assert (answer.status, answer.body, answer.fields["x-isochrone-pop"]) == (200, b"fra", "fra")
            await client.ask("POST", "/pops/fra/drain")
            assert len(connections) == 1
            assert seen[0] == f"GET /x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
            assert "content-length: 0" in seen[2]
            client.close()

    asyncio.run(main())


def test_as_many_at_a_time_as_are_asked_for():
    async def main():
        async with server(lambda number, head: GOOD) as (port, seen, connections):
            client = Client(port, 5)
            for _ in range(2):
                await asyncio.gather(*(client.ask("GET", "/") for _ in range(3)))
            assert (len(seen), len(connections)) == (6, 3)
            client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "kind"),
    [(None, "no_answer"), (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "malformed"), (b"nonsense\r\n\r\n", "malformed")],
)
def test_a_broken_answer_is_a_fault_and_never_asked_for_again(said, kind):
    async def main():
        async with server(lambda number, head: said if number == 2 else GOOD) as (port, seen, connections):
            client = Client(port, 5)
            await client.ask("GET", "/")
            with pytest.raises(Fault, match=kind):
                await client.ask("GET", "/")
            assert len(seen) == 2
            assert (await client.ask("GET", "/")).status == 200  # the next one, on a new connection
            assert len(connections) == 2
            client.close()

    asyncio.run(main())


def test_no_answer_in_time_is_a_fault():
    async def main():
        async with server(lambda number, head: b"" if number == 1 else GOOD) as (port, seen, _):
            client = Client(port, 0.05)
            with pytest.raises(Fault, match="deadline"):
                await client.ask("GET", "/")
            assert len(seen) == 1

    asyncio.run(main())


def test_an_answer_that_ends_the_connection_is_believed():
    async def main():
        async with server(lambda number, head: GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as (port, _, connections):
            client = Client(port, 5)
            await client.ask("GET", "/")
            await client.ask("GET", "/")
            assert len(connections) == 2

    asyncio.run(main())


def test_what_the_peer_closed_while_it_was_idle_carried_no_request():
    async def main():
        async with server(lambda number, head: GOOD) as (port, _, connections):
            client = Client(port, 5)
            await client.ask("GET", "/")
            connections[0].get_extra_info("socket").shutdown(socket.SHUT_WR)  # the client's event loop has not heard of it
            assert (await client.ask("GET", "/")).status == 200
            assert len(connections) == 2
            client.close()

    asyncio.run(main())
