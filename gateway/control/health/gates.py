"""Gates: whether an endpoint takes new exchanges, and how much of its share. One state machine, one transition function.

Owns each selectable endpoint's state, its runs of good and bad probes, its ramp, and what is written into its gate. Judges
what probes and traffic report; must not know how a probe is made, an outlier found or a table built. docs/health.md shows the same
table.

The workers shut a gate by themselves: a refused connect makes the sum of `connect_failures` differ from the gate's `forgiven`,
which no worker passes. Control finds that at its next look, has it confirmed by a probe, and forgives what happened before
that probe began, never what came after.

Over 400 lines: states, events and transitions are one table, and what acts on it is read beside it.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from gateway.control.health.looks import Looks
from gateway.control.sources.world import Identity, Origin, PoolKey
from gateway.model import Service
from routing_core import Figures

logger = logging.getLogger("isochrone.health")

Selected = tuple[Identity, int, Service, Origin]  # an endpoint that may be chosen, with its row

Place = tuple[str, str, int]  # an identity but for the names of service and PoP: uid, address, port
Takers = Mapping[Place, "list[Gate]"]  # gates of who takes requests
NOBODY: Takers = {}

FIRST_WEIGHT = 0.1  # of a returning endpoint; grows to 1 over the service's slow_start
SEEN_S = 0.1  # after a table is published each worker has looked at it: that is the longest that one sleeps


class State(enum.Enum):
    WAITING = "waiting"  # there from the start, not yet judged: takes nothing
    JOINING = "joining"  # came later, not yet judged: takes nothing
    ADMITTING = "admitting"  # takes its share
    RAMPING = "ramping"  # came or came back: takes a growing part of its share
    DOUBTED = "doubted"  # traffic could not connect: takes nothing until a probe has
    SHUT = "shut"  # probes failed: takes nothing
    EJECTED = "ejected"  # answered worse than the others of its set: takes nothing for a while


class Event(enum.Enum):
    GOOD = "good probe"  # not yet up_after of them
    UP = "up_after good probes"
    BAD = "bad probe"  # not yet down_after of them
    DOWN = "down_after bad probes"
    CONNECT_FAILED = "failed connect"  # of traffic, not forgiven; of a gate that takes none (a panic ignores gates) it is no event
    RAMPED = "ramp over"
    RETURNED = "selected again"  # was known, was not selectable, is again
    RETURNED_LATE = "selected again, long after"  # likewise, and nobody has looked at it for longer than a probe's interval
    EJECTED = "found an outlier"
    RESTORED = "ejection over"


_TAKING: dict[Event, State | None] = {
    Event.GOOD: None,
    Event.UP: None,
    Event.BAD: None,  # being confirmed, at confirm_interval
    Event.DOWN: State.SHUT,
    Event.CONNECT_FAILED: State.DOUBTED,
    Event.RETURNED: State.RAMPING,
    Event.RETURNED_LATE: State.JOINING,
    Event.EJECTED: State.EJECTED,
}
# What is not listed is an error. None: stays as it is; a state, also the same one: is entered anew.
TRANSITIONS: dict[State, dict[Event, State | None]] = {
    State.WAITING: {
        Event.GOOD: State.ADMITTING,  # one is enough for an endpoint that never failed
        Event.UP: State.ADMITTING,
        Event.BAD: None,
        Event.DOWN: State.SHUT,
        Event.RETURNED: None,
        Event.RETURNED_LATE: None,
    },
    State.JOINING: {
        Event.GOOD: State.RAMPING,
        Event.UP: State.RAMPING,
        Event.BAD: None,
        Event.DOWN: State.SHUT,
        Event.RETURNED: None,
        Event.RETURNED_LATE: None,
    },
    State.ADMITTING: _TAKING,
    State.RAMPING: {**_TAKING, Event.RAMPED: State.ADMITTING},
    State.DOUBTED: {
        Event.GOOD: State.RAMPING,
        Event.UP: State.RAMPING,
        Event.BAD: None,
        Event.DOWN: State.SHUT,
        Event.RETURNED: None,
        Event.RETURNED_LATE: None,
    },
    State.SHUT: {
        Event.GOOD: None,  # being confirmed, at confirm_interval
        Event.UP: State.RAMPING,
        Event.BAD: None,
        Event.DOWN: None,
        Event.RETURNED: None,
        Event.RETURNED_LATE: None,
    },
    State.EJECTED: {
        Event.GOOD: None,  # a probe may pass where traffic fails
        Event.UP: None,
        Event.BAD: None,
        Event.DOWN: State.SHUT,  # from here on it is the probes' to say when it is well
        Event.RETURNED: None,
        Event.RETURNED_LATE: None,
        Event.RESTORED: State.RAMPING,
    },
}
# The state as workers see it, but for who is silent: GateState of the live figures.
GATE_STATES = {
    State.WAITING: "probing",
    State.JOINING: "probing",
    State.ADMITTING: "admitting",
    State.RAMPING: "admitting",
    State.DOUBTED: "probing",
    State.SHUT: "shut",
    State.EJECTED: "shut",
}


def transition(state: State, event: Event) -> State | None:
    """The one place that says what follows. ValueError for a pair that is not listed: a bug."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a gate that is {state.value} can't have: {event.value}") from None


