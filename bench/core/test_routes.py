"""Nanoseconds a route match: the loop runs in C, without the GIL. Goal: 0.1 us, at 10,000 hosts as at 10.

pytest-benchmark shows the time of a round; `ns_per_match` is in its extra info.
"""

import random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from routing_core import Figures, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec
from routing_core._testing import match_many

N = 200_000
ASKED = 4096  # different hosts of requests at most


def routes_of(kind: str, host: str) -> list[RouteSpec]:
    if kind == "host":
        return [RouteSpec(host, 0, hosts=(host,))]
    if kind == "wildcard":
        return [RouteSpec(host, 0, hosts=(f"*.{host}",))]
    paths = ("/", "/api", "/api/v1/users", "/static")
    return [
        *(RouteSpec(host, 0, hosts=(host,), path_prefix=path) for path in paths),
        RouteSpec(host, 0, hosts=(host,), path_exact="/healthz"),
    ]


@pytest.mark.parametrize("n_hosts", [10, 10_000])
@pytest.mark.parametrize("kind", ["host", "wildcard", "paths"])
def test_match(benchmark: BenchmarkFixture, kind: str, n_hosts: int) -> None:
    """Hosts come in random order; the path has four elements."""
    figures = Figures(1)
    hosts = [f"host-{number}.shop.example.com" for number in range(n_hosts)]
    routes = tuple(route for host in hosts for route in routes_of(kind, host))
    spec = TableSpec(1, (PopSpec("fra", 50.11, 8.68),), (ServiceSpec("shop", figures.acquire("service"), ()),), routes)
    table = Table(spec, figures)
    asked = [(f"www.{host}" if kind == "wildcard" else host).encode() for host in random.Random(1).choices(hosts, k=ASKED)]
    found = benchmark.pedantic(  # type: ignore[no-untyped-call]  # it carries no types
        match_many, (table, asked, b"/api/v1/items/17", N), rounds=15, warmup_rounds=1
    )
    assert found == N
    times = sorted(benchmark.stats.stats.data) if benchmark.stats else []  # none when benchmarks are switched off
    names = {"min": times[:1], "median": times[len(times) // 2 :][:1], "max": times[-1:]}
    benchmark.extra_info["ns_per_match"] = {name: round(time * 1e9 / N, 1) for name, of in names.items() for time in of}
