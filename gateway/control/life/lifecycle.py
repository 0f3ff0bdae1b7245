"""Lifecycle: what this gateway is doing with its life, and the drain at its end (DRAINING.md 2(b)). One state machine.

    SERVING -> LAMEDUCK -> CLOSING -> EXIT

LAMEDUCK looks unready and serves everyone; more and more answers say `Connection: close`, so that clients leave one by one.
CLOSING takes what is queued, where no other process has the socket as well, then no new connection, and ends idle ones. At the deadline
what is left is cut (ABORTING).
A drain by the operator is a LAMEDUCK that stays (HELD). Owns the order and the timing of these steps; each is one event in the log.
Must not know how a worker carries an order out.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.control.life.listeners import HANDSHAKE_S
from gateway.errors import IsochroneError
from gateway.model import Drain

logger = logging.getLogger("isochrone.drain")

ABORT_S = 2.0  # for workers to cut what is left
# The last part of the lameduck in which every answer announces the end, so that a client that keeps asking has been told.
ALL_TOLD = 0.25


class Phase(enum.Enum):
    STARTING = "starting"
    SERVING = "serving"
    HELD = "held"  # lameduck until the operator says otherwise
    LAMEDUCK = "lameduck"
    CLOSING = "closing"
    ABORTING = "aborting"
    EXIT = "exit"


class Event(enum.Enum):
    STARTED = "started"
    DRAIN = "drain"  # the operator's
    UNDRAIN = "undrain"
    TERMINATE = "terminate"  # SIGTERM or SIGINT
    ANNOUNCED = "lameduck over"
    QUIET = "no connection left"
    DEADLINE = "deadline"


# What is not listed is an error.
TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.STARTING, Event.STARTED): Phase.SERVING,
    (Phase.STARTING, Event.TERMINATE): Phase.EXIT,
    (Phase.SERVING, Event.DRAIN): Phase.HELD,
    (Phase.SERVING, Event.UNDRAIN): Phase.SERVING,  # asked twice is asked once
    (Phase.SERVING, Event.TERMINATE): Phase.LAMEDUCK,
    (Phase.HELD, Event.DRAIN): Phase.HELD,
    (Phase.HELD, Event.UNDRAIN): Phase.SERVING,
    (Phase.HELD, Event.TERMINATE): Phase.LAMEDUCK,
    (Phase.LAMEDUCK, Event.DRAIN): Phase.LAMEDUCK,  # a preStop hook that comes late
    (Phase.LAMEDUCK, Event.ANNOUNCED): Phase.CLOSING,
    (Phase.LAMEDUCK, Event.TERMINATE): Phase.ABORTING,  # asked again: now
    (Phase.LAMEDUCK, Event.DEADLINE): Phase.ABORTING,
    (Phase.CLOSING, Event.DRAIN): Phase.CLOSING,
    (Phase.CLOSING, Event.QUIET): Phase.EXIT,
    (Phase.CLOSING, Event.TERMINATE): Phase.ABORTING,
    (Phase.CLOSING, Event.DEADLINE): Phase.ABORTING,
    (Phase.ABORTING, Event.QUIET): Phase.EXIT,
    (Phase.ABORTING, Event.DEADLINE): Phase.EXIT,
    (Phase.ABORTING, Event.TERMINATE): Phase.EXIT,
    (Phase.ABORTING, Event.DRAIN): Phase.ABORTING,
}
# As GET /healthz says it.
STATES = {
    Phase.STARTING: "starting",
    Phase.SERVING: "serving",
    Phase.HELD: "lameduck",
    Phase.LAMEDUCK: "lameduck",
    Phase.CLOSING: "closing",
    Phase.ABORTING: "closing",
    Phase.EXIT: "closing",
}


class TransitionRefused(IsochroneError):
    """What was asked is not possible in this phase, such as undrain once SIGTERM came."""

    status = 409


def transition(phase: Phase, event: Event) -> Phase:
    """The one place that says what follows."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise TransitionRefused(f"not possible while {phase.value}: {event.value}") from None


class Hands(Protocol):
    """What carries the steps out."""

    def order(self, phase: str, close_share: float) -> None:
        """To workers: serving, lameduck, closing, aborting; and the share of answers that announce the end."""

    def refuse_new(self) -> None:
        """Hold connections back that have not begun."""

    def leave_listeners(self, at_once: bool) -> None:
        """No new connections any more. Those in a queue that no other process has are taken before, unless it is to be at once. Asked again
        and again."""

    def have_let_go(self) -> bool:
        """Whether no worker that turns touches the listeners any more."""

    def close_listeners(self) -> None: ...

    def connections(self) -> int:
        """Clients' connections now."""

    def cut(self) -> dict[str, int]:
        """What was cut so far, by kind: requests, tunnels, idle connections."""