def is_admitting(state: State) -> bool:
    return GATE_STATES[state] == "admitting"


@dataclass(slots=True)
class Gate:
    """One endpoint's. Times are monotonic seconds."""

    identity: Identity
    row: int
    service: Service  # its health and slow start
    origin: Origin
    state: State
    since: float
    weight: float = 1.0
    good_run: int = 0
    bad_run: int = 0
    silent_run: int = 0  # of the bad probes the last ones, to which nothing came at all
    forgiven: int = 0
    connect_failures: int = 0  # as last seen
    is_parked: bool = False  # not selectable at the moment: not probed, state kept
    is_left: bool = False  # parked, and shut for workers too
    parked_at: float = 0.0
    is_judged: bool = False  # has had a probe's result
    has_answered: bool = False  # the last probe; a panic ignores what the answer was
    detail: str = ""  # of the last probe, for people

    @property
    def is_taking(self) -> bool:
        """Whether workers send it new exchanges, as last seen."""
        return not self.is_parked and self.would_take

    @property
    def would_take(self) -> bool:
        """If it could be chosen."""
        return is_admitting(self.state) and self.connect_failures == self.forgiven

    @property
    def is_silent(self) -> bool:
        """Whether nobody answers there, so that what waits there waits in vain. Who is shut for another reason may answer it yet: who was
        ejected, ends, or says itself that it is unwell."""
        return self.state is State.SHUT and self.silent_run >= self.service.health.down_after

    @property
    def shown(self) -> str:
        """The state as workers see it."""
        if self.is_silent:  # also of one that has left: who waits there waits in vain
            return "silent"
        return "shut" if self.is_left else GATE_STATES[self.state]

    @property
    def is_confirming(self) -> bool:
        """Whether a change is being confirmed, so that probes come at the shorter interval."""
        if self.state is State.DOUBTED:
            return True
        if self.state is State.SHUT:
            return self.good_run > 0 or 0 < self.silent_run < self.service.health.down_after
        return self.bad_run > 0


