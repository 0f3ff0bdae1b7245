"""Refresh: every 100 ms from what workers counted and gates say to what the decision reads of each pool.

Owns `availability`, `admit`, `service_ms`, `path_ms` of the live figures. One turn, no wait; must not know how a probe is made.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.control.estimates import PathTime, ServiceTime
from gateway.control.gates import Gates
from gateway.control.rows import Rows
from gateway.control.world import PoolKey
from routing_core import Figures, TableSpec

logger = logging.getLogger("isochrone.health")

INTERVAL_S = 0.1
HEALTHY_SHARE = 1.4  # a PoP with five of seven endpoints ready still takes its whole share
LOW_SHARE = 0.25  # below this a PoP is drained automatically


@dataclass(slots=True)
class PoolState:
    """What was learned of one pool."""

    service_time: ServiceTime = field(default_factory=ServiceTime)
    path: PathTime = field(default_factory=PathTime)
    first_byte_us: int = 0  # sums at the last turn
    first_bytes: int = 0
    connect_us: int = 0
    connects: int = 0
    ready: int = 0
    total: int = 0
    availability: float = 1.0
    is_left_out: bool = False  # drained automatically


def availability_of(ready: int, total: int) -> float:
    """Nothing to count and nothing ready: nothing is available."""
    return min(1.0, HEALTHY_SHARE * ready / total) if total else 0.0


def left_out(shares: Mapping[str, float]) -> set[str]:
    """The PoPs that are drained automatically, of one service's, given the share of each that is ready: those below 25 %, the
    poorest first, and never so many that with the dead ones more than half of the PoPs are out."""
    dead = [pop for pop, share in shares.items() if share <= 0]
    poor = sorted((pop for pop, share in shares.items() if 0 < share < LOW_SHARE), key=lambda pop: (shares[pop], pop))
    return set(poor[: max(0, len(shares) // 2 - len(dead))])


@dataclass(slots=True)
class Refresh:
    figures: Figures
    rows: Rows
    gates: Gates
    clock: Callable[[], float]
    pools: dict[PoolKey, PoolState] = field(default_factory=dict)

    def on_connect(self, pool: PoolKey, connect_s: float) -> None:
        """A probe's connect: the path as it is now."""
        self.pools.setdefault(pool, PoolState()).path.add(connect_s * 1000, self.clock())

    def turn(self, spec: TableSpec) -> None:
        """Publish the figures of every pool of the table in use."""
        now = self.clock()
        ready: dict[int, bool] = {gate.row: gate.is_taking for gate in self.gates.all.values()}
        for service in spec.services:
            shares: dict[str, float] = {}
            for pool in service.pools:
                pop = spec.pops[pool.pop].name
                state = self.pools.setdefault((service.name, pop), PoolState())
                # Endpoints that terminate are not ready, though they serve (KEP-1669: whoever balances over sites is told at once). Where
                # no other PoP can take their requests, the panic of the decision still finds them.
                state.ready = 0 if pool.is_last_resort else sum(ready.get(endpoint.row, False) for endpoint in pool.endpoints)
                # What is ready counts, also where it is not in the total: a static endpoint that came later, until it is counted.
                state.total = max(pool.total, state.ready)
                state.availability = availability_of(state.ready, state.total)
                shares[pop] = state.ready / state.total if state.total else 0.0
            out = left_out(shares)
            for pool in service.pools:
                pop = spec.pops[pool.pop].name
                state = self.pools[service.name, pop]
                self._say(service.name, pop, state, pop in out)
                self._observe(pool.row, state, now)
                self._publish(pool.row, state, now)

    def forget(self, pool: PoolKey) -> None:
        self.pools.pop(pool, None)

    def _say(self, service: str, pop: str, state: PoolState, is_left_out: bool) -> None:
        if is_left_out != state.is_left_out:
            state.is_left_out = is_left_out
            what = "pool drained automatically: too little of it is ready" if is_left_out else "pool taken back: enough of it is ready"
            logger.warning(what, extra={"service": service, "pop": pop, "ready": state.ready, "total": state.total})

    def _observe(self, row: int, state: PoolState, now: float) -> None:
        _, connect_us, connects, first_byte_us, first_bytes = self.figures.read_pool_times(row)
        state.service_time.add((first_byte_us - state.first_byte_us) / 1000, first_bytes - state.first_bytes, now)
        if connects > state.connects:
            state.path.add((connect_us - state.connect_us) / (connects - state.connects) / 1000, now)
        state.first_byte_us, state.first_bytes = first_byte_us, first_bytes
        state.connect_us, state.connects = connect_us, connects

    def _publish(self, row: int, state: PoolState, now: float) -> None:
        path = state.path.ms(now)
        mean = state.service_time.mean_ms(now)
        # Time to first byte over a connection that is open is one round trip and the service's own time.
        service_ms = max(0.0, mean - (path or 0.0)) if mean is not None else 0.0
        self.figures.set_pool(
            row,
            availability=state.availability,
            admit=0.0 if state.is_left_out else state.availability,
            service_ms=service_ms if math.isfinite(service_ms) else 0.0,
            path_ms=-1.0 if path is None else path,
            samples=state.service_time.samples(now),
        )
