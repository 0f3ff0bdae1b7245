import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.headroom import (
    FILLING_TAU_S,
    USUAL_DEVIATIONS,
    USUAL_LEAST,
    USUAL_STEP,
    USUAL_TAU_S,
    Filling,
    Usual,
    beyond_part,
    headroom,
    least_headroom,
    shed,
)
from gateway.control.table.capacity import Capacity

TURN_S = 0.1
CAPACITY = Capacity(high=100, low=80)
COUNTS = st.integers(0, 300)
CAPACITIES = st.tuples(st.integers(1, 200), st.integers(0, 199)).filter(lambda c: c[1] < c[0]).map(lambda c: Capacity(*c))


@pytest.mark.parametrize(("in_flight", "expected"), [(0, 1), (80, 1), (85, 0.75), (90, 0.5), (99, 0.05), (100, 0), (140, 0)])
def test_shed_is_linear_between_the_watermarks(in_flight, expected):
    assert shed(in_flight, CAPACITY) == pytest.approx(expected)


@pytest.mark.parametrize(("in_flight", "expected"), [(0, 1), (25, 0.75), (100, 0), (140, 0)])
def test_headroom_is_the_share_that_is_free(in_flight, expected):
    assert headroom(in_flight, CAPACITY) == pytest.approx(expected)


def test_without_a_capacity_everything_is_taken():
    assert shed(1e9, None) == 1
    assert headroom(1e9, None) is None


@given(COUNTS, COUNTS, CAPACITIES)
def test_both_are_shares_that_fall_as_the_load_grows(one, other, capacity):
    less, more = sorted((one, other))
    assert 0 <= shed(more, capacity) <= shed(less, capacity) <= 1
    assert 0 <= headroom(more, capacity) <= headroom(less, capacity) <= 1
    assert (shed(more, capacity) == 0) == (more >= capacity.high) == (headroom(more, capacity) == 0)
    assert (shed(more, capacity) == 1) == (more <= capacity.low)


def test_the_tighter_of_pool_and_pop_holds():
    pool, pop = (90, CAPACITY), (900, Capacity(high=1000, low=700))
    assert least_headroom(pool, pop) == pytest.approx(0.1)
    assert least_headroom((50, CAPACITY), pop) == pytest.approx(0.1)
    assert least_headroom((95, CAPACITY), pop) == pytest.approx(0.05)
    assert least_headroom((1e9, None), pop) == headroom(*pop)
    assert least_headroom((5, None), (5, None)) is None


def test_filling_is_a_mean_that_fades():
    filling = Filling()
    assert filling.add(40, CAPACITY, 7) == 40  # the first count is all that is known
    assert filling.add(0, CAPACITY, 7 + FILLING_TAU_S) == pytest.approx(40 / math.e)
    assert filling.add(0, CAPACITY, 1e6) == pytest.approx(0)


def test_a_burst_above_the_capacity_is_over_when_it_is_over():
    filling = Filling()
    filling.add(1000, CAPACITY, 0)
    assert shed(filling.mean, CAPACITY) == 0
    assert shed(filling.add(CAPACITY.low, CAPACITY, FILLING_TAU_S), CAPACITY) > 0.6


def test_a_capacity_that_was_lowered_takes_requests_as_soon_as_it_has_room():
    filling, lowered = Filling(), Capacity(high=CAPACITY.high // 10, low=CAPACITY.low // 10)
    filling.add(CAPACITY.high, CAPACITY, 0)
    assert shed(filling.add(lowered.low, lowered, TURN_S), lowered) > 0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1000)), min_size=1, max_size=20))
def test_filling_lies_among_its_counts(turns):
    filling, now = Filling(), 0.0
    for gap, count in turns:
        now += gap
        mean = filling.add(count, CAPACITY, now)
    counts = [min(count, CAPACITY.high) for _, count in turns]
    assert min(counts) - 1e-9 <= mean <= max(counts) + 1e-9


