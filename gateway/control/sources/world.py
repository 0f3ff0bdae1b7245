"""World: what is known of the endpoints of each pool, and which PoPs the operator drained. Plain facts, no judgement.

Sources write it, the builder reads it. Must not know gates, tables, or where a fact came from beyond its `Origin`.
Losing sight of a source changes nothing here: the last that it said stays.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from gateway.control.sources.others import others
from gateway.model import address_text
from k8s import State

PoolKey = tuple[str, str]  # service, PoP
TERMINATING = State.SERVING_TERMINATING, State.TERMINATING


class Origin(enum.Enum):
    STATIC = "static"  # the configuration's addresses and names
    KUBERNETES = "kubernetes"  # a Service, whose readiness somebody probes already


class Identity(NamedTuple):  # hashed and compared by the thousand
    """What an endpoint's figures, gate and connections belong to. Never the address alone: another pod may get it."""

    service: str
    pop: str
    uid: str  # of the pod; "" for a static one
    address: str  # an IP address without brackets, or the "/path" of a unix socket
    port: int

    def __str__(self) -> str:
        return address_text(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Known:
    """One endpoint, as its source describes it."""

    identity: Identity
    state: State
    origin: Origin
    zone: str | None = None  # where it runs
    hint_zones: tuple[str, ...] = ()  # for clients of which zones its source means it; (): it says nothing of that

    @property
    def is_terminating(self) -> bool:
        return self.state in TERMINATING


@dataclass(slots=True)
class World:
    pools: dict[PoolKey, tuple[Known, ...]] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)
    # Endpoints that count in a pool's total: they have been ready, or were there at the first sync and nobody doubts them. The
    # others would make every scale-up look like an outage.
    counted: set[Identity] = field(default_factory=set)
    # What sources said and nobody takes for an endpoint, with why. It is in no pool and counts nowhere.
    refused: dict[PoolKey, dict[Identity, str]] = field(default_factory=dict)
    # Another object whenever anything that a table has of the pool changed: who has built of this one need not build again.
    marks: dict[PoolKey, object] = field(default_factory=dict)
    _totals: dict[PoolKey, int] = field(default_factory=dict)  # of those pools of which it is known; of thousands none is counted again

    def describe(
        self,
        pool: PoolKey,
        endpoints: Iterable[Known],
        refused: dict[Identity, str] | None = None,
        doubtful: Collection[Identity] = (),
    ) -> bool:
        """What a source now says of a pool, in an order that does not change by itself; whether that is news. The first word on a pool
        counts whole, ready or not, but for those that are doubtful: they are counted once they have been ready.

        A zone or a hint that changed is news as well, for a table; the endpoint stays the same one, with its row and its gate.
        """
        self.refused[pool] = refused or {}
        said = tuple(endpoints)
        is_first = pool not in self.pools
        before = self.pools.get(pool, ())
        if not is_first and said == before:
            return False
        # Of thousands a few are other objects than before; the others were counted, or not, back then.
        came, went = others(said, before)
        fresh, gone = [said[place] for place in came], [before[place] for place in went]
        total = self.total(pool) - self._count(gone)
        self.pools[pool], self.marks[pool] = said, object()
        self.counted -= {known.identity for known in gone} - {known.identity for known in fresh}
        for known in fresh:
            # A static endpoint that comes later has nobody's word for it but our own probe's: see count().
            if (is_first and known.identity not in doubtful) or (known.origin is Origin.KUBERNETES and known.state is State.READY):
                self.counted.add(known.identity)
        self._totals[pool] = total + self._count(fresh)
        return True

    def count(self, identity: Identity) -> bool:
        """An endpoint was found ready by our own means; whether that is news."""
        if identity in self.counted:
            return False
        self.counted.add(identity)
        pool = identity.service, identity.pop
        self.marks[pool] = object()
        self._totals.pop(pool, None)
        return True

    def successor(self, pools: Iterable[PoolKey]) -> World:
        """A copy that knows of no other pools than these: what a new configuration is tried on. The operator's drains all stay, those
        of PoPs that it does not have too: such a PoP may come back."""
        kept = {pool: self.pools[pool] for pool in pools if pool in self.pools}
        identities = {known.identity for known in chain.from_iterable(kept.values())}
        refused = {pool: self.refused[pool] for pool in kept if pool in self.refused}
        marks = {pool: self.marks[pool] for pool in kept}
        return World(kept, set(self.drained), self.counted & identities, refused, marks)

    def become(self, other: World) -> None:
        """Know what the other one knows, and nothing else."""
        self.pools, self.drained, self.counted = other.pools, other.drained, other.counted
        self.refused, self.marks, self._totals = other.refused, other.marks, other._totals

    def selectable(self, pool: PoolKey) -> tuple[Known, ...]:
        """Those that may be chosen: the ready; if none is, those that terminate but still serve (KEP-1669)."""
        known = self.pools.get(pool, ())
        wanted = State.READY
        ready = tuple([one for one in known if one.state is wanted])
        return ready or tuple(one for one in known if one.state is State.SERVING_TERMINATING)

    def total(self, pool: PoolKey) -> int:
        """What availability counts: unready ones included, terminating ones and those that were never ready not."""
        found = self._totals.get(pool)
        if found is None:
            found = self._totals[pool] = self._count(self.pools.get(pool, ()))
        return found

    def _count(self, endpoints: Iterable[Known]) -> int:
        counted, (leaving, left) = self.counted, TERMINATING
        return sum([one.identity in counted for one in endpoints if one.state is not leaving and one.state is not left])

    def tally(self, pool: PoolKey) -> dict[str, int]:
        """Endpoints by the state their source gives, for metrics and `/pops`."""
        states = [one.state.value for one in self.pools.get(pool, ())]
        return {state.value: states.count(state.value) for state in State}
