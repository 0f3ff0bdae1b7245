"""Backlog: how long a new request would wait in a pool, from what is in flight there against what it answers. Pure.

Owns one pool's fading means, and what of its requests in flight is no backlog. Must not know figures, tables or configuration.

By Little's law (Operations Research, 1961) what is in flight, divided by what is answered a second, is how long a request stays; what
that is above the time to first byte as measured is a wait that no answer has told of yet. Answers tell of an overrun only when they
come, late by the wait itself; and where nobody said what a PoP can take, nothing else would shed what it can't do. The law is about means
over the same time: so both are, over one second, or where answers are few over ENOUGH of them.

Not everything in flight waits: a download goes on for seconds after its first byte, a WebSocket for hours. What was in flight beyond the
law at the quietest moment of the last 10 to 20 s is taken for that, and to grow as the answers do.

A wait is known at once and forgotten slowly, as in a peak EWMA: those who left it are what ended it, and would all be back at once.
(In the simulator, Europe's traffic doubled and nobody's capacity known: p99 1.1 times the usual one; 2.2 times without that, and 8 times
without a backlog.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TAU_S = 1.0
ENOUGH = 20.0  # answers that a mean is over where a second has fewer
LONGEST_TAU_S = 10.0
FORGET_S = 10.0
MOST_MS = 10_000.0
LEAST_MS = 1.0  # less is forgotten
LEAST_PER_S = 2.0  # answers; below that it is chance how many are in flight
FEW = 2  # requests in flight that are no queue
DEVIATIONS = 2.0  # by chance n answers are as many as n + sqrt(n)
WINDOW_S = 10.0


@dataclass(slots=True)
class Backlog:
    """One pool's."""

    in_flight: float = 0.0  # means
    per_s: float = 0.0
    at: float | None = None  # monotonic seconds, of the last turn
    wait_ms: float = 0.0  # what that said
    _least: tuple[float, float] = (math.inf, 1.0)  # beyond the law at the window's quietest, and the answers a second then
    _before: tuple[float, float] = (math.inf, 1.0)  # the same of the window before
    _began: float = -math.inf  # of the window

    def turn(self, in_flight: int, answers: int, first_byte_ms: float, now: float) -> float:
        """The wait in ms, in [0, 10 s], with what is in flight now and was answered since the last turn. `first_byte_ms`: the mean that is
        measured; 0 where it is unknown."""
        if self.at is None:
            self.at = now
        elapsed_s = now - self.at
        if elapsed_s > 0:
            tau_s = max(TAU_S, ENOUGH / max(self.per_s, ENOUGH / LONGEST_TAU_S))
            kept = math.exp(-elapsed_s / tau_s)
            self.in_flight = in_flight + (self.in_flight - in_flight) * kept
            self.per_s = answers / elapsed_s + (self.per_s - answers / elapsed_s) * kept
            self.at = now
            wait_ms = self._judge(in_flight, first_byte_ms, tau_s, now)
            if self.wait_ms > 0:
                wait_ms = max(wait_ms, self.wait_ms * math.exp(-elapsed_s / FORGET_S))
            self.wait_ms = wait_ms if wait_ms >= LEAST_MS else 0.0
        return self.wait_ms

    def _judge(self, in_flight: int, first_byte_ms: float, tau_s: float, now: float) -> float:
        if self.per_s < LEAST_PER_S:
            # Nobody answers any more: what waits goes on waiting. Little is in flight: then nobody does.
            return self.wait_ms if in_flight > FEW else 0.0
        beyond = self.in_flight - self.per_s * first_byte_ms / 1000
        if now - self._began > WINDOW_S:
            self._before, self._least, self._began = self._least, (math.inf, 1.0), now
        self._least = min(self._least, (max(0.0, beyond), self.per_s))
        usual, per_s = min(self._least, self._before)
        chance = self.in_flight * min(1.0, DEVIATIONS / math.sqrt(self.per_s * tau_s))
        waiting = beyond - usual * max(1.0, self.per_s / per_s) - chance
        return min(MOST_MS, max(0.0, 1000 * waiting / self.per_s))
