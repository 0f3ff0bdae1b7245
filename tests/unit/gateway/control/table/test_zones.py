"""Which endpoints a zone prefers: the rules as tables, and what must hold of any pool."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.sources.world import Known, Origin
from gateway.control.table.zones import for_all_zones, preferred
from k8s import State
from tests.unit.gateway.control.helpers import identity

NUMBERS = itertools.count(1)


def one(zone=None, *hints, state=State.READY):
    return Known(identity(uid=f"u{next(NUMBERS)}"), state, Origin.KUBERNETES, zone, hints)


def spread(**counts):
    """So many ready endpoints a zone."""
    return [one(zone) for zone, count in counts.items() for _ in range(count)]


def chosen(pool, zone):
    """The numbers of those preferred, in the order of the pool."""
    found = preferred(pool, zone)
    assert found <= {known.identity for known in pool}
    return [number for number, known in enumerate(pool) if known.identity in found]


def zones_of(pool, zone):
    """The zones of those preferred."""
    return {pool[number].zone for number in chosen(pool, zone)}


def test_hints_for_our_zone():
    pool = [one("a", "a"), one("b", "b"), one("c", "c")]
    assert [chosen(pool, zone) for zone in "abc"] == [[0], [1], [2]]


def test_a_hint_counts_and_not_where_the_endpoint_runs():
    pool = [one("a", "b"), one("b", "a"), one(None, "a", "b")]
    assert chosen(pool, "a") == [1, 2]
    assert chosen(pool, "b") == [0, 2]


def test_one_ready_endpoint_without_hints_and_none_counts():
    # Not even by the second rule: what all of them name as their zone would have sufficed for it.
    pool = [one("a", "a"), one("a", "a"), one("b", "b"), one("b")]
    assert chosen(pool, "a") == []
    assert chosen(pool[:3], "a") == [0, 1]


def test_hints_for_other_zones_only():
    pool = [one("a", "b"), one("b", "b")]
    assert chosen(pool, "a") == []
    assert chosen(pool, "b") == [0, 1]


@pytest.mark.parametrize("state", [State.UNREADY, State.SERVING_TERMINATING, State.TERMINATING])
def test_only_ready_endpoints_have_a_say(state):
    pool = [one("a", "a"), one("b", "b"), one("a", state=state), one("a", "a", state=state)]
    assert chosen(pool, "a") == [0]
    # The second rule counts ready ones as well: those in "c" make no third zone.
    pool = [one("a"), one("b"), *(one("c", state=state) for _ in range(5)), one(None, state=state), one("a", state=state)]
    assert chosen(pool, "a") == [0]
    assert chosen(pool, "c") == []


def test_hints_of_those_that_are_not_ready_are_no_hints():
    pool = [one("a"), one("b"), one("a", "b", state=State.UNREADY)]
    assert chosen(pool, "a") == [0]


def test_nobody_is_preferred_among_those_that_terminate():
    pool = [one("a", "a", state=State.SERVING_TERMINATING), one("b", "b", state=State.SERVING_TERMINATING)]
    assert chosen(pool, "a") == []
    assert chosen([], "a") == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 1}, {"a"}),
        ({"a": 1, "b": 1}, {"a"}),
        ({"a": 3, "b": 3, "c": 3}, {"a"}),
        ({"a": 5, "b": 7}, {"a"}),  # 12 / (2 * 5) is 1.2 times the mean: just fair
        ({"a": 4, "b": 6}, set()),  # 1.25
        ({"a": 2, "b": 3, "c": 3}, set()),  # 1.33: one of three is missing
        ({"a": 1, "b": 9}, set()),
        ({"a": 9, "b": 1}, {"a"}),
        ({"b": 3, "c": 3}, set()),  # none of ours
    ],
)
def test_the_own_zone_without_hints_needs_its_share(counts, expected):
    assert zones_of(spread(**counts), "a") == expected


def test_without_hints_an_endpoint_that_names_no_zone_ends_it():
    assert chosen([*spread(a=3, b=3), one(None)], "a") == []
    assert zones_of(spread(a=3, b=3), "a") == {"a"}


def test_all_of_our_zone_when_it_is_preferred():
    assert chosen([one("b"), one("a"), one("b"), one("a")], "a") == [1, 3]


ZONES = st.sampled_from(["a", "b", "c"])
HINTS = st.lists(ZONES, unique=True, max_size=3).map(tuple)
POOLS = st.lists(st.tuples(st.one_of(st.none(), ZONES), HINTS, st.sampled_from(State)), max_size=10)


def naive(ready, zone):
    """The two rules, put as a load on each endpoint."""
    if any(known.hint_zones for known in ready):
        return {known for known in ready if zone in known.hint_zones} if all(known.hint_zones for known in ready) else set()
    ours = {known for known in ready if known.zone == zone}
    if not ours or any(known.zone is None for known in ready):
        return set()
    load = Fraction(1, len({known.zone for known in ready})) / len(ours)
    return ours if load <= Fraction(12, 10) * Fraction(1, len(ready)) else set()


@given(POOLS, ZONES, st.booleans())
def test_of_any_pool(drawn, zone, has_hints):
    pool = [one(where, *(hints if has_hints else ()), state=state) for where, hints, state in drawn]
    ready = [known for known in pool if known.state is State.READY]
    found = preferred(pool, zone)
    assert found == {known.identity for known in naive(ready, zone)}
    assert found == preferred(pool[::-1], zone) == preferred(ready, zone)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_whatever_each_zone_prefers_no_endpoint_bears_more_than_a_fair_load(counts):
    """Each zone's gateway sends one Z-th of the traffic to whom it prefers, or to everybody. Those that prefer bring at most 1.2 times
    the mean; the others spread theirs evenly, and so bring at most the mean once more."""
    names = [f"z{number}" for number in range(len(counts))]
    pool = spread(**dict(zip(names, counts, strict=True)))
    load = {known.identity: Fraction(0) for known in pool}
    n_mixed = 0
    for zone in names:
        found = preferred(pool, zone)
        n_mixed += not found
        for target in found or load:
            load[target] += Fraction(len(pool), len(counts) * len(found or load))
    assert sum(load.values()) == len(pool)  # the mean is 1
    assert max(load.values()) <= Fraction(12, 10) + Fraction(n_mixed, len(counts))


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ((4, 8, 4, 8), 0),  # all admit
        ((4, 8, 2, 4), 0),  # as many are lost in each zone
        ((4, 8, 3, 7), 0),
        ((4, 8, 1, 5), 0.65),  # alone it would bear 2.5 times the mean
        ((4, 8, 0, 4), 1),
        ((4, 8, 4, 4), 0),  # nobody else is left
        ((4, 8, 0, 0), 0),
        ((1, 8, 1, 8), 0),  # as hints have it
    ],
)
def test_for_how_many_all_zones_are_alike(counts, share):
    assert for_all_zones(*counts) == pytest.approx(share)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_none_of_the_own_zone_bears_more_than_a_fair_load(n_ours, n_others, data):
    ours, others = data.draw(st.integers(1, n_ours)), data.draw(st.integers(0, n_others))
    share = for_all_zones(n_ours, n_ours + n_others, ours, ours + others)
    assert 0 <= share <= 1
    brought = n_ours / (n_ours + n_others)  # by the zone's clients, of all traffic
    load, mean = brought * ((1 - share) / ours + share / (ours + others)), 1 / (ours + others)
    assert load <= 1.2 * mean + 1e-9 or others == 0 or share == 1
    if 0 < share < 1:
        assert load == pytest.approx(1.2 * mean)  # and no fewer than may be
