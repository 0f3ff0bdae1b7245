"""Shares that are worked out against what is drawn: each situation by name, then any."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import (
    CLIENT,
    HERE,
    METZ,
    high,
    kept_table,
    load,
    pool_rows,
    set_sheds,
    set_times,
    shares_of,
    surprises,
    table_of,
    together,
)

N = 40_000
# From Metz: fra first, the others 1.4, 3.4 and 5.4 ms further; the last is beyond a window.
SITES = [("fra", 50.11, 8.68), ("par", 48.86, 2.35), ("ams", 52.37, 4.9), ("lon", 51.5, -0.13)]
NAMES = [name for name, _, _ in SITES]
SCALE = 1024


def gates(figures, table, /, **by_name):
    for name, fields in by_name.items():
        figures.set_pool(pool_rows(table)[NAMES.index(name)], **fields)


def shed_and_room(figures):
    table = table_of(figures, SITES, of_pools=high(par=10), of_pops=high(ams=20, lon=8))
    load(figures, table, "par", 7)
    load(figures, table, "ams", 2)
    load(figures, table, "lon", 1)
    set_sheds(figures, table, fra=0.5, par=0.75)
    return table


def full_and_shed(figures):
    table = table_of(figures, SITES, of_pools=high(fra=10, ams=5))
    load(figures, table, "fra", 10)
    load(figures, table, "ams", 4)
    set_sheds(figures, table, par=0.25, ams=0.25)
    return table


def several_full(figures):
    table = table_of(figures, SITES, of_pools=high(fra=1, par=1, ams=3))
    for name in ("fra", "par"):
        load(figures, table, name, 1)
    set_sheds(figures, table, ams=0.5)
    return table


def half_there_and_full(figures):
    """Frankfurt is passed over for two causes: by half of the requests for its availability, by the others for lack of room."""
    table = table_of(figures, SITES, of_pools=high(fra=5))
    gates(figures, table, fra={"admit": 0.5, "availability": 0.5})
    load(figures, table, "fra", 5)
    return table


def all_shed(figures):
    table = table_of(figures, SITES)
    set_sheds(figures, table, fra=0.1, par=0.3, ams=0.2, lon=0.2)
    return table


def ramps_and_weights(figures):
    table = table_of(figures, SITES, n_endpoints=[1, 2, 3, 1], of_pools={"fra": {"weight": 3}, "ams": {"weight": 10}})
    gates(figures, table, par={"admit": 0.1, "ramp": 0.1}, ams={"admit": 0.5, "availability": 0.5})
    return table


def penalties(figures):
    table = table_of(figures, SITES)
    gates(figures, table, fra={"penalty_ms": 2.5}, par={"penalty_ms": 500})
    return table


def busy(figures):
    table = table_of(figures, SITES, n_endpoints=[2, 1, 4, 1])
    for name, n in (("fra", 4), ("par", 1), ("ams", 1)):
        load(figures, table, name, n)
    return table


def changing(figures):
    """Two versions, in which another one is the fastest and the windows are others, while a part is shed."""
    table = table_of(figures, SITES)
    set_times(figures, table, fra=1, par=1, ams=0, lon=0)
    for version in (5, 6):
        set_times(figures, table, version, fra=9, par=1, ams=0, lon=0)
    figures.set_phase(6 * SCALE + 300)
    set_sheds(figures, table, fra=0.5, ams=0.75)
    return table


def changing_and_full(figures):
    table = table_of(figures, SITES, of_pops=high(fra=3, ams=5))
    set_times(figures, table, fra=0, par=0, ams=0, lon=0)
    for version in (1, 2, 3):
        set_times(figures, table, version, fra=3 * version, par=0, ams=0, lon=0)
    figures.set_phase(3 * SCALE + 512)
    load(figures, table, "fra", 3)
    load(figures, table, "ams", 2)
    return table


def ordered(figures):
    """Nothing is known: the gateway has no place."""
    table = table_of(figures, SITES, routes=[RouteSpec("r", 0, leg="gateway-pop")], of_pools=high(par=1))
    load(figures, table, "par", 1)
    set_sheds(figures, table, fra=0.5, ams=0.5)
    return table


def panic_and_full(figures):
    table = table_of(figures, SITES, n_endpoints=[1, 2, 3, 4], of_pools=high(ams=2))
    gates(figures, table, **{name: {"admit": 0.1, "availability": 0.1} for name in NAMES})
    load(figures, table, "ams", 2)
    return table


def hashed(figures):
    routes = [RouteSpec("r", 0, affinity=AffinitySpec("client", within_ms=20))]
    return table_of(figures, SITES, n_endpoints=[1, 2, 3, 4], routes=routes)


def hashed_and_shed(figures):
    table = table_of(figures, SITES, routes=[RouteSpec("r", 0, affinity=AffinitySpec("header", "x"))], of_pools=high(lon=10))
    set_sheds(figures, table, fra=0.5, par=0.25)
    return table


def hashed_and_changing(figures):
    table = table_of(figures, SITES, routes=[RouteSpec("r", 0, affinity=AffinitySpec("client"))])
    set_times(figures, table, fra=0, par=0, ams=0, lon=0)
    set_times(figures, table, 3, fra=4, par=0, ams=0, lon=0)
    figures.set_phase(3 * SCALE + 512)
    set_sheds(figures, table, par=0.5)
    return table


def by_jurisdiction(figures):
    rules = (RuleSpec(frozenset({1, 2, 3}), frozenset({"FR"})), RuleSpec(frozenset({0})))
    table = table_of(figures, SITES, routes=[RouteSpec("r", 0, rules=rules)], of_pools=high(par=1))
    load(figures, table, "par", 1)
    set_sheds(figures, table, ams=0.5)
    return table


def by_pin(figures):
    """Passed over by both of the pin: as for anyone else, for whom Paris is the fastest and Frankfurt the first in the configuration."""
    table = table_of(figures, SITES, pins=[(3, 2)])
    set_times(figures, table, fra=3)
    set_sheds(figures, table, lon=0.25, ams=0.5, par=0.5)
    return table


SITUATIONS = [
    shed_and_room, full_and_shed, several_full, half_there_and_full, all_shed, ramps_and_weights, penalties, busy, changing,
    changing_and_full, ordered, panic_and_full, hashed, hashed_and_shed, hashed_and_changing, by_jurisdiction, by_pin,
]  # fmt: skip


def drawn(table, n=N, seed=3, **facts):
    """n requests; under affinity each of another client."""
    affinity = table.spec.routes[0].affinity
    if affinity is None or affinity.by == "cookie":
        return draw(table, 0, METZ, n, seed, **facts)
    counts = {}
    for key in range(seed, seed + n // 4):
        (pop,) = draw(table, 0, METZ, 1, key, **{**facts, "client_key": key, "header_key": key})
        counts[pop] = counts.get(pop, 0) + 1
    return counts


@pytest.mark.parametrize("n", [2, 40, 300])
def test_shares_of_many_near_equals(n):
    """All alike and all there: each is drawn as often, and the first has more to do than the others."""
    figures = Figures(1)
    names = [f"p{number}" for number in range(n)]
    for affinity in (None, CLIENT):
        table = kept_table(figures, affinity, together(*names), n_endpoints=1)
        load(figures, table, "p0", 1)
        shares = [each.share for each in explain(table, 0, HERE, client_key=1).candidates]
        assert shares == pytest.approx([1 / n] * n, rel=1e-9)


def test_shares_of_many_that_admit_half():
    n = 60
    figures = Figures(1)
    for affinity in (None, CLIENT):
        table = kept_table(figures, affinity, together(*(f"p{number}" for number in range(n))), n_endpoints=1)
        for number, row in enumerate(pool_rows(table)):
            figures.set_pool(row, admit=0.5, availability=0.5)
            load(figures, table, f"p{number}", n - number)  # whoever is drawn has less to do than the best
        shares = [each.share for each in explain(table, 0, HERE, client_key=1).candidates]
        assert shares == pytest.approx([1 / n] * n, rel=1e-9)


def test_shares_of_very_unequal_sizes():
    figures = Figures(1)
    for affinity in (None, CLIENT):
        table = kept_table(figures, affinity, together("big", "small"), n_endpoints=[200, 1])
        figures.set_pool(pool_rows(table)[0], admit=0.5, availability=0.5)
        load(figures, table, "big", 1)
        expected = {"big": 0.5 * (200 / 201), "small": 0.5 + 0.5 / 201}
        assert shares_of(explain(table, 0, HERE, client_key=1)) == pytest.approx(expected, rel=1e-9)


def test_shares_of_very_unequal_weights():
    """Both are drawn; at equal cost the first of the two serves, so each has its part of the weights."""
    table = table_of(Figures(1), together("big", "small"), n_endpoints=1, of_pools={"big": {"weight": 1000}})
    assert shares_of(explain(table, 0, HERE)) == pytest.approx({"big": 1000 / 1001, "small": 1 / 1001}, rel=1e-9)


FACTS = {"country": "FR", "continent": "EU", "pin": 1, "client_key": 1, "header_key": 1}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_shares_are_what_is_drawn(situation):
    table = situation(Figures(2))
    counts = drawn(table, **FACTS)
    for seed in (1, 2, 3):  # the pick named may be any of them: the shares are of all
        shares = shares_of(explain(table, 0, METZ, seed, **FACTS))
        assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
        assert not surprises(counts, shares)
    assert max(shares.values()) < 1  # or there would be nothing to see


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_has_no_share_says_why(situation):
    table = situation(Figures(2))
    for seed in range(20):
        explained = explain(table, 0, METZ, seed, **FACTS)
        for each in explained.candidates:
            assert each.share > 0 or each.why_not
            assert each.share > 0 or each.pop != explained.pop


GATES = st.fixed_dictionaries(
    {},
    optional={
        "availability": st.sampled_from([0.0, 0.25, 0.5]),
        "shed": st.sampled_from([0.0, 0.25, 0.75]),
        "ramp": st.sampled_from([0.125, 0.5]),
        "penalty_ms": st.sampled_from([0.5, 3.0, 400.0]),
    },
)
VERSIONS = st.dictionaries(st.integers(0, 7), st.lists(st.sampled_from([0.0, 0.5, 2.0, 9.0]), min_size=4, max_size=4), max_size=3)


@settings(max_examples=25)
@given(
    fields=st.lists(GATES, min_size=4, max_size=4),
    in_flight=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    highs=st.lists(st.sampled_from([0, 0, 3, 6]), min_size=4, max_size=4),
    of=st.sampled_from(["of_pops", "of_pools"]),
    weights=st.lists(st.integers(1, 3), min_size=4, max_size=4),
    versions=VERSIONS,
    phase=st.integers(0, 20_000),
    pin=st.sampled_from([(), (), (2, 1)]),
    affinity=st.sampled_from([None, None, AffinitySpec("client")]),
)
def test_shares_are_what_is_drawn_in_any_situation(fields, in_flight, highs, of, weights, versions, phase, pin, affinity):
    figures = Figures(2)
    options = {name: {} for name in NAMES}
    for name, most, weight in zip(NAMES, highs, weights, strict=True):
        options[name] = {"high": most} if of == "of_pops" else {"high": most, "weight": weight}
    table = table_of(figures, SITES, **{of: options}, routes=[RouteSpec("r", 0, affinity=affinity)], pins=[pin])
    for number, (name, gate) in enumerate(zip(NAMES, fields, strict=True)):
        availability, shed, ramp = (gate.get(factor, 1.0) for factor in ("availability", "shed", "ramp"))
        gates(figures, table, **{name: {**gate, "admit": max(availability * shed * ramp, 1 / SCALE) if availability else 0.0}})
        if affinity is None:  # how many are in flight is not in the shares of who goes by a hash
            load(figures, table, name, in_flight[number], worker=number % 2)
    for version, times in versions.items():
        set_times(figures, table, version, **dict(zip(NAMES, times, strict=True)))
    figures.set_phase(phase)
    shares = shares_of(explain(table, 0, METZ, pin=1, client_key=1))
    assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    assert not surprises(drawn(table, 8000, pin=1), shares)
