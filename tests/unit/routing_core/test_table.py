import dataclasses
import gc
import time

import pytest

from routing_core import (
    MAX_POPS,
    EndpointSpec,
    Figures,
    PoolSpec,
    PopSpec,
    RouteSpec,
    RuleSpec,
    ServiceSpec,
    Table,
    TableSpec,
    draw,
    explain,
)
from routing_core._memory import live_blocks, refuse
from tests.unit.routing_core.tables import spec_of, table_of


def with_pool(spec, **changes):
    service = spec.services[0]
    pools = (dataclasses.replace(service.pools[0], **changes), *service.pools[1:])
    return dataclasses.replace(spec, services=(dataclasses.replace(service, pools=pools),))


@pytest.mark.parametrize(
    "changes", [{"total": -1}, {"total": 10**9}, {"max_in_flight": -1}, {"pop": 4}, {"pop": -1}, {"pop": 1}, {"row": 0}, {"row": 99}]
)
def test_wrong_pools_are_refused(changes):
    figures = Figures(1)
    with pytest.raises(ValueError, match=r"must|row"):
        Table(with_pool(spec_of(figures), **changes), figures)


@pytest.mark.parametrize(
    "route",
    [
        RouteSpec("r", 1), RouteSpec("r", -1), RouteSpec("", 0), RouteSpec("r", 0, leg="pop-client"), RouteSpec("r", 0, window_ms=-1),
        RouteSpec("r", 0, window_ms=float("nan")), RouteSpec("r", 0, window_ms=float("inf")),
        RouteSpec("r", 0, rules=(RuleSpec(frozenset({4})),)),
        RouteSpec("r", 0, rules=(RuleSpec(frozenset({-1})),)),
    ],
)  # fmt: skip
def test_wrong_routes_are_refused(route):
    figures = Figures(1)
    with pytest.raises(ValueError, match=r"routes.*must"):
        table_of(figures, routes=[route])


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": -1}, {"generation": 1.5}, {"intercept_ms": -1}, {"slope_ms_per_km": float("nan")}, {"gateway": (91.0, 0.0)},
        {"gateway": (0.0, 181.0)},
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(changes):
    figures = Figures(1)
    with pytest.raises(ValueError, match="must"):
        table_of(figures, **changes)


@pytest.mark.parametrize("pop", [("", 0, 0), ("a", 90.1, 0), ("a", 0, -180.1), ("a", float("nan"), 0), ("a", "0", 0), ("fra", 0, 0)])
def test_wrong_pops_are_refused(pop):
    figures = Figures(1)
    with pytest.raises(ValueError, match=r"pops.*must"):
        table_of(figures, (("fra", 50.0, 8.0), pop))


def test_doubled_services_rows_and_endpoints_are_refused():
    figures = Figures(1)
    spec = spec_of(figures)
    service = spec.services[0]
    pool = service.pools[0]
    with pytest.raises(ValueError, match="differ"):
        Table(dataclasses.replace(spec, services=(service, dataclasses.replace(service, row=figures.acquire("service")))), figures)
    with pytest.raises(ValueError, match="one service or pool"):
        Table(dataclasses.replace(spec, services=(service, dataclasses.replace(service, name="other"))), figures)
    with pytest.raises(ValueError, match="differ"):
        Table(
            with_pool(spec, endpoints=(pool.endpoints[0], dataclasses.replace(pool.endpoints[0], row=figures.acquire("endpoint")))), figures
        )
    with pytest.raises(ValueError, match="rows of their own"):
        Table(with_pool(spec, endpoints=(pool.endpoints[0], dataclasses.replace(pool.endpoints[0], port=1))), figures)


def test_two_services_may_share_an_endpoint():
    figures = Figures(1)
    spec = spec_of(figures)
    shared = spec.services[0].pools[0].endpoints
    other = ServiceSpec("other", figures.acquire("service"), (PoolSpec(0, figures.acquire("pool"), shared, 2),))
    table = Table(dataclasses.replace(spec, services=(*spec.services, other), routes=(RouteSpec("r", 1),)), figures)
    assert explain(table, 0, None).endpoint in {endpoint.name for endpoint in shared}


def test_too_many_pops_are_refused_and_the_most_are_not():
    figures = Figures(1)
    pops = [(f"p{number}", 0.0, number / 4) for number in range(MAX_POPS)]
    table = table_of(figures, pops, n_endpoints=1, routes=[RouteSpec("r", 0, window_ms=0)])
    assert len(explain(table, 0, (0.0, 0.0, 0.0)).candidates) == MAX_POPS
    assert draw(table, 0, (0.0, 30.0, 0.0), 10) == {"p120": 10}
    with pytest.raises(ValueError, match="pops: must"):
        table_of(figures, [*pops, ("more", 0.0, 0.0)], n_endpoints=1)


def test_candidates_stand_in_the_order_of_the_pops_whatever_the_order_of_the_pools():
    figures = Figures(1)
    spec = spec_of(figures)
    service = dataclasses.replace(spec.services[0], pools=spec.services[0].pools[::-1])
    table = Table(dataclasses.replace(spec, services=(service,), routes=(RouteSpec("r", 0), RouteSpec("r", 0))), figures)
    for route in (0, 1):  # the second one shares the first one's lists
        assert [candidate.pop for candidate in explain(table, route, None).candidates] == ["fra", "nyc", "sin", "par"]


