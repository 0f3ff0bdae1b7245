import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.estimates import PATH_EXPIRES_S, PATH_WINDOW_S, SERVICE_EXPIRES_S, SERVICE_TAU_S, PathTime, ServiceTime


def test_service_time_is_unknown_then_the_mean():
    time = ServiceTime()
    assert time.mean_ms(0) is None
    assert time.samples(0) == 0
    time.add(30, 3, 0)
    assert time.mean_ms(0) == pytest.approx(10)
    assert time.samples(0) == 3


def test_old_samples_fade_and_new_ones_count():
    time = ServiceTime()
    time.add(1000, 100, 0)
    time.add(100 * 50, 100, SERVICE_TAU_S)
    weight = math.exp(-1)
    assert time.mean_ms(SERVICE_TAU_S) == pytest.approx((1000 * weight + 5000) / (100 * weight + 100))


def test_the_mean_stays_while_nothing_comes_and_then_expires():
    time = ServiceTime()
    time.add(20, 1, 0)
    for now in range(1, int(SERVICE_EXPIRES_S) + 1):
        time.add(0, 0, now)
    assert time.mean_ms(SERVICE_EXPIRES_S) == pytest.approx(20)
    assert time.samples(SERVICE_EXPIRES_S) == 1
    assert time.mean_ms(SERVICE_EXPIRES_S + 1) is None
    assert time.samples(SERVICE_EXPIRES_S + 1) == 0


@given(st.lists(st.tuples(st.floats(0, 20), st.lists(st.floats(0.1, 1000), max_size=5)), min_size=1, max_size=20))
def test_service_time_is_the_weighted_mean_of_all_samples(turns):
    """Naive model: each sample by itself, weighted by its age."""
    time, now, samples = ServiceTime(), 0.0, []
    for gap, values in turns:
        now += gap
        time.add(sum(values), len(values), now)
        samples += [(now, value) for value in values]
    weights = [math.exp(-(now - at) / SERVICE_TAU_S) for at, _ in samples]
    if samples and now - max(at for at, _ in samples) <= SERVICE_EXPIRES_S:
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
