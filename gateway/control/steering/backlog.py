"""Backlog: how long a new request would wait in a pool, from what waits there against what it answers. Pure.

Owns one pool's fading means, and what of its waiting requests is no backlog. Must not know figures, tables or configuration.

By Little's law (Operations Research, 1961) what waits, divided by what is answered a second, is how long a request waits; what
that is above the time to first byte as measured is a wait that no answer has told of yet. Answers tell of an overrun only when they
come, late by the wait itself; and where nobody said what a PoP can take, nothing else would shed what it can't do. The law is about means
over the same time: so both are, over one second, or where answers are few over ENOUGH of them.

What waits is what the endpoint has all of: an upload that its client dribbles, a download, a WebSocket wait for somebody else, and are not
counted. But not all of it is a queue: a long poll waits for something to happen. What waited beyond the law at the quietest moment of the
last 10 to 20 s is taken for that, and to grow as the answers do.

Where answers are few, who is there at one turn and not at the next has not waited: a turn sees one moment, and clients that ask on the
second are all there when it falls on that.

Where nobody is answered at all the law says nothing. What is known then is how long that has lasted; one client's requests that hang prove
nothing of a PoP, so that is asked of several networks: at once or, where requests are few, one after another since the last answer. Of two
networks it takes longer: two may ask for the same slow page by chance.

A pause (garbage is collected, a disk is waited for) is no queue: nobody is answered for less than a second, then all are at once. So while
nothing comes where many answers would have come, all stays as it was said; and with the first ones what waits by then is what waits.

A wait is known at once and forgotten slowly, as in a peak EWMA: those who left it are what ended it, and would all be back at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

TAU_S = 1.0
ENOUGH = 20.0  # answers that a mean is over where a second has fewer
LONGEST_TAU_S = 10.0
FORGET_S = 3.0
MOST_MS = 10_000.0
LEAST_MS = 1.0  # less is forgotten
LEAST_PER_S = 2.0  # answers; below that it is chance how many wait
FEW = 2  # waiting requests that are no queue; and networks whose waiting may be chance
MANY = 5.0  # answers that would have come by now: by chance none does once in 150 times
MUTE_S = 1.0  # without an answer, beyond twice what one takes: from there on nobody is answered
FEW_MUTE_S = 5.0  # the same where two networks are all that have waited
FORGOTTEN_S = 10.0  # without anybody who waits
DEVIATIONS = 3.0  # of what the law has in service: what is beyond it by less is chance
WINDOW_S = 10.0


class Seen(NamedTuple):
    """Of a turn."""

    waiting: int  # now
    answers: int  # since the last turn
    first_byte_ms: float  # the mean that is measured; 0 where it is unknown
    lay_ms: float = 0.0  # what those answers lay here, all together, before a starved worker saw them: till then they were waited for
    networks: int = 0  # that have waited since the last answer, where these are most that ask here
    variance: float = 1.0  # of a service time, in squares of its mean


@dataclass(slots=True)
class Backlog:
    """One pool's."""

    waiting: float = 0.0  # means
    per_s: float = 0.0  # answers
    lay_ms_per_s: float = 0.0
    at: float | None = None  # monotonic seconds, of the last turn
    wait_ms: float = 0.0  # what that said
    queue_ms: float = 0.0  # of that, what waits now where some are answered
    _waiting: float = math.inf  # at the last turn
    _least: tuple[float, float] = (math.inf, 1.0)  # beyond the law at the window's quietest, and the answers a second then
    _before: tuple[float, float] = (math.inf, 1.0)  # the same of the window before
    _began: float = -math.inf  # of the window
    _answered_at: float = math.inf  # the last turn with an answer
    _answered_ms: float = 0.0  # what was said then
    _is_still: bool = False  # since then nobody was where many would have been
    _mute_at: float | None = None  # since when many have waited and nobody was answered
    _waited_at: float = -math.inf  # when one of them waited last

    def turn(self, seen: Seen, now: float) -> float:
        """The wait in ms, in [0, 10 s]."""
        if self.at is None:
            self.at = now
        elapsed_s = now - self.at
        if elapsed_s > 0:
            mute_ms = self._mute_ms(seen, now)
            if self._pauses(seen, now):
                return self.wait_ms
            tau_s = max(TAU_S, ENOUGH / max(self.per_s, ENOUGH / LONGEST_TAU_S))
            kept = math.exp(-elapsed_s / tau_s)
            waiting = seen.waiting if tau_s == TAU_S else min(seen.waiting, self._waiting)
            self.waiting = waiting + (self.waiting - waiting) * kept
            self._waiting = seen.waiting
            self.per_s = seen.answers / elapsed_s * (1 - kept) + self.per_s * kept
            self.lay_ms_per_s = seen.lay_ms / elapsed_s * (1 - kept) + self.lay_ms_per_s * kept
            self.at = now
            self.queue_ms = self._judge(seen, tau_s, now)
            wait_ms = max(self.queue_ms, mute_ms)
            if self.wait_ms > 0:
                wait_ms = max(wait_ms, self.wait_ms * math.exp(-elapsed_s / FORGET_S))
            self.wait_ms = wait_ms if wait_ms >= LEAST_MS else 0.0
        return self.wait_ms

    @property
    def is_mute(self) -> bool:
        """Whether several wait for a first answer: it is to be looked at although nothing happens."""
        return self._mute_at is not None

    def skip(self, now: float) -> float:
        """The wait as it was said last: what has happened since is not known well enough."""
        if self.at is not None:
            self.at = now
        return self.wait_ms

    def _pauses(self, seen: Seen, now: float) -> bool:
        """Whether this is one. The first turn with answers makes good what was said before it was known."""
        still_s = now - self._answered_at
        if seen.answers == 0:
            self._is_still = self.per_s * still_s >= MANY
            if self._is_still and still_s < MUTE_S:
                self.queue_ms = 0.0
                return True
            return False
        if self._is_still and still_s < MUTE_S:
            self.waiting = min(self.waiting, seen.waiting)
            self.wait_ms = min(self.wait_ms, self._answered_ms)
        self._is_still, self._answered_at, self._answered_ms = False, now, self.wait_ms
        return False

    def _mute_ms(self, seen: Seen, now: float) -> float:
        """What a new request waits at least where none is answered: as long as those did who came first, whether they stay or give up."""
        if seen.answers > 0 or now - self._waited_at > FORGOTTEN_S:  # till then they may have given up all at once, and come back
            self._mute_at = None
        if seen.answers == 0 and seen.waiting > 0 and seen.networks >= FEW:
            self._mute_at, self._waited_at = now if self._mute_at is None else self._mute_at, now
        mute_ms = 0.0 if self._mute_at is None else 1000 * (self._waited_at - self._mute_at)
        least_s = MUTE_S if seen.networks > FEW else FEW_MUTE_S
        return min(MOST_MS, mute_ms) if mute_ms > 2 * seen.first_byte_ms + 1000 * least_s else 0.0

    def _judge(self, seen: Seen, tau_s: float, now: float) -> float:
        if self.per_s < LEAST_PER_S:
            # Nobody answers any more: what waits goes on waiting. Little does: then it is nobody's queue.
            return self.wait_ms if seen.waiting > FEW else 0.0
        law = (self.per_s * seen.first_byte_ms + self.lay_ms_per_s) / 1000
        beyond = self.waiting - law
        if now - self._began > WINDOW_S:
            self._before, self._least, self._began = self._least, (math.inf, 1.0), now
        self._least = min(self._least, (max(0.0, beyond), self.per_s))
        usual, per_s = min(self._least, self._before)
        # Who is served at one moment is mostly served at the next, and long ones longest: so much of a mean over tau_s is chance.
        alike = min(1.0, seen.first_byte_ms * (1 + seen.variance) / 2000 / tau_s)
        chance = DEVIATIONS * math.sqrt(law * alike + law * law * (1 + seen.variance) / (self.per_s * tau_s))
        queue = beyond - usual * max(1.0, self.per_s / per_s) - chance
        queue_ms = 1000 * queue / self.per_s
        return min(MOST_MS, queue_ms) if queue_ms >= LEAST_MS else 0.0
