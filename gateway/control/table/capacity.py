"""Capacity: what a PoP or a pool may have in flight, as counts. Owns how shares become whole requests; must not know how much there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway import model


@dataclass(frozen=True, slots=True)
class Capacity:
    """Requests in flight: up to `low` everything is taken, from `high` on nothing."""

    high: int
    low: int

    def __post_init__(self) -> None:
        assert 0 <= self.low < self.high, f"0 <= low < high, got {self.low} and {self.high}"

    @classmethod
    def of(cls, requests_in_flight: int, low: float, high: float) -> Capacity:
        """The watermarks given as shares of `requests_in_flight`. Rounded down, a small capacity still takes one request."""
        most = max(1, _whole(requests_in_flight * high))
        return cls(high=most, low=min(_whole(requests_in_flight * low), most - 1))


def capacity_of(capacity: model.Capacity | None) -> Capacity | None:
    """In requests in flight, of the whole gateway."""
    return None if capacity is None else Capacity.of(capacity.requests_in_flight, capacity.low, capacity.high)


def _whole(requests: float) -> int:
    return math.floor(requests + 1e-9)  # 0.29 * 100 is a hair below 29
