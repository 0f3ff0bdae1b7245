"""A strict HTTP/1.1 client for whoever makes load: it retries nothing, hides nothing, and names exactly how an exchange went wrong.

Owns the bytes of connections, and which of them is idle. Must not know load, PoPs or gateways. Ready-made clients won't do: they retry on
their own, or report a cut body, a reset and an end of file alike.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from gateway.control.process.tasks import Tasks

BLOCK = 64 * 1024

# The ways an exchange goes wrong: nobody listens; other trouble to connect; reset; closed before any byte of an answer; cut within an
# answer; bytes that are no HTTP; not the status, not the bytes that were asked for (both for the caller to judge); no end in time.
FAULTS = ("refused", "unreachable", "reset", "no_answer", "truncated", "malformed", "status", "wrong_bytes", "deadline")


class Fault(Exception):
    """How an exchange went wrong: one of FAULTS, with what was seen."""

    def __init__(self, kind: str, detail: str) -> None:
        assert kind in FAULTS
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


@dataclass(slots=True)
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


@dataclass(slots=True)
class Answer:
    status: int
    fields: dict[str, str]  # by small letters
    body: bytearray = field(default_factory=bytearray)

    def is_last(self) -> bool:
        """Whether the peer will take no further request on this connection."""
        return "close" in self.fields.get("connection", "").lower()


class Connection:
    """One connection to one address, for one exchange at a time. After a Fault it is good for nothing but close()."""

    def __init__(self, raw: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.raw, self.reader, self.writer = raw, reader, writer
        self.exchanges = 0

    @classmethod
    async def open(cls, host: str, port: int, receive_buffer: int | None = None) -> Connection:
        """Fault `refused` or `unreachable`. A small `receive_buffer` (bytes) makes the peer feel a slow reader soon."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.setblocking(False)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (host, port))
            return cls(raw, *await asyncio.open_connection(sock=raw, limit=BLOCK))
        except BaseException as trouble:  # a deadline's cancellation too must not leak the socket
            raw.close()
            if not isinstance(trouble, OSError):
                raise
            kind = "refused" if isinstance(trouble, ConnectionRefusedError) else "unreachable"
            raise Fault(kind, f"{host}:{port}: {trouble}") from trouble

    def is_closed_by_peer(self) -> bool:
        """Whether the peer has closed the idle connection. The kernel is asked: a busy event loop hears of it late, and a request that is
        sent meanwhile would look lost."""
        try:
            return self.reader.at_eof() or self.raw.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def exchange(self, request: Request, pace: float = 0) -> Answer:
        """One request and its whole answer, read at `pace` bytes a second (0: as fast as it comes). Fault for whatever goes wrong but a
        status, which the caller judges."""
        self.writer.write(request.head())
        sending, tasks = None, Tasks()
        if request.body is not None:
            sending = tasks.start(f"body of {request}", self._send(request.body))
        try:
            answer = await self._read_head()
            await self._read_body(request, answer, pace)
        except ConnectionError as cut:
            raise Fault("reset", f"{request}: {cut!r}, request {self.exchanges + 1} of this connection") from cut
        except asyncio.IncompleteReadError as cut:
            raise Fault("truncated", f"{request}: {cut}") from cut
        except (ValueError, IndexError, asyncio.LimitOverrunError) as nonsense:
            raise Fault("malformed", f"{request}: {nonsense}") from nonsense
        finally:
            if sending is not None:
                sending.cancel()
                (is_unsent,) = await asyncio.gather(sending, return_exceptions=True)
        if sending is not None and is_unsent:
            raise Fault("reset", f"{request}: answered {answer.status} before the body had been sent")
        self.exchanges += 1
        return answer

    async def _send(self, body: AsyncIterator[bytes]) -> bool:
        """Whether the peer took no more of it. Why shows where the answer is read: an answer that came before counts."""
        try:
            async for block in body:
                self.writer.write(block)
                await self.writer.drain()
        except ConnectionError:
            return True
        return False

    async def _read_head(self) -> Answer:
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

    async def _read_body(self, request: Request, answer: Answer, pace: float) -> None:
        begin = asyncio.get_running_loop().time()

        async def take(block: bytes) -> None:
            answer.body += block
            if pace:
                await asyncio.sleep(begin + len(answer.body) / pace - asyncio.get_running_loop().time())

        if request.method == "HEAD" or answer.status in (204, 304):
            return
        if "chunked" in answer.fields.get("transfer-encoding", ""):
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await take((await self.reader.readexactly(size + 2))[:-2])
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
        elif "content-length" in answer.fields:
            length = int(answer.fields["content-length"])
            while left := length - len(answer.body):
                block = await self.reader.read(min(left, BLOCK if not pace else max(1, int(pace / 20))))
                if not block:
                    raise asyncio.IncompleteReadError(b"", left)
                await take(block)
        else:
            while block := await self.reader.read(BLOCK):
                await take(block)

    def close(self) -> None:
        self.writer.close()


class Client:
    """Asks one port of this machine, as much at a time as is wanted: each request takes a kept connection that is idle, or a new one.
    One that the peer has closed meanwhile carried no request, and is let go; one on which a request failed never asks again."""

    def __init__(self, port: int, deadline_s: float) -> None:
        """deadline_s: of one request, its connection included."""
        self._port, self._deadline_s = port, deadline_s
        self._idle: list[Connection] = []

    async def ask(self, method: str, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """The whole answer, whatever its status; Fault when there is none."""
        own = {"host": f"127.0.0.1:{self._port}", **({"content-length": "0"} if method == "POST" else {})}
        try:
            async with asyncio.timeout(self._deadline_s):
                connection = self._kept() or await Connection.open("127.0.0.1", self._port)
                try:
                    answer = await connection.exchange(Request(method, target, {**own, **(fields or {})}))
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError as late:
            raise Fault("deadline", f"{method} {target}: no end within {self._deadline_s:g} s") from late
        if answer.is_last():
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """What is idle; call it when nothing is under way."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed_by_peer():
                return connection
            connection.close()
        return None
