import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.estimates import (
    BUSY_COUNT,
    BUSY_TAU_S,
    PATH_EXPIRES_S,
    PATH_WINDOW_S,
    SERVICE_EXPIRES_S,
    SERVICE_TAU_S,
    SILENCE_S,
    SILENCE_TAU_S,
    PathTime,
    ServiceTime,
)


def test_service_time_is_unknown_then_the_mean():
    time = ServiceTime()
    assert time.mean_ms(0) is None
    assert time.samples(0) == 0
    time.add(30, 3, 0)
    assert time.mean_ms(0) == pytest.approx(10)
    assert time.samples(0) == 3


def test_old_samples_fade_and_new_ones_count():
    time = ServiceTime()
    time.add(400, 40, 0)
    time.add(40 * 50, 40, SERVICE_TAU_S)
    weight = math.exp(-1)
    assert time.mean_ms(SERVICE_TAU_S) == pytest.approx((400 * weight + 2000) / (40 * weight + 40))


def slowed(per_turn, seconds):
    """What is known of a service that took 20 ms for long and now takes 120, so many requests each 100 ms."""
    time = ServiceTime()
    for turn in range(-600, round(seconds * 10)):
        time.add((20 if turn < 0 else 120) * per_turn, per_turn, 60 + turn / 10)
    return time.mean_ms(60 + seconds)


def test_where_there_are_samples_enough_a_change_is_known_sooner():
    assert slowed(1000, BUSY_TAU_S) == pytest.approx(20 + 100 * (1 - math.exp(-1)), abs=2)
    assert slowed(1000, 5) > 110
    assert slowed(1, 5) == pytest.approx(20 + 100 * (1 - math.exp(-1)), abs=2)  # ten a second: the last five seconds' are enough
    assert slowed(1, BUSY_TAU_S) < 55


@pytest.mark.parametrize(
    ("count", "after", "left"),
    [
        (1000, BUSY_TAU_S, 1000 * math.exp(-1)),
        (1000, 3 * BUSY_TAU_S, BUSY_COUNT),  # as fast as enough of them stay
        (10_000, BUSY_TAU_S / 10, 10_000 * math.exp(-0.1)),
        (60, BUSY_TAU_S, 60 * math.exp(-BUSY_TAU_S / SERVICE_TAU_S)),  # few: as slowly as ever
        (BUSY_COUNT, BUSY_TAU_S, BUSY_COUNT * math.exp(-BUSY_TAU_S / SERVICE_TAU_S)),
        (1000, SILENCE_S, BUSY_COUNT),
    ],
)
def test_fading_fast_leaves_enough(count, after, left):
    time = ServiceTime()
    time.add(20 * count, count, 0)
    assert time.samples(after) == max(1, round(left))
    time.add(0, 0, after)
    assert time.count == pytest.approx(left)
    assert time.mean_ms(after) == pytest.approx(20)


@pytest.mark.parametrize("looks", [1, 7, 3000])
def test_the_mean_stays_for_a_while_then_fades_and_expires(looks):
    """However often it is looked at."""
    time = ServiceTime()
    time.add(2000, 100, 0)

    def wait(until):
        began = time.at
        for look in range(1, looks + 1):
            time.add(0, 0, began + (until - began) * look / looks)

    wait(SILENCE_S)
    assert time.mean_ms(SILENCE_S) == pytest.approx(20)
    before = time.count
    wait(SILENCE_S + SILENCE_TAU_S)
    assert time.mean_ms(SILENCE_S + SILENCE_TAU_S) == pytest.approx(20 / math.e)
    assert time.mean_ms(SILENCE_S + 2 * SILENCE_TAU_S) == pytest.approx(20 / math.e**2)
    assert time.count == pytest.approx(before * math.exp(-SILENCE_TAU_S / SERVICE_TAU_S - 1))
    assert time.samples(SERVICE_EXPIRES_S) == 1
    assert time.mean_ms(SERVICE_EXPIRES_S) == pytest.approx(0, abs=0.01)
    assert time.mean_ms(SERVICE_EXPIRES_S + 1) is None
    assert time.samples(SERVICE_EXPIRES_S + 1) == 0


def test_what_silence_has_faded_stays_faded_and_the_next_samples_count():
    """A PoP that is tried again and is still slow is known for that at once; one that is well is not held to what it was."""
    for now_ms in (100, 20):
        time = ServiceTime()
        time.add(100 * 1000, 1000, 0)
        assert time.mean_ms(60) < 20
        time.add(5 * now_ms, 5, 60)
        assert time.mean_ms(60) == pytest.approx(now_ms, rel=0.1)
    time = ServiceTime()
    time.add(0, 0, 5)
    assert time.mean_ms(6) is None  # nothing ever came


@given(st.lists(st.tuples(st.floats(0, SILENCE_S), st.lists(st.floats(0.1, 1000), min_size=1, max_size=2)), min_size=1, max_size=20))
def test_service_time_is_the_weighted_mean_of_all_samples(turns):
    """Naive model: each sample by itself, weighted by its age. Never silence, never so many that they fade fast."""
    time, now, samples = ServiceTime(), 0.0, []
    for gap, values in turns:
        now += gap
        time.add(sum(values), len(values), now)
        samples += [(now, value) for value in values]
    weights = [math.exp(-(now - at) / SERVICE_TAU_S) for at, _ in samples]
    expected = sum(w * value for w, (_, value) in zip(weights, samples, strict=True)) / sum(weights)
    assert time.mean_ms(now) == pytest.approx(expected, rel=1e-6)


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
