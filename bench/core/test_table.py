"""Milliseconds to build a table. Goal: 50 ms at 10,000 endpoints. Rows are there already, as they are when a table is renewed."""

from pytest_benchmark.fixture import BenchmarkFixture

from routing_core import PRIOR, EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec

N_ENDPOINTS = 10_000
N_POPS = 20
N_HOSTS = 10_000


def test_ten_thousand_endpoints(benchmark: BenchmarkFixture) -> None:
    figures = Figures(2)
    pops = tuple(PopSpec(f"pop-{number}", number, number) for number in range(N_POPS))
    pools = []
    for pop in range(N_POPS):
        endpoints = tuple(
            EndpointSpec(figures.acquire("endpoint"), f"10.{pop}.{number // 250}.{number % 250 + 1}", 8080)
            for number in range(N_ENDPOINTS // N_POPS)
        )
        pools.append(PoolSpec(pop, figures.acquire("pool"), endpoints, len(endpoints)))
    service = ServiceSpec("shop", figures.acquire("service"), tuple(pools))
    spec = TableSpec(1, pops, (service,), (RouteSpec("all", 0),), *PRIOR)
    table = benchmark.pedantic(Table, (spec, figures), rounds=15, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it carries no types
    assert table.spec is spec


def test_ten_thousand_hosts(benchmark: BenchmarkFixture) -> None:
    figures = Figures(2)
    routes = tuple(RouteSpec(f"route-{number}", 0, hosts=(f"host-{number}.example.com",)) for number in range(N_HOSTS))
    service = ServiceSpec("shop", figures.acquire("service"), (PoolSpec(0, figures.acquire("pool"), (), 0),))
    spec = TableSpec(1, (PopSpec("fra", 50.11, 8.68),), (service,), routes, *PRIOR)
    table = benchmark.pedantic(Table, (spec, figures), rounds=10, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it carries no types
    assert table.spec is spec
