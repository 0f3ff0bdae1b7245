"""Estimates: the gateway's own path to a PoP and what is known of a pool's service time, from sums and samples. Arithmetic over time given.

Must not know figures, probes or tables. Times are seconds (monotonic) and milliseconds, as the names say. What is made of a pool's service
time beside those of the other PoPs of its service: `levels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.control.health.networks import N_GROUPS

TAU_S = 10.0  # time constant of the average of a service time
BUSY_TAU_S = 2.0  # the same where there are samples enough: a PoP that slows down is then known within seconds
BUSY_COUNT = 1000.0  # samples' worth that is enough
RARE_TAU_S = 120.0  # and where there are hardly any
RARE_COUNT = 12.0
EXPIRES_S = 300.0  # without a sample for this long the load has changed: unknown again
LEAST_MS = 1.0  # of a mean to which a spread is set in relation
ALONE = 1 / 16  # of the samples: one group may weigh as much as so many, whatever the others have
FIRST_BYTE_TAU_S = 10.0
PATH_WINDOW_S = 60.0
PATH_EXPIRES_S = 3600.0  # a path changes less often than a load


class Evidence(NamedTuple):
    """What a pool's own samples say of its service time."""

    mean_ms: float
    n: float  # independent samples' worth
    apart: float  # variance of the mean, in ms^2, as the differences between its client networks have it; 0 where there are few of them
    lately: float  # samples of the last TAU_S
    bursts: float  # times what it would be if samples had nothing to do with one another: the variance of what comes together; at least 1
    variance: float  # of a sample, in squares of the mean


@dataclass(slots=True)
class ServiceTime:
    """Fading sums of one pool's samples, by groups of client networks. They fade sooner the more there are, and never so fast that fewer
    than BUSY_COUNT stay by that alone.

    The mean is one over groups, and none of them weighs more than the next: what one network asks for may be slow by itself. And how far
    the groups' own means are apart says as much of the mean's error as the samples do, so one network alone can't prove anything."""

    sums_ms: list[float] = field(default_factory=lambda: [0.0] * N_GROUPS)
    counts: list[float] = field(default_factory=lambda: [0.0] * N_GROUPS)
    squares: float = 0.0  # of all, in ms^2
    count: float = 0.0  # of all
    lately: float = 0.0  # of all, fading with TAU_S whatever there are
    weights: float = 0.0  # sum of the squared weights of all samples: by it n samples' worth are told from n samples
    before: tuple[float, int] = (0.0, 0)  # what came together last: its mean, and how many
    together: float = 0.0  # variance of a sample as the differences of those have it, summed and fading
    alone: float = 0.0  # and as the samples have it
    at: float = 0.0  # of the last fading
    seen_at: float = -math.inf  # of the last sample

    def add(self, sums_ms: Sequence[float], counts: Sequence[int], squares: float, now: float) -> None:
        kept, n = self._kept(now), sum(counts)
        if n:
            self._compare(sum(sums_ms) / n, n, kept)
        self.sums_ms = [kept * old + new for old, new in zip(self.sums_ms, sums_ms, strict=True)]
        self.counts = [kept * old + new for old, new in zip(self.counts, counts, strict=True)]
        self.squares = kept * self.squares + squares
        self.count = kept * self.count + n
        self.weights = kept * kept * self.weights + n
        self.lately = math.exp(-(now - self.at) / TAU_S) * self.lately + n
        self.at = now
        if n:
            self.seen_at = now

    def evidence(self, now: float) -> Evidence | None:
        """None: unknown."""
        if self.count <= 0 or now - self.seen_at > EXPIRES_S:
            return None
        kept = self._kept(now)
        # Of what one group has more than any other nothing counts; but what is left of one that asked long ago is nobody to compare with.
        most = max(sorted(self.counts)[-2], ALONE * self.count)
        weights = [min(count, most) for count in self.counts]
        whole = sum(weights)
        means = [total / count if count else 0.0 for total, count in zip(self.sums_ms, self.counts, strict=True)]
        mean_ms = sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / whole
        n = whole * whole / sum(weight * weight / count for weight, count in zip(weights, self.counts, strict=True) if count)
        n_groups = N_GROUPS - weights.count(0.0)
        apart = 0.0
        if n_groups > 1:
            apart = sum((weight / whole * (mean - mean_ms)) ** 2 for weight, mean in zip(weights, means, strict=True))
            apart *= n_groups / (n_groups - 1)
        plain_ms = sum(self.sums_ms) / self.count
        # Of what is as good as nothing the relative spread is measurement's alone.
        variance = max(0.0, self.squares / self.count - plain_ms * plain_ms) / max(plain_ms, LEAST_MS) ** 2
        lately = math.exp(-(now - self.at) / TAU_S) * self.lately
        bursts = max(1.0, self.together / self.alone) if self.alone > 0 else 1.0
        return Evidence(mean_ms, kept * n * self.count / self.weights, apart, lately, bursts, variance)

    def _compare(self, mean_ms: float, n: int, kept: float) -> None:
        """What came together now with what came together before: a pause delays all of it at once, and so many samples say no more than
        one. By the differences of neighbours (von Neumann 1941), so that what has become slower for good counts once."""
        self.together *= kept
        self.alone *= kept
        before_ms, before_n = self.before
        if before_n:
            plain_ms = sum(self.sums_ms) / self.count
            self.together += (mean_ms - before_ms) ** 2 * n * before_n / (n + before_n)
            self.alone += max(0.0, self.squares / self.count - plain_ms * plain_ms)
        self.before = mean_ms, n

    def _kept(self, now: float) -> float:
        """The share of the samples that age has left since the last fading."""
        if self.count <= 0:
            return 0.0
        age_s = now - self.at
        if self.count <= RARE_COUNT:
            return math.exp(-age_s / RARE_TAU_S)
        slowly = max(math.exp(-age_s / TAU_S), RARE_COUNT / self.count * math.exp(-age_s / RARE_TAU_S))
        enough = BUSY_COUNT / self.count
        return slowly if enough >= 1 else min(slowly, max(math.exp(-age_s / BUSY_TAU_S), enough))


@dataclass(slots=True)
class FirstByte:
    """Fading mean of the time to first byte as it was, for what waits: by the law of means over the same time."""

    sum_ms: float = 0.0
    count: float = 0.0
    at: float = 0.0

    def add(self, sum_ms: float, count: int, now: float) -> None:
        kept = math.exp(-(now - self.at) / FIRST_BYTE_TAU_S)
        self.sum_ms = kept * self.sum_ms + sum_ms
        self.count = kept * self.count + count
        self.at = now

    @property
    def mean_ms(self) -> float:
        """0: unknown."""
        return self.sum_ms / self.count if self.count > 0 else 0.0


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
