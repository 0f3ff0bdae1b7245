"""Summary: what the demo's requests took, and what they would have taken elsewhere. Arithmetic over samples and a table.

What was measured is measured: each request's time to its whole answer, through the gateway. What it is compared with comes from the
table of round trips, for the same requests of the same clients: nobody sent those. The comparison is therefore a little unkind to
the gateway, whose figures hold its own and the PoPs' time too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.demo.places import Client, Pop, RoundTrips
from gateway.demo.traffic import Sample


@dataclass(frozen=True, slots=True)
class Summary:
    """Means in ms over all requests that were answered."""

    n_requests: int
    n_errors: int
    measured_ms: float
    fixed_ms: float  # all of them sent to one PoP
    round_robin_ms: float  # each PoP a sixth of each client's
    best_ms: float  # each to the PoP with its shortest round trip
    missed: tuple[Missed, ...]  # costliest first

    @property
    def saved_over_fixed_ms(self) -> float:
        return self.fixed_ms - self.measured_ms

    @property
    def saved_over_round_robin_ms(self) -> float:
        return self.round_robin_ms - self.measured_ms


@dataclass(frozen=True, slots=True)
class Missed:
    """A client whose first choice, with all PoPs up, is not the one with its shortest round trip."""

    client: Client
    chosen: str
    best: str
    lost_ms: float


def summarize(
    samples: Sequence[Sample], first_choices: Iterable[tuple[Client, str]], pops: Sequence[Pop], trips: RoundTrips, fixed: str
) -> Summary:
    """`first_choices`: client and PoP, while all were up. ValueError when nothing was answered."""
    answered = [sample for sample in samples if sample.error is None]
    if not answered:
        raise ValueError("no request was answered")
    of_client = {sample.client.city: [trips[sample.client.city, pop.name] for pop in pops] for sample in answered}
    return Summary(
        n_requests=len(samples),
        n_errors=len(samples) - len(answered),
        measured_ms=statistics.fmean(sample.ms for sample in answered),
        fixed_ms=statistics.fmean(trips[sample.client.city, fixed] for sample in answered),
        round_robin_ms=statistics.fmean(statistics.fmean(of_client[sample.client.city]) for sample in answered),
        best_ms=statistics.fmean(min(of_client[sample.client.city]) for sample in answered),
        missed=tuple(sorted(_missed(first_choices, pops, trips), key=lambda one: -one.lost_ms)),
    )


def _missed(first_choices: Iterable[tuple[Client, str]], pops: Sequence[Pop], trips: RoundTrips) -> Iterable[Missed]:
    for client, chosen in first_choices:
        best = min((pop.name for pop in pops), key=lambda name: trips[client.city, name])
        lost_ms = trips[client.city, chosen] - trips[client.city, best]
        if lost_ms > 0:
            yield Missed(client, chosen, best, lost_ms)