def test_jurisdiction_splits_the_pools():
    figures = Figures(1)
    routes = [RouteSpec("r", 0, rules=(RuleSpec(frozenset(permitted)),)) for permitted in ((0, 3), (), (1,), (0, 3))]
    table = table_of(figures, routes=routes)
    for number, route in enumerate(routes):
        permitted = {candidate.pop for candidate in explain(table, number, None).candidates if candidate.permitted}
        assert permitted == {table.spec.pops[pop].name for pop in route.rules[0].permitted_pops}


def test_an_empty_table_is_legal(nothing_left):
    table = Table(TableSpec(0, (), (), ()), Figures(1))
    assert table.spec == TableSpec(0, (), (), ())
    del table


def test_a_table_keeps_the_rows_alive():
    figures = Figures(1)
    table = table_of(figures)
    del figures
    gc.collect()
    assert explain(table, 0, None).pop == "fra"


def test_only_a_table_spec_and_figures_make_a_table():
    with pytest.raises(TypeError, match="TableSpec"):
        Table({}, Figures(1))
    with pytest.raises(TypeError):
        Table(TableSpec(0, (), (), ()), None)


def test_tables_are_given_back(nothing_left):
    before = live_blocks()["table"]
    figures = Figures(2)
    spec = spec_of(figures, routes=[RouteSpec("r", 0, hosts=(f"h{number}.example.com",)) for number in range(100)])
    tables = [Table(spec, figures) for _ in range(3)]
    with pytest.raises(ValueError, match="hosts"):
        Table(dataclasses.replace(spec, routes=(RouteSpec("r", 0, hosts=("*",)),)), figures)
    with pytest.raises(ValueError, match="address"):
        table_of(figures, n_endpoints=300)
    n_pools = len(spec.services[0].pools)
    assert live_blocks()["table"] - before == (2 + n_pools) * len(tables)  # the block, the matcher, the endpoints of each pool
    del figures, tables


def test_endpoints_that_are_the_same_are_compiled_once_and_outlive_the_table_that_did(nothing_left):
    figures = Figures(1)
    spec = spec_of(figures)
    first, *others = spec.services[0].pools
    blocks = live_blocks()["table"]
    table = Table(spec, figures)
    more = dataclasses.replace(first, endpoints=(*first.endpoints, EndpointSpec(figures.acquire("endpoint"), "192.0.2.99", 80)))
    service = dataclasses.replace(spec.services[0], pools=(more, *others))
    after = Table(dataclasses.replace(spec, generation=2, services=(service,)), figures, table)
    assert live_blocks()["table"] - blocks == 2 + len(others) + 1 + 1 + 1  # more: the block, and the endpoints that are others
    del table
    gc.collect()
    assert live_blocks()["table"] - blocks == 2 + len(others) + 1
    names = {endpoint.name for pool in service.pools for endpoint in pool.endpoints}
    assert explain(after, 0, None).endpoint in names
    with pytest.raises(ValueError, match="row"):
        Table(dataclasses.replace(spec, services=(dataclasses.replace(service, row=10_000),)), figures, after)
    del after


def test_rows_of_other_figures_are_compiled_anew(nothing_left):
    one, other = Figures(1), Figures(1)
    spec = spec_of(one)
    assert spec == spec_of(other)
    blocks = live_blocks()["table"]
    tables = [Table(spec, one)]
    tables.append(Table(spec, other, tables[0]))
    assert live_blocks()["table"] - blocks == 2 * (1 + len(spec.services[0].pools)) + 1  # matches are of no figures
    del tables


def test_what_does_not_change_costs_a_table_next_to_nothing():
    figures = Figures(1)
    pools = []
    for pop in range(20):
        endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), f"10.{pop}.{n // 250}.{n % 250 + 1}", 80) for n in range(500))
        pools.append(PoolSpec(pop, figures.acquire("pool"), endpoints, 500))
    pops = tuple(PopSpec(f"p{n}", 0, n) for n in range(20))
    spec = TableSpec(1, pops, (ServiceSpec("s", figures.acquire("service"), tuple(pools)),), (RouteSpec("r", 0),))
    table = Table(spec, figures)
    assert cpu_of(lambda: Table(spec, figures, table)) < cpu_of(lambda: Table(spec, figures)) / 10


def cpu_of(work):
    """The least of several: what else the machine does only adds."""
    times = []
    for _ in range(7):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


def test_memory_that_is_out_is_an_error_and_leaves_nothing(nothing_left):
    figures = Figures(1)
    spec = spec_of(figures)
    before = live_blocks()
    for granted in range(2):
        refuse(True, after=granted)
        try:
            with pytest.raises(MemoryError):
                Table(spec, figures)
        finally:
            refuse(False)
        assert live_blocks() == before


def test_names_are_kept_as_they_are():
    figures = Figures(1)
    pool = PoolSpec(0, figures.acquire("pool"), (EndpointSpec(figures.acquire("endpoint"), "2001:db8::1", 443),), 1)
    service = ServiceSpec("gesch\u00e4ft", figures.acquire("service"), (pool,))
    table = Table(TableSpec(1, (PopSpec("S\u00e3o Paulo", -23.5, -46.6),), (service,), (RouteSpec("\u0394", 0),)), figures)
    explained = explain(table, 0, None)
    assert (explained.route, explained.service, explained.pop) == ("\u0394", "gesch\u00e4ft", "S\u00e3o Paulo")
    assert explained.endpoint == "[2001:db8::1]:443"
