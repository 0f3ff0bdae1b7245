"""Levels: what a service takes wherever it is served, and how far one of its PoPs is from that, as far as its evidence goes. Arithmetic.

PoPs of a service do the same work: what is known of one whose own samples say little is what the others take. So each is taken for the
service's level and what its own samples prove beyond it: their difference, shrunk by its standard error (a normal-normal model, as in
random-effects meta-analysis: DerSimonian and Laird 1986). The level is a robust mean over the PoPs (Huber 1964); where they differ, one
weighs no more than any other that is known well: the busiest may be the slow one. Must not know figures, tables or configuration.

What is said of a PoP changes where its samples contradict it by four standard errors: looked at each second, two were left by all of 12
equal PoPs within ten minutes. Where little comes any more it fades to the level by itself, or it would be its own proof.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.control.steering.estimates import LEAST_MS, Evidence

SPREAD = 0.3  # of the level: by how much PoPs of a service differ, before anything is known of one
TOGETHER = 2.0  # times what samples explain: by chance what comes together is hardly ever so far apart
APART = 3.0  # times what samples explain: by chance the variance of 8 networks' means is that once in 250
LEAST_SPREAD = 0.05  # of the level, where their figures are as if they did not
CERTAIN = 4.0  # standard errors
BACK = 2.0  # of them, where that leads back toward the level: to be as the others are takes less proof than not to be
MARGIN_MS = 0.5  # a difference below this is the measurement's own
VARIANCE = 1.0  # of one sample, in squares of its mean, before there are any
VARIANCE_N = 10.0  # samples that this counts for
MOST_TIMES = 8.0  # the service time in use: what a sample counts for at most
MOST_MS = 50.0  # but so much in any case
FEW = 12.0  # samples: those who had fewer lately are not known well enough to be left alone
FAR = 0.5  # times what is taken for the truth: a mean below that is no longer normally distributed about it
THIN = 6.0  # and with fewer than these it fades
THIN_S = 10.0
THIN_TAU_S = 30.0
HUBER = 2.0  # standard deviations from which on a PoP pulls the level no harder
N_STEPS = 4


class Said(NamedTuple):
    """Of a pool, by its evidence."""

    above_ms: float  # beyond its service's level
    spread_ms: float  # one standard deviation of what it may be in truth
    n: float  # samples' worth that it stands on
    lately: float  # samples that came lately
    band_ms: float  # another figure in use is contradicted beyond this


@dataclass(slots=True)
class Level:
    """One service's."""

    ms: float | None = None  # in use; None: nothing was answered yet
    fresh_ms: float | None = None
    error_ms: float = math.inf  # its standard error, if its PoPs are what they are taken for
    variance: float = VARIANCE  # of one sample, in squares of its mean

    def learn(self, found: Iterable[Evidence]) -> None:
        """Of all its pools that have any, as they are now."""
        known = list(found)
        if not known:
            return
        dof = sum(max(0.0, each.n - 1) for each in known)
        self.variance = (sum(each.n * each.variance for each in known) + VARIANCE * VARIANCE_N) / (dof + VARIANCE_N)
        middle = _median([(each.mean_ms, each.n / (each.n + FEW)) for each in known])
        noises = [max(self._error_ms(each, middle) ** 2, 1e-9) for each in known]
        # Where nothing but noise is seen they still differ by a little: or who is known best would be the level, and never beyond it.
        apart = max(_apart([each.mean_ms for each in known], noises), (LEAST_SPREAD * middle) ** 2)
        pulls = []
        for _ in range(N_STEPS):
            pulls = [
                min(1.0, HUBER * math.sqrt(noise + apart) / max(abs(each.mean_ms - middle), 1e-9)) / (noise + apart)
                for each, noise in zip(known, noises, strict=True)
            ]
            middle = sum(pull * each.mean_ms for pull, each in zip(pulls, known, strict=True)) / sum(pulls)
        self.fresh_ms = middle
        self.error_ms = math.sqrt(sum(pull * pull * noise for pull, noise in zip(pulls, noises, strict=True))) / sum(pulls)

    def settle(self, margin: float) -> bool:
        """Put the fresh one in use where it contradicts the other. Whether it did."""
        if self.fresh_ms is None:
            return False
        if self.ms is not None and abs(self.fresh_ms - self.ms) <= max(MARGIN_MS, margin * self.ms, CERTAIN * self.error_ms):
            return False
        self.ms = self.fresh_ms
        return True

    def say(self, evidence: Evidence | None, thin_s: float, above_ms: float, margin: float) -> Said:
        """`thin_s`: for how long it has had fewer than THIN samples' worth; `above_ms`: what is in use."""
        middle = self.fresh_ms or 0.0
        sigma, in_use_ms = SPREAD * middle, max(0.0, (self.ms or 0.0) + above_ms)
        least_ms = max(MARGIN_MS, margin * in_use_ms)
        if evidence is None:
            return Said(0.0, sigma, 0.0, 0.0, 0.0)  # nothing of what it was is left to be contradicted
        above = evidence.mean_ms - middle
        error = self._error_ms(evidence, middle)
        shrunk = sigma * sigma / (sigma * sigma + error * error) if sigma > 0 else 0.0
        if error < abs(above):
            shrunk = max(shrunk, 1 - (error / above) ** 2)
        trust = math.exp(-(thin_s - THIN_S) / THIN_TAU_S) if thin_s > THIN_S else 1.0
        wide = self._error_ms(evidence, max(middle, evidence.mean_ms))
        spread = sigma * wide / math.hypot(sigma, wide) if sigma > 0 else 0.0
        above_now = trust * shrunk * above
        is_back = abs(above_now) < abs(above_ms) and above_now * above_ms >= 0 and abs(above) < CERTAIN * math.hypot(error, self.error_ms)
        doubt = (BACK if is_back else CERTAIN) * math.hypot(self._error_ms(evidence, in_use_ms), self.error_ms)
        band_ms = max(MARGIN_MS if is_back else least_ms, doubt)
        if trust < 1 and abs(above_now - above_ms) <= band_ms:  # it fades, and of the few that are left nothing new is made
            above_now, band_ms = min(max(above_now, min(0.0, above_ms)), max(0.0, above_ms)), least_ms
        return Said(above_now, spread, evidence.n, evidence.lately, band_ms)

    def hope_ms(self, said: Said, above_ms: float) -> float | None:
        """The least that its service time may well be, where that is not known well enough; else None."""
        if said.lately >= FEW or self.ms is None:
            return None
        return max(0.0, self.ms + min(above_ms, 0.0) - said.spread_ms)

    def _error_ms(self, evidence: Evidence, mean_ms: float) -> float:
        """Standard error of its mean, if the truth is `mean_ms`. The mean of few is skewed as they are: they count for less. Where it is
        far below that, on the scale of logarithms: or ten answers of 1 ms would not contradict 100. What came together and was late
        together is one, by as many milliseconds whatever the truth is; and where its networks are further apart than chance has them,
        that is what it goes by."""
        samples = (1 + FEW / evidence.n) / evidence.n
        noise = self.variance * _between(mean_ms, evidence.mean_ms) ** 2 * samples
        if evidence.bursts > TOGETHER:
            noise += (evidence.bursts - 1) * evidence.variance * max(evidence.mean_ms, LEAST_MS) ** 2 * samples
        return math.sqrt(evidence.apart if evidence.apart > APART * noise else noise)


