"""Comparison: which PoPs of a service answer 5xx, or not at all, far more often than its others over the same time. Judgement over counts.

Owns what was counted of each PoP at the last two looks, and which of them fail more by that. Must not know figures, tables or
configuration. What is worth it is what ejects an endpoint (`outliers.server_errors`): three answers in ten more than the others', beyond
what chance explains, and come to most of the client networks that were answered there; so what fails everywhere is nobody's fault, and what
one client asks for neither. Where the others have no traffic nothing is known of them, and nobody is blamed: where all clients are near one
PoP it keeps them.

How it works. Counts grow; a look at a service's PoPs is dear where there are many, so it is taken only where one of them has failed since
the last turn: each ten seconds to begin anew, and else when that one's own share is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.control.health.networks import SPAN_S, is_of_most
from gateway.control.health.outliers import ERROR_ANSWERS, ERROR_SHARE, Counts, failing_more
from gateway.control.steering.penalties import Outcomes


def counts_of(outcomes: Outcomes, groups: tuple[int, int, int]) -> Counts:
    """Of a pool: as Figures.read_pool_outcomes() and read_pool_groups() say it."""
    answered_by, _, bad_by = groups
    answers = outcomes.attempts - outcomes.failures
    return Counts(answers, outcomes.failures, server_errors=outcomes.server_errors, bad_by=bad_by, good_by=answered_by)


@dataclass(slots=True)
class Comparison:
    """Of one service; PoPs by name."""

    failing: dict[str, str] = field(default_factory=dict)  # -> the cause, for people
    began: float = -math.inf  # monotonic seconds, the last look's
    base: dict[str, Counts] = field(default_factory=dict)
    earlier: dict[str, Counts] = field(default_factory=dict)  # that of the look before

    def is_due(self, pop: str, outcomes: Outcomes, now: float) -> bool:
        """Whether all are to be looked at, now that this one has failed again."""
        if pop not in self.earlier or now - self.began >= SPAN_S:
            return True
        lately = counts_of(outcomes, (0, 0, 0)).since(self.earlier[pop])
        return lately.total >= ERROR_ANSWERS and lately.bad >= ERROR_SHARE * lately.total

    def look(self, seen: Mapping[str, Counts], now: float) -> None:
        """Judge them all, over the last ten to twenty seconds."""
        if now - self.began >= SPAN_S:
            self.earlier = self.base if now - self.began < 2 * SPAN_S else dict(seen)
            self.base, self.began = dict(seen), now
        # Who came meanwhile is compared from the next look on; so is one whose counts begin anew.
        whole = {pop for pop, counts in seen.items() if pop in self.earlier and counts.answers >= self.earlier[pop].answers}
        lately = {pop: seen[pop].since(self.earlier[pop]) for pop in whole}
        self.failing = {
            pop: cause
            for pop, cause in failing_more(lately).items()
            if is_of_most(lately[pop].bad_by, lately[pop].bad_by | lately[pop].good_by)
        }
        for pop in seen.keys() - self.earlier.keys():
            self.earlier[pop] = self.base[pop] = seen[pop]
