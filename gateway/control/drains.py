"""Drains: the operator's word on single PoPs. New requests go elsewhere at once, running ones finish; progress can be seen.

Must not know HTTP or the command line. The word survives a reload; only the operator takes it back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.control.publisher import Publisher
from gateway.errors import IsochroneError
from routing_core import Figures

logger = logging.getLogger("isochrone.drain")


class UnknownPop(IsochroneError):
    status = 404


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one PoP's drain."""

    pop: str
    is_drained: bool  # the operator's word
    in_flight: int  # exchanges that still run there
    since_s: float | None  # seconds since the drain was asked for

    @property
    def is_done(self) -> bool:
        return self.is_drained and self.in_flight == 0


@dataclass(slots=True)
class PopDrains:
    publisher: Publisher
    figures: Figures
    clock: Callable[[], float]
    _since: dict[str, float] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)  # drained, and something still runs there

    def drain(self, pop: str) -> Progress:
        """No request that begins after this goes to the PoP."""
        self._check(pop)
        if pop not in self.publisher.world.drained:
            self.publisher.world.drained.add(pop)
            self._since[pop] = self.clock()
            self._running.add(pop)
            self.publisher.publish()
            logger.info("pop drains", extra={"pop": pop, "in_flight": self.in_flight(pop)})
        return self.progress(pop)

    def undrain(self, pop: str) -> Progress:
        self._check(pop)
        if pop in self.publisher.world.drained:
            self.publisher.world.drained.discard(pop)
            self._since.pop(pop, None)
            self._running.discard(pop)
            self.publisher.publish()
            logger.info("pop taken back", extra={"pop": pop})
        return self.progress(pop)

    def progress(self, pop: str) -> Progress:
        self._check(pop)
        since = self._since.get(pop)
        is_drained = pop in self.publisher.world.drained
        return Progress(pop, is_drained, self.in_flight(pop), None if since is None else self.clock() - since)

    def turn(self) -> None:
        """Say once when a drain is through."""
        known = {pop.name for pop in self.publisher.config.pops}
        for pop in list(self._running):
            if pop not in known or self.in_flight(pop) == 0:
                self._running.discard(pop)
                if pop in known:
                    logger.info("pop drained", extra={"pop": pop, "took_s": round(self.clock() - self._since[pop], 1)})

    def in_flight(self, pop: str) -> int:
        spec = self.publisher.table.spec
        rows = (pool.row for service in spec.services for pool in service.pools if spec.pops[pool.pop].name == pop)
        return sum(self.figures.read_pool_times(row)[0] for row in rows)

    def _check(self, pop: str) -> None:
        known = [one.name for one in self.publisher.config.pops]
        if pop not in known:
            raise UnknownPop(f"there is no PoP {pop!r}; there is: {', '.join(known)}")
