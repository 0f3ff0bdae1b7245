"""Estimates: the gateway's own path to a PoP and a pool's service time, from sums and samples. Arithmetic over time given.

Must not know figures, probes or tables. Times are seconds (monotonic) and milliseconds, as the names say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SERVICE_TAU_S = 10.0  # time constant of the service time's average
SERVICE_EXPIRES_S = 300.0  # without a sample for this long the load has changed: unknown again
PATH_WINDOW_S = 60.0
PATH_EXPIRES_S = 3600.0  # a path changes less often than a load


@dataclass(slots=True)
class ServiceTime:
    """Exponentially fading mean: sums and counts fade alike, so the mean stays while nothing comes."""

    sum_ms: float = 0.0
    count: float = 0.0
    at: float = 0.0  # of the last fading
    seen_at: float = -math.inf  # of the last sample

    def add(self, sum_ms: float, count: int, now: float) -> None:
        faded = math.exp(-(now - self.at) / SERVICE_TAU_S) if self.count else 0.0
        self.sum_ms = self.sum_ms * faded + sum_ms
        self.count = self.count * faded + count
        self.at = now
        if count:
            self.seen_at = now

    def mean_ms(self, now: float) -> float | None:
        if now - self.seen_at > SERVICE_EXPIRES_S or self.count <= 0:
            return None
        return self.sum_ms / self.count

    def samples(self, now: float) -> int:
        """How many samples' worth of evidence stands behind the mean now; at least 1 while there is a mean."""
        if self.mean_ms(now) is None:
            return 0
        return max(1, round(self.count * math.exp(-(now - self.at) / SERVICE_TAU_S)))


@dataclass(slots=True)
class PathTime:
    """The least connect time of the last one to two windows. A wait in our own event loop or in a queue on the way only ever
    adds, so the least is the path; two windows let an old least go when the path becomes longer."""

    least_ms: float = math.inf
    before_ms: float = math.inf  # of the window before
    began: float = -math.inf  # of the current window
    seen_at: float = -math.inf

    def add(self, ms: float, now: float) -> None:
        if now - self.began > PATH_WINDOW_S:
            self.before_ms = self.least_ms
            self.least_ms = math.inf
            self.began = now
        self.least_ms = min(self.least_ms, ms)
        self.seen_at = now

    def ms(self, now: float) -> float | None:
        """None: unknown."""
        if now - self.seen_at > PATH_EXPIRES_S:
            return None
        return min(self.least_ms, self.before_ms)
