"""Awake: the time in which control looked at the world. A clock that stands still while the process is stopped or starved.

Owns how much of what the clock says counts for those that judge: gates, probes, ejections, refresh. A pause (SIGSTOP, a machine that
moves, a CPU that is taken away) is nobody's silence, absence or wait: whoever was not looked at has not failed. Must not know who asks.
What others count on, such as the deadline of a drain, goes by the real clock. The workers keep a time of their own alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_S = 0.25  # from beat to beat: what is longer control was held up for


@dataclass(slots=True)
class Awake:
    """Call it for monotonic seconds. Never falls."""

    clock: Callable[[], float]
    resumed_at: float = -math.inf  # its own time, at the last beat that came late
    _own: float = 0.0  # its own time at the last beat,
    _real: float | None = None  # and the clock's; None: there was no beat, and the clock holds

    def __call__(self) -> float:
        return self._time(self.clock())

    def turn(self) -> None:
        """A beat begins."""
        now = self.clock()
        is_late = self._real is not None and now - self._real > MOST_S
        self._own, self._real = self._time(now), now
        if is_late:
            self.resumed_at = self._own

    def _time(self, now: float) -> float:
        return now if self._real is None else self._own + min(now - self._real, MOST_S)
