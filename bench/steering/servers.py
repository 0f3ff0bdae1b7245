"""Servers: the endpoints of a PoP as queues: so many requests at a time, the others wait in the order they came. Must not know gateways.

A server that dies resets what it has and refuses connections after that: a process that was killed. One that becomes a hole says no word
more: the answers of what it has never come.
"""

from __future__ import annotations

import enum
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bench.steering.events import Events

Done = Callable[[bool], None]  # True: the answer is there; False: the server died before


class Hole(enum.Enum):
    """What swallows requests."""

    DEAF = "deaf"  # nothing reaches it: a cable that was cut, a machine that is gone, a packet filter that drops
    MUTE = "mute"  # its system accepts connections, and nobody behind them answers: a process that was stopped, a lock that is never freed


@dataclass(frozen=True, slots=True)
class Work:
    """What a request takes of a server: log-normal, as service times mostly are, `sigma` being its width on the logarithm's scale; some
    of them of another mean, as what misses a cache is."""

    mean_ms: float = 20.0
    sigma: float = 0.6
    other_share: float = 0.0
    other_ms: float = 0.0

    def draw_s(self, rng: random.Random) -> float:
        mean_ms = self.other_ms if self.other_share and rng.random() < self.other_share else self.mean_ms
        return rng.lognormvariate(math.log(mean_ms / 1000) - self.sigma**2 / 2, self.sigma)


class Server:
    """One endpoint; every gateway sends to the same one."""

    def __init__(self, events: Events, rng: random.Random, work: Work, n_slots: int) -> None:
        self.events = events
        self.rng = rng
        self.work = work
        self.n_slots = n_slots  # requests at a time
        self.slowness = 1.0  # what work takes, times this; of what begins from now on
        self.pinned_s: float | None = None  # what every request takes instead
        self.is_up = True
        self.is_unwell = False  # a probe is told so; what is asked of it is answered
        self.hole: Hole | None = None
        self.stalled_until = 0.0  # seconds: nothing begins or ends before, as while garbage is collected
        self._running: dict[int, Done] = {}
        self._waiting: deque[Done] = deque()
        self._count = 0

    def submit(self, on_done: Done) -> None:
        """The server must be up."""
        if self.hole is not None:
            return
        if len(self._running) < self.n_slots:
            self._begin(on_done)
        else:
            self._waiting.append(on_done)

    def stall(self, for_s: float) -> None:
        """Everything stands still from now on for so long."""
        self.stalled_until = self.events.now + for_s

    def die(self) -> None:
        """What it had is reset; from now on it refuses connections."""
        self.is_up = False
        for on_done in self._lose():
            on_done(False)

    def swallow(self, hole: Hole) -> None:
        """From now on; also what it had."""
        self.hole = hole
        self._lose()

    def rise(self) -> None:
        self.is_up, self.is_unwell, self.hole = True, False, None

    def _lose(self) -> list[Done]:
        lost = [*self._running.values(), *self._waiting]
        self._running.clear()
        self._waiting.clear()
        return lost

    def _begin(self, on_done: Done) -> None:
        self._count += 1
        self._running[self._count] = on_done
        took_s = self.work.draw_s(self.rng) * self.slowness if self.pinned_s is None else self.pinned_s
        self.events.after(max(0.0, self.stalled_until - self.events.now) + took_s, self._finish, self._count)

    def _finish(self, number: int) -> None:
        if self.events.now < self.stalled_until:
            self.events.at(self.stalled_until, self._finish, number)
            return
        on_done = self._running.pop(number, None)
        if on_done is None:
            return  # the server died meanwhile
        if self._waiting:
            self._begin(self._waiting.popleft())
        on_done(True)


class Site:
    """A PoP: its servers by address. One that left stays known here, for what is on its way to it."""

    def __init__(self, events: Events, rng: random.Random, work: Work, n_slots: int) -> None:
        self.servers: dict[str, Server] = {}
        self._events = events
        self._rng = rng
        self._work = work
        self._n_slots = n_slots

    def add(self, address: str) -> None:
        self.servers[address] = Server(self._events, random.Random(self._rng.random()), self._work, self._n_slots)

    def each(self, act: Callable[[Server], None]) -> None:
        for server in self.servers.values():
            act(server)
