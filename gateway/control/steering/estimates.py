"""Estimates: the gateway's own path to a PoP and a pool's service time, from sums and samples. Arithmetic over time given.

Must not know figures, probes or tables. Times are seconds (monotonic) and milliseconds, as the names say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SERVICE_TAU_S = 10.0  # time constant of the service time's average
BUSY_TAU_S = 2.0  # the same where there are samples enough: a PoP that slows down is then known within seconds
BUSY_COUNT = 50  # samples' worth that is enough
SILENCE_S = 10.0  # without a sample: from here on the service time fades to 0, and what was left because it was slow is tried again
SILENCE_TAU_S = 30.0
SERVICE_EXPIRES_S = 300.0  # without a sample for this long the load has changed: unknown again
PATH_WINDOW_S = 60.0
PATH_EXPIRES_S = 3600.0  # a path changes less often than a load


@dataclass(slots=True)
class ServiceTime:
    """Exponentially fading mean: sums and counts fade alike, so the mean stays while little comes. It fades sooner the more samples there
    are, and never so fast that fewer than BUSY_COUNT stand behind it by that alone.

    Where nothing comes the mean itself fades: an estimate that keeps requests away would otherwise be its own proof. A decision takes an
    unknown service time for 0; so this goes there by degrees, and who is nearest to the PoP tries it first."""

    sum_ms: float = 0.0
    count: float = 0.0
    at: float = 0.0  # of the last fading
    seen_at: float = -math.inf  # of the last sample

    def add(self, sum_ms: float, count: int, now: float) -> None:
        if self.count:
            kept, trusted = self._kept(now), self._trusted(now)
            # The count by one factor more than the mean, the sum by both.
            self.count *= kept * trusted
            self.sum_ms *= kept * trusted * trusted
        self.sum_ms += sum_ms
        self.count += count
        self.at = now
        if count:
            self.seen_at = now

    def mean_ms(self, now: float) -> float | None:
        """None: unknown."""
        silent_s = now - self.seen_at
        if silent_s <= SILENCE_S:  # mostly
            return self.sum_ms / self.count
        if self.count <= 0 or silent_s > SERVICE_EXPIRES_S:
            return None
        return self.sum_ms / self.count * self._trusted(now)

    def samples(self, now: float) -> int:
        """How many samples' worth of evidence stands behind the mean now; at least 1 while there is a mean."""
        if self.mean_ms(now) is None:
            return 0
        return max(1, round(self.count * self._kept(now) * self._trusted(now)))

    def _kept(self, now: float) -> float:
        """The share of the samples that age has left since the last fading."""
        age_s = now - self.at
        slowly = math.exp(-age_s / SERVICE_TAU_S)
        enough = BUSY_COUNT / self.count
        return slowly if enough >= 1 else min(slowly, max(math.exp(-age_s / BUSY_TAU_S), enough))

    def _trusted(self, now: float) -> float:
        """What silence has left of the mean since the last fading."""
        silent_s = now - max(self.at, self.seen_at + SILENCE_S)
        return math.exp(-silent_s / SILENCE_TAU_S) if silent_s > 0 else 1.0


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
