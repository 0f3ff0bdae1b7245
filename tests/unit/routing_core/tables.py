"""Small tables for tests: each service with one pool in each PoP, rows from Figures; and what tests do with them."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from routing_core import (
    AffinitySpec,
    CandidateExplained,
    EndpointSpec,
    Explained,
    Figures,
    PoolSpec,
    PopSpec,
    RouteSpec,
    ServiceSpec,
    Table,
    TableSpec,
    draw,
)
from routing_core._testing import add_to_pool, add_to_pop

CITIES = (("fra", 50.11, 8.68), ("nyc", 40.71, -74.01), ("sin", 1.35, 103.82), ("par", 48.86, 2.35))
LONDON = (51.5, -0.13, 10.0)  # par, fra, nyc, sin; windows apart
METZ = (49.12, 6.18, 10.0)  # fra 212 km, par 280 km: 1.4 ms apart
HERE = (50.0, 8.0, 10.0)
COOKIE, HEADER, CLIENT = AffinitySpec("cookie", "pop"), AffinitySpec("header", "x-user"), AffinitySpec("client")
HASHED = [(HEADER, "header_key"), (CLIENT, "client_key")]  # with the fact that says where a request goes
NOTHING: Mapping[str, Mapping[str, Any]] = {}


def together(*names: str) -> list[tuple[str, float, float]]:
    """PoPs in one place, at HERE: their estimates are the same."""
    return [(name, HERE[0], HERE[1]) for name in names]


def high(**numbers: int) -> dict[str, dict[str, int]]:
    """What PoPs, or pools, may have in flight: for `of_pops`, `of_pools`."""
    return {name: {"high": number} for name, number in numbers.items()}


def pool_of(figures: Figures, pop: int, n_endpoints: int = 2, **options: Any) -> PoolSpec:
    addresses = (f"10.{pop // 256}.{pop % 256}.{number + 1}" for number in range(n_endpoints))
    endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), address, 8080) for address in addresses)
    return PoolSpec(pop, figures.acquire("pool"), endpoints, total=options.pop("total", n_endpoints), **options)


def spec_of(
    figures: Figures,
    pops: Iterable[tuple[str, float, float]] = CITIES,
    *,
    n_endpoints: Sequence[int] | int = 2,
    drained: Iterable[str] = (),
    routes: Sequence[RouteSpec] = (RouteSpec("all", 0),),
    max_in_flight: int = 0,
    of_pops: Mapping[str, Mapping[str, Any]] = NOTHING,
    of_pools: Mapping[str, Mapping[str, Any]] = NOTHING,
    services: Sequence[str] = ("shop",),
    **options: Any,
) -> TableSpec:
    """of_pops, of_pools: further fields by the PoP's name; of the pools of all services."""
    made = tuple(
        PopSpec(name, lat, lon, is_drained=name in drained, row=figures.acquire("pop"), **of_pops.get(name, {})) for name, lat, lon in pops
    )
    counts = [n_endpoints] * len(made) if isinstance(n_endpoints, int) else n_endpoints
    all_services = []
    for service in services:
        pools = tuple(
            pool_of(figures, number, count, max_in_flight=max_in_flight, **of_pools.get(made[number].name, {}))
            for number, count in enumerate(counts)
        )
        all_services.append(ServiceSpec(service, figures.acquire("service"), pools))
    options = {"generation": 1, "intercept_ms": 10.0, "slope_ms_per_km": 0.02, **options}
    return TableSpec(pops=made, services=tuple(all_services), routes=tuple(routes), **options)


def table_of(figures: Figures, *args: Any, **options: Any) -> Table:
    return Table(spec_of(figures, *args, **options), figures)


def kept_table(
    figures: Figures, affinity: AffinitySpec | None = COOKIE, pops: Iterable[tuple[str, float, float]] = CITIES, **options: Any
) -> Table:
    """With one route of this affinity."""
    return table_of(figures, pops, **{"routes": [RouteSpec("r", 0, affinity=affinity)], **options})


def pool_rows(table: Table, service: int = 0) -> list[int]:
    """Rows of a service's pools."""
    return [pool.row for pool in table.spec.services[service].pools]


def endpoint_rows(table: Table, pool: int = 0) -> list[int]:
    return [endpoint.row for endpoint in table.spec.services[0].pools[pool].endpoints]


def number_of(table: Table, pop: str) -> int:
    return [each.name for each in table.spec.pops].index(pop)


def set_admits(figures: Figures, table: Table, service: int = 0, /, **admits: float) -> None:
    """What is available of PoPs, by name."""
    for name, admit in admits.items():
        figures.set_pool(pool_rows(table, service)[number_of(table, name)], admit=admit, availability=admit)


def set_sheds(figures: Figures, table: Table, service: int = 0, /, **sheds: float) -> None:
    """As control publishes what PoPs shed, by name: what is available always takes a little."""
    for name, shed in sheds.items():
        figures.set_pool(pool_rows(table, service)[number_of(table, name)], admit=max(shed, 1 / 1024), shed=shed)


def set_times(figures: Figures, table: Table, version: int | None = None, /, **service_ms: float) -> None:
    """Service times by PoP, in one version or all."""
    for name, each in service_ms.items():
        figures.set_pool(pool_rows(table)[number_of(table, name)], service_ms=each, path_ms=-1, version=version)


def load(figures: Figures, table: Table, pop: str, n: int, *, worker: int = 0, service: int = 0) -> None:
    """n requests more in flight in one worker, as it counts them: of the pool and of its PoP."""
    number = number_of(table, pop)
    add_to_pool(figures, pool_rows(table, service)[number], worker, in_flight=n)
    row = table.spec.pops[number].row
    assert row is not None
    add_to_pop(figures, row, worker, n)


def candidate_of(explained: Explained, pop: str) -> CandidateExplained:
    return next(candidate for candidate in explained.candidates if candidate.pop == pop)


def shares_of(explained: Explained) -> dict[str, float]:
    return {candidate.pop: candidate.share for candidate in explained.candidates if candidate.share > 0}


def places(
    table: Table, fact: str, keys: Iterable[int] = range(1, 4001), location: tuple[float, float, float] = HERE, seed: int = 1
) -> dict[int, str]:
    """Where each key goes; fact: "header_key" or "client_key"."""
    return {key: next(iter(draw(table, 0, location, 1, seed, **{fact: key}))) for key in keys}


def count(of: Mapping[int, str]) -> dict[str, int]:
    """How many keys each PoP has."""
    return dict(Counter(of.values()))


def both_drawn_shares(weights: Mapping[str, float], cost: Mapping[str, float]) -> dict[str, float]:
    """Two are drawn by weight, and the one that costs less serves; they cost no two alike."""
    total = sum(weights.values())
    out = dict.fromkeys(weights, 0.0)
    for one, other in itertools.product(weights, weights):
        out[min(one, other, key=cost.__getitem__)] += weights[one] * weights[other] / total**2
    return out


def surprises(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, tuple[int, float]]:
    """Counts further from what the shares promise than chance explains, one time in a million: (came, expected). What has no share
    came never: no more than one time in a million, for shares that are worked out."""
    n = sum(counts.values())
    out = {}
    for name in counts.keys() | shares.keys():
        share = min(shares.get(name, 0.0), 1.0)
        # Five standard deviations, and where little is expected the longer tail of small numbers.
        allowed = 5 * math.sqrt(n * share * (1 - share)) + min(5, n * share) + 1e-6 * n
        if abs(counts.get(name, 0) - n * share) > allowed:
            out[name] = (counts.get(name, 0), n * share)
    return out
