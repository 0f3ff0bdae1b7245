"""Beat: what control does every 100 ms, in one turn without a wait. Owns the order of it; each part owns what it does.

The order matters: gates look, and outliers are ejected, before the figures are published, so that a turn publishes what it has just seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.control.drains import PopDrains
from gateway.control.ejections import Ejections
from gateway.control.gates import Gates
from gateway.control.lifecycle import Lifecycle
from gateway.control.probes import Prober
from gateway.control.publisher import Publisher
from gateway.control.refresh import Refresh
from gateway.control.resolver import Resolver
from gateway.control.workers import Workers

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
    clock: Callable[[], float]

    async def turn(self) -> None:
        for gate in self.gates.turn():
            self.prober.ask_soon(gate)
        self.ejections.turn(self.publisher.config, self.publisher.table.spec)
        self.resolver.turn()
        self.prober.turn()
        self.refresh.turn(self.publisher.config, self.publisher.table.spec)
        self.publisher.collect()
        self.drains.turn()
        self.workers.turn(self.clock())
        self.lifecycle.turn()
