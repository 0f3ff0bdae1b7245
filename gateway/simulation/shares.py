"""Simulation: where a table sends the clients of a population, and who takes them over when a PoP is lost. Pure.

Owns sums over clients: shares, means, quantiles, loads. The decisions are routing_core's, by exact shares, on a copy of the table of
which nothing is measured, every endpoint admits and nothing is in flight; a lost PoP is one that the operator drained. Must not know files,
options or pictures.

Clients alike in all that a decision asks (place, country, continent, pin) get one decision, so a million of them cost what their distinct
kinds cost. A route that is split is decided for each of its services, and weighed.

Over 400 lines: what is summed, and the sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.control.operator.explanation import Point
from gateway.simulation.population import Client
from routing_core import CandidateExplained, Figures, RouteSpec, ServiceSpec, Table, TableSpec, explain

UNKNOWN = "unknown"  # stands for the country of clients that have none
NEVER_NEAR = "never near enough to the fastest"
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
    capacity: int | None = None  # requests in flight up to which it takes any: the tighter of its own and the service's; None: no bound
    in_flight: float | None = None  # of those that were asked for


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
    """What happens to the clients of one PoP when it is lost, or of several that are lost together."""

    pop: str  # several: a,b
    share: float  # of all clients: those concerned
    takers: dict[str, float]  # share of those concerned, largest first; may be a little below 0, see _loss()
    stranded: float  # share of those concerned that have nowhere to go
    before_ms: float | None  # mean estimate of those concerned, at the lost PoP
    after_ms: float | None  # mean estimate of those taken over, where they then are
    loads: dict[str, float] = field(
        default_factory=dict
    )  # then in flight at the takers that have a capacity, as a share of it, fullest first


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
    service: str  # the first of them
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
    losses: tuple[Loss, ...]  # first those asked for together, then of each PoP that has clients, in the configured order
    spots: tuple[Spot, ...]
    split: dict[str, float] = field(default_factory=dict)  # share of each service; empty where there is but one
    in_flight: float | None = None  # of all clients; None: nobody said


class Who(NamedTuple):
    """What a decision asks of a client."""

    point: Point | None
    country: str | None
    continent: str | None
    pin: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is decided for one kind of client."""

    shares: dict[str, float]  # by PoP, without zeros
    ms: dict[str, float]  # estimate by PoP, without those that are only a stand-in for the unknown
    candidates: dict[str, CandidateExplained]  # by PoP; of a PoP that several services are in, the one that is nearest to being used
    unserved: float  # share that no PoP may or can serve
    error: str | None  # why, for those


Groups = Mapping[Who, float]  # by share of all clients
Outcomes = Mapping[Who, _Outcome]


@dataclass(frozen=True, slots=True)
class _World:
    """A table of nothing but the routes that stand for the one asked: one for each of its services, with its share."""

    spec: TableSpec
    figures: Figures
    parts: tuple[float, ...]

    def decide(self, groups: Iterable[Who], lost: Collection[str] = ()) -> dict[Who, _Outcome]:
        pops = tuple(replace(pop, is_drained=pop.is_drained or pop.name in lost) for pop in self.spec.pops)
        table = Table(replace(self.spec, pops=pops), self.figures)
        return {who: _decide(table, self.parts, who) for who in groups}


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


