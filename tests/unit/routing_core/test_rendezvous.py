"""Which of the near-equals keeps a client: in proportion to the weights, the same each time, and nobody moves who need not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import (
    CLIENT,
    HASHED,
    HERE,
    count,
    kept_table,
    load,
    places,
    set_admits,
    set_times,
    shares_of,
    surprises,
    together,
)


@pytest.fixture
def figures():
    return Figures(2)


@pytest.mark.parametrize(("affinity", "fact"), HASHED)
def test_the_same_key_goes_to_the_same_pop(figures, affinity, fact):
    table = kept_table(figures, affinity, together("a", "b", "c"))
    first = places(table, fact)
    assert set(first.values()) == {"a", "b", "c"}
    for seed in (2, 3):
        assert places(table, fact, range(1, 500), seed=seed) == {key: first[key] for key in range(1, 500)}
    assert explain(table, 0, HERE, **{fact: 5}).reason == "affinity"


def test_where_a_key_goes_does_not_hang_on_the_place_in_the_configuration(figures):
    here = places(kept_table(figures, CLIENT, together("a", "b", "c", "d")), "client_key")
    assert places(kept_table(figures, CLIENT, together("d", "c", "a", "b")), "client_key") == here


@pytest.mark.parametrize("n_endpoints", [[1, 1, 1], [1, 2, 5]])
def test_keys_go_in_proportion_to_the_weights(figures, n_endpoints):
    table = kept_table(figures, CLIENT, together("a", "b", "c"), n_endpoints=n_endpoints, of_pools={"c": {"weight": 2}})
    weights = [*n_endpoints[:2], 2 * n_endpoints[2]]
    shares = {name: weight / sum(weights) for name, weight in zip("abc", weights, strict=True)}
    assert not surprises(count(places(table, "client_key")), shares)
    assert shares_of(explain(table, 0, HERE, client_key=1)) == pytest.approx(shares, rel=1e-9)


def test_nobody_moves_because_a_pop_becomes_a_little_slower(figures):
    """Size alone counts while it is near; beyond the window it keeps nobody."""
    table = kept_table(figures, CLIENT, together("a", "b"), n_endpoints=[1, 3])
    before = places(table, "client_key")
    assert not surprises(count(before), {"a": 0.25, "b": 0.75})
    for slower in ({"b": 1}, {"b": 4.9}, {"a": 4.9, "b": 0}):
        set_times(figures, table, **slower)
        assert places(table, "client_key") == before
        assert shares_of(explain(table, 0, HERE, client_key=1)) == pytest.approx({"a": 0.25, "b": 0.75}, rel=1e-9)
    set_times(figures, table, a=5.1, b=0)
    assert set(places(table, "client_key").values()) == {"b"}


def test_panic_keeps_nobody_by_a_hash(figures):
    table = kept_table(figures, CLIENT, together("a", "b"), n_endpoints=[1, 3])
    set_admits(figures, table, a=0, b=0.25)
    assert explain(table, 0, HERE, client_key=7).reason == "panic"
    assert not surprises(draw(table, 0, HERE, 20_000, client_key=7), {"a": 0.25, "b": 0.75})


NAMES = [f"p{number}" for number in range(6)]


@given(
    n_endpoints=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    gone=st.sampled_from(NAMES),
    how=st.sampled_from(["drained", "unavailable", "full", "forbidden"]),
    affinity=st.sampled_from(HASHED),
)
def test_who_leaves_moves_its_own_clients_only(n_endpoints, gone, how, affinity):
    figures = Figures(1)
    by, fact = affinity
    before = kept_table(figures, by, together(*NAMES), n_endpoints=n_endpoints)
    rules = (RuleSpec(frozenset(range(6)) - {NAMES.index(gone)} if how == "forbidden" else None),)
    after = kept_table(
        figures, by, together(*NAMES), n_endpoints=n_endpoints, drained=[gone] if how == "drained" else (),
        of_pools={gone: {"high": 1}} if how == "full" else {}, routes=[RouteSpec("r", 0, affinity=by, rules=rules)],
    )  # fmt: skip
    if how == "unavailable":
        set_admits(figures, after, **{gone: 0})
    elif how == "full":
        load(figures, after, gone, 1)
    keys = range(1, 300)
    was, now = places(before, fact, keys), places(after, fact, keys)
    assert gone not in now.values()
    assert {key: pop for key, pop in now.items() if was[key] != gone} == {key: pop for key, pop in was.items() if pop != gone}


def test_those_who_lost_their_pop_spread_over_the_others(figures):
    before = places(kept_table(figures, CLIENT, together("a", "b", "c", "d")), "client_key")
    after = places(kept_table(figures, CLIENT, together("a", "b", "c", "d"), drained=["a"]), "client_key")
    moved = count({key: after[key] for key, pop in before.items() if pop == "a"})
    assert not surprises(moved, dict.fromkeys("bcd", 1 / 3))


def test_a_pop_with_more_than_its_share_passes_on_to_the_next(figures):
    """Bounded load: at most a quarter above the share of what is in flight, two requests an endpoint let in."""
    table = kept_table(figures, CLIENT, together("a", "b", "c", "d"), n_endpoints=1)
    idle = places(table, "client_key")
    for name in "abcd":
        load(figures, table, name, 20)
    assert places(table, "client_key") == idle
    # With 29 of 89 one more is 30, not above 1.25 * 90 / 4 + 2 = 30.1. With 30 of 90 it is 31, above 30.4.
    load(figures, table, "a", 9, worker=1)
    assert places(table, "client_key") == idle
    load(figures, table, "a", 1)
    now = places(table, "client_key")
    assert "a" not in now.values()
    assert {key: pop for key, pop in now.items() if idle[key] != "a"} == {key: pop for key, pop in idle.items() if pop != "a"}
    moved = count({key: now[key] for key, pop in idle.items() if pop == "a"})
    assert not surprises(moved, dict.fromkeys("bcd", 1 / 3))
    assert places(table, "client_key", seed=9) == now  # each its own next


def test_the_bound_goes_by_the_weights(figures):
    table = kept_table(figures, CLIENT, together("a", "b"), n_endpoints=[3, 1])
    idle = places(table, "client_key")
    load(figures, table, "a", 75)
    load(figures, table, "b", 25)
    assert places(table, "client_key") == idle
    load(figures, table, "b", 15)
    assert set(places(table, "client_key").values()) == {"a"}


@given(st.lists(st.integers(0, 200), min_size=5, max_size=5), st.lists(st.integers(1, 5), min_size=5, max_size=5), st.integers(1, 2**60))
def test_the_bound_holds_whatever_is_in_flight(in_flight, n_endpoints, key):
    figures = Figures(1)
    names = NAMES[:5]
    table = kept_table(figures, CLIENT, together(*names), n_endpoints=n_endpoints)
    for name, n in zip(names, in_flight, strict=True):
        load(figures, table, name, n)
    chosen = names.index(next(iter(draw(table, 0, HERE, 1, client_key=key))))
    fair = (sum(in_flight) + 1) * n_endpoints[chosen] / sum(n_endpoints)
    assert in_flight[chosen] + 1 <= math.ceil(1.25 * fair + 2 * n_endpoints[chosen])
