"""Start: what a gateway waits for before it serves anyone. Owns the list of obstacles; must not know who asks.

Every source of objects heard, databases open, every cluster synced once or called stale by its deadline, a table of all that they said, and
the first probe round done. A source of objects is waited for without end: requests for routes of its own would be those of wider ones,
whose jurisdiction is another. All else ends by a deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.control.health.probes import Prober
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.geo import Geo
from gateway.control.sources.merge import Merge
from gateway.control.table.publisher import Publisher

logger = logging.getLogger("isochrone.ready")

# The start waits no longer for probes and databases: what is not judged by then takes nothing until it is.
FIRST_ROUND_S = 30.0


@dataclass(slots=True, kw_only=True)
class Start:
    merge: Merge
    geo: Geo
    sources: Sources
    publisher: Publisher
    prober: Prober
    sync_deadline_s: Callable[[], float]
    clock: Callable[[], float]
    _began: float = field(init=False)
    _heard_at: float | None = None  # when all endpoints could be known: only then probes begin
    _has_probed: bool = False

    def __post_init__(self) -> None:
        self._began = self.clock()

    def obstacles(self) -> list[str]:
        """What is still waited for, a line each; empty: nothing."""
        waiting = [f"source {name}: not heard yet" for name in self.merge.silent]
        waiting += [] if self.geo.has_looked or self._is_late else ["geoip: databases not read yet"]
        waiting += [f"cluster in {pop}: not synced yet" for pop in self.sources.unsynced(self.sync_deadline_s())]
        if not self._is_late:
            waiting += [f"name {name}: not resolved yet" for name, answer in self.sources.resolver.answers.items() if answer.is_new]
        if not self._has_probed:
            if self._heard_at is None and not waiting:
                self._heard_at = self.clock()
            is_over = self._heard_at is not None and self.clock() - self._heard_at >= FIRST_ROUND_S
            if self.publisher.is_due and not is_over:
                waiting.append("table: what was last said is not in it yet")
            unjudged = self.prober.unjudged
            if unjudged and not is_over:
                waiting.append(f"first probe round: {len(unjudged)} endpoints to go")
            elif not waiting:
                self._has_probed = True
                if unjudged:
                    logger.warning("first probe round not done in time", extra={"endpoints": len(unjudged)})
        return waiting

    @property
    def _is_late(self) -> bool:
        return self.clock() - self._began >= FIRST_ROUND_S
