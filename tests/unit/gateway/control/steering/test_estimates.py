import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.health.networks import N_GROUPS
from gateway.control.steering.estimates import (
    BUSY_COUNT,
    BUSY_TAU_S,
    EXPIRES_S,
    FIRST_BYTE_TAU_S,
    PATH_EXPIRES_S,
    PATH_WINDOW_S,
    RARE_COUNT,
    RARE_TAU_S,
    TAU_S,
    FirstByte,
    PathTime,
    ServiceTime,
)


def add(time, now, *samples):
    """(group, ms) of each."""
    sums, counts = [0.0] * N_GROUPS, [0] * N_GROUPS
    for group, ms in samples:
        sums[group] += ms
        counts[group] += 1
    time.add(sums, counts, sum(ms * ms for _, ms in samples), now)


def evenly(ms, n):
    """So many alike, from all networks."""
    return [(number % N_GROUPS, ms) for number in range(n)]


def test_service_time_is_unknown_then_the_mean():
    time = ServiceTime()
    assert time.evidence(0) is None
    add(time, 0, (0, 5.0), (1, 10.0), (2, 15.0))
    found = time.evidence(0)
    assert found.mean_ms == pytest.approx(10)
    assert found.n == pytest.approx(3)
    assert found.variance == pytest.approx((25 + 100 + 225) / 300 - 1)


def test_old_samples_fade_and_new_ones_count():
    time = ServiceTime()
    add(time, 0, *evenly(10, 80))
    add(time, TAU_S, *evenly(50, 80))
    weight = math.exp(-1)
    found = time.evidence(TAU_S)
    assert found.mean_ms == pytest.approx((10 * weight + 50) / (weight + 1))
    assert found.n == pytest.approx(80 * (weight + 1) ** 2 / (weight * weight + 1))


def test_what_came_lately_is_told_however_slowly_the_rest_fades():
    time = ServiceTime()
    add(time, 0, *evenly(20, 10))
    found = time.evidence(TAU_S)
    assert (found.n, found.lately) == pytest.approx((10 * math.exp(-TAU_S / RARE_TAU_S), 10 * math.exp(-1)))
    add(time, TAU_S)
    add(time, 2 * TAU_S, (1, 20.0))
    assert time.evidence(2 * TAU_S).lately == pytest.approx(10 * math.exp(-2) + 1)
    busy = ServiceTime()
    add(busy, 0, *evenly(20, 10_000))
    assert busy.evidence(BUSY_TAU_S).lately == pytest.approx(10_000 * math.exp(-BUSY_TAU_S / TAU_S))


def slowed(per_turn, seconds):
    """What is known of a service that took 20 ms for long and now takes 120, so many requests each 100 ms."""
    time = ServiceTime()
    for turn in range(-600, round(seconds * 10)):
        add(time, 60 + turn / 10, *evenly(20 if turn < 0 else 120, per_turn))
    return time.evidence(60 + seconds).mean_ms


def test_where_there_are_samples_enough_a_change_is_known_sooner():
    assert slowed(1000, BUSY_TAU_S) == pytest.approx(20 + 100 * (1 - math.exp(-1)), abs=3)
    assert slowed(1000, 5) > 110
    # Ten a second fade with the long one: what many say within 2 s takes them 10.
    assert slowed(1, BUSY_TAU_S) == pytest.approx(20 + 100 * (1 - math.exp(-BUSY_TAU_S / TAU_S)), abs=1)
    assert slowed(1, TAU_S) == pytest.approx(20 + 100 * (1 - math.exp(-1)), abs=1)


@pytest.mark.parametrize(
    ("count", "after", "left"),
    [
        (10_000, BUSY_TAU_S, 10_000 * math.exp(-1)),
        # As fast as enough of them stay.
        (10_000, 5 * BUSY_TAU_S, BUSY_COUNT * math.exp(-(5 * BUSY_TAU_S - BUSY_TAU_S * math.log(10_000 / BUSY_COUNT)) / TAU_S)),
        (160, TAU_S, 160 * math.exp(-1)),  # few: more slowly
        # As fast as a few of them stay, and those go slowly.
        (16, RARE_TAU_S, RARE_COUNT * math.exp(-(RARE_TAU_S - TAU_S * math.log(16 / RARE_COUNT)) / RARE_TAU_S)),
        (12, RARE_TAU_S, 12 * math.exp(-1)),
    ],
)
def test_they_fade_as_fast_as_there_are_enough(count, after, left):
    time = ServiceTime()
    add(time, 0, *evenly(20, count))
    for look in range(1, 1001):
        add(time, after * look / 1000)
    assert time.count == pytest.approx(left, rel=0.01)
    assert time.evidence(after).mean_ms == pytest.approx(20)


