"""Probes: asks every endpoint in its turn whether it is well. Owns when and how; the verdict is the gates'.

`Prober.turn` starts what is due and returns; a probe is one connection of its own, never one of the pool's: it must meet the
endpoint as a new client would. Its connect time is evidence of the path to the PoP.

A result that says more about this machine than about the endpoint (no descriptor or port left, the event loop held up) is no
verdict: a gateway in trouble must not call the world dead.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import logging
import random
import re
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from gateway.control.health.gates import Gate, Gates
from gateway.control.health.patience import Patience
from gateway.control.process.tasks import Tasks
from gateway.control.sources.ways import has_way
from gateway.control.sources.world import Identity, PoolKey
from gateway.model import Health
from routing_core import Figures

logger = logging.getLogger("isochrone.health")

MAX_AT_ONCE = 512  # those of one PoP half of it
OF_DESCRIPTORS = 16  # and of all descriptors one in so many
MAX_READ_BYTES = 65_536  # of an answer: read so that the endpoint sees its answer taken, not a reset
FULL_S = 0.02  # until a full queue is tried again
OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
NOBODY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}  # what is said in its place by others
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")


@dataclass(frozen=True, slots=True)
class Result:
    """is_good None: no verdict. has_answered: a connection to a TCP probe, an HTTP status to the others, whatever it was. is_silent:
    nothing came at all. Who refuses, or ends a connection, speaks: its system is there, and tells those whose connections are gone."""

    is_good: bool | None
    detail: str
    connect_s: float | None = None
    has_answered: bool = False
    is_silent: bool = False


_Due = tuple[float, int, Identity]
Probe = Callable[[Identity, Health], Awaitable[Result]]


async def probe(target: Identity, health: Health, clock: Callable[[], float] = time.monotonic) -> Result:
    """One probe over a new connection. Never raises. (The loop's own time is too coarse: uvloop's moves in whole milliseconds.)"""
    connect_s: list[float | None] = []
    patience = Patience(health.timeout, clock)
    try:
        async with patience:
            return await _ask(target, health, clock, patience, connect_s)
    except TimeoutError:
        if not patience.is_exhausted:
            return Result(None, "the control thread was held up")
        what = "no answer" if connect_s else "no connection"
        return Result(False, f"{what} within {health.timeout}", connect_s[0] if connect_s else None, is_silent=True)
    except OSError as error:
        what = error.strerror or str(error) or type(error).__name__
        is_good = None if error.errno in OURS and has_way(target.address) else False
        return Result(is_good, what, connect_s[0] if connect_s else None, is_silent=error.errno in NOBODY)


async def _ask(target: Identity, health: Health, clock: Callable[[], float], patience: Patience, connect_s: list[float | None]) -> Result:
    began = clock()
    if target.address.startswith("/"):
        reader, writer = await _connect_unix(target.address)
    else:
        reader, writer = await asyncio.open_connection(target.address, health.port or target.port, limit=MAX_READ_BYTES)
    connect_s.append(None if patience.was_late else clock() - began)
    try:
        if health.type == "tcp":
            return Result(True, "connected", connect_s[0], has_answered=True)
        host = health.host or ("localhost" if target.address.startswith("/") else str(target))
        fields = {"User-Agent": "isochrone-probe", "Accept": "*/*"}
        fields = {name: value for name, value in fields.items() if name.lower() not in {own.lower() for own, _ in health.headers}}
        lines = [f"{name}: {value}\r\n" for name, value in (*fields.items(), *health.headers)]
        writer.write(f"GET {health.path} HTTP/1.1\r\nHost: {host}\r\n{''.join(lines)}Connection: close\r\n\r\n".encode())
        status = await _status(reader)
        if status is None:
            return Result(False, "no HTTP status line", connect_s[0])
        is_good = any(status in expected for expected in health.expect)
        await _finish(reader)
        return Result(is_good, f"status {status}", connect_s[0], has_answered=True)
    finally:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int | None:
    """Of the answer: an interim one (RFC 9110 15.2), such as 103 Early Hints, says nothing yet. None: it is no HTTP."""
    try:
        while True:
            found = _STATUS.fullmatch(await reader.readuntil(b"\n"))
            if found is None:
                return None
            status = int(found[1])
            if not 100 <= status < 200 or status == 101:
                return status
            while (await reader.readuntil(b"\n")).strip(b"\r\n"):
                pass
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _connect_unix(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A full queue refuses a unix client at once where a TCP client waits: full is not dead, until the probe's time is up."""
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=MAX_READ_BYTES)
        except BlockingIOError:
            await asyncio.sleep(FULL_S)


async def _finish(reader: asyncio.StreamReader) -> None:
    """Take the rest of an answer of ordinary size. Its verdict is known: whatever happens here changes nothing."""
    left = MAX_READ_BYTES
    try:
        async with asyncio.timeout(0.2):
            while left > 0 and (piece := await reader.read(left)):
                left -= len(piece)
    except (TimeoutError, OSError):
        pass


