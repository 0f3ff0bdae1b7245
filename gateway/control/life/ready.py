"""Ready: may traffic be sent here, and if not, why not. Must not know who asks.

Ready is a start that waits for nothing more, with its databases. Once it was true only the lifecycle and a worker that hangs take it back
(the connections that it was given wait for nobody): a database or a cluster that fails later is no reason to send all traffic away.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.life.lifecycle import Lifecycle, Phase
from gateway.control.life.start import Start
from gateway.control.life.workers import Workers


@dataclass(slots=True, kw_only=True)
class Ready:
    lifecycle: Lifecycle
    workers: Workers
    start: Start
    _was_ready: bool = False

    def reasons(self) -> list[str]:
        """Why not; empty: ready."""
        phase = self.lifecycle.phase
        if phase not in (Phase.STARTING, Phase.SERVING):
            return [f"draining: {self.lifecycle.state}"]
        silent = [f"{name}: does not turn" for name in self.workers.silent]
        if self._was_ready and phase is Phase.SERVING:
            return silent
        reasons = [*self.start.obstacles(), *(f"geoip: {fault}" for fault in self.start.geo.missing)]
        if phase is Phase.STARTING:
            return reasons or ["starting"]
        self._was_ready = not reasons
        return reasons + silent
