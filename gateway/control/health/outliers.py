"""Outliers: which endpoints of a pool answer worse than the others, and for how long they are ejected. Judgement over counts given.

Owns what was counted of each endpoint since the last sweep, its run of errors, how often it was ejected and until when. Must not know
figures, gates or tables: the caller shuts and opens, and shuts also what is dead, which is no ejection. Precedents: Envoy's outlier
detection (consecutive gateway errors, success rate, ejection times that grow) and gRPC's (proposal A50: the same without runs). Neither
judges latency. At most a share of the set is ejected, rounded down: half of one is none, so an only endpoint always stays.

How it works. Counts are cumulative; what they grew by in a turn is judged. A run of errors ejects at once. So does a share of errors,
5xx among them, that neither chance nor the application explains: it lies far above that of the others over the same time. A sweep
compares endpoints that had enough requests since the last one with each other. Counts of an ejected endpoint are of what was under way,
or of a panic, and say nothing.

What one client asks for, wherever it is sent, is nobody's fault there: errors and slow answers eject only where they came to most client
networks, of those that asked the whole pool over the last two sweeps. (Who fails as it is asked looks slow, so that nobody else is sent
there, and only that client asks it.) Not to three of them: one who has three networks would eject. Where all eight groups ask alike, most
of them have met a run
after seven errors, not five. Where one network asks alone it is most, too: nobody else is hurt by the ejection, or helped without it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from gateway.control.health.networks import is_of_most, since
from gateway.control.sources.world import Identity

Key = TypeVar("Key")  # whose counts are compared

JITTER = 0.1  # of an ejection's time: endpoints that failed together don't return together
# Success rate: Envoy's and A50's defaults. Where nearly all is well a deviation is tiny, so it must also be worth the loss of an endpoint.
RATE_ENDPOINTS = 5
RATE_REQUESTS = 100
RATE_DEVIATIONS = 1.9
RATE_MOST = 0.95
# Server errors: an application's own fault is everybody's alike; what is worth an ejection is three answers in ten more than the others'.
ERROR_ANSWERS = 20  # of each that is compared; of all together that have less
ERROR_SHARE = 0.3
ERROR_DEVIATIONS = 5.0  # of what chance explains: looked at ten times a second, four would be wrong once in a while
# Latency: choosing by latency within the pool bears with what is a little slow; this is for what is sick.
SLOW_ENDPOINTS = 3
SLOW_ANSWERS = 20
SLOW_TIMES = 3.0
SLOW_LEAST_MS = 50.0


@dataclass(frozen=True, slots=True)
class Rules:
    """0 or False switches one off."""

    consecutive_errors: int = 5
    interval_s: float = 10.0  # between sweeps
    eject_s: float = 30.0  # times the number of ejections
    eject_max_s: float = 300.0
    max_share: float = 0.5  # of the set, ejected at once
    success_rate: bool = True
    latency: bool = True
    server_errors: bool = True

    def most(self, size: int) -> int:
        """How many of a set may be ejected at once."""
        is_on = (self.consecutive_errors > 0 or self.success_rate or self.latency or self.server_errors) and self.eject_s > 0
        return math.floor(self.max_share * size + 1e-9) if is_on else 0  # 0.29 * 100 is a hair below 29


class Counts(NamedTuple):
    """Of one endpoint since its row began, all workers together."""

    answers: int  # whose status is no gateway's error
    errors: int  # 502, 503, 504, resets, timeouts, garbage
    first_bytes: int = 0  # with the sum that follows: time to first byte
    first_byte_us: int = 0
    server_errors: int = 0  # of the answers, those of 5xx or cut behind their head
    bad_by: int = 0  # errors and server errors by group of client networks, see networks
    good_by: int = 0  # all others likewise
    slow_by: int = 0  # of all: those far slower than is usual in the pool

    @property
    def total(self) -> int:
        return self.answers + self.errors

    @property
    def bad(self) -> int:
        return self.errors + self.server_errors

    def since(self, before: Counts) -> Counts:
        """What came since then. Of a group that had none the byte is 0."""
        grown = Counts(*(now - then for now, then in zip(self, before, strict=True)))
        bad_by, good_by, slow_by = (since(now, then) for now, then in zip(self[-3:], before[-3:], strict=True))
        return grown._replace(bad_by=bad_by, good_by=good_by, slow_by=slow_by)


class Ejection(NamedTuple):
    identity: Identity
    until: float  # monotonic seconds
    cause: str  # for people


@dataclass(slots=True)
class Verdicts:
    """What a turn changed."""

    ejected: list[Ejection] = field(default_factory=list)
    restored: list[Identity] = field(default_factory=list)


NOTHING = Counts(0, 0)


@dataclass(slots=True)
class Record:
    """What is known of one endpoint."""

    counts: Counts | None = None  # at the last turn; None: was not in the set
    base: Counts = NOTHING  # what the next sweep counts from; while ejected, all of them
    earlier: Counts = NOTHING  # that of the sweep before
    is_whole: bool = False  # its base is the last sweep's, as the others'
    was_whole: bool = False  # and `earlier` that of the one before
    run: int = 0  # errors without a good answer between them
    run_by: int = 0  # the groups that have met the run, see networks
    times: int = 0  # ejected; one less for each interval without
    until: float | None = None  # None: not ejected
    restored_at: float = -math.inf

    def count(self, counts: Counts) -> bool:
        """Take the counts of a turn. Whether anything bad was among them."""
        before, self.counts = self.counts, counts
        if counts == before:
            return False
        if before is None or self.until is not None or _is_other_row(before, counts):
            self.forget(counts)
            return False
        if counts.answers - counts.server_errors > before.answers - before.server_errors:  # what came first within a turn nobody knows
            self.run = self.run_by = 0
        else:
            self.run += counts.errors - before.errors
            self.run_by |= since(counts.bad_by, before.bad_by)
        return counts.bad > before.bad

    def forget(self, counts: Counts) -> None:
        """What was counted until now."""
        self.base = self.earlier = counts
        self.is_whole = self.was_whole = False

    @property
    def recent(self) -> Counts:
        return NOTHING if self.counts is None else self.counts.since(self.base)

    @property
    def lately(self) -> Counts:
        """Over the last two sweeps."""
        return NOTHING if self.counts is None else self.counts.since(self.earlier)


def _is_other_row(before: Counts, counts: Counts) -> bool:
    """An endpoint that was away for long has another one, and its counts begin at zero."""
    return counts.answers < before.answers or counts.errors < before.errors or counts.first_bytes < before.first_bytes


@dataclass(slots=True)
class Outliers:
    """Of one pool."""

    records: dict[Identity, Record] = field(default_factory=dict)
    swept_at: float | None = None

    def turn(self, seen: Mapping[Identity, Counts], rules: Rules, now: float, rng: random.Random) -> Verdicts:
        """Judge. `seen`: the whole set, also those that are ejected. Who leaves the set while ejected stays so until the time is over."""
        verdicts = Verdicts()
        failing = self._count(seen)
        self._restore(rules.most(len(seen)), now, verdicts)
        if rules.consecutive_errors > 0:
            runs = [(self.records[one].run, one) for one in failing if self.records[one].run >= rules.consecutive_errors]
            asked = self._asked() if runs else 0
            for run, identity in sorted(runs, key=lambda each: -each[0]):
                if is_of_most(self.records[identity].run_by, asked):
                    self._eject(identity, f"{run} gateway errors in a row", rules, now, rng, verdicts)
        if rules.server_errors and any(_is_suspect(self.records[one].recent) or _is_suspect(self.records[one].lately) for one in failing):
            for identity, cause in self._failing_more().items():
                if is_of_most(self.records[identity].lately.bad_by, self._asked()):
                    self._eject(identity, cause, rules, now, rng, verdicts)
        if self.swept_at is None:
            self.swept_at = now
            for record in self.records.values():
                record.is_whole = True
        elif now - self.swept_at >= rules.interval_s:
            self._sweep(rules, now, rng, verdicts)
            self.swept_at = now
        return verdicts

    def change(self, came: Mapping[Identity, Counts], went: Iterable[Identity]) -> None:
        """The set has changed by these, and nobody is ejected: nothing else can come of it."""
        for identity in went:
            if identity in self.records:
                self.records[identity].counts = None
        self._take(came)

    def _count(self, seen: Mapping[Identity, Counts]) -> list[Identity]:
        """Those whose run of errors has grown."""
        for identity in self.records.keys() - seen.keys():
            self.records[identity].counts = None
        return self._take(seen)

    def _take(self, seen: Mapping[Identity, Counts]) -> list[Identity]:
        failing = []
        for identity, counts in seen.items():
            record = self.records.get(identity)
            if record is None:
                record = self.records[identity] = Record()
            if record.count(counts):
                failing.append(identity)
        return failing

    def _failing_more(self) -> dict[Identity, str]:
        """Since the last sweep; and since the one before, or who has few answers would never be compared. All over the same time."""
        here = {one: record for one, record in self.records.items() if record.until is None}
        found = failing_more({one: record.recent for one, record in here.items() if record.is_whole})
        lately = failing_more({one: record.lately for one, record in here.items() if record.is_whole and record.was_whole})
        return found | {identity: cause for identity, cause in lately.items() if identity not in found}

    def _asked(self) -> int:
        """The groups that any of the pool's endpoints answered, or failed, over the last two sweeps."""
        asked = 0
        for record in self.records.values():
            lately = record.lately
            asked |= lately.bad_by | lately.good_by
        return asked

    def _restore(self, most: int, now: float, verdicts: Verdicts) -> None:
        """Those whose time is over; and when the set has shrunk, or the rules have changed, those that are too many."""
        ejected = [(record.until, identity, record) for identity, record in self.records.items() if record.until is not None]
        n_left = sum(record.counts is not None for _, _, record in ejected)
        for until, identity, record in sorted(ejected, key=lambda each: each[0]):
            is_here = record.counts is not None
            if until <= now or (is_here and n_left > most):
                n_left -= is_here
                record.until, record.restored_at = None, now
                verdicts.restored.append(identity)

    def _eject(self, identity: Identity, cause: str, rules: Rules, now: float, rng: random.Random, verdicts: Verdicts) -> None:
        """Unless the set has no more to spare."""
        here = [record for record in self.records.values() if record.counts is not None]
        if sum(record.until is not None for record in here) >= rules.most(len(here)):
            return
        record = self.records[identity]
        # No more than the cap is worth: else one that failed fifty times would pay for it for as many intervals.
        record.times = min(record.times + 1, max(1, math.ceil(rules.eject_max_s / rules.eject_s)))
        ejected_s = min(rules.eject_s * record.times, rules.eject_max_s)
        record.until = now + ejected_s * rng.uniform(1 - JITTER, 1 + JITTER)
        record.run = record.run_by = 0
        record.forget(record.counts or record.base)
        verdicts.ejected.append(Ejection(identity, record.until, cause))

    def _sweep(self, rules: Rules, now: float, rng: random.Random, verdicts: Verdicts) -> None:
        recent = {one: record.recent for one, record in self.records.items() if record.counts is not None}
        found = unsuccessful(recent) if rules.success_rate else {}
        lagging = slow(recent) if rules.latency else {}
        asked = self._asked() if found or lagging else 0
        found = {identity: cause for identity, cause in found.items() if is_of_most(self.records[identity].lately.bad_by, asked)}
        for identity, cause in lagging.items():
            if identity not in found and is_of_most(self.records[identity].lately.slow_by, asked):
                found[identity] = cause
        for identity, cause in found.items():
            self._eject(identity, cause, rules, now, rng, verdicts)
        for identity, record in list(self.records.items()):
            record.earlier, record.base = record.base, record.counts or record.base
            record.was_whole, record.is_whole = record.is_whole, record.counts is not None
            if record.until is None and now - record.restored_at >= rules.interval_s:
                record.times = max(0, record.times - 1)
                if record.times == 0 and record.counts is None:
                    del self.records[identity]