def settled(offered: float, filling_of) -> list[float]:
    """What is in flight after each of the last turns: answers take less than a turn, so all that was let in is what is in flight."""
    seen, in_flight = [], 0.0
    for turn in range(1000):
        in_flight = offered * shed(filling_of(in_flight, turn * TURN_S), CAPACITY)
        seen.append(in_flight)
    return seen[-100:]


@pytest.mark.parametrize("times", [0.5, 1.2, 1.5, 3, 7])
def test_shedding_by_the_filling_settles(times):
    filling = Filling()
    seen = settled(times * CAPACITY.high, lambda in_flight, now: filling.add(in_flight, CAPACITY, now))
    assert max(seen) - min(seen) < 1
    assert max(seen) < CAPACITY.high
    if times > 1:
        assert min(seen) > CAPACITY.low


def test_shedding_by_the_count_of_the_moment_would_not():
    seen = settled(1.5 * CAPACITY.high, lambda in_flight, now: in_flight)
    assert max(seen) == 150
    assert min(seen) == 0


@pytest.mark.parametrize(
    ("held", "n_groups", "beyond"),
    [
        ((60, 0, 0, 0, 0, 0, 0, 0), 8, 48),  # a part is 12
        ((60, 12, 20, 0, 0, 0, 0, 0), 8, 56),
        ((60, 0, 0, 0, 0, 0, 0, 0), 2, 10),
        ((60, 0, 0, 0, 0, 0, 0, 0), 1, 0),  # it takes nothing from anybody
        ((12,) * 8, 8, 0),
    ],
)
def test_of_what_clients_hold_a_groups_part_counts(held, n_groups, beyond):
    assert beyond_part(held, n_groups, CAPACITY) == beyond


def test_of_the_least_capacity_everybody_has_a_part():
    assert beyond_part((3, 0), 2, Capacity(high=1, low=0)) == 2


# What is usual


def bound(mean):
    return math.ceil(mean + USUAL_DEVIATIONS * math.sqrt(mean) + USUAL_LEAST)


def counted(usual, counts, begin=0.0):
    """What was said, each turn."""
    return [usual.add(int(count), begin + turn * TURN_S) for turn, count in enumerate(counts)]


@pytest.mark.parametrize(("in_flight", "usual"), [(0, 3), (1, 8), (10, 26), (100, 143)])
def test_usual_is_what_is_there_and_what_chance_adds(in_flight, usual):
    """The first count is all that is known."""
    assert bound(in_flight) == usual
    assert set(counted(Usual(), [in_flight] * 100)) == {usual}


@pytest.mark.parametrize("mean", [0.1, 1, 10, 100, 1000])
def test_chance_is_hardly_ever_more_than_usual_and_little_is_said_of_it(mean):
    counts = np.random.default_rng(1).poisson(mean, 6000)
    said = counted(Usual(), counts)
    assert np.mean(counts[100:] > np.array(said[100:])) < 0.001
    assert sum(one != other for one, other in pairwise(said[100:])) <= 3


@pytest.mark.parametrize("mean", [1, 10, 100])
def test_a_queue_is_not_usual_while_it_is_new(mean):
    """Ten times as much is there at once. For a second most of it is beyond; in the end nothing is."""
    usual = Usual()
    counted(usual, [mean] * 100)
    said = counted(usual, [10 * mean + 10] * 600, begin=10.0)
    assert said == sorted(said)
    assert max(said[:10]) < (10 * mean + 10) / 1.5
    assert said[-1] >= 10 * mean + 10


def test_it_goes_as_it_comes():
    usual = Usual()
    usual.add(100, 7.0)
    assert usual.add(0, 7.0 + USUAL_TAU_S) == bound(100 / math.e)
    assert usual.add(0, 1e6) == USUAL_LEAST


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10_000)), min_size=1, max_size=30))
def test_a_change_is_said_when_it_is_one(turns):
    usual, now, before = Usual(), 0.0, 0
    for gap, in_flight in turns:
        now += gap
        said = usual.add(in_flight, now)
        exact = bound(usual.mean)
        assert said == (exact if abs(exact - before) > USUAL_STEP * before + 1 else before)
        before = said
