"""Events in time: a clock that jumps from one to the next. Must not know what happens.

Seconds; those at one time happen in the order in which they were planned.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Events:
    """The clock, and what is planned. Calling it says the time, as control's parts want it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    def at(self, time: float, call: Callable[..., None], *given: Any) -> None:
        """ValueError for what is over."""
        if time < self.now:
            raise ValueError(f"planned for {time}, it is {self.now}")
        self._count += 1
        heapq.heappush(self._planned, (time, self._count, call, given))

    def after(self, seconds: float, call: Callable[..., None], *given: Any) -> None:
        self.at(self.now + seconds, call, *given)

    def run(self, until: float) -> None:
        """All that is planned up to then, and what that plans; the rest stays."""
        while self._planned and self._planned[0][0] <= until:
            self.now, _, call, given = heapq.heappop(self._planned)
            call(*given)
        self.now = until