@dataclass(slots=True)
class Lifecycle:
    drain: Drain  # the configuration's
    hands: Hands
    clock: Callable[[], float]
    phase: Phase = Phase.STARTING
    since: float = field(init=False)  # when this phase was entered
    announced_at: float | None = None  # when lameduck began, held or not
    asked_at: float | None = None  # when SIGTERM came
    done: asyncio.Event = field(default_factory=asyncio.Event)
    on_phase: Callable[[Phase], None] = lambda phase: None
    _has_closed: bool = False

    def __post_init__(self) -> None:
        self.since = self.clock()

    @property
    def state(self) -> str:
        """starting, serving, lameduck or closing."""
        return STATES[self.phase]

    @property
    def close_share(self) -> float:
        """Share of the answers that announce the end: it grows over the lameduck, so that clients don't come back as one herd, and is
        1 in its last quarter."""
        if self.announced_at is None:
            return 0.0
        if self.phase not in (Phase.HELD, Phase.LAMEDUCK) or self.drain.lameduck <= 0:
            return 1.0
        return min(1.0, (self.clock() - self.announced_at) / (self.drain.lameduck * (1 - ALL_TOLD)))

    def handle(self, event: Event) -> None:
        """An event from outside. TransitionRefused when it can't be."""
        before, after = self.phase, transition(self.phase, event)
        if after is before:
            return
        now = self.clock()
        self.phase, self.since = after, now
        if event is Event.TERMINATE and self.asked_at is None:
            self.asked_at = now
        if after in (Phase.HELD, Phase.LAMEDUCK) and self.announced_at is None:
            self.announced_at = now
        if after is Phase.SERVING:
            self.announced_at = None
        self._enter()
        self._log(before, event)
        self.on_phase(after)

    def turn(self) -> None:
        """What time brings. Called every 100 ms. Deadlines come first: a step that fails, each time, must not hold them up."""
        now = self.clock()
        if self.phase in (Phase.LAMEDUCK, Phase.CLOSING) and self.asked_at is not None and now - self.asked_at >= self.drain.deadline:
            self.handle(Event.DEADLINE)
        if self.phase is Phase.ABORTING and now - self.since >= ABORT_S:
            self.handle(Event.DEADLINE)
        if self.phase is Phase.LAMEDUCK and self.announced_at is not None and now - self.announced_at >= self.drain.lameduck:
            self.handle(Event.ANNOUNCED)
        if self.phase in (Phase.HELD, Phase.LAMEDUCK):
            self.hands.order("lameduck", self.close_share)
        if self.phase is Phase.CLOSING:
            if now - self.since >= HANDSHAKE_S:
                self.hands.leave_listeners(at_once=False)
                self._close_listeners()
            # A queued connection may still come in until then: quiet means nothing before.
            if self._has_closed and self.hands.connections() == 0:
                self.handle(Event.QUIET)
        if self.phase is Phase.ABORTING:
            self._close_listeners()
            if self.hands.connections() == 0:
                self.handle(Event.QUIET)

    def _enter(self) -> None:
        if self.phase is Phase.SERVING:
            self.hands.order("serving", 0.0)
        elif self.phase in (Phase.HELD, Phase.LAMEDUCK):
            self.hands.order("lameduck", self.close_share)
        elif self.phase is Phase.CLOSING:
            self.hands.order("closing", 1.0)  # first: workers must know it when they accept one that was held back half-way
            self.hands.refuse_new()
        elif self.phase is Phase.ABORTING:
            self.hands.order("aborting", 1.0)
            self.hands.leave_listeners(at_once=True)
        elif self.phase is Phase.EXIT:
            self.done.set()  # listeners that are still open are closed when the workers have ended

    def _close_listeners(self) -> None:
        """As soon as that takes nothing away from under a worker."""
        if not self._has_closed and self.hands.have_let_go():
            self.hands.close_listeners()  # one that fails is tried again
            self._has_closed = True

    def _log(self, before: Phase, event: Event) -> None:
        forced = self.phase is Phase.ABORTING or (before is Phase.ABORTING and event is not Event.QUIET)
        extra = {"was": before.value, "event": event.value, "connections": self.hands.connections()}
        if self.phase is Phase.EXIT:
            cut = {f"cut_{kind}": count for kind, count in self.hands.cut().items() if count}
            forced = forced or bool(cut)
            extra |= cut
        logger.log(logging.WARNING if forced else logging.INFO, "%s", self.phase.value, extra=extra)
