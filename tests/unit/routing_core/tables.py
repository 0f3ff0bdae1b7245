"""Small tables for tests: a service with one pool in each PoP, rows from Figures."""

from collections.abc import Iterable, Sequence
from typing import Any

from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec

CITIES = (("fra", 50.11, 8.68), ("nyc", 40.71, -74.01), ("sin", 1.35, 103.82), ("par", 48.86, 2.35))


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
    **options: Any,
) -> TableSpec:
    made = tuple(PopSpec(name, lat, lon, is_drained=name in drained) for name, lat, lon in pops)
    counts = [n_endpoints] * len(made) if isinstance(n_endpoints, int) else n_endpoints
    pools = tuple(pool_of(figures, number, count, max_in_flight=max_in_flight) for number, count in enumerate(counts))
    service = ServiceSpec("shop", figures.acquire("service"), pools)
    options = {"generation": 1, "intercept_ms": 10.0, "slope_ms_per_km": 0.02, **options}
    return TableSpec(pops=made, services=(service,), routes=tuple(routes), **options)


def table_of(figures: Figures, *args: Any, **options: Any) -> Table:
    return Table(spec_of(figures, *args, **options), figures)


def pool_rows(table: Table) -> list[int]:
    """Rows of the first service's pools."""
    return [pool.row for pool in table.spec.services[0].pools]


def endpoint_rows(table: Table, pool: int = 0) -> list[int]:
    return [endpoint.row for endpoint in table.spec.services[0].pools[pool].endpoints]
