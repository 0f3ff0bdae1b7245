"""Simulation: where a table sends the clients of a population, and who takes them over when a PoP is lost. Pure.

Owns sums over clients: shares, means, quantiles. The decisions are routing_core's, by exact shares, on a copy of the table of which
nothing is measured and every endpoint admits; a lost PoP is one that the operator drained. Must not know files, options or pictures.

Clients at one place get one decision, so a million of them cost what their distinct places cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.control.explanation import Point
from gateway.population import Client
from routing_core import CandidateExplained, Figures, Table, TableSpec, explain

UNKNOWN = "unknown"  # stands for the country of clients that have none
QUANTILE = 0.9
ROUNDING = 1e-9  # what sums of shares may be off by
# A PoP has clients from this share on, and takes some over from that on: the core's shares are exact to some 1e-11 of a client, and
# less than a millionth of them is nobody. Sums and means leave nothing out.
FEWEST, FEWEST_TAKEN = 1e-6, 1e-5


@dataclass(frozen=True, slots=True)
class PopPart:
    """One PoP's part of the clients. Estimates are None where it has none whose place is known."""

    pop: str
    lat: float  # degrees
    lon: float
    share: float  # of all clients, by weight
    mean_ms: float | None  # of its clients' estimates
    p90_ms: float | None
    countries: dict[str, float]  # share of its clients, largest first
    why_not: str | None  # why it has no client


@dataclass(frozen=True, slots=True)
class CountryPart:
    """One country's clients."""

    country: str
    share: float  # of all clients
    mean_ms: float | None
    unserved: float  # share of its clients that no PoP may or can serve
    pops: dict[str, float]  # share of its clients, largest first


@dataclass(frozen=True, slots=True)
class Loss:
    """What happens to the clients of one PoP when it is lost."""

    pop: str
    share: float  # of all clients: those concerned
    takers: dict[str, float]  # share of those concerned, largest first; may be a little below 0, see _loss()
    stranded: float  # share of those concerned that have nowhere to go
    before_ms: float | None  # mean estimate of those concerned, at the lost PoP
    after_ms: float | None  # mean estimate of those taken over, where they then are


@dataclass(frozen=True, slots=True)
class Spot:
    """Clients at one place."""

    lat: float
    lon: float
    share: float  # of all clients
    pops: dict[str, float]  # share of these clients


