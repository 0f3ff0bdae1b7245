import dataclasses

import pytest

from routing_core import Figures, RouteSpec, RuleSpec, Table, draw, explain
from routing_core._figures import REASONS
from routing_core._latency import great_circle_km
from routing_core._steer import EVIDENCE, FAILURES
from tests.unit.routing_core.tables import (
    HERE,
    LONDON,
    METZ,
    candidate_of,
    load,
    number_of,
    pool_rows,
    set_admits,
    shares_of,
    spec_of,
    surprises,
    table_of,
    together,
)


@pytest.fixture
def figures():
    return Figures(2)


def outcome(table, location=LONDON, seed=1):
    explained = explain(table, 0, location, seed)
    return explained.pop, explained.reason, explained.fallbacks


def test_names_stand_where_the_enums_are():
    assert REASONS == ("none", "fastest", "window", "affinity", "spill", "failover", "panic", "order", "ramp", "explore")
    assert FAILURES == (None, "no_permitted_pop", "no_endpoint")
    assert EVIDENCE == ("prior", "path")


def test_the_nearest_serves_and_the_next_ones_are_fallbacks(figures):
    assert outcome(table_of(figures)) == ("par", "fastest", ("fra", "nyc"))


def weight_of_paris():
    """Against Frankfurt's 1, as the head of _steer.pyx says."""
    excess = 0.02 * (great_circle_km(*METZ[:2], 48.86, 2.35) - great_circle_km(*METZ[:2], 50.11, 8.68))
    return (1 - excess / 5) ** 3


def test_an_idle_service_goes_to_the_fastest(figures):
    table = table_of(figures)
    assert 0.2 < weight_of_paris() < 0.6
    assert explain(table, 0, METZ).reason == "window"
    assert draw(table, 0, METZ, 1000) == {"fra": 1000}


def test_near_equals_share_what_the_fastest_has_too_much_of(figures):
    """One of the window is drawn, and serves if it costs less than the fastest."""
    table = table_of(figures)
    weight = weight_of_paris()
    load(figures, table, "fra", 1)
    assert not surprises(draw(table, 0, METZ, 20_000), {"fra": 1 / (1 + weight), "par": weight / (1 + weight)})
    load(figures, table, "par", 1)
    assert draw(table, 0, METZ, 1000) == {"fra": 1000}


def test_load_counts_by_endpoint(figures):
    """Six requests on six endpoints are as much as one on one; and the slower one serves while the fastest has more."""
    table = table_of(figures, together("big", "small"), n_endpoints=[6, 1])
    load(figures, table, "big", 6)
    load(figures, table, "small", 1, worker=1)
    assert draw(table, 0, HERE, 1000) == {"big": 1000}
    load(figures, table, "big", 1)
    assert not surprises(draw(table, 0, HERE, 20_000), {"big": 6 / 7, "small": 1 / 7})


