import pytest

from routing_core import Figures, RouteSpec, draw, explain
from routing_core._latency import great_circle_km
from routing_core._steer import EVIDENCE, FAILURES, REASONS
from routing_core._testing import add_to_pool
from tests.unit.routing_core.tables import pool_rows, table_of

LONDON = (51.5, -0.13, 10.0)
METZ = (49.12, 6.18, 10.0)  # fra 212 km, par 280 km: 1.4 ms apart


@pytest.fixture
def figures():
    return Figures(2)


def setup_pops(figures, table, **admits):
    names = [pop.name for pop in table.spec.pops]
    for name, admit in admits.items():
        figures.set_pool(pool_rows(table)[names.index(name)], admit=admit, availability=admit)


def outcome(table, location=LONDON, seed=1):
    explained = explain(table, 0, location, seed)
    return explained.pop, explained.reason, explained.fallbacks


def test_names_stand_where_the_enums_are():
    assert REASONS == ("none", "fastest", "window", "affinity", "spill", "failover", "panic", "order")
    assert FAILURES == (None, "no_permitted_pop", "no_endpoint")
    assert EVIDENCE == ("prior", "path")


def test_the_nearest_serves_and_the_next_ones_are_fallbacks(figures):
    assert outcome(table_of(figures)) == ("par", "fastest", ("fra", "nyc"))


def weight_of_paris():
    """Against Frankfurt's 1, as the head of _steer.pyx says."""
    excess = 0.02 * (great_circle_km(*METZ[:2], 48.86, 2.35) - great_circle_km(*METZ[:2], 50.11, 8.68))
    return (1 - excess / 5) ** 3


def test_near_equals_share(figures):
    table = table_of(figures)
    weight = weight_of_paris()
    assert 0.2 < weight < 0.6
    assert explain(table, 0, METZ).reason == "window"
    counts = draw(table, 0, METZ, 10_000)
    # Idle, the faster one wins unless the other was drawn twice.
    assert counts["par"] / 10_000 == pytest.approx((weight / (1 + weight)) ** 2, abs=0.02)
    assert set(counts) == {"fra", "par"}


def test_load_moves_traffic_within_the_window_only(figures):
    table = table_of(figures)
    add_to_pool(figures, pool_rows(table)[0], 1, in_flight=50)
    counts = draw(table, 0, METZ, 10_000)
    assert counts["fra"] / 10_000 == pytest.approx((1 / (1 + weight_of_paris())) ** 2, abs=0.03)
    add_to_pool(figures, pool_rows(table)[3], 0, in_flight=50)
    assert set(draw(table, 0, METZ, 1000)) == {"fra", "par"}


def test_a_window_of_zero_is_the_fastest_and_its_ties(figures):
    twins = (("one", 50.0, 8.0), ("two", 50.0, 8.0), ("three", 50.1, 8.0))
    table = table_of(figures, twins, routes=[RouteSpec("r", 0, window_ms=0)])
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
    setup_pops(figures, table, par=0)
    assert outcome(table) == ("fra", "failover", ("nyc", "sin"))


def test_a_pop_without_endpoints_fails_over(figures):
    table = table_of(figures, n_endpoints=[2, 2, 2, 0])
    assert outcome(table) == ("fra", "failover", ("nyc", "sin"))


def test_a_worse_pop_that_is_gone_changes_no_reason(figures):
    table = table_of(figures)
    setup_pops(figures, table, nyc=0)
    assert outcome(table) == ("par", "fastest", ("fra", "sin"))


def test_what_is_shed_spills_to_the_next_best(figures):
    table = table_of(figures)
    setup_pops(figures, table, par=0.25)
    counts = draw(table, 0, LONDON, 10_000)
    assert counts["par"] / 10_000 == pytest.approx(0.25, abs=0.03)
    assert set(counts) == {"par", "fra"}
    found = {outcome(table, seed=seed) for seed in range(50)}
    # Passed over, it is the last of the fallbacks.
    assert found == {("par", "fastest", ("fra", "nyc")), ("fra", "spill", ("nyc", "sin"))}


def test_draws_refuse_nobody(figures):
    table = table_of(figures)
    setup_pops(figures, table, fra=0.2, par=0.1, nyc=0.4, sin=0.3)
    counts = draw(table, 0, LONDON, 10_000)
    assert sum(counts.values()) == 10_000
    all_passed = 0.8 * 0.9 * 0.6 * 0.7
    assert counts["nyc"] / 10_000 == pytest.approx(0.9 * 0.8 * 0.4 + all_passed, abs=0.03)


def test_draws_of_two_pops_are_independent(figures):
    table = table_of(figures)
    setup_pops(figures, table, par=0.5, fra=0.5)
    counts = draw(table, 0, LONDON, 10_000)
    assert [counts[name] / 10_000 for name in ("par", "fra", "nyc")] == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


def test_panic_ignores_health_and_goes_by_endpoints(figures):
    table = table_of(figures, n_endpoints=[1, 3, 0, 4])
    setup_pops(figures, table, fra=0, nyc=0.3, par=0.125)
    assert explain(table, 0, LONDON).reason == "panic"
    counts = draw(table, 0, LONDON, 8000)
    assert [counts[name] / 1000 for name in ("fra", "nyc", "par")] == pytest.approx([1, 3, 4], abs=0.3)
    assert explain(table, 0, LONDON).candidates[2].why_not is None
    assert len(explain(table, 0, LONDON).fallbacks) == 2


def test_half_of_one_pop_is_no_panic(figures):
    table = table_of(figures)
    setup_pops(figures, table, fra=0.25, nyc=0.25, par=0, sin=0)
    assert set(draw(table, 0, LONDON, 1000)) == {"fra", "nyc"}
    setup_pops(figures, table, nyc=0.249)
    assert explain(table, 0, LONDON).reason == "panic"


@pytest.mark.parametrize("health", [0, 1])
def test_jurisdiction_and_drains_hold_in_panic(figures, health):
    table = table_of(figures, drained=["par"], routes=[RouteSpec("r", 0, permitted_pops=frozenset({0, 3}))])
    setup_pops(figures, table, fra=health)
    assert outcome(table) == ("fra", "fastest" if health else "panic", ())


def test_nothing_permitted_is_a_failure(figures):
    for options in ({"routes": [RouteSpec("r", 0, permitted_pops=frozenset())]}, {"drained": ["fra", "nyc", "sin", "par"]}):
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
    setup_pops(figures, table, fra=0)
    assert outcome(table, None) == ("nyc", "order", ("sin", "par"))
    setup_pops(figures, table, nyc=0.5)
    assert draw(table, 0, None, 10_000)["sin"] / 10_000 == pytest.approx(0.5, abs=0.03)


def test_a_gateway_leg_needs_no_client_but_a_gateway(figures):
    routes = [RouteSpec("r", 0, leg="gateway-pop")]
    assert outcome(table_of(figures, routes=routes, gateway=(1.0, 104.0)), None) == ("sin", "fastest", ("fra", "par"))
    assert outcome(table_of(figures, routes=routes), LONDON) == ("fra", "order", ("nyc", "sin"))
