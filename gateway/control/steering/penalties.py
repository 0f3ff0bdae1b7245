"""Penalties: what a pool's failures and refusals are worth in milliseconds, so that one that fails fast never looks fast.

Owns one pool's fading mean. Arithmetic over counts and time given; must not know figures, tables or configuration. That a
failure counts as a latency of five seconds is Linkerd's rule, which is about endpoints; here it is about pools, and about everything that
is no answer. The mean is over attempts: a PoP that fails a share p of them looks p * 5 s slower. One failure among few attempts is no share
yet: so PRIOR_ATTEMPTS that went well are taken for granted, and of n failures those are left out that chance explains, sqrt(n). What of it
one client network alone has met (a poisoned request) moves nobody: the caller knows which part of the failures others have met as well.

Who is told to come later (429) may have asked too much, which is nobody else's business: that counts only when it came to many, which the
caller knows, for a second at most, farther than which no other PoP is, and not for longer than ten seconds after the last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

TAU_S = 10.0
SILENCE_S = 10.0  # without an attempt: from here on the mean itself fades, or nobody would ever try again
MOST_MS = 300_000.0
LATER_MS = 1000.0  # the most that one who is told to come later counts
LATER_S = 10.0  # after the last one of these nothing is left of them
LEAST_MS = 0.1  # less is forgotten
PRIOR_ATTEMPTS = 10.0  # that are taken to have gone well


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts, and for how much."""

    failure_ms: float = 5000.0  # a failure, a 5xx, a 429
    server_errors: bool = False  # 5xx answers count
    rate_limited: bool = True  # 429 answers count
    compared: bool = True  # 5xx answers count where a PoP gives far more of them than the others


class Outcomes(NamedTuple):
    """Of one turn, all workers together."""

    attempts: int
    failures: int = 0  # resets, timeouts, garbage; exchanges for which nobody in the PoP could be reached
    server_errors: int = 0  # answers 5xx
    rate_limited: int = 0  # answers 429, and 503 that say when to come back
    retry_after_ms: int = 0  # what those asked for, summed


def cost_ms(outcomes: Outcomes, terms: Terms) -> float:
    """What failures cost together."""
    cost = outcomes.failures * min(terms.failure_ms, MOST_MS)
    if terms.server_errors:
        cost += outcomes.server_errors * min(terms.failure_ms, MOST_MS)
    return cost


def later_ms(outcomes: Outcomes, terms: Terms) -> float:
    """And what those cost who were told to come later."""
    if not terms.rate_limited:
        return 0.0
    # A turn's 429s are of one mind: where some say when to come back, that is what is known of the others too.
    asked = outcomes.retry_after_ms if outcomes.retry_after_ms > 0 else outcomes.rate_limited * terms.failure_ms
    return min(asked, outcomes.rate_limited * LATER_MS)


@dataclass(slots=True)
class Penalty:
    """One pool's. Costs and attempts fade alike, so the mean stays while nothing comes, for a while."""

    cost_ms: float = 0.0
    failed: float = 0.0  # how many failures that is of
    later_ms: float = 0.0
    later_at: float = -math.inf  # when somebody was last told to come later
    attempts: float = 0.0
    bad: float = 0.0  # attempts that ended badly; what was begun long ago may end when its attempt has faded
    at: float = -math.inf  # of the last fading
    seen_at: float = -math.inf  # of the last attempt or bad end

    @property
    def is_free(self) -> bool:
        """Nothing bad is remembered."""
        return self.cost_ms == self.later_ms == 0

    def attempt(self, count: int, now: float) -> None:
        """So many attempts since the last turn, none of which ended badly, while the penalty is 0: what most pools see at most turns."""
        assert self.is_free
        if count:
            self._fade(now)
            self.attempts += count
            self.seen_at = now

    def turn(self, outcomes: Outcomes, terms: Terms, now: float, is_limited: bool = False, part: float = 1.0) -> float:
        """The penalty in ms with what happened since the last turn, in [0, 301 s]. `is_limited`: many clients were told to come later.
        `part`: of the failures, what is no single network's own."""
        bad = outcomes.failures + max(outcomes.server_errors, outcomes.rate_limited)  # a 503 may be both
        if self.is_free and outcomes.attempts == bad == 0:
            return 0.0
        self._fade(now)
        if outcomes.attempts or bad:
            self.seen_at = now
            self.attempts += outcomes.attempts
            self.bad += bad
            self.cost_ms += cost_ms(outcomes, terms) * part
            self.failed += (outcomes.failures + outcomes.server_errors * terms.server_errors) * part
            self.later_ms += later_ms(outcomes, terms)
        if outcomes.rate_limited:
            self.later_at = now
        left = max(0.0, 1 - (now - self.later_at) / LATER_S)
        if self.cost_ms < LEAST_MS * max(self.attempts, self.bad):
            self.cost_ms = self.failed = 0.0
        if self.later_ms * left < LEAST_MS * max(self.attempts, self.bad):
            self.later_ms = 0.0
        beyond_chance = 1 - 1 / math.sqrt(self.failed) if self.failed > 1 else 0.0
        cost = self.cost_ms * beyond_chance / (max(self.attempts, self.bad) + PRIOR_ATTEMPTS)
        return cost + (self.later_ms * left / max(self.attempts, self.bad) if is_limited and self.later_ms > 0 else 0.0)

    def _fade(self, now: float) -> None:
        kept = math.exp((self.at - now) / TAU_S)
        self.attempts *= kept
        self.bad *= kept
        self.failed *= kept
        self.later_ms *= kept
        if self.cost_ms > 0:
            silent = max(0.0, now - max(self.at, self.seen_at + SILENCE_S))
            self.cost_ms *= kept * math.exp(-silent / TAU_S)
        self.at = now
