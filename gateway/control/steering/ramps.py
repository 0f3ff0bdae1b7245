"""Ramps: a PoP that comes back takes less than its requests at first, and all of them after a while. A state machine over time given.

Owns one pool's stage, and how far on it is. Must not know figures, tables, or why a pool was away. Linear from a floor of 10 % is Envoy's
slow start at its defaults; that one is of endpoints, and where a whole site comes back they ramp alike, so that it takes its whole share at
once, with its caches and connections cold.

How it works. An absence costs in proportion: after a sixtieth of the ramp's time a sixth of it is to be gone through again, after a tenth
all of it. So a name that moves to another address, or one connect that failed where the probe behind it did not, empties nothing, and a PoP
that comes and goes by seconds never gets far. What is shorter than CONFIRMED_S is no absence: nobody but a doubt said that there was one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_SHARE = 0.1
LOSS = 10.0  # an absence costs so many times what the same time gains
LONGEST_S = 3600.0 / LOSS  # an absence that leaves nothing of any ramp: the longest that can be configured lasts an hour
CONFIRMED_S = 1.0  # a doubted endpoint has been asked by then, and a new address too


class Stage(enum.Enum):
    AWAY = "away"  # can't be used, or never could
    RETURNING = "returning"
    WHOLE = "whole"


@dataclass(slots=True)
class Ramp:
    """One pool's. What never was available is away, and has nothing behind it: a PoP that is new ramps like one that was away for long."""

    stage: Stage = Stage.AWAY
    behind: float = 0.0  # the share of the ramp that is behind it, as of `since`
    since: float = 0.0  # monotonic seconds, when it went away or came back

    def turn(self, now: float, is_available: bool, is_starting: bool, ramp_s: float) -> float:
        """The factor of what the pool admits, in [0.1, 1]. `is_available`: it may take requests at all, so neither down nor left out nor
        drained. While the process starts nobody ramps: what is available by then is whole, so there must be a turn before the start
        ends. `ramp_s` 0: off."""
        if is_available:
            self._stay(now, is_starting, ramp_s)
        elif self.stage is not Stage.AWAY:
            self.behind = self._gone_through(now, ramp_s)
            self.stage, self.since = Stage.AWAY, now
        if self.stage is Stage.RETURNING:
            return FIRST_SHARE + (1 - FIRST_SHARE) * self._gone_through(now, ramp_s)
        # A return can be seen by requests before it is by this: then the first of them find the ramp's beginning.
        return FIRST_SHARE if self.stage is Stage.AWAY and ramp_s > 0 and not is_starting else 1.0

    def _stay(self, now: float, is_starting: bool, ramp_s: float) -> None:
        if self.stage is Stage.AWAY:
            absence_s = now - self.since
            if absence_s >= CONFIRMED_S:
                self.behind = max(0.0, self.behind - LOSS * absence_s / ramp_s) if ramp_s > 0 else 1.0
            self.stage, self.since = Stage.RETURNING, now
        if is_starting or self._gone_through(now, ramp_s) >= 1:
            self.stage = Stage.WHOLE

    def _gone_through(self, now: float, ramp_s: float) -> float:
        if self.stage is Stage.WHOLE or ramp_s <= 0:
            return 1.0
        return min(1.0, self.behind + (now - self.since) / ramp_s)


def relative(factors: Mapping[str, float]) -> dict[str, float]:
    """The factors of a service's PoPs that are available, relative to the one that is furthest on. Where all come back, or are new, nobody
    else can spare them: by their own factors the first to return would keep everything for the whole ramp."""
    furthest = max(factors.values(), default=1.0)
    return {pop: factor / furthest for pop, factor in factors.items()}