def most_of(n_descriptors: int) -> int:
    """How many probes may run where there are so many descriptors: admin and whoever reads files needs some too."""
    return max(2, min(MAX_AT_ONCE, n_descriptors // OF_DESCRIPTORS)) if n_descriptors >= 0 else MAX_AT_ONCE


@dataclass(slots=True, kw_only=True)
class Prober:
    gates: Gates
    figures: Figures
    tasks: Tasks
    clock: Callable[[], float]
    rng: random.Random
    on_connect: Callable[[PoolKey, float], None]  # a pool's path: seconds of one connect
    ask: Probe = probe
    # When an endpoint is due, by PoP: a heap of (time, number, identity), the entry that is in `_planned` counts.
    _due: dict[str, list[_Due]] = field(default_factory=dict)
    _planned: dict[Identity, _Due] = field(default_factory=dict)
    _count: int = 0
    _running: set[Identity] = field(default_factory=set)
    _n_running: Counter[str] = field(default_factory=Counter)  # by PoP
    _again: set[Identity] = field(default_factory=set)  # asked for while their probe was running
    most: int = field(default_factory=lambda: most_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))  # at once
    late_s: float = 0.0  # how long the longest has waited for its turn
    _is_short: bool = False  # of descriptors or the like: said once

    def ask_soon(self, gate: Gate) -> None:
        """A probe at the next turn, whatever was planned."""
        if gate.identity in self._running:
            self._again.add(gate.identity)
        else:
            self._plan(gate.identity, self.clock())

    def ask_all(self, gates: Iterable[Gate]) -> None:
        for gate in gates:
            self.ask_soon(gate)

    def turn(self) -> int:
        """Start the probes that are due, as many as may run at once. Returns how many were started.

        A PoP has no more places than are left free: endpoints that swallow what they are sent hold theirs for the whole timeout, and
        thousands of these must not keep the probes of other PoPs waiting (Choudhury and Hahne, dynamic queue length thresholds, 1998).
        """
        now, started, late_s = self.clock(), 0, 0.0
        for pop in list(self._due):
            due = self._due[pop]
            while due and due[0][0] <= now:
                at, _, identity = due[0]
                if self._planned.get(identity) == due[0]:
                    if self._n_running[pop] >= self.most - len(self._running):
                        late_s = max(late_s, now - at)
                        break
                    del self._planned[identity]
                    started += self._start(identity)
                heapq.heappop(due)  # or it was planned anew since
            if not due:
                del self._due[pop]
        self.late_s = late_s
        return started

    def replan(self) -> None:
        """Intervals may be others now: who would wait for longer than a whole one has its turn within that."""
        now = self.clock()
        for identity, (at, _, _) in list(self._planned.items()):
            gate = self.gates.all.get(identity)
            if gate is not None and at > now + (longest := gate.service.health.interval * (1 + gate.service.health.jitter)):
                self._plan(identity, now + longest * self.rng.random())

    def _start(self, identity: Identity) -> bool:
        gate = self.gates.all.get(identity)
        if gate is None or gate.is_parked:
            return False  # select() has it probed when it comes back
        self._running.add(identity)
        self._n_running[identity.pop] += 1
        self.tasks.start(f"probe {identity.service} {identity.pop} {identity}", self._probe(gate))
        return True

    @property
    def unjudged(self) -> list[Identity]:
        """Selectable endpoints without any result: the first round is done when there are none."""
        return [gate.identity for gate in self.gates.all.values() if not gate.is_judged and not gate.is_parked]

    async def _probe(self, gate: Gate) -> None:
        identity, health = gate.identity, gate.service.health
        before = self.figures.read_endpoint(gate.row)["connect_failures"]
        has_verdict = False
        try:
            has_verdict = self._take(gate, health, before, await self.ask(identity, health))
        finally:
            self._running.discard(identity)
            self._n_running[identity.pop] -= 1
            self._plan_next(identity, has_verdict)

    def _take(self, gate: Gate, asked: Health, before: int, result: Result) -> bool:
        """Whether it is a verdict."""
        identity = gate.identity
        if result.connect_s is not None:
            self.on_connect((identity.service, identity.pop), result.connect_s)
        if result.is_good is None:
            self._say_short(result)
        elif self.gates.all.get(identity) is gate and gate.service.health.question == asked.question:
            self._is_short = False
            self.gates.judge(identity, result.is_good, before, result.detail, has_answered=result.has_answered, is_silent=result.is_silent)
        return result.is_good is not None

    def _plan_next(self, identity: Identity, has_verdict: bool) -> None:
        gate = self.gates.all.get(identity)
        is_asked = identity in self._again
        self._again.discard(identity)
        if gate is None or gate.is_parked:
            return
        health = gate.service.health
        if is_asked:
            wait = 0.0
        elif not has_verdict or gate.is_confirming:
            wait = float(health.confirm_interval)
        else:
            wait = health.interval * (1 + health.jitter * self.rng.uniform(-1, 1))
        self._plan(identity, self.clock() + wait)

    def _plan(self, identity: Identity, at: float) -> None:
        self._count += 1
        self._planned[identity] = due = (at, self._count, identity)
        heapq.heappush(self._due.setdefault(identity.pop, []), due)

    def _say_short(self, result: Result) -> None:
        if not self._is_short:
            self._is_short = True
            logger.warning("probes can't judge: the fault is on this side", extra={"detail": result.detail})
