"""The client that drain tests believe: each way an exchange can go wrong is named, and none is taken for another."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from tests.e2e.strict_client import Answer, Connection, Fault, Request

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def half() -> AsyncIterator[bytes]:
    """A body that never ends."""
    yield b"x" * 1000
    await asyncio.Event().wait()


async def ask(answer: bytes, *, reset: bool = False, body: bool = False, method: str = "GET") -> tuple[Answer, bytes]:
    """One exchange with a peer that reads a head, sends `answer` and closes (or resets)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    received = bytearray()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        connection = await Connection.open(host, port)
        try:
            async with asyncio.timeout(5):
                found = await connection.exchange(Request(method, "/", {"host": "h"}, half() if body else None), received.extend)
        finally:
            connection.close()
    return found, bytes(received)


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
    assert asyncio.run(ask(answer))[1] == body


def test_answer_to_head_has_no_body() -> None:
    found, body = asyncio.run(ask(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: Close\r\n\r\n", method="HEAD"))
    assert (found.fields["content-length"], body, found.is_last()) == ("5", b"", True)


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
