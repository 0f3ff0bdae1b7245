"""Pins: the clients of a prefix go to the first of its PoPs that can serve. None can: the decision of anyone else."""

import pytest

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import CITIES, LONDON, high, load, set_admits, set_times, shares_of, surprises, table_of

FRA, NYC, SIN, PAR = range(4)
PLACES = [LONDON, None]
N = 20_000


@pytest.fixture
def figures():
    return Figures(2)


def pinned(figures, *pops, **options):
    return table_of(figures, pins=[(PAR,), pops], **options)


def asked(table, location=LONDON, pin=2, seed=1):
    explained = explain(table, 0, location, seed, pin=pin)
    return explained.pop, explained.reason, explained.fallbacks


@pytest.mark.parametrize("location", PLACES)
def test_the_first_of_the_pin_serves_however_slow(figures, location):
    table = pinned(figures, SIN, NYC)
    set_times(figures, table, sin=900)
    assert asked(table, location)[:2] == ("sin", "order")
    assert asked(table, location)[2][0] == "nyc"
    assert draw(table, 0, location, 1000, pin=2) == {"sin": 1000}


@pytest.mark.parametrize("location", PLACES)
def test_each_pin_is_its_own(figures, location):
    table = pinned(figures, SIN, NYC)
    assert asked(table, location, pin=1)[:2] == ("par", "order")
    assert asked(table, LONDON, pin=0) == ("par", "fastest", ("fra", "nyc"))


@pytest.mark.parametrize("pin", [-1, 3, 2**31 - 1])
def test_a_pin_that_is_not_in_the_table_pins_nobody(figures, pin):
    """Locations and tables are made one after the other: a number may be older or newer than the table."""
    assert asked(pinned(figures, SIN), pin=pin) == ("par", "fastest", ("fra", "nyc"))


@pytest.mark.parametrize("location", PLACES)
def test_what_cannot_serve_is_left_out_in_order(figures, location):
    table = pinned(figures, SIN, NYC, FRA)
    set_admits(figures, table, sin=0)
    assert asked(table, location)[:2] == ("nyc", "order")
    set_admits(figures, table, nyc=0)
    assert asked(table, location)[:2] == ("fra", "order")


def test_an_empty_pool_is_left_out(figures):
    assert asked(pinned(figures, SIN, NYC, n_endpoints=[2, 2, 0, 2]))[0] == "nyc"


def test_none_that_can_serve_is_no_pin(figures):
    table = pinned(figures, SIN, NYC)
    set_admits(figures, table, sin=0, nyc=0)
    for location, seeds in ((LONDON, 20), (None, 1)):
        for seed in range(seeds):
            one, other = explain(table, 0, location, seed, pin=2), explain(table, 0, location, seed)
            assert one[:-1] == other[:-1]
            assert shares_of(one) == shares_of(other)
            assert draw(table, 0, location, 100, seed, pin=2) == draw(table, 0, location, 100, seed)


def test_a_pin_to_nothing_is_no_pin(figures):
    table = pinned(figures)
    assert explain(table, 0, LONDON, pin=2) == explain(table, 0, LONDON)


@pytest.mark.parametrize("location", PLACES)
def test_jurisdiction_and_drains_hold(figures, location):
    routes = [RouteSpec("r", 0, rules=(RuleSpec(frozenset({FRA, NYC, PAR})),))]
    table = pinned(figures, SIN, NYC, FRA, drained=["nyc"], routes=routes)
    assert asked(table, location) == ("fra", "order", ("par",))
    only_forbidden = pinned(figures, SIN, NYC, drained=["nyc"], routes=routes)
    assert explain(only_forbidden, 0, location, pin=2) == explain(only_forbidden, 0, location)


@pytest.mark.parametrize("location", PLACES)
def test_what_the_first_sheds_goes_to_the_second(figures, location):
    table = pinned(figures, SIN, NYC)
    set_admits(figures, table, sin=0.375)
    counts = draw(table, 0, location, N, pin=2)
    assert not surprises(counts, {"sin": 0.375, "nyc": 0.625})


def test_passed_over_by_all_of_the_pin_is_decided_as_anyone(figures):
    """By latency, not in the configured order, in which Frankfurt comes before Paris."""
    table = pinned(figures, SIN, NYC)
    set_admits(figures, table, sin=0.5, nyc=0.5)
    counts = draw(table, 0, LONDON, N, pin=2)
    assert not surprises(counts, {"sin": 0.5, "nyc": 0.25, "par": 0.25})
    counts = draw(table, 0, None, N, pin=2)
    assert not surprises(counts, {"sin": 0.5, "nyc": 0.25, "fra": 0.25})


