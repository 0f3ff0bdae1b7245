"""Traffic: the demo's clients, each of which keeps asking at a fixed pace, whatever becomes of its earlier requests.

A connection of its own making, for one reason: other clients quietly ask again when a kept connection has failed. This one
counts it. Owns connections, pace and samples; must not know PoPs or processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.control.tasks import Tasks
from gateway.demo.places import Client

PERIOD_S = 0.2  # of each client
DEADLINE_S = 5.0  # of one request
MAX_HEAD_BYTES = 65_536


class BrokenAnswer(OSError):
    """Cut, or no HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: Mapping[str, str]  # by small letters
    body: bytes


class Connection:
    """One kept-alive connection to a port of this machine, for one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        """OSError when there is no whole answer; then, and when it is cancelled, the connection is closed."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=MAX_HEAD_BYTES)
            reader, writer = self._streams
            more = "".join(f"{name}: {value}\r\n" for name, value in (fields or {}).items())
            length = "content-length: 0\r\n" if method == "POST" else ""
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n{more}{length}\r\n".encode())
            answer = await _read(reader)
        except BaseException:
            self.close()
            raise
        if answer.fields.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        return Answer(status, fields, await reader.readexactly(int(fields["content-length"])))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise BrokenAnswer("an answer was cut") from error
    except (ValueError, IndexError, KeyError) as error:
        raise BrokenAnswer("an answer that is none") from error


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times are monotonic seconds."""

    client: Client
    began: float
    ms: float  # to the end of the whole answer
    pop: str = ""
    reason: str = ""
    error: str | None = None


@dataclass(slots=True)
class Flow:
    """All clients' requests."""

    port: int
    clients: Sequence[Client]
    clock: Callable[[], float] = time.perf_counter  # finer than the loop's own
    samples: list[Sample] = field(default_factory=list)  # in the order of their ends
    _tasks: Tasks = field(default_factory=Tasks)
    _idle: list[Connection] = field(default_factory=list)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _is_asking: bool = False

    def start(self) -> None:
        self._is_asking = True
        for number, client in enumerate(self.clients):
            self._tasks.start(f"client {client.city}", self._keep_asking(client, PERIOD_S * number / len(self.clients)))

    async def stop(self) -> None:
        """No further request; those under way end."""
        self._is_asking = False
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DEADLINE_S)
        await self._tasks.stop(DEADLINE_S)
        while self._idle:
            self._idle.pop().close()

    @property
    def errors(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.error is not None]

    async def _keep_asking(self, client: Client, wait_s: float) -> None:
        due = self.clock() + wait_s
        while True:
            await asyncio.sleep(due - self.clock())
            if not self._is_asking:
                return
            asked = self._tasks.start(f"request of {client.city}", self._ask(client))
            self._under_way.add(asked)
            asked.add_done_callback(self._under_way.discard)
            due += PERIOD_S

    async def _ask(self, client: Client) -> None:
        connection = self._idle.pop() if self._idle else Connection(self.port)
        began = self.clock()
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await connection.ask("GET", "/", {"x-forwarded-for": client.address})
        except (OSError, TimeoutError) as error:
            fault = str(error) or type(error).__name__
            self.samples.append(Sample(client, began, self._since_ms(began), error=fault))
            return
        ms = self._since_ms(began)
        pop, reason = answer.fields.get("x-isochrone-pop", ""), answer.fields.get("x-isochrone-reason", "")
        refused = None if answer.status == 200 else f"status {answer.status}"
        self.samples.append(Sample(client, began, ms, pop, reason, refused))
        self._idle.append(connection)

    def _since_ms(self, began: float) -> float:
        return (self.clock() - began) * 1000