@pytest.mark.parametrize(("in_flight", "moves"), [(0, False), (27, False), (28, True)])
def test_load_outweighs_what_a_pop_is_slower(figures, in_flight, moves):
    """b is 3 ms behind, 14 against 10 + 1: a costs as much with 3/11 of a request in flight an endpoint."""
    table = table_of(figures, together("a", "b"), n_endpoints=100)
    figures.set_pool(pool_rows(table)[1], service_ms=3, path_ms=-1)
    load(figures, table, "a", in_flight // 2)
    load(figures, table, "a", in_flight - in_flight // 2, worker=1)
    weight = (1 - 3 / 5) ** 3
    shares = {"a": 1 / (1 + weight), "b": weight / (1 + weight)} if moves else {"a": 1.0}
    assert not surprises(draw(table, 0, HERE, 20_000), shares)
    assert shares_of(explain(table, 0, HERE)) == pytest.approx(shares, rel=1e-9)


def test_weights_anywhere_in_the_service_make_both_drawn(figures):
    """Then the slower one serves when it was drawn twice, also while nothing is in flight."""
    table = table_of(figures, of_pools={"sin": {"weight": 9}})
    twice = (weight_of_paris() / (1 + weight_of_paris())) ** 2
    assert not surprises(draw(table, 0, METZ, 20_000), {"fra": 1 - twice, "par": twice})
    assert shares_of(explain(table, 0, METZ)) == pytest.approx({"fra": 1 - twice, "par": twice}, rel=1e-6)


def test_weights_of_one_service_are_not_anothers(figures):
    spec = spec_of(figures, together("a", "b"), services=["shop", "news"], routes=[RouteSpec("r", 0), RouteSpec("n", 1)])
    heavy = tuple(dataclasses.replace(pool, weight=weight) for pool, weight in zip(spec.services[0].pools, (1, 3), strict=True))
    services = (dataclasses.replace(spec.services[0], pools=heavy), spec.services[1])
    table = Table(dataclasses.replace(spec, services=services), figures)
    assert not surprises(draw(table, 0, HERE, 20_000), {"a": 0.25, "b": 0.75})
    assert draw(table, 1, HERE, 1000) == {"a": 1000}


def test_weights_of_pops_say_how_often_each_is_drawn(figures):
    """Beside the number of endpoints. Both are drawn then, or the fastest would have its share whatever its weight."""
    table = table_of(figures, together("a", "b", "c"), n_endpoints=[2, 1, 1], of_pools={"b": {"weight": 5}, "c": {"weight": 1000}})
    shares = {"a": 2 / 1007, "b": 5 / 1007, "c": 1000 / 1007}
    assert shares_of(explain(table, 0, HERE)) == pytest.approx(shares, rel=1e-9)
    assert not surprises(draw(table, 0, HERE, 20_000), shares)
    figures.set_pool(pool_rows(table)[2], service_ms=1, path_ms=-1)
    slower = 1000 * (1 - 1 / 5) ** 3
    both = (slower / (7 + slower)) ** 2  # it serves when it is drawn twice
    assert not surprises(draw(table, 0, HERE, 20_000), {"c": both, "a": (1 - both) * 2 / 7, "b": (1 - both) * 5 / 7})


def test_weights_that_are_alike_say_nothing(figures):
    table = table_of(figures, together("a", "b"), of_pools={"a": {"weight": 7}, "b": {"weight": 7}})
    assert draw(table, 0, HERE, 1000) == {"a": 1000}
    assert shares_of(explain(table, 0, HERE)) == pytest.approx({"a": 1.0}, rel=1e-9)


def test_a_weight_brings_nobody_into_the_window(figures):
    table = table_of(figures, of_pools={"fra": {"weight": 1000}})
    assert draw(table, 0, LONDON, 1000) == {"par": 1000}


def test_load_moves_traffic_within_the_window_only(figures):
    table = table_of(figures)
    for name in ("fra", "par"):
        load(figures, table, name, 50)
    assert draw(table, 0, METZ, 1000) == {"fra": 1000}
    assert draw(table, 0, LONDON, 1000) == {"par": 1000}


def test_a_window_of_zero_is_the_fastest_and_its_ties(figures):
    twins = (("one", 50.0, 8.0), ("two", 50.0, 8.0), ("three", 50.1, 8.0))
    table = table_of(figures, twins, routes=[RouteSpec("r", 0, window_ms=0)])
    assert draw(table, 0, (50.0, 8.0, 5000.0), 1000) == {"one": 1000}
    load(figures, table, "one", 1)
    counts = draw(table, 0, (50.0, 8.0, 5000.0), 1000)
    assert set(counts) == {"one", "two"}
    assert counts["one"] == pytest.approx(500, abs=80)


def test_a_vague_location_widens_the_window_up_to_four_times(figures):
    table = table_of(figures)
    for accuracy, window in ((0, 5), (10, 5), (250, 5), (500, 10), (1000, 20), (5000, 20)):
        assert explain(table, 0, (51.5, -0.13, accuracy)).window_ms == pytest.approx(window)
    gateway = table_of(figures, routes=[RouteSpec("r", 0, leg="gateway-pop")], gateway=(50.0, 8.0))
    assert explain(gateway, 0, (51.5, -0.13, 5000)).window_ms == 5


def test_a_pop_that_is_gone_fails_over(figures):
    table = table_of(figures)
    set_admits(figures, table, par=0)
    assert outcome(table) == ("fra", "failover", ("nyc", "sin"))


def test_a_pop_without_endpoints_fails_over(figures):
    table = table_of(figures, n_endpoints=[2, 2, 2, 0])
    assert outcome(table) == ("fra", "failover", ("nyc", "sin"))


def test_a_worse_pop_that_is_gone_changes_no_reason(figures):
    table = table_of(figures)
    set_admits(figures, table, nyc=0)
    assert outcome(table) == ("par", "fastest", ("fra", "sin"))


def test_what_is_shed_spills_to_the_next_best(figures):
    table = table_of(figures)
    set_admits(figures, table, par=0.5)
    counts = draw(table, 0, LONDON, 10_000)
    assert counts["par"] / 10_000 == pytest.approx(0.5, abs=0.03)
    assert set(counts) == {"par", "fra"}
    found = {outcome(table, seed=seed) for seed in range(50)}
    # Passed over, it is the last of the fallbacks.
    assert found == {("par", "fastest", ("fra", "nyc")), ("fra", "spill", ("nyc", "sin"))}


def test_draws_refuse_nobody(figures):
    table = table_of(figures)
    set_admits(figures, table, fra=0.4, par=0.375, nyc=0.6, sin=0.5)
    counts = draw(table, 0, LONDON, 10_000)
    assert sum(counts.values()) == 10_000
    all_passed = 0.6 * 0.625 * 0.4 * 0.5
    assert counts["nyc"] / 10_000 == pytest.approx(0.625 * 0.6 * 0.6 + all_passed, abs=0.03)


def test_draws_of_two_pops_are_independent(figures):
    table = table_of(figures)
    set_admits(figures, table, par=0.5, fra=0.5)
    counts = draw(table, 0, LONDON, 10_000)
    assert [counts[name] / 10_000 for name in ("par", "fra", "nyc")] == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


def test_panic_ignores_health_and_goes_by_endpoints(figures):
    table = table_of(figures, n_endpoints=[1, 3, 0, 4])
    set_admits(figures, table, fra=0, nyc=0.3, par=0.125)
    assert explain(table, 0, LONDON).reason == "panic"
    counts = draw(table, 0, LONDON, 8000)
    assert [counts[name] / 1000 for name in ("fra", "nyc", "par")] == pytest.approx([1, 3, 4], abs=0.3)
    assert explain(table, 0, LONDON).candidates[2].why_not is None
    assert len(explain(table, 0, LONDON).fallbacks) == 2


def test_panic_goes_by_the_endpoints_that_answer(figures):
    table = table_of(figures, n_endpoints=[4, 3, 2, 9])
    set_admits(figures, table, fra=0, nyc=0, sin=0, par=0.1)
    for pop, answering in {"fra": 0, "nyc": 3, "sin": 5, "par": 3}.items():  # 5: of a table before
        figures.set_pool(pool_rows(table)[number_of(table, pop)], answering=answering)
    explained = explain(table, 0, LONDON)
    assert explained.reason == "panic"
    assert shares_of(explained) == pytest.approx({"nyc": 3 / 8, "sin": 2 / 8, "par": 3 / 8})
    assert candidate_of(explained, "fra").why_not == "none of its endpoints answers"
    assert surprises(draw(table, 0, LONDON, 20_000), shares_of(explained)) == {}
    assert "fra" not in explained.fallbacks
    for row in pool_rows(table):
        figures.set_pool(row, answering=0)
    assert shares_of(explain(table, 0, LONDON)) == pytest.approx({"fra": 4 / 18, "nyc": 3 / 18, "sin": 2 / 18, "par": 9 / 18})


def test_all_left_out_is_panic(figures):
    """Ready enough, but each drained automatically: better those than nobody."""
    table = table_of(figures, n_endpoints=[1, 3, 0, 4])
    for row in pool_rows(table):
        figures.set_pool(row, admit=0, availability=1)
    assert explain(table, 0, LONDON).reason == "panic"
    assert not surprises(draw(table, 0, LONDON, 8000), {"fra": 1 / 8, "nyc": 3 / 8, "par": 4 / 8})
    figures.set_pool(pool_rows(table)[1], admit=1 / 1024)
    assert draw(table, 0, LONDON, 1000) == {"nyc": 1000}


def test_half_of_one_pop_is_no_panic(figures):
    table = table_of(figures)
    set_admits(figures, table, fra=0.25, nyc=0.25, par=0, sin=0)
    assert set(draw(table, 0, LONDON, 1000)) == {"fra", "nyc"}
    set_admits(figures, table, nyc=0.249)
    assert explain(table, 0, LONDON).reason == "panic"


@pytest.mark.parametrize("health", [0, 1])
def test_jurisdiction_and_drains_hold_in_panic(figures, health):
    table = table_of(figures, drained=["par"], routes=[RouteSpec("r", 0, rules=(RuleSpec(frozenset({0, 3})),))])
    set_admits(figures, table, fra=health)
    assert outcome(table) == ("fra", "fastest" if health else "panic", ())


def test_nothing_permitted_is_a_failure(figures):
    for options in ({"routes": [RouteSpec("r", 0, rules=(RuleSpec(frozenset()),))]}, {"drained": ["fra", "nyc", "sin", "par"]}):
        table = table_of(figures, **options)
        explained = explain(table, 0, LONDON)
        assert (explained.error, explained.pop, explained.endpoint, explained.reason) == ("no_permitted_pop", None, None, "none")
        assert draw(table, 0, LONDON, 5) == {"": 5}


def test_no_endpoint_anywhere_is_another(figures):
    explained = explain(table_of(figures, n_endpoints=0), 0, LONDON)
    assert (explained.error, explained.pop, explained.fallbacks) == ("no_endpoint", None, ())


def test_without_a_place_the_configured_order_decides(figures):
    table = table_of(figures)
    figures.set_pool(pool_rows(table)[0], service_ms=500)
    assert outcome(table, None) == ("fra", "order", ("nyc", "sin"))
    set_admits(figures, table, fra=0)
    assert outcome(table, None) == ("nyc", "order", ("sin", "par"))
    set_admits(figures, table, nyc=0.5)
    assert draw(table, 0, None, 10_000)["sin"] / 10_000 == pytest.approx(0.5, abs=0.03)


def test_a_gateway_leg_needs_no_client_but_a_gateway(figures):
    routes = [RouteSpec("r", 0, leg="gateway-pop")]
    assert outcome(table_of(figures, routes=routes, gateway=(1.0, 104.0)), None) == ("sin", "fastest", ("fra", "par"))
    assert outcome(table_of(figures, routes=routes), LONDON) == ("fra", "order", ("nyc", "sin"))