def _is_suspect(recent: Counts) -> bool:
    return recent.total >= ERROR_ANSWERS and recent.bad >= ERROR_SHARE * recent.total


def failing_more(recent: Mapping[Key, Counts]) -> dict[Key, str]:
    """Those whose share of errors, 5xx among them, lies far above the others', the worst first, each with the cause. Those that have few
    answers each are compared with, all together: where one that fails at once takes nearly all, the others never have many."""
    counted = sorted(
        ((identity, counts.bad / counts.total, 1 / counts.total) for identity, counts in recent.items() if counts.total >= ERROR_ANSWERS),
        key=lambda each: -each[1],
    )
    shares, variances, n_others = sum(each[1] for each in counted), sum(each[2] for each in counted), len(counted)
    few = [counts for counts in recent.values() if counts.total < ERROR_ANSWERS]
    n_few = sum(counts.total for counts in few)
    if n_few >= ERROR_ANSWERS:
        shares, variances, n_others = shares + sum(counts.bad for counts in few) / n_few, variances + 1 / n_few, n_others + 1
    found: dict[Key, str] = {}
    for identity, share, variance in counted:
        shares, variances, n_others = shares - share, variances - variance, n_others - 1
        if n_others == 0:
            break
        usual = max(0.0, shares / n_others)
        # Of a share of n the variance is 1 / 4n at most.
        chance = ERROR_DEVIATIONS * math.sqrt(max(0.0, variance + variances / n_others**2) / 4)
        if share - usual < max(ERROR_SHARE, chance):
            break
        found[identity] = f"{share:.1%} of answers 5xx or none, where others have {usual:.1%}"
    return found


