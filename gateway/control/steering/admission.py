"""Admission: which share of its requests a pool takes where nobody said what it can take. Arithmetic over a queueing delay given.

Owns what was learned of one pool. Must not know figures, tables or what a queue is told by: that is `backlog`.

While requests queue the share shrinks, the faster the longer they wait in relation to an answer's time, and without a queue it grows
again (additive increase, multiplicative decrease; by a queueing delay, as PIE sheds, RFC 8033). A delay added to the estimate does not do
that: it moves whole countries at once, or none, and each of them back as soon as they have ended the queue. Where a queue has just been
the share grows slowly, and faster the longer that was ago, for what made the queue may be over (as CUBIC grows, RFC 9438).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

GAIN_PER_S = 4.0  # of the share, for each answer's time that is waited longer than WORTH_MS
WORTH_MS = 20.0  # a wait: for less nobody is sent to another PoP, which is farther than that as a rule
MOST_PER_S = 1.0
GROWS_PER_S = 0.005  # right after a queue
PATIENCE_S = 30.0  # without a queue; then it grows twice as fast, after twice that five times
LEAST = 0.1  # who is asked by nobody is known by nobody
LEAST_MS = 50.0  # of an answer's time: or a hiccup of what takes 1 ms would be a hundred of them


@dataclass(slots=True)
class Admission:
    """One pool's."""

    share: float = 1.0
    at: float | None = None  # monotonic seconds, of the last turn
    queued_at: float = -math.inf  # when there was a queue last

    def turn(self, queue_ms: float, answer_ms: float, now: float) -> None:
        """`queue_ms`: how long a request waits there; `answer_ms`: what one takes."""
        elapsed_s = 0.0 if self.at is None else now - self.at
        self.at = now
        if queue_ms > WORTH_MS:
            self.queued_at = now
            too_long = (queue_ms - WORTH_MS) / max(answer_ms, LEAST_MS)
            self.share *= math.exp(-elapsed_s * min(MOST_PER_S, GAIN_PER_S * too_long))
        elif self.share < 1:
            patience = (now - self.queued_at) / PATIENCE_S
            self.share += elapsed_s * GROWS_PER_S * (1 + patience * patience)
        self.share = min(1.0, max(LEAST, self.share))


def admitted(share: float, others: Iterable[float]) -> float:
    """Relative to the one of its service's PoPs that takes the largest part: where all of them are overrun nobody has room for the rest."""
    return share / max(share, max(others, default=share))