def simulate(table: Table, route: int, clients: Iterable[Client], in_flight: float | None = None, lose: Sequence[str] = ()) -> Simulation:
    """Every client of `clients` sends requests that `route` (an index into the table's routes) matches; `in_flight` of them are under way
    at any time, all clients together. `lose`: PoPs that are lost together, besides each alone. ValueError without clients
    and for a route that is refused, IndexError without that route."""
    crowd: defaultdict[Who, float] = defaultdict(float)
    n_clients = 0
    for client in clients:
        crowd[Who(client.point, client.country, client.continent, client.pin)] += client.weight
        n_clients += 1
    if not crowd:
        raise ValueError("clients: must be at least one, got none")
    # By share of the whole from here on.
    whole = sum(crowd.values())
    groups = {who: weight / whole for who, weight in crowd.items()}
    asked = table.spec.routes[route]
    world = _world(table.spec, asked)
    outcomes = world.decide(groups)
    parts = _pops(world.spec, groups, outcomes, in_flight)
    served = [(outcomes[who].ms.get(pop), part * share) for who, part in groups.items() for pop, share in outcomes[who].shares.items()]
    services = [service.name for service in _services(world.spec)]
    return Simulation(
        route=asked.name,
        service=services[0],
        leg=asked.leg,
        window_ms=asked.window_ms,
        n_clients=n_clients,
        n_places=len({who.point for who in groups} - {None}),
        unplaced=sum(part for who, part in groups.items() if who.point is None),
        unserved=sum(part * outcomes[who].unserved for who, part in groups.items()),
        error=next((outcome.error for outcome in outcomes.values() if outcome.error is not None), None),
        mean_ms=_mean(served),
        p90_ms=quantile(served, QUANTILE),
        pops=parts,
        countries=_countries(groups, outcomes),
        losses=tuple(
            _loss(world, parts, lost, groups, outcomes, in_flight)
            for lost in ((tuple(lose),) if lose else ())
            + tuple((part.pop,) for part in parts if part.share > FEWEST and (part.pop,) != tuple(lose))
        ),
        spots=_spots(groups, outcomes),
        split=dict(zip(services, world.parts, strict=True)) if len(services) > 1 else {},
        in_flight=in_flight,
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


def unmeasured(spec: TableSpec) -> tuple[TableSpec, Figures]:
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
    pops = tuple(replace(pop, row=None if pop.row is None else figures.acquire("pop")) for pop in spec.pops)
    return replace(spec, pops=pops, services=services), figures


def _world(spec: TableSpec, route: RouteSpec) -> _World:
    """One route for each service of the split, which is then worked out instead of drawn."""
    if route.service is None:
        raise ValueError(f"route {route.name}: must lead to a service, got one that is refused")
    spec, figures = unmeasured(spec)
    targets = [(service, weight) for service, weight in route.split if weight] or [(route.service, 1)]
    whole = sum(weight for _, weight in targets)
    routes = tuple(replace(route, service=service, split=()) for service, _ in targets)
    return _World(replace(spec, routes=routes), figures, tuple(weight / whole for _, weight in targets))


def _decide(table: Table, parts: Sequence[float], who: Who) -> _Outcome:
    shares: defaultdict[str, float] = defaultdict(float)
    ms: dict[str, float] = {}
    candidates: dict[str, CandidateExplained] = {}
    unserved, error = 0.0, None
    for route, part in enumerate(parts):
        explained = explain(table, route, who.point, country=who.country, continent=who.continent, pin=who.pin)
        if explained.error is not None:
            unserved, error = unserved + part, explained.error
        for one in explained.candidates:
            if one.share > 0:
                shares[one.pop] += part * one.share
            # Without a distance and a measurement an estimate is half the earth away: it sorts, and says nothing.
            if one.distance_km is not None or one.evidence != "prior":
                ms[one.pop] = one.estimate_ms
            if one.pop not in candidates or _nearness(one) > _nearness(candidates[one.pop]):
                candidates[one.pop] = one
    return _Outcome(dict(shares), ms, candidates, unserved, error)


def _nearness(one: CandidateExplained) -> tuple[bool, bool, bool]:
    return one.permitted, not one.drained, one.available


def _services(spec: TableSpec) -> list[ServiceSpec]:
    """One for each of its routes."""
    return [spec.services[route.service] for route in spec.routes if route.service is not None]


def _capacities(spec: TableSpec) -> dict[str, int]:
    """By PoP, of those that have one for what is asked: their own, which is for all services, or those of the services in it together."""
    highs: defaultdict[int, list[int]] = defaultdict(list)
    for service in _services(spec):
        for pool in service.pools:
            highs[pool.pop].append(pool.high)
    found = {}
    for pop, of_pools in highs.items():
        bounds = [bound for bound in (spec.pops[pop].high, sum(of_pools) if all(of_pools) else 0) if bound]
        if bounds:
            found[spec.pops[pop].name] = min(bounds)
    return found


def _pops(spec: TableSpec, groups: Groups, outcomes: Outcomes, in_flight: float | None) -> tuple[PopPart, ...]:
    values: defaultdict[str, list[tuple[float | None, float]]] = defaultdict(list)
    countries: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    reasons: defaultdict[str, defaultdict[str | None, float]] = defaultdict(lambda: defaultdict(float))
    for who, part in groups.items():
        outcome = outcomes[who]
        for pop, share in outcome.shares.items():
            values[pop].append((outcome.ms.get(pop), part * share))
            countries[pop][who.country or UNKNOWN] += part * share
        for pop, candidate in outcome.candidates.items():
            reasons[pop][_why_not(candidate)] += part
    capacities = _capacities(spec)
    parts = []
    for one in spec.pops:
        if one.name in reasons:
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
                    why_not=None if share > FEWEST else max(reasons[one.name], key=lambda why: (why == NEVER_NEAR, reasons[one.name][why])),
                    capacity=capacities.get(one.name),
                    in_flight=None if in_flight is None else share * in_flight,
                )
            )
    return tuple(parts)