@dataclass(slots=True)
class Gates:
    """All of them. `on_open` is told of an endpoint's first admission."""

    figures: Figures
    clock: Callable[[], float]
    on_open: Callable[[Identity], None] = lambda identity: None
    all: dict[Identity, Gate] = field(default_factory=dict)
    chosen: dict[PoolKey, dict[Identity, Gate]] = field(default_factory=dict)  # of the last table; the others are parked
    is_starting: bool = True  # until serving begins nobody ramps: all are new alike
    looks: Looks[Gate] = field(init=False)

    def __post_init__(self) -> None:
        self.looks = Looks(self.figures)

    def select(self, selected: Iterable[Selected]) -> list[Gate]:
        """The endpoints of a new table that may be chosen, all of them. Newcomers get a gate, others are parked. Returns who needs a
        first probe."""
        pools: dict[PoolKey, list[Selected]] = {pool: [] for pool in self.chosen}
        for one in selected:
            pools.setdefault((one[0].service, one[0].pop), []).append(one)
        has_newcomers = any(self._is_out(one[0]) for those in pools.values() for one in those)
        there = self._there() if has_newcomers and not self.is_starting else {}
        begun = []
        for pool, those in pools.items():
            begun += self.change(pool, those, list(self.chosen.get(pool, {}).keys() - {identity for identity, *_ in those}), there)
        self.chosen = {pool: those for pool, those in self.chosen.items() if those}
        return begun

    def _is_out(self, identity: Identity) -> bool:
        return (gate := self.all.get(identity)) is None or gate.is_parked

    def _there(self) -> Takers:
        """Who takes requests, by where that is: a service or a PoP under another name has the same endpoints."""
        there: dict[Place, list[Gate]] = {}
        for gate in chain.from_iterable(those.values() for those in self.chosen.values()):
            if gate.is_taking:
                there.setdefault(gate.identity[2:], []).append(gate)
        return there

    def change(self, pool: PoolKey, came: Sequence[Selected], went: Iterable[Identity], there: Takers = NOBODY) -> list[Gate]:
        """Likewise, of one pool: who came, among them perhaps some who were there already, and who went. The others stay. Whom a new
        configuration has asked something else needs a probe as well. `there`: who
        took requests so far, in whatever pool; at the same place, judged in the same way, nobody is new."""
        now = self.clock()
        chosen, gone = self.chosen.setdefault(pool, {}), []
        for identity in went:
            if (gate := chosen.pop(identity, None)) is not None:  # gone already where a publish broke off half-way
                gate.is_parked, gate.parked_at = True, now
                self.looks.ask(gate)
                gone.append(gate)
        # All are in the place of those of a pool that took traffic, by their gates as they were before they were parked: a name that
        # stands for other addresses now.
        has_moved = not self.is_starting and not chosen and any(gate.would_take for gate in gone)
        begun = []
        for identity, row, service, origin in came:
            known = self.all.get(identity)
            stands = has_moved or any(one.service.health == service.health for one in there.get(identity[2:], ()))
            gate = known or self._appear(identity, row, service, origin, stands, now)
            is_back = gate.is_parked
            if is_back:
                self._return(gate, origin, stands, now)
            is_asked_anew = gate.service.health.question != service.health.question
            gate.service = service
            if is_asked_anew:
                gate.good_run = gate.bad_run = gate.silent_run = 0
            if known is None or is_back or is_asked_anew:
                begun.append(gate)
            self.all[identity] = chosen[identity] = gate
        return begun

    def _return(self, gate: Gate, origin: Origin, stands: bool, now: float) -> None:
        """One that was parked may be chosen again. Where nobody has probed it for long, nor Kubernetes, what is known of it is old."""
        gate.is_parked = gate.is_left = False
        self.looks.ask(gate)
        gate.good_run = gate.bad_run = gate.silent_run = 0
        if not stands:  # else it goes on as it was
            is_late = origin is not Origin.KUBERNETES and now - gate.parked_at > gate.service.health.interval
            gate.has_answered = gate.has_answered and not is_late
            self._apply(gate, Event.RETURNED_LATE if is_late else Event.RETURNED, now)
        self.figures.set_endpoint(gate.row, state=gate.shown, has_answered=gate.has_answered)

    def stand(self, pool: PoolKey) -> bool:
        """Whether all of a pool's endpoints take their whole share: of one that is new, that they did so in another."""
        chosen = self.chosen.get(pool, {})
        return bool(chosen) and all(gate.state is State.ADMITTING for gate in chosen.values())

    def forget(self, identity: Identity) -> None:
        """Its row is given back."""
        if (gate := self.all.pop(identity, None)) is not None:
            self.looks.drop(gate)

    def judge(
        self,
        identity: Identity,
        is_good: bool,
        connect_failures_before: int,
        detail: str = "",
        *,
        has_answered: bool = False,
        is_silent: bool = False,
    ) -> None:
        """A probe's result. `connect_failures_before`: their sum before the probe began; later ones it does not outdate. `has_answered`:
        it was answered, badly perhaps. `is_silent`: not even by a refusal."""
        gate = self.all.get(identity)
        if gate is None or gate.is_parked:
            return
        gate.is_judged = True
        gate.detail = detail
        gate.has_answered = has_answered or is_good
        gate.silent_run = gate.silent_run + 1 if is_silent else 0
        if is_good and gate.state is State.DOUBTED and connect_failures_before < gate.connect_failures:
            return  # it began before traffic failed: says nothing about now
        gate.good_run, gate.bad_run = (gate.good_run + 1, 0) if is_good else (0, gate.bad_run + 1)
        health = gate.service.health
        if is_good:
            event = Event.UP if gate.good_run >= health.up_after else Event.GOOD
        else:
            event = Event.DOWN if gate.bad_run >= health.down_after else Event.BAD
        if gate.has_answered and not is_admitting(gate.state):
            gate.forgiven = connect_failures_before
        self.figures.set_endpoint(gate.row, forgiven=gate.forgiven, has_answered=gate.has_answered)
        self._apply(gate, event, self.clock())
        self.figures.set_endpoint(gate.row, state=gate.shown)  # who is shut falls silent, or speaks again

    def eject(self, gate: Gate, cause: str, lasts_s: float) -> None:
        """It answered worse than the others. Of a gate that takes nothing anyway, or is parked, it is no event."""
        if not gate.is_parked and Event.EJECTED in TRANSITIONS[gate.state]:
            self._apply(gate, Event.EJECTED, self.clock(), cause=cause, lasts_s=round(lasts_s, 1))

    def restore(self, gate: Gate) -> None:
        """Its ejection is over. Of a gate that is not ejected (any more), or is parked, it is no event."""
        if not gate.is_parked and Event.RESTORED in TRANSITIONS[gate.state]:
            self._apply(gate, Event.RESTORED, self.clock())

    def turn(self) -> list[Gate]:
        """Look for failed connects and move ramps on. Returns those that a probe must confirm now."""
        now = self.clock()
        doubted = []
        for gate in self.looks.take():
            if gate.is_parked:
                self._leave(gate, now)
            elif gate.connect_failures > gate.forgiven and is_admitting(gate.state):
                gate.good_run = 0
                self._apply(gate, Event.CONNECT_FAILED, now)
                doubted.append(gate)
            elif gate.state is State.RAMPING:
                slow_start = gate.service.slow_start
                if now - gate.since >= slow_start:
                    self._apply(gate, Event.RAMPED, now)
                else:
                    gate.weight = FIRST_WEIGHT + (1 - FIRST_WEIGHT) * (now - gate.since) / slow_start
                    self.figures.set_endpoint(gate.row, weight=gate.weight)
                    self.looks.ask(gate)
        return doubted

    def begin(self) -> None:
        """Serving begins: whoever comes from here on ramps."""
        self.is_starting = False

    def _leave(self, gate: Gate, now: float) -> None:
        """Workers close what is idle there, and what is in use once it is done: a pod that ends need not wait for them. Not before they
        know the table without it: until then it may be all there is."""
        if not gate.is_left and now - gate.parked_at >= SEEN_S:
            gate.is_left = True
            self.figures.set_endpoint(gate.row, state=gate.shown, has_answered=False)
        elif not gate.is_left:
            self.looks.ask(gate)

    def _appear(self, identity: Identity, row: int, service: Service, origin: Origin, inherits: bool, now: float) -> Gate:
        failures = self.figures.read_endpoint(row)["connect_failures"]
        # Kubernetes has probed what it calls ready. For a static endpoint nobody has; and at the start there is time to look.
        if self.is_starting:
            state = State.WAITING
        elif inherits:  # it stands in the place of who took requests: without it nobody would take what the PoP took until now
            state = State.ADMITTING
        else:
            state = State.RAMPING if origin is Origin.KUBERNETES else State.JOINING
        gate = Gate(identity, row, service, origin, state, now, forgiven=failures, connect_failures=failures)
        self._enter(gate, state, now)
        self.looks.add(gate)
        return gate

    def _apply(self, gate: Gate, event: Event, now: float, **more: object) -> None:
        """`more`: for the log."""
        before = gate.state
        after = transition(before, event)
        if after is None:
            return
        self._enter(gate, after, now)
        if event is not Event.RAMPED:
            logger.log(
                logging.INFO if is_admitting(after) else logging.WARNING,
                "endpoint is %s",
                after.value,
                extra={
                    "service": gate.identity.service,
                    "pop": gate.identity.pop,
                    "endpoint": str(gate.identity),
                    "was": before.value,
                    "event": event.value,
                    "last_probe": gate.detail,
                    **more,
                },
            )

    def _enter(self, gate: Gate, state: State, now: float) -> None:
        gate.state, gate.since = state, now
        gate.weight = FIRST_WEIGHT if state is State.RAMPING and gate.service.slow_start > 0 else 1.0
        self.figures.set_endpoint(gate.row, state=gate.shown, forgiven=gate.forgiven, weight=gate.weight)
        if is_admitting(state):
            self.looks.ask(gate)  # it may have failed while it took none, and its ramp goes on
            self.on_open(gate.identity)