def unsuccessful(recent: Mapping[Identity, Counts]) -> dict[Identity, str]:
    """Those whose share of good answers lies far below the others', the worst first, each with the cause."""
    totals = {identity: counts.answers + counts.errors for identity, counts in recent.items()}
    rates = {identity: recent[identity].answers / total for identity, total in totals.items() if total >= RATE_REQUESTS}
    if len(rates) < RATE_ENDPOINTS:
        return {}
    least = statistics.fmean(rates.values()) - RATE_DEVIATIONS * statistics.pstdev(rates.values())
    worst = sorted((identity for identity, rate in rates.items() if rate < least and rate <= RATE_MOST), key=rates.__getitem__)
    return {identity: f"{rates[identity]:.1%} good answers, where an outlier is under {least:.1%}" for identity in worst}


def slow(recent: Mapping[Identity, Counts]) -> dict[Identity, str]:
    """Those whose mean time to first byte lies far above the others', the worst first, each with the cause."""
    means = {
        identity: counts.first_byte_us / counts.first_bytes / 1000
        for identity, counts in recent.items()
        if counts.first_bytes >= SLOW_ANSWERS
    }
    if len(means) < SLOW_ENDPOINTS:
        return {}
    median = statistics.median(means.values())
    found = (identity for identity, mean in means.items() if mean > SLOW_TIMES * median and mean >= median + SLOW_LEAST_MS)
    worst = sorted(found, key=means.__getitem__, reverse=True)
    return {identity: f"first byte after {means[identity]:.0f} ms, where the median is {median:.0f} ms" for identity in worst}
