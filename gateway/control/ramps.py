"""Ramps: a PoP that comes back takes 10 % of its requests at first and all of them after a while. A state machine over time given.

Owns one pool's stage and since when. Must not know figures, tables, or why a pool was away. Linear from a floor of 10 % is Envoy's slow
start at its defaults; that one is of endpoints, and where a whole site comes back they ramp alike, so that it takes its whole share at
once, with its caches and connections cold.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_SHARE = 0.1


class Stage(enum.Enum):
    AWAY = "away"  # can't be used, or never could
    RETURNING = "returning"
    WHOLE = "whole"


@dataclass(slots=True)
class Ramp:
    """One pool's. What never was available is away: a PoP that is new ramps like one that returns."""

    stage: Stage = Stage.AWAY
    since: float = 0.0  # monotonic seconds, of the return

    def turn(self, now: float, is_available: bool, is_starting: bool, ramp_s: float) -> float:
        """The factor of what the pool admits, in [0.1, 1]. `is_available`: it may take requests at all, so neither down nor left out nor
        drained. While the process starts nobody ramps: what is available by then is whole, so there must be a turn before the start
        ends. `ramp_s` 0: off."""
        self.stage = self._next(now, is_available, is_starting, ramp_s)
        if self.stage is Stage.RETURNING:
            return FIRST_SHARE + (1 - FIRST_SHARE) * (now - self.since) / ramp_s
        # A return can be seen by requests before it is by this: then the first of them find the ramp's beginning.
        return FIRST_SHARE if self.stage is Stage.AWAY and ramp_s > 0 and not is_starting else 1.0

    def _next(self, now: float, is_available: bool, is_starting: bool, ramp_s: float) -> Stage:
        if not is_available:
            return Stage.AWAY
        if is_starting or self.stage is Stage.WHOLE:
            return Stage.WHOLE
        if self.stage is Stage.AWAY:
            self.since = now
        return Stage.RETURNING if now - self.since < ramp_s else Stage.WHOLE


def relative(factors: Mapping[str, float]) -> dict[str, float]:
    """The factors of a service's PoPs that are available, relative to the one that is furthest on. Where all come back, or are new, nobody
    else can spare them: by their own factors the first to return would keep everything for the whole ramp."""
    furthest = max(factors.values(), default=1.0)
    return {pop: factor / furthest for pop, factor in factors.items()}