def _why_not(candidate: CandidateExplained) -> str | None:
    if candidate.permitted and not candidate.drained and candidate.available:
        return NEVER_NEAR
    return candidate.why_not


def _countries(groups: Groups, outcomes: Outcomes) -> tuple[CountryPart, ...]:
    values: defaultdict[str, _Mean] = defaultdict(_Mean)
    pops: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    shares: defaultdict[str, float] = defaultdict(float)
    unserved: defaultdict[str, float] = defaultdict(float)
    for who, part in groups.items():
        country, outcome = who.country or UNKNOWN, outcomes[who]
        shares[country] += part
        unserved[country] += part * outcome.unserved
        for pop, share in outcome.shares.items():
            values[country].add(outcome.ms.get(pop), part * share)
            pops[country][pop] += part * share
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        CountryPart(country, share, values[country].value, unserved[country] / share, _ranked(pops[country], share))
        for country, share in ranked
    )


def _loss(
    world: _World, parts: Iterable[PopPart], lost: tuple[str, ...], groups: Groups, outcomes: Outcomes, in_flight: float | None
) -> Loss:
    """Of PoPs that are lost together. Takers are told by what they gain: a client that those shared with others keeps its requests that
    were not at them. Near-equals share anew, by draws of two: one that was mostly drawn beside them may come out with a trace less than it
    had."""
    concerned = {who: part for who, part in groups.items() if any(pop in outcomes[who].shares for pop in lost)}
    gains: defaultdict[str, float] = defaultdict(float)
    before, after = _Mean(), _Mean()
    total = stranded = 0.0
    for who, then in world.decide(concerned, lost).items():
        usual, part = outcomes[who], concerned[who]
        for pop in lost:
            share = usual.shares.get(pop, 0.0)
            total += part * share
            before.add(usual.ms.get(pop), part * share)
        stranded += part * (then.unserved - usual.unserved)
        for pop, new in then.shares.items():
            gain = part * (new - usual.shares.get(pop, 0.0))  # of one that is lost there is nothing new
            gains[pop] += gain
            after.add(then.ms.get(pop), gain)
    takers = {pop: gain for pop, gain in gains.items() if abs(gain) > FEWEST_TAKEN * total}
    loads = {
        part.pop: (part.share + gains[part.pop]) * in_flight / part.capacity
        for part in parts
        if in_flight is not None and part.capacity is not None and part.pop in takers
    }
    if total <= FEWEST:
        return Loss(",".join(lost), total, {}, 0.0, None, None)
    return Loss(",".join(lost), total, _ranked(takers, total), stranded / total, before.value, after.value, _ranked(loads, 1.0))


def _spots(groups: Groups, outcomes: Outcomes) -> tuple[Spot, ...]:
    """Those of one country and those of another may be at one place: they are one spot."""
    parts: defaultdict[Point, float] = defaultdict(float)
    pops: defaultdict[Point, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for who, part in groups.items():
        if who.point is not None:
            parts[who.point] += part
            for pop, share in outcomes[who].shares.items():
                pops[who.point][pop] += part * share
    return tuple(Spot(point[0], point[1], part, {pop: share / part for pop, share in pops[point].items()}) for point, part in parts.items())


def _mean(values: Iterable[tuple[float | None, float]]) -> float | None:
    mean = _Mean()
    for value, weight in values:
        mean.add(value, weight)
    return mean.value


def _ranked(weights: Mapping[str, float], whole: float) -> dict[str, float]:
    """Shares of `whole`, largest first."""
    return {name: weight / whole for name, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0]))}
