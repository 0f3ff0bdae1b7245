"""Headroom: what a PoP's capacity leaves free, and which share of the requests it still takes. Arithmetic over counts given.

Must not know figures or configuration. Requests are those in flight, of the whole gateway. Shedding that starts at a low
watermark, grows linearly and is complete at a high one is NS1's `shed_load` filter. Where a service's pool and its PoP both have a
capacity, the tighter one holds.

Shedding must go by a fading mean, not by the count of the moment: all is taken at `low`, nothing at `high`, so the count of the moment,
where answers take less than a turn, answers each turn with its opposite, and half of the capacity would stand idle. What must never be
passed, `high`, the decision itself watches at the count of the moment.

What a client holds (an upload that it dribbles, an answer that it does not read) lasts as long as it likes, so that one client could fill a
PoP, and send all others elsewhere. To the PoP it is load all the same: it has a connection, often a thread. So it counts, but of one group
of client networks only up to that group's part of the capacity. Where one network asks alone all of it counts: it takes nothing from
anybody else. A tunnel counts nothing: its server is made for many that say nothing for hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.control.table.capacity import Capacity

USUAL_TAU_S = 10.0
USUAL_DEVIATIONS = 4.0  # that chance may add
USUAL_LEAST = 3  # requests: so many at once are no queue where hardly any come
USUAL_STEP = 0.1  # of what was said last: a change below that is not said
FILLING_TAU_S = 2.0  # at turns of 100 ms steady up to an offered load of seven times the capacity with watermarks at 80 % and 100 %


def beyond_part(held: Sequence[int], n_groups: int, capacity: Capacity) -> int:
    """Of the requests that clients hold, by group, those beyond a group's part of the capacity, where so many groups are in sight."""
    if n_groups < 2:
        return 0
    part = max(1, capacity.high // n_groups)
    return sum(max(0, each - part) for each in held)


Load = tuple[float, Capacity | None]  # requests in flight, and against what; None: without bound


def shed(in_flight: float, capacity: Capacity | None) -> float:
    """The share of the requests that is taken, in [0, 1]."""
    if capacity is None or in_flight <= capacity.low:
        return 1.0
    return max(0.0, (capacity.high - in_flight) / (capacity.high - capacity.low))


def headroom(in_flight: float, capacity: Capacity | None) -> float | None:
    """The share of `high` that is free, in [0, 1]. None: without bound."""
    return None if capacity is None else min(1.0, max(0.0, 1 - in_flight / capacity.high))


def least_headroom(pool: Load, pop: Load) -> float | None:
    """The lesser of the two, or of those that have a bound."""
    in_pool, in_pop = headroom(*pool), headroom(*pop)
    if in_pool is None or in_pop is None:
        return in_pop if in_pool is None else in_pool
    return min(in_pool, in_pop)


@dataclass(slots=True)
class Filling:
    """Requests in flight as a mean that fades, for `shed`."""

    mean: float = 0.0
    at: float | None = None  # monotonic seconds, of the last count

    def add(self, in_flight: int, capacity: Capacity, now: float) -> float:
        """The mean with what is counted now, never above `capacity.high`. The first count is the mean.

        What is above `high` (a capacity that a reload brought or lowered, a burst before it held) says only that nothing more is to be
        taken, which the decision sees itself. In the mean it would keep the PoP empty for seconds after it has ended.
        """
        kept = 0.0 if self.at is None else math.exp(-(now - self.at) / FILLING_TAU_S)
        counted = min(in_flight, capacity.high)
        self.mean = counted + (min(self.mean, capacity.high) - counted) * kept
        self.at = now
        return self.mean


@dataclass(slots=True)
class Usual:
    """As many in flight as are no sign of a queue, by a mean that fades: who serves ten at a time has ten in flight, give or take what
    chance does (Poisson: a mean's square root)."""

    mean: float = 0.0
    at: float | None = None  # monotonic seconds, of the last count
    said: int = 0

    def add(self, in_flight: int, now: float) -> int:
        kept = 0.0 if self.at is None else math.exp(-(now - self.at) / USUAL_TAU_S)
        self.mean = in_flight + (self.mean - in_flight) * kept
        self.at = now
        usual = math.ceil(self.mean + USUAL_DEVIATIONS * math.sqrt(self.mean) + USUAL_LEAST)
        if abs(usual - self.said) > USUAL_STEP * self.said + 1:
            self.said = usual
        return self.said
