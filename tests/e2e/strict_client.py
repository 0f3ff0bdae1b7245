"""A strict HTTP/1.1 client for load generators: it retries nothing, hides nothing, and names exactly how an exchange went wrong.

Owns one connection's bytes. Knows nothing of load, pods or gateways. Ready-made clients won't do here: they retry on their own, or report a
cut body, a reset and an end of file alike.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

BLOCK = 64 * 1024

# The ways an exchange goes wrong: nobody listens; other trouble to connect; reset; closed before any byte of an answer; cut within an
# answer; bytes that are no HTTP; not 2xx; not the bytes that were asked for; no end within the deadline.
FAULTS = ("refused", "unreachable", "reset", "no_answer", "truncated", "malformed", "status", "wrong_bytes", "deadline")


class Fault(Exception):
    """How an exchange went wrong: one of FAULTS, with what was seen."""

    def __init__(self, kind: str, detail: str) -> None:
        assert kind in FAULTS
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


@dataclass
class Request:
    """What is sent, as it is sent: `fields` must hold host and framing, `body` yields framed bytes."""

    method: str
    target: str
    fields: Mapping[str, str]
    body: AsyncIterator[bytes] | None = None

    def head(self) -> bytes:
        lines = [f"{self} HTTP/1.1", *(f"{name}: {value}" for name, value in self.fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Answer:
    """An answer's head; the body went to the caller's `on_body`."""

    status: int
    fields: dict[str, str]

    def is_last(self) -> bool:
        """Whether the peer will take no further request on this connection."""
        return "close" in self.fields.get("connection", "").lower()


class Connection:
    """One connection to one address. After a Fault it is good for nothing but close()."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.exchanges = 0

    @classmethod
    async def open(cls, host: str, port: int, receive_buffer: int | None = None) -> "Connection":
        """Fault `refused` or `unreachable`. A small `receive_buffer` (bytes) makes the peer feel a slow reader soon."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (host, port))
            return cls(*await asyncio.open_connection(sock=raw, limit=BLOCK))
        except BaseException as trouble:  # a deadline's cancellation too must not leak the socket
            raw.close()
            if not isinstance(trouble, OSError):
                raise
            kind = "refused" if isinstance(trouble, ConnectionRefusedError) else "unreachable"
            raise Fault(kind, f"{host}:{port}: {trouble}") from trouble

    def is_closed_by_peer(self) -> bool:
        """Whether the peer has closed the idle connection, as far as is known here."""
        return self.reader.at_eof()

    async def exchange(self, request: Request, on_body: Callable[[bytes], None], pace: float = 0) -> Answer:
        """One request and its whole answer, read at `pace` bytes a second (0: as fast as it comes). Fault for whatever goes wrong but a
        status, which the caller judges."""
        sending = asyncio.create_task(self.send(request))
        try:
            answer = await self.read_head()
            await self.read_body(request, answer, on_body, pace)
        except ConnectionError as cut:
            raise Fault("reset", f"{request}: {cut!r}, request {self.exchanges + 1} of this connection") from cut
        except asyncio.IncompleteReadError as cut:
            raise Fault("truncated", f"{request}: {cut}") from cut
        except (ValueError, asyncio.LimitOverrunError) as nonsense:
            raise Fault("malformed", f"{request}: {nonsense}") from nonsense
        finally:
            sending.cancel()
            sent = (await asyncio.gather(sending, return_exceptions=True))[0]
        if sent is not None:
            raise Fault("reset", f"{request}: answered {answer.status} before the body had been sent")
        self.exchanges += 1
        return answer

    async def send(self, request: Request) -> None:
        """That it can't be sent shows where the answer is read: an answer that came before counts."""
        self.writer.write(request.head())
        if request.body is not None:
            async for block in request.body:
                self.writer.write(block)
                await self.writer.drain()
        await self.writer.drain()

    async def read_head(self) -> Answer:
        """The head of the final answer. ValueError when it is no HTTP/1.1."""
        while True:
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    raise Fault("truncated", f"end of file in an answer's head: {end.partial[:80]!r}") from end
                raise Fault("no_answer", f"end of file, request {self.exchanges + 1} of this connection") from end
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            version, status, *_ = first.split(" ", 2)
            if version != "HTTP/1.1":
                raise ValueError(f"an answer that begins {first[:80]!r}")
            answer = Answer(int(status), {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)})
            if answer.status >= 200:
                return answer

    async def read_body(self, request: Request, answer: Answer, on_body: Callable[[bytes], None], pace: float) -> None:
        loop = asyncio.get_running_loop()
        begin, seen = loop.time(), 0

        async def take(block: bytes) -> None:
            nonlocal seen
            on_body(block)
            seen += len(block)
            if pace:
                await asyncio.sleep(begin + seen / pace - loop.time())

        if request.method == "HEAD" or answer.status in (204, 304):
            return
        if "chunked" in answer.fields.get("transfer-encoding", ""):
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await take((await self.reader.readexactly(size + 2))[:-2])
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
        elif "content-length" in answer.fields:
            left = int(answer.fields["content-length"])
            while left:
                block = await self.reader.read(min(left, BLOCK if not pace else max(1, int(pace / 20))))
                if not block:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(block)
                await take(block)
        else:
            while block := await self.reader.read(BLOCK):
                await take(block)

    def close(self) -> None:
        self.writer.close()


def as_object(body: bytes) -> dict[str, object]:
    """A JSON body. Fault `wrong_bytes` when it isn't an object."""
    try:
        found = json.loads(body)
    except ValueError as nonsense:
        raise Fault("wrong_bytes", f"no JSON: {body[:80]!r}") from nonsense
    if not isinstance(found, dict):
        raise Fault("wrong_bytes", f"no object: {body[:80]!r}")
    return found
