"""Beat: what control does every 100 ms, in one turn without a wait. Owns the order of it; each part owns what it does.

The order matters: gates look, and outliers are ejected, before the figures are published, so that a turn publishes what it has just seen.
What judges goes by `awake`, for which a beat that comes late is no time.
Each part is on its own: one that fails is logged, and the others, the drain and its deadline among them, go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gates
from gateway.control.health.probes import Prober
from gateway.control.life.drains import PopDrains
from gateway.control.life.lifecycle import Lifecycle
from gateway.control.life.workers import Workers
from gateway.control.process.awake import Awake
from gateway.control.process.memory import Memory
from gateway.control.sources.resolver import Resolver
from gateway.control.steering.refresh import Refresh
from gateway.control.table.publisher import Publisher

logger = logging.getLogger("isochrone.beat")

INTERVAL_S = 0.1


@dataclass(slots=True)
class Beat:
    gates: Gates
    ejections: Ejections
    prober: Prober
    refresh: Refresh
    publisher: Publisher
    resolver: Resolver
    workers: Workers
    drains: PopDrains
    lifecycle: Lifecycle
    awake: Awake
    memory: Memory = field(default_factory=Memory)
    _failing: dict[str, type[Exception]] = field(default_factory=dict)  # parts whose last turn failed

    async def turn(self) -> None:
        publisher = self.publisher
        self.awake.turn()
        self._do("gates", self._look)
        self._do("ejections", lambda: self.ejections.turn(publisher.config, publisher.table.spec))
        self._do("resolver", self.resolver.turn)
        self._do("prober", self.prober.turn)
        self._do("refresh", lambda: self.refresh.turn(publisher.config, publisher.table.spec))
        self._do("publisher", publisher.collect)
        self._do("memory", self.memory.turn)
        self._do("drains", self.drains.turn)
        self._do("workers", lambda: self.workers.turn(self.awake()))
        self._do("lifecycle", self.lifecycle.turn)

    def _look(self) -> None:
        for gate in self.gates.turn():
            self.prober.ask_soon(gate)

    def _do(self, part: str, turn: Callable[[], object]) -> None:
        try:
            turn()
        except Exception as error:
            # The same fault ten times a second is one line, not a full disk.
            if self._failing.get(part) is not type(error):
                logger.exception("turn failed", extra={"part": part})
            self._failing[part] = type(error)
        else:
            self._failing.pop(part, None)