@dataclass(frozen=True, slots=True)
class Simulation:
    route: str
    service: str
    leg: str
    window_ms: float  # of the route; wider for clients whose place is vague
    n_clients: int
    n_places: int  # distinct ones
    unplaced: float  # share of the clients whose place is unknown: they follow the configured order
    unserved: float  # share of the clients that no PoP may or can serve
    error: str | None  # why, for those
    mean_ms: float | None
    p90_ms: float | None
    pops: tuple[PopPart, ...]  # those with the service, in the configured order
    countries: tuple[CountryPart, ...]  # most clients first
    losses: tuple[Loss, ...]  # of the PoPs that have clients, in the configured order
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is decided at one place."""

    shares: dict[str, float]  # by PoP, without zeros
    ms: dict[str, float]  # estimate by PoP, without those that are only a stand-in for the unknown
    candidates: tuple[CandidateExplained, ...]
    error: str | None


class _Mean:
    """A weighted mean; None while nothing was added."""

    def __init__(self) -> None:
        self.weight = self.total = 0.0

    def add(self, value: float | None, weight: float) -> None:
        if value is not None:
            self.weight += weight
            self.total += value * weight

    @property
    def value(self) -> float | None:
        return self.total / self.weight if self.weight > ROUNDING else None


def simulate(table: Table, route: int, clients: Iterable[Client]) -> Simulation:
    """Every client of `clients` sends requests that `route` (an index into the table's routes) matches. ValueError without clients,
    IndexError without that route."""
    crowd: defaultdict[tuple[Point | None, str], float] = defaultdict(float)
    n_clients = 0
    for client in clients:
        crowd[client.point, client.country or UNKNOWN] += client.weight
        n_clients += 1
    if not crowd:
        raise ValueError("clients: must be at least one, got none")
    # By share of the whole from here on.
    whole = sum(crowd.values())
    groups = {group: weight / whole for group, weight in crowd.items()}
    spec, figures = _unmeasured(table.spec)
    usual = Table(spec, figures)
    outcomes = {point: _decide(usual, route, point) for point in {point for point, _ in groups}}
    parts = _pops(spec, groups, outcomes)
    served = [(outcomes[p].ms.get(pop), part * share) for (p, _), part in groups.items() for pop, share in outcomes[p].shares.items()]
    asked = spec.routes[route]
    return Simulation(
        route=asked.name,
        service=spec.services[asked.service].name,
        leg=asked.leg,
        window_ms=asked.window_ms,
        n_clients=n_clients,
        n_places=len(outcomes.keys() - {None}),
        unplaced=sum(part for (point, _), part in groups.items() if point is None),
        unserved=sum(part for (point, _), part in groups.items() if outcomes[point].error is not None),
        error=next((outcome.error for outcome in outcomes.values() if outcome.error is not None), None),
        mean_ms=_mean(served),
        p90_ms=quantile(served, QUANTILE),
        pops=parts,
        countries=_countries(groups, outcomes),
        losses=tuple(_loss(spec, figures, route, part.pop, groups, outcomes) for part in parts if part.share > FEWEST),
        spots=_spots(groups, outcomes),
    )


def quantile(values: Iterable[tuple[float | None, float]], at: float) -> float | None:
    """The smallest of (value, weight) that at least `at` of the weight does not exceed. Values that are None don't count."""
    known = sorted((value, weight) for value, weight in values if value is not None)
    left = at * sum(weight for _, weight in known) - ROUNDING
    for value, weight in known:
        left -= weight
        if left <= 0:
            return value
    return None


def _unmeasured(spec: TableSpec) -> tuple[TableSpec, Figures]:
    """The same with figures of its own, so that further tables can be made of it: all admit, nothing is measured."""
    figures = Figures(1)
    services = tuple(
        replace(
            service,
            row=figures.acquire("service"),
            pools=tuple(
                replace(
                    pool,
                    row=figures.acquire("pool"),
                    endpoints=tuple(replace(endpoint, row=figures.acquire("endpoint")) for endpoint in pool.endpoints),
                )
                for pool in service.pools
            ),
        )
        for service in spec.services
    )
    return replace(spec, services=services), figures


def _decide(table: Table, route: int, point: Point | None) -> _Outcome:
    explained = explain(table, route, point)
    shares = {one.pop: one.share for one in explained.candidates if one.share > 0}
    # Without a distance and a measurement an estimate is half the earth away: it sorts, and says nothing.
    ms = {one.pop: one.estimate_ms for one in explained.candidates if one.distance_km is not None or one.evidence != "prior"}
    return _Outcome(shares, ms, explained.candidates, explained.error)


def _pops(
    spec: TableSpec, groups: Mapping[tuple[Point | None, str], float], outcomes: Mapping[Point | None, _Outcome]
) -> tuple[PopPart, ...]:
    values: defaultdict[str, list[tuple[float | None, float]]] = defaultdict(list)
    countries: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (point, country), part in groups.items():
        outcome = outcomes[point]
        for pop, share in outcome.shares.items():
            values[pop].append((outcome.ms.get(pop), part * share))
            countries[pop][country] += part * share
    # Jurisdiction, drains and endpoints are the same for every client.
    candidates = {one.pop: one for one in next(iter(outcomes.values())).candidates}
    parts = []
    for one in spec.pops:
        if one.name in candidates:
            mine = values[one.name]
            share = sum(weight for _, weight in mine)
            parts.append(
                PopPart(
                    pop=one.name,
                    lat=one.lat,
                    lon=one.lon,
                    share=share,
                    mean_ms=_mean(mine),
                    p90_ms=quantile(mine, QUANTILE),
                    countries=_ranked(countries[one.name], share),
                    why_not=None if share > FEWEST else _why_not(candidates[one.name]),
                )
            )
    return tuple(parts)


def _why_not(candidate: CandidateExplained) -> str | None:
    if candidate.permitted and not candidate.drained and candidate.available:
        return "never near enough to the fastest"
    return candidate.why_not


def _countries(groups: Mapping[tuple[Point | None, str], float], outcomes: Mapping[Point | None, _Outcome]) -> tuple[CountryPart, ...]:
    values: defaultdict[str, _Mean] = defaultdict(_Mean)
    pops: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    shares: defaultdict[str, float] = defaultdict(float)
    unserved: defaultdict[str, float] = defaultdict(float)
    for (point, country), part in groups.items():
        outcome = outcomes[point]
        shares[country] += part
        unserved[country] += part if outcome.error is not None else 0.0
        for pop, share in outcome.shares.items():
            values[country].add(outcome.ms.get(pop), part * share)
            pops[country][pop] += part * share
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        CountryPart(country, share, values[country].value, unserved[country] / share, _ranked(pops[country], share))
        for country, share in ranked
    )


def _loss(
    spec: TableSpec,
    figures: Figures,
    route: int,
    lost: str,
    groups: Mapping[tuple[Point | None, str], float],
    outcomes: Mapping[Point | None, _Outcome],
) -> Loss:
    """Takers are told by what they gain: a client that `lost` shared with others keeps its requests that were not at `lost`. Near-equals
    share anew, by draws of two: one that was mostly drawn beside `lost` may come out with a trace less than it had."""
    pops = tuple(replace(pop, is_drained=pop.is_drained or pop.name == lost) for pop in spec.pops)
    table = Table(replace(spec, pops=pops), figures)
    concerned: defaultdict[Point | None, float] = defaultdict(float)
    for (point, _), part in groups.items():
        if lost in outcomes[point].shares:
            concerned[point] += part
    gains: defaultdict[str, float] = defaultdict(float)
    before, after = _Mean(), _Mean()
    total = stranded = 0.0
    for point, part in concerned.items():
        usual, then = outcomes[point], _decide(table, route, point)
        share = usual.shares[lost]
        total += part * share
        before.add(usual.ms.get(lost), part * share)
        if then.error is not None:
            stranded += part * share
        for pop, new in then.shares.items():
            gain = part * (new - usual.shares.get(pop, 0.0))
            gains[pop] += gain
            after.add(then.ms.get(pop), gain)
    takers = {pop: gain for pop, gain in gains.items() if abs(gain) > FEWEST_TAKEN * total}
    return Loss(lost, total, _ranked(takers, total), stranded / total, before.value, after.value)


def _spots(groups: Mapping[tuple[Point | None, str], float], outcomes: Mapping[Point | None, _Outcome]) -> tuple[Spot, ...]:
    parts: defaultdict[Point, float] = defaultdict(float)
    for (point, _), part in groups.items():
        if point is not None:
            parts[point] += part
    return tuple(Spot(point[0], point[1], part, outcomes[point].shares) for point, part in parts.items())


def _mean(values: Iterable[tuple[float | None, float]]) -> float | None:
    mean = _Mean()
    for value, weight in values:
        mean.add(value, weight)
    return mean.value


def _ranked(weights: Mapping[str, float], whole: float) -> dict[str, float]:
    """Shares of `whole`, largest first."""
    return {name: weight / whole for name, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0]))}
