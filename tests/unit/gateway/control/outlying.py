"""A pool whose endpoints answer as a test of outliers says, and what its judge makes of it."""

import random

from gateway.control.health.outliers import Counts, Outliers, Rules
from gateway.control.sources.world import Identity
from tests.unit.gateway.control.helpers import by_group

TURN_S = 0.1
SET = [Identity("shop", "fra", "", f"192.0.2.{i}", 80) for i in range(1, 11)]
BAD, *GOOD = SET
RULES = Rules()
ALL = by_group(*[1] * 8)  # of every group of networks one
ONE = by_group(1)


def plus(counts, more):
    return Counts(*(one + other for one, other in zip(counts, more, strict=True)))


def of_one(counts):
    """As workers count: what was answered, or failed, was some network's. Where a test says nothing of it, everybody is of one."""
    if counts.bad_by or counts.good_by:
        return counts
    some = int(counts.answers > counts.server_errors)
    return counts._replace(bad_by=int(counts.bad > 0), good_by=some, slow_by=some)


class Scene:
    """A pool whose endpoints answer as a test says, judged each turn."""

    def __init__(self, *members, rules=RULES):
        self.rules = rules
        self.outliers = Outliers()
        self.rng = random.Random(7)
        self.now = 100.0
        self.counts = dict.fromkeys(members, Counts(0, 0))
        self.ejections = []
        self.restored = []
        self.turn()

    def turn(self, grown=None, gap=TURN_S):
        """One turn in which the counts of some have grown."""
        self.now += gap
        for one, counts in (grown or {}).items():
            self.counts[one] = plus(self.counts[one], of_one(counts))
        verdicts = self.outliers.turn(self.counts, self.rules, self.now, self.rng)
        self.ejections += verdicts.ejected
        self.restored += verdicts.restored
        return verdicts

    def errors(self, *members, n=1):
        return self.turn(dict.fromkeys(members, Counts(0, n)))

    def answers(self, *members, n=1):
        return self.turn(dict.fromkeys(members, Counts(n, 0)))

    def eject(self, one):
        """By a run of errors. Its ejection's length in seconds."""
        verdicts = self.errors(one, n=self.rules.consecutive_errors)
        assert [ejection.identity for ejection in verdicts.ejected] == [one]
        return verdicts.ejected[0].until - self.now

    def sweep(self, grown=None):
        """What was counted in an interval, and the sweep at its end."""
        self.turn(grown)
        return self.turn(gap=self.rules.interval_s)

    @property
    def ejected(self):
        return {one for one, record in self.outliers.records.items() if record.until is not None}


def rated(*rates, n=100):
    return {one: Counts(round(rate * n), n - round(rate * n)) for one, rate in zip(SET, rates, strict=False)}


def timed(*means_ms, n=20):
    return {one: Counts(n, 0, n, round(mean * 1000) * n) for one, mean in zip(SET, means_ms, strict=False)}