def _between(truth_ms: float, mean_ms: float) -> float:
    """The logarithmic mean of the two where a mean is far below what is taken for the truth, else that."""
    low_ms = max(mean_ms, LEAST_MS)
    return (truth_ms - low_ms) / math.log(truth_ms / low_ms) if low_ms < FAR * truth_ms else truth_ms


def _apart(means_ms: list[float], noises: list[float]) -> float:
    """Variance of the PoPs' true means, as DerSimonian and Laird estimate it: what the means differ by beyond their noise. 0 where that
    explains all of it: then who is known best says most. Else once more with that (DerSimonian and Kacker 2007): by the noise alone who is
    known best would be the middle, and all others far from it."""
    apart = 0.0
    for _ in range(2):
        weights = [1 / (noise + apart) for noise in noises]
        whole = sum(weights)
        mean = sum(weight * each for weight, each in zip(weights, means_ms, strict=True)) / whole
        seen = sum(weight * (each - mean) ** 2 for weight, each in zip(weights, means_ms, strict=True))
        by_noise = sum(weight * noise * (1 - weight / whole) for weight, noise in zip(weights, noises, strict=True))
        free = whole - sum(weight * weight for weight in weights) / whole
        apart = (seen - by_noise) / free if seen > by_noise and free > 0 else 0.0
    return apart


def _median(weighed: list[tuple[float, float]]) -> float:
    """The least value that at least half of the weight does not exceed."""
    weighed.sort()
    half = sum(weight for _, weight in weighed) / 2
    for value, weight in weighed:
        half -= weight
        if half <= 0:
            return value
    return weighed[-1][0]
