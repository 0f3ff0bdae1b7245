"""Counting: what a worker counts around an attempt, as the data plane's account does, each by the network of its client.

A client is a network of its own; as in the data plane eight groups of them are told apart. Must not know what an attempt is for, nor what
is made of the counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gateway.control.health.networks import N_GROUPS
from routing_core import Figures
from routing_core._testing import add_to_endpoint, add_to_pool, add_to_pop, group, observe

WORKER = 0
NOBODY = (0,) * N_GROUPS


def _addresses() -> list[bytes]:
    """One of each group."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < N_GROUPS:
        address = bytes(10) + b"\xff\xff" + bytes((10, number >> 8, number & 255, 1))
        found.setdefault(group(address), address)
        number += 1
    return [found[of] for of in range(N_GROUPS)]


ADDRESSES = _addresses()


@dataclass(frozen=True, slots=True)
class Rows:
    """Where an attempt is counted."""

    endpoint: int
    pool: int
    pop: int | None  # None: it has no capacity


@dataclass(slots=True)
class Counting:
    figures: Figures
    in_flight: Counter[str] = field(default_factory=Counter)  # by PoP
    waiting: dict[int, list[int]] = field(default_factory=dict)  # by pool's row: of each group

    def begin(self, pop: str, rows: Rows, client: int) -> None:
        add_to_pool(self.figures, rows.pool, WORKER, attempts=1)
        add_to_endpoint(self.figures, rows.endpoint, WORKER, attempts=1)
        self._count(pop, rows, client, 1)

    def end(self, pop: str, rows: Rows, client: int) -> None:
        self._count(pop, rows, client, -1)

    def answered(self, rows: Rows, client: int, took_us: int, now_ms: int) -> None:
        of = client % N_GROUPS
        by = ADDRESSES[of]
        add_to_pool(self.figures, rows.pool, WORKER, first_bytes=1, first_byte_us=took_us, served_us=took_us, served_by=of, answered_by=by)
        add_to_endpoint(self.figures, rows.endpoint, WORKER, answers=1, first_bytes=1, first_byte_us=took_us, good_by=by)
        observe(self.figures, rows.endpoint, WORKER, took_us, now_ms)

    def refused(self, rows: Rows) -> None:
        """The endpoint's gate knows; the PoP has failed when nobody in it could be reached."""
        add_to_endpoint(self.figures, rows.endpoint, WORKER, connect_failures=1)

    def failed(self, rows: Rows, client: int, waited_us: int, now_ms: int) -> None:
        """No answer is an answer too: the endpoint took that long at least."""
        add_to_endpoint(self.figures, rows.endpoint, WORKER, errors=1, bad_by=ADDRESSES[client % N_GROUPS])
        self.pool_failed(rows.pool, client)
        latency_us = self.figures.read_endpoint(rows.endpoint)["latency_us"]
        observe(self.figures, rows.endpoint, WORKER, max(waited_us, latency_us), now_ms)

    def pool_failed(self, row: int, client: int) -> None:
        add_to_pool(self.figures, row, WORKER, failures=1, bad_by=ADDRESSES[client % N_GROUPS])

    def _count(self, pop: str, rows: Rows, client: int, by: int) -> None:
        self.in_flight[pop] += by
        self.waiting.setdefault(rows.pool, [0] * N_GROUPS)[client % N_GROUPS] += by
        add_to_endpoint(self.figures, rows.endpoint, WORKER, in_flight=by, awaiting=by)
        add_to_pool(self.figures, rows.pool, WORKER, in_flight=by, waiting=by)
        if rows.pop is not None:
            add_to_pop(self.figures, rows.pop, WORKER, in_flight=by)


class Watched:
    """The figures as control reads them, with who waits by group: that is counted by the data plane's own code alone."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting

    def read_waiting(self, row: int) -> tuple[int, ...]:
        return tuple(self._counting.waiting.get(row, NOBODY))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._counting.figures, name)
