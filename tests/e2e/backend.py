"""What a pod runs: an HTTP/1.1 server that drains properly, and shows everything a gateway could do wrong with a request.

    POD_NAME=web-1 POD_IP=10.244.0.2 POD_PORT=8080 python -m tests.e2e.backend

Environment: POD_NAME, POD_IP, POD_PORT, CLUSTER (named in answers); START_DELAY_S: listens only after it (0); SLOW_STOP_S: serves on that
long after SIGTERM (2); POSTS: a file to which each POST /echo adds a line at its head ("begin ID POD") and at its end ("done ID POD").

Answers carry `x-pod: CLUSTER/NAME`.
- GET /bytes/N?offset=K&rate=R&chunked=1: N bytes of payload.py from K on, R a second (as fast as they are taken when R is 0);
- GET /sse?events=N&interval=S: server-sent events;
- POST /echo: JSON with the id of `x-post-id`, the length and the sha256 of the body;
- anything else, /healthz too: 200 and the target it saw.

Drain, in this order: SIGTERM; every answer says `Connection: close`, everyone is still served; SLOW_STOP_S later accepting ends and idle
connections are closed; exit when the last exchange has ended. Nothing of aiohttp here: its own shutdown is no drain.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.e2e import payload

HEAD_LIMIT = 64 * 1024
BLOCK = 64 * 1024
LINGER_S = 1.0


@dataclass
class Request:
    """A request's head, and its body as it comes."""

    method: str
    target: str
    version: str
    fields: dict[str, str]
    reader: asyncio.StreamReader

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def option(self, name: str, default: float) -> float:
        return float(parse_qs(urlsplit(self.target).query).get(name, [default])[0])

    def wants_close(self) -> bool:
        return self.version == "HTTP/1.0" or "close" in self.fields.get("connection", "").lower()

    async def body(self) -> AsyncIterator[bytes]:
        """The body piece by piece. asyncio.IncompleteReadError when it is cut."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
            return
        left = int(self.fields.get("content-length", 0))
        while left:
            block = await self.reader.read(min(left, BLOCK))
            if not block:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(block)
            yield block


def parse(head: bytes, reader: asyncio.StreamReader) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, version = first.split(" ")
    fields = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return Request(method, target, version, fields, reader)


@dataclass(eq=False)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    task: asyncio.Task[None] = field(init=False)
    idle: bool = True  # waits for the first byte of a request


class Backend:
    def __init__(self, name: str, posts: Path | None) -> None:
        self.name = name
        self.posts = os.open(posts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if posts else None
        self.announcing = False  # answers say `Connection: close`
        self.closing = False  # no further request is read
        self.connections: set[Connection] = set()
        self.empty = asyncio.Event()
        self.empty.set()

    def note(self, word: str, request: Request) -> None:
        """One line for a POST; a write in append mode is whole even with other pods writing the same file."""
        if self.posts is not None:
            os.write(self.posts, f"{word} {request.fields.get('x-post-id', '-')} {self.name}\n".encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        connection = Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        connection.task = task
        self.connections.add(connection)
        self.empty.clear()
        try:
            while not self.closing and await self.exchange(connection):
                pass
            await self.linger(connection)
        except (ConnectionError, asyncio.IncompleteReadError) as cut:
            print(f"{self.name}: connection cut: {cut!r}", flush=True)
        finally:
            writer.close()
            self.connections.discard(connection)
            if not self.connections:
                self.empty.set()

    async def exchange(self, connection: Connection) -> bool:
        """One request and its answer; whether the connection can take another."""
        connection.idle = True
        try:
            first = await connection.reader.read(1)
        except asyncio.CancelledError:  # `drain` closes idle connections
            connection.task.uncancel()
            try:
                async with asyncio.timeout(0):
                    first = await connection.reader.read(1)  # it had come, only this task hadn't run yet
            except TimeoutError:
                return False
        connection.idle = False
        if not first:
            return False
        request = parse(first + await connection.reader.readuntil(b"\r\n\r\n"), connection.reader)
        await self.answer(request, connection.writer)
        return not (request.wants_close() or self.announcing)

    async def linger(self, connection: Connection) -> None:
        """Closes so that the peer can read the last answer (RFC 9112 section 9.6): half, and the rest when the peer has."""
        if connection.writer.can_write_eof():
            connection.writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await connection.reader.read(BLOCK):
                    pass

    def head(self, request: Request, status: str, fields: dict[str, str]) -> bytes:
        fields = {"x-pod": self.name} | fields
        if request.wants_close() or self.announcing:
            fields["connection"] = "close"
        return "\r\n".join([f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode("latin-1")

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path.startswith("/bytes/"):
            await self.answer_bytes(request, writer)
        elif request.path == "/sse":
            await self.answer_events(request, writer)
        elif request.path == "/echo" and request.method == "POST":
            await self.answer_echo(request, writer)
        else:
            async for _ in request.body():
                pass
            await self.send_whole(request, writer, "text/plain", request.target.encode())

    async def send_whole(self, request: Request, writer: asyncio.StreamWriter, kind: str, body: bytes) -> None:
        head = self.head(request, "200 OK", {"content-type": kind, "content-length": str(len(body))})
        writer.write(head if request.method == "HEAD" else head + body)
        await writer.drain()

    async def answer_echo(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.note("begin", request)
        if request.fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest, length = hashlib.sha256(), 0
        async for block in request.body():
            digest.update(block)
            length += len(block)
        self.note("done", request)
        seen = {"id": request.fields.get("x-post-id"), "bytes": length, "sha256": digest.hexdigest(), "pod": self.name}
        await self.send_whole(request, writer, "application/json", json.dumps(seen).encode())

    async def answer_bytes(self, request: Request, writer: asyncio.StreamWriter) -> None:
        length, offset = int(request.path.removeprefix("/bytes/")), int(request.option("offset", 0))
        rate, chunked = request.option("rate", 0), bool(request.option("chunked", 0))
        framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(length)}
        writer.write(self.head(request, "200 OK", {"content-type": "application/octet-stream"} | framing))
        if request.method != "HEAD":
            loop = asyncio.get_running_loop()
            begin, sent = loop.time(), 0
            while sent < length:
                block = payload.piece(offset + sent, min(BLOCK if not rate else max(1, int(rate / 20)), length - sent))
                writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                await writer.drain()
                sent += len(block)
                if rate:
                    await asyncio.sleep(begin + sent / rate - loop.time())
            if chunked:
                writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def answer_events(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Server-sent events, one chunk each."""
        writer.write(self.head(request, "200 OK", {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for number in range(int(request.option("events", 10))):
            event = f"id: {number}\ndata: {self.name}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(request.option("interval", 0.1))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def drain(self, server: asyncio.Server, slow_stop_s: float) -> None:
        """From SIGTERM to the last answer."""
        self.announcing = True
        await asyncio.sleep(slow_stop_s)
        server.close()
        self.closing = True
        for connection in self.connections:
            if connection.idle:
                connection.task.cancel()
        await self.empty.wait()


async def main() -> None:
    name = f"{os.environ.get('CLUSTER', '-')}/{os.environ['POD_NAME']}"
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), float(os.environ.get("START_DELAY_S", "0")))
        return  # ended before it began
    backend = Backend(name, Path(os.environ["POSTS"]) if "POSTS" in os.environ else None)
    server = await asyncio.start_server(backend.serve, os.environ["POD_IP"], int(os.environ["POD_PORT"]), limit=HEAD_LIMIT, backlog=1024)
    print(f"{name}: listening", flush=True)
    await stop.wait()
    print(f"{name}: draining {len(backend.connections)} connections", flush=True)
    await backend.drain(server, float(os.environ.get("SLOW_STOP_S", "2")))
    print(f"{name}: drained", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
