"""Capacity: what is shed, where it goes, and that nobody is sent to a PoP that has as much in flight as it may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import (
    HERE,
    LONDON,
    both_drawn_shares,
    candidate_of,
    high,
    load,
    pool_rows,
    set_admits,
    set_sheds,
    set_times,
    shares_of,
    surprises,
    table_of,
    together,
)

N = 20_000
NAMES = ("fra", "nyc", "sin", "par")


@pytest.fixture
def figures():
    return Figures(3)


def outcome(table, location=LONDON, seed=1, **facts):
    explained = explain(table, 0, location, seed, **facts)
    return explained.pop, explained.reason, explained.fallbacks


# --- Full: as counted at the decision itself ---


def test_a_full_one_of_the_window_leaves_it_to_the_others(figures):
    table = table_of(figures, together("a", "b", "c"), of_pools=high(b=1))
    load(figures, table, "a", 2)
    assert set(draw(table, 0, HERE, 1000)) == {"a", "b", "c"}
    load(figures, table, "b", 1)
    counts = draw(table, 0, HERE, N)
    assert not surprises(counts, {"a": 0.5, "c": 0.5})  # the loaded one, when it is drawn itself


def test_a_full_one_far_away_changes_no_pick(figures):
    table = table_of(figures, of_pools=high(nyc=1))
    load(figures, table, "nyc", 1)
    assert outcome(table)[:2] == ("par", "fastest")
    assert draw(table, 0, LONDON, 500) == {"par": 500}


def test_no_fallback_is_full_while_another_has_room(figures):
    """A request that fails over must not fill up either who has no room."""
    table = table_of(figures, of_pools=high(fra=1))
    assert outcome(table) == ("par", "fastest", ("fra", "nyc"))
    load(figures, table, "fra", 1)
    assert outcome(table) == ("par", "fastest", ("nyc", "sin"))
    set_admits(figures, table, fra=0, nyc=0, sin=0, par=0)
    for seed in range(20):
        pop, reason, fallbacks = outcome(table, seed=seed)
        assert reason == "panic"
        assert {pop, *fallbacks} == {"par", "nyc", "sin"}


def test_one_after_the_other_fills(figures):
    table = table_of(figures, of_pools=high(fra=1, nyc=1, sin=1, par=1))
    left = {*NAMES}
    for name in ("par", "fra", "nyc", "sin"):
        counts = draw(table, 0, LONDON, 1000)
        assert set(counts) <= left
        assert max(counts, key=counts.get) == name
        load(figures, table, name, 1)
        left.remove(name)


@pytest.mark.parametrize("location", [LONDON, None])
def test_when_all_are_full_the_least_filled_takes_it(figures, location):
    table = table_of(figures, of_pools=high(fra=10, nyc=10, sin=100), of_pops=high(par=10))
    for name, n in (("fra", 13), ("nyc", 12), ("sin", 119), ("par", 14)):
        load(figures, table, name, n)
    assert draw(table, 0, location, 500) == {"sin": 500}  # 1.19 of what it may have
    load(figures, table, "sin", 2)
    assert draw(table, 0, location, 500) == {"nyc": 500}
    set_sheds(figures, table, fra=0, nyc=0, sin=0, par=0)  # as soon as control has seen it
    assert draw(table, 0, location, 500) == {"nyc": 500}


def test_only_what_is_permitted_and_available_has_room(figures):
    rules = (RuleSpec(frozenset({0, 2, 3})),)
    table = table_of(figures, drained=["sin"], routes=[RouteSpec("r", 0, rules=rules)], of_pools=high(fra=1, par=1))
    load(figures, table, "fra", 3)
    load(figures, table, "par", 2)
    assert draw(table, 0, LONDON, 500) == {"par": 500}
    set_admits(figures, table, par=0)
    assert draw(table, 0, LONDON, 500) == {"fra": 500}


def test_a_full_pop_is_passed_over_in_the_configured_order(figures):
    table = table_of(figures, of_pools=high(fra=1, nyc=1))
    load(figures, table, "fra", 1)
    assert outcome(table, None) == ("nyc", "order", ("sin", "par"))
    load(figures, table, "nyc", 1)
    assert draw(table, 0, None, 100) == {"sin": 100}


@pytest.mark.parametrize("admits", [{"fra": 0.1, "par": 0.1}, {"fra": 0, "par": 0.1}, {"fra": 0, "par": 0}])
def test_panic_ignores_health_but_no_capacity(figures, admits):
    table = table_of(figures, of_pools=high(par=1))
    set_admits(figures, table, nyc=0, sin=0, **admits)
    load(figures, table, "par", 1)
    assert explain(table, 0, LONDON).reason == "panic"
    counts = draw(table, 0, LONDON, N)
    assert not surprises(counts, dict.fromkeys(["fra", "nyc", "sin"], 1 / 3))
    assert not surprises(counts, shares_of(explain(table, 0, LONDON)))


def test_in_panic_with_all_full_the_least_filled_takes_it(figures):
    table = table_of(figures, of_pools=high(fra=10, nyc=10, sin=10, par=10))
    set_admits(figures, table, fra=0, nyc=0, sin=0, par=0)
    for name, n in (("fra", 13), ("nyc", 12), ("sin", 11), ("par", 14)):
        load(figures, table, name, n)
    assert draw(table, 0, LONDON, 500) == {"sin": 500}


def test_a_full_one_is_the_last_of_the_fallbacks(figures):
    table = table_of(figures, of_pools=high(par=1))
    load(figures, table, "par", 1)
    assert outcome(table)[2] == ("nyc", "sin")
    rules = (RuleSpec(frozenset({0, 3})),)
    pair = table_of(figures, of_pools=high(par=1), routes=[RouteSpec("r", 0, rules=rules)])
    load(figures, pair, "par", 1)
    assert outcome(pair)[2] == ("par",)


@given(
    in_flight=st.lists(st.integers(0, 12), min_size=4, max_size=4),
    highs=st.lists(st.integers(0, 10), min_size=4, max_size=4),
    of=st.sampled_from(["of_pops", "of_pools"]),
    admits=st.lists(st.sampled_from([0.0, 0.4, 1.0]), min_size=4, max_size=4),
    location=st.sampled_from([LONDON, None, HERE]),
    window=st.sampled_from([0.0, 5.0, 500.0]),
    affinity=st.sampled_from([None, AffinitySpec("cookie", "c"), AffinitySpec("client")]),
    seed=st.integers(0, 2**31),
)
def test_nobody_is_sent_above_the_mark_while_another_has_room(in_flight, highs, of, admits, location, window, affinity, seed):
    figures = Figures(3)
    options = {of: high(**dict(zip(NAMES, highs, strict=True)))}
    table = table_of(figures, routes=[RouteSpec("r", 0, window_ms=window, affinity=affinity)], **options)
    for number, name in enumerate(NAMES):
        load(figures, table, name, in_flight[number], worker=number % 3)
    set_admits(figures, table, **dict(zip(NAMES, admits, strict=True)))
    is_panic = sum(admits) < 0.5
    free = {
        name: 1 - in_flight[number] / highs[number] if highs[number] else 1.0
        for number, name in enumerate(NAMES)
        if admits[number] or is_panic
    }
    with_room = {name for name, share in free.items() if share > 0}
    facts = {"client_key": seed + 1, "kept": NAMES[seed % 4]}
    picks = set(draw(table, 0, location, 40, seed, **facts)) | set(shares_of(explain(table, 0, location, seed, **facts)))
    if with_room:
        assert picks <= with_room
    else:
        assert {free[name] for name in picks} == {max(free.values())}


# --- Shed: as control publishes it ---


def spill_from_par(table):
    """What the others have of what Paris sheds: nothing is in flight, so a pick is the nearer of two that are drawn."""
    estimates = {each.pop: each.estimate_ms for each in explain(table, 0, LONDON).candidates if each.pop != "par"}
    weights = farther(estimates, "fra")
    return {name: share * 1023 / 1024 for name, share in both_drawn_shares(weights, estimates).items()}


def test_what_is_shed_spills(figures):
    table = table_of(figures)
    set_sheds(figures, table, par=0.25)
    counts = draw(table, 0, LONDON, N)
    assert not surprises(counts, shares_of(explain(table, 0, LONDON)))
    assert counts["par"] / N == pytest.approx(0.25, abs=0.02)
    assert counts["fra"] > counts["nyc"] > 0
    assert {each.pop: each.share for each in explain(table, 0, LONDON).candidates}["sin"] > 0
    found = {outcome(table, seed=seed) for seed in range(50)}
    assert found >= {("par", "fastest", ("fra", "nyc")), ("fra", "spill", ("nyc", "sin"))}
    assert {reason for pop, reason, _ in found if pop != "par"} == {"spill"}


def test_what_sheds_everything_is_passed_over_not_gone(figures):
    """Its share of a thousandth keeps the reason: it is full, not down."""
    table = table_of(figures)
    set_sheds(figures, table, par=0)
    assert not surprises(draw(table, 0, LONDON, N), {"par": 1 / 1024, **spill_from_par(table)})
    assert outcome(table)[:2] == ("fra", "spill")


@pytest.mark.parametrize(("limits", "shed"), [({}, "queue 0.25"), ({"par": 1000}, "headroom 0.25")], ids=["no capacity", "capacity"])
def test_why_a_pop_was_passed_over_is_the_least_factor(figures, limits, shed):
    table = table_of(figures, of_pools=high(**limits))
    row = pool_rows(table)[3]
    for least, told in (({"shed": 0.25}, shed), ({"ramp": 0.125}, "ramp 0.12"), ({"availability": 0.5}, "availability 0.50")):
        figures.set_pool(row, **{"availability": 1, "shed": 1, "ramp": 1, **least, "admit": min(least.values())})
        explained = next(found for seed in range(50) if (found := explain(table, 0, LONDON, seed)).pop == "fra")
        assert explained.reason == ("ramp" if "ramp" in least else "spill")
        found = candidate_of(explained, "par")
        assert found.why_not == f"passed over: {told}"
        assert (found.availability, found.shed, found.ramp) == tuple(least.get(name, 1.0) for name in ("availability", "shed", "ramp"))
        assert found.admit == found.share == min(least.values())


def test_a_ramp_is_the_reason_where_it_keeps_most_away(figures):
    table = table_of(figures)
    row = pool_rows(table)[3]
    for gate, reason in (
        ({"ramp": 0.5, "shed": 0.25}, "spill"),
        ({"ramp": 0.25, "shed": 0.5}, "ramp"),
        ({"ramp": 0.25, "shed": 0.25}, "spill"),
        ({"ramp": 0.25, "availability": 0.5}, "ramp"),
    ):
        figures.set_pool(row, **{"availability": 1, "shed": 1, "ramp": 1, **gate, "admit": 1 / 8})
        assert {explain(table, 0, LONDON, seed).reason for seed in range(50)} == {"fastest", reason}


def test_who_is_let_in_by_its_ramp_and_is_full_is_short_of_room(figures):
    table = table_of(figures, of_pools=high(par=1))
    figures.set_pool(pool_rows(table)[3], availability=1, shed=1, ramp=0.25, admit=0.25)
    load(figures, table, "par", 1)
    assert {explain(table, 0, LONDON, seed).reason for seed in range(50)} == {"ramp", "spill"}


# --- Spill: among all others, by room and nearness ---

LINE = [("a", 0.0, 0.0), ("b", 0.0, 1.0), ("c", 0.0, 3.5), ("d", 0.0, 12.0)]
AT_A = (0.0, 0.0, 0.0)  # b lies 2.2 ms further, c 7.8, d 26.7


def line(figures, window=5.0, **options):
    return table_of(figures, LINE, n_endpoints=1, routes=[RouteSpec("r", 0, window_ms=window)], **options)


def farther(estimates, best):
    return {name: ((estimates[best] + 1) / (ms + 1)) ** 3 for name, ms in estimates.items() if ms >= estimates[best]}


def estimates_of(table):
    return {each.pop: each.estimate_ms for each in explain(table, 0, AT_A).candidates}


@pytest.mark.parametrize("cause", ["shed", "full"])
def test_a_spill_knows_no_window(figures, cause):
    table = line(figures, of_pools=high(a=1) if cause == "full" else {})
    load(figures, table, "b", 5)
    assert set(draw(table, 0, AT_A, 1000)) == {"a"}
    if cause == "full":
        load(figures, table, "a", 1)
    else:
        set_sheds(figures, table, a=0)
    estimates = estimates_of(table)
    assert estimates["b"] + 15 < estimates["d"]
    others = {name: ms for name, ms in estimates.items() if name != "a"}
    counts = draw(table, 0, AT_A, N)
    counts.pop("a", None)
    cost = {name: (ms + 1) * (6 if name == "b" else 1) for name, ms in others.items()}
    assert not surprises(counts, both_drawn_shares(farther(others, "b"), cost))
    assert counts["d"] > N / 30


def test_a_spill_over_several_goes_as_far(figures):
    """The fastest is there but not for this request, the next one has no room."""
    sites = [*LINE[:3], ("d", 0.0, 6.5)]  # 6.7 ms beyond c
    table = table_of(figures, sites, n_endpoints=1, of_pools=high(b=1))
    figures.set_pool(pool_rows(table)[0], admit=1 / 1024, ramp=1 / 1024)
    load(figures, table, "b", 1)
    load(figures, table, "c", 5)
    counts = draw(table, 0, AT_A, N)
    counts.pop("a", None)
    weights = farther({name: ms for name, ms in estimates_of(table).items() if name in "cd"}, "c")
    assert not surprises(counts, both_drawn_shares(weights, {"c": 6, "d": 1}))


def test_what_is_unavailable_or_ramping_widens_nothing(figures):
    table = line(figures)
    load(figures, table, "b", 5)
    set_admits(figures, table, a=0)
    assert set(draw(table, 0, AT_A, N)) == {"b"}
    figures.set_pool(pool_rows(table)[0], shed=0.5)  # gone, whatever it had in flight
    assert set(draw(table, 0, AT_A, N)) == {"b"}
    figures.set_pool(pool_rows(table)[0], shed=1)
    set_admits(figures, table, a=0.5)
    assert set(draw(table, 0, AT_A, N)) == {"a", "b"}
    figures.set_pool(pool_rows(table)[0], admit=0.5, availability=1, ramp=0.5)
    assert set(draw(table, 0, AT_A, N)) == {"a", "b"}
    figures.set_pool(pool_rows(table)[0], admit=0.5, shed=0.5, ramp=1)
    assert set(draw(table, 0, AT_A, N)) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("affinity", [AffinitySpec("header", "x"), AffinitySpec("client")])
def test_who_is_kept_by_a_hash_stays_near(figures, affinity):
    """Within three windows of the next best, by size alone: its own clients would wander with the room of others."""
    table = table_of(figures, LINE, n_endpoints=1, routes=[RouteSpec("r", 0, affinity=affinity)])
    set_sheds(figures, table, a=0)
    served = {pop for key in range(1, 300) for pop in draw(table, 0, AT_A, 1, client_key=key, header_key=key)}
    assert served - {"a"} == {"b", "c"}


def test_a_spill_goes_by_room(figures):
    """Three alike take what a fourth sheds, by what is free of each."""
    names = ["a", "b", "c", "d"]
    table = table_of(figures, together(*names), n_endpoints=[1, 1, 1, 10], of_pools=high(b=10, c=100), of_pops=high(d=10))
    set_times(figures, table, b=1, c=1, d=1)
    set_sheds(figures, table, a=0)
    load(figures, table, "b", 2)  # 0.8 free
    load(figures, table, "c", 1)  # 0.99
    load(figures, table, "d", 9)  # 0.1 in ten endpoints
    counts = draw(table, 0, HERE, 2 * N)
    counts.pop("a", None)
    assert not surprises(counts, both_drawn_shares({"b": 0.8, "c": 0.99, "d": 10 * 0.1}, {"b": 3, "c": 2, "d": 1.9}))


def test_a_spill_never_goes_all_to_one(figures):
    """As soon as the next best has more to do than the others."""
    table = table_of(figures, together("a", "b", "c", "d"), of_pools=high(a=1))
    set_times(figures, table, b=1.0, c=1.5, d=2.0)
    load(figures, table, "a", 1)
    load(figures, table, "b", 1)
    counts = draw(table, 0, HERE, N)
    assert set(counts) == {"b", "c", "d"}
    assert all(count > N / 20 for count in counts.values())


def test_shed_by_the_slower_of_the_window_widens_nothing(figures):
    table = line(figures)
    set_sheds(figures, table, b=0)
    assert set(draw(table, 0, AT_A, N)) <= {"a", "b"}
    assert outcome(table, AT_A)[:2] == ("a", "fastest")