def test_it_expires():
    time = ServiceTime()
    add(time, 0, *evenly(20, 100))
    assert time.evidence(EXPIRES_S).mean_ms == pytest.approx(20)
    assert 0 < time.evidence(EXPIRES_S).n < RARE_COUNT
    assert time.evidence(EXPIRES_S + 1) is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.97])
def test_what_one_network_asks_for_proves_nothing(share):
    """It is slow by itself: the mean moves by less than it is known to."""
    time = ServiceTime()
    rng = np.random.default_rng(1)
    own = round(3000 * share)
    add(time, 0, *[(0, 2000.0)] * own, *[(1 + n % 7, float(ms)) for n, ms in enumerate(rng.lognormal(3, 0.5, 3000 - own))])
    found = time.evidence(0)
    assert found.mean_ms - 23 < 4 * math.sqrt(found.apart)


def test_what_all_networks_meet_proves_all():
    time = ServiceTime()
    rng = np.random.default_rng(1)
    add(time, 0, *[(n % 8, float(ms)) for n, ms in enumerate(rng.lognormal(3, 0.5, 3000))])
    found = time.evidence(0)
    assert math.sqrt(found.apart) < 0.03 * found.mean_ms
    assert found.variance == pytest.approx(math.exp(0.25) - 1, rel=0.1)


def test_who_asks_alone_is_believed_and_one_that_asked_long_ago_changes_nothing():
    time = ServiceTime()
    add(time, 0, (3, 5000.0))
    add(time, EXPIRES_S, *[(5, 20.0)] * 500)
    found = time.evidence(EXPIRES_S)
    assert found.mean_ms == pytest.approx(20, rel=0.7)
    assert found.n > 5
    alone = ServiceTime()
    add(alone, 0, *[(5, 20.0)] * 500)
    assert alone.evidence(0)[:3] == (pytest.approx(20), pytest.approx(500), 0.0)


SAMPLES = st.lists(st.tuples(st.integers(0, N_GROUPS - 1), st.floats(0.1, 60_000)), min_size=1, max_size=30)


@given(st.lists(st.tuples(st.floats(0, 400), SAMPLES), min_size=1, max_size=8))
def test_the_mean_is_among_the_samples_and_never_more_than_they_are(turns):
    time, now, seen = ServiceTime(), 0.0, []
    for gap, samples in turns:
        now += gap
        add(time, now, *samples)
        seen += [ms for _, ms in samples]
    found = time.evidence(now)
    assert min(seen) * 0.999999 <= found.mean_ms <= max(seen) * 1.000001
    assert 0 < found.n <= len(seen) * 1.000001
    assert found.apart >= 0
    assert found.variance >= 0


def test_first_byte_is_the_mean_of_the_last_seconds():
    mean = FirstByte()
    assert mean.mean_ms == 0
    mean.add(200, 10, 0)
    mean.add(800, 10, FIRST_BYTE_TAU_S)
    weight = math.exp(-1)
    assert mean.mean_ms == pytest.approx((20 * weight + 80) / (weight + 1))


def test_path_is_the_least_of_the_last_windows():
    path = PathTime()
    assert path.ms(0) is None
    path.add(12, 0)
    path.add(9, 1)
    path.add(30, 2)  # a wait of our own
    assert path.ms(2) == 9
    now = 0.0
    for _ in range(3):  # the path has become longer: the old least goes within two windows
        now += PATH_WINDOW_S + 1
        path.add(40, now)
    assert path.ms(now) == 40


def test_path_is_known_for_hours_without_samples():
    path = PathTime()
    path.add(9, 0)
    assert path.ms(PATH_EXPIRES_S) == 9
    assert path.ms(PATH_EXPIRES_S + 1) is None


def test_of_what_takes_as_good_as_nothing_the_spread_is_no_doubt_of_others():
    """Mostly zeros once the path is taken off: one answer in thirty is all there is, and thirty times as far from the mean."""
    time = ServiceTime()
    add(time, 0, *evenly(0.0, 29), (3, 0.3))
    assert time.evidence(0).variance < 0.01


def test_what_comes_together_and_is_late_together_says_less_and_what_stays_slow_says_it_all():
    pauses, slower = ServiceTime(), ServiceTime()
    for turn in range(100):
        add(pauses, turn / 10, *evenly(300.0 if turn % 33 == 32 else 20.0 + turn % 3, 16))
        add(slower, turn / 10, *evenly((300.0 if turn >= 50 else 20.0) + turn % 3, 16))
    assert pauses.evidence(10).bursts > 10
    assert slower.evidence(10).bursts < 2