def test_passed_over_by_a_pin_a_gateway_without_a_place_goes_by_the_order(figures):
    """Nothing is known about any path: the configured order decides, pinned or not."""
    table = pinned(figures, SIN, routes=[RouteSpec("r", 0, leg="gateway-pop")])
    set_admits(figures, table, sin=0.5)
    counts = draw(table, 0, LONDON, N, pin=2)
    assert not surprises(counts, {"sin": 0.5, "fra": 0.5})


def test_panic_pins_nobody(figures):
    """Nobody knows which of them can serve."""
    table = pinned(figures, SIN, NYC)
    set_admits(figures, table, fra=0, nyc=0.25, sin=0.125, par=0)
    assert explain(table, 0, LONDON, pin=2) == explain(table, 0, LONDON)
    assert not surprises(draw(table, 0, LONDON, N, pin=2), dict.fromkeys(["fra", "nyc", "sin", "par"], 0.25))


@pytest.mark.parametrize("location", PLACES)
def test_a_full_first_leaves_it_to_the_second(figures, location):
    table = pinned(figures, SIN, NYC, of_pools=high(sin=4))
    load(figures, table, "sin", 4)
    assert draw(table, 0, location, 500, pin=2) == {"nyc": 500}


def test_all_of_the_pin_full_is_decided_as_anyone(figures):
    table = pinned(figures, SIN, NYC, of_pools=high(sin=4, nyc=4))
    for name in ("sin", "nyc"):
        load(figures, table, name, 4)
    assert draw(table, 0, LONDON, 500, pin=2) == {"par": 500}
    assert shares_of(explain(table, 0, LONDON, pin=2)) == {"par": 1.0}
    assert draw(table, 0, None, 500, pin=2) == {"fra": 500}


def test_a_pin_holds_against_a_cookie_and_a_hash(figures):
    for affinity in (AffinitySpec("cookie", "pop"), AffinitySpec("header", "x-user"), AffinitySpec("client")):
        table = pinned(figures, SIN, routes=[RouteSpec("r", 0, affinity=affinity, window_ms=500)])
        for key in range(1, 20):
            assert explain(table, 0, LONDON, pin=2, kept="nyc", client_key=key, header_key=key)[6:9:2] == ("sin", "order")


def test_without_one_that_serves_the_cookie_counts_again(figures):
    table = pinned(figures, SIN, routes=[RouteSpec("r", 0, affinity=AffinitySpec("cookie", "pop"))])
    set_admits(figures, table, sin=0)
    explained = explain(table, 0, LONDON, pin=2, kept="nyc")
    assert (explained.pop, explained.reason) == ("nyc", "affinity")


def test_the_order_is_explained(figures):
    table = pinned(figures, SIN, NYC)
    found = explain(table, 0, LONDON, pin=2).candidates
    assert [each.pop for each in found] == ["sin", "nyc", "fra", "par"]
    assert [each.share for each in found] == [1.0, 0.0, 0.0, 0.0]
    assert [each.why_not for each in found] == [None, *["later in the pin's order"] * 3]


ADMITS = [
    {},
    {"sin": 0.5},
    {"sin": 0.5, "nyc": 0.25},
    {"sin": 0.25, "nyc": 0.5, "par": 0.5},
    {"sin": 0.125, "nyc": 0, "par": 0.25, "fra": 0.5},
    {"sin": 0},
    {"sin": 0, "nyc": 0, "par": 0.5},
]


@pytest.mark.parametrize("admits", ADMITS)
@pytest.mark.parametrize("location", PLACES)
def test_shares_are_what_is_drawn(figures, location, admits):
    table = pinned(figures, SIN, NYC, pops=(*CITIES, ("ams", 52.37, 4.9)))
    set_admits(figures, table, **admits)
    for seed in (1, 2, 3):  # passed over or not by the pick named: shares are the same
        shares = shares_of(explain(table, 0, location, seed, pin=2))
        assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
        assert not surprises(draw(table, 0, location, N, 7, pin=2), shares)


def test_passed_over_by_the_pin_and_all_others_full_is_the_pins_again(figures):
    """Of two that admit as little, the pin's first: Paris is nearer."""
    table = pinned(figures, SIN, PAR, n_endpoints=[2, 0, 2, 2], of_pools=high(fra=4))
    load(figures, table, "fra", 4)
    set_admits(figures, table, sin=0.5, par=0.5)
    assert not surprises(draw(table, 0, LONDON, N, pin=2), {"sin": 0.75, "par": 0.25})
    assert shares_of(explain(table, 0, LONDON, pin=2)) == pytest.approx({"sin": 0.75, "par": 0.25}, abs=1e-9)
