import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.estimates import Evidence
from gateway.control.steering.levels import CERTAIN, FEW, MARGIN_MS, MOST_TIMES, SPREAD, THIN_S, THIN_TAU_S, VARIANCE, Level

MARGIN = 0.05


def known(mean_ms, n=1000.0, *, apart=0.0, variance=1.0, lately=None, bursts=1.0):
    return Evidence(mean_ms, n, apart, n if lately is None else lately, bursts, variance)


def level_of(*found):
    level = Level()
    level.learn(found)
    level.settle(MARGIN)
    return level


def test_nothing_is_known_before_anything_is():
    level = Level()
    level.learn([])
    assert not level.settle(MARGIN)
    said = level.say(None, math.inf, 0.0, MARGIN)
    assert said[:3] == (0, 0, 0)
    assert level.hope_ms(said, 0.0) is None


def test_pops_that_are_alike_are_at_the_level():
    level = level_of(*[known(200)] * 12)
    assert level.ms == pytest.approx(200)
    assert level.variance == pytest.approx(1, rel=0.01)
    assert level.say(known(200), 0.0, 0.0, MARGIN).above_ms == pytest.approx(0, abs=1e-6)


def test_unknown_is_the_level_with_the_spread_of_pops():
    level = level_of(known(200), known(210))
    said = level.say(None, math.inf, 0.0, MARGIN)
    assert said.above_ms == said.band_ms == 0, "whatever was in use is over"
    assert said.spread_ms == pytest.approx(SPREAD * level.ms)
    assert level.hope_ms(said, 0.0) == pytest.approx((1 - SPREAD) * level.ms)


def test_one_slow_answer_proves_nothing():
    """A request of 3 s on an idle service: it counts for MOST_TIMES the level."""
    slow = known(MOST_TIMES * 105, 1, variance=0)
    level = level_of(known(100, 200), known(110, 200), slow)
    assert level.ms == pytest.approx(105, rel=0.1)
    said = level.say(slow, 0.0, 0.0, MARGIN)
    assert said.above_ms < said.band_ms


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_a_difference_is_shrunk_by_its_error_and_counts_beyond_four_of_them(n):
    level = level_of(*[known(100, n)] * 11, known(130, n))
    said = level.say(known(130, n), 0.0, 0.0, MARGIN)
    error = level.ms * math.sqrt(level.variance / n * (1 + FEW / n))
    assert 0.5 * 24 < said.above_ms <= 30
    # What it is held against is not known for certain either.
    assert said.band_ms == pytest.approx(max(CERTAIN * math.hypot(error, level.error_ms), MARGIN * level.ms))
    assert level.error_ms == pytest.approx(error / math.sqrt(12), rel=0.1)
    assert (said.above_ms > said.band_ms) == (n > 300)


@pytest.mark.parametrize("bursts", [1, 50])
@pytest.mark.parametrize("n", [8, 30])
def test_a_pop_that_is_a_hundred_times_as_quick_is_known_for_that_by_few_answers(n, bursts):
    """One of two whose service takes 600 ms, mostly by the other's answers. What came together once was late by its own milliseconds."""
    quick = known(6, n, bursts=bursts)
    level = level_of(known(600, 400, variance=0.01), quick)
    said = level.say(quick, 0.0, 0.0, MARGIN)
    assert level.ms + said.above_ms < 100
    assert abs(said.above_ms) > said.band_ms


@pytest.mark.parametrize("n", [300, 3000, 1e6])
def test_the_busiest_pop_is_not_the_service(n):
    """It slows to a fifth; the others are as they were. It pulls no harder than if it were one as busy as they are."""
    level = level_of(known(100, n), *[known(20, 300)] * 11)
    assert level.ms == pytest.approx(20, rel=0.25)
    assert level.ms == pytest.approx(level_of(known(100, 300), *[known(20, 300)] * 11).ms, rel=0.01)


def test_of_two_pops_each_is_half_of_it():
    level = level_of(known(100, 1000), known(20, 1000))
    slow, fast = (level.say(known(ms), 0.0, 0.0, MARGIN).above_ms for ms in (100, 20))
    assert slow - fast == pytest.approx(80, rel=0.1)


def test_networks_that_differ_widen_the_band():
    level = level_of(*[known(100)] * 3)
    narrow, wide = (level.say(known(300, apart=apart), 0.0, 0.0, MARGIN) for apart in (0.0, 100.0**2))
    assert narrow.above_ms > narrow.band_ms
    assert wide.above_ms < wide.band_ms


def test_where_little_comes_any_more_it_fades_to_the_level():
    level = level_of(*[known(100)] * 3, known(400))
    before = level.say(known(400, 50), 0.0, 300.0, MARGIN).above_ms
    after = level.say(known(400, 50), THIN_S + THIN_TAU_S, before, MARGIN)
    assert after.above_ms == pytest.approx(before / math.e)
    assert abs(after.above_ms - before) > after.band_ms  # and so it is put in use


@pytest.mark.parametrize(
    ("mean_ms", "in_use_ms", "said_ms"),
    [(400, 0, (0, 0)), (400, 50, (50, 50)), (60, 50, (0, 0)), (102, 50, (0, 2)), (60, 0, (0, 0)), (140, -30, (0, 0)), (95, -30, (-5, 0))],
)
def test_of_few_that_fade_nothing_new_is_made(mean_ms, in_use_ms, said_ms):
    """It goes to the level, or stays where it is: whatever the few say that came last."""
    level = level_of(*[known(100)] * 3)
    said = level.say(known(mean_ms, 5), THIN_S + 1, in_use_ms, MARGIN)
    assert said_ms[0] - 1e-6 <= said.above_ms <= said_ms[1] + 1e-6
    assert said.band_ms <= MARGIN * (level.ms + abs(in_use_ms))


def test_what_few_contradict_for_certain_is_believed_though_they_fade():
    level = level_of(*[known(100)] * 3)
    said = level.say(known(3000, 5, variance=0), THIN_S + 1, 0.0, MARGIN)
    assert said.above_ms > said.band_ms > 100


def test_little_known_is_explored_and_what_was_slow_by_its_service():
    level = level_of(*[known(100)] * 3)
    little = level.say(known(400, FEW / 2), 0.0, 250.0, MARGIN)
    assert level.hope_ms(little, 250.0) < 100
    assert level.hope_ms(level.say(known(400, FEW), 0.0, 250.0, MARGIN), 250.0) is None


def test_a_level_stays_until_it_is_contradicted():
    level = level_of(*[known(100, 30)] * 3)
    level.learn([known(104, 30)] * 3)
    assert not level.settle(MARGIN)
    level.learn([known(300, 3000)] * 3)
    assert level.settle(MARGIN)
    assert level.ms == pytest.approx(300)


def test_the_variance_of_few_samples_is_what_samples_have_as_a_rule():
    level = level_of(known(100, 1, variance=0))
    assert level.variance == pytest.approx(VARIANCE)
    level = level_of(known(100, 10_000, variance=0.01))
    assert level.variance == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 1.5])
@pytest.mark.parametrize("n", [20, 200, 2000])
def test_of_pops_that_are_alike_hardly_one_is_ever_taken_for_another(sigma, n):
    """1,200 looks at independent samples."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(100):
        samples = np.minimum(rng.lognormal(-sigma * sigma / 2, sigma, (12, n)) * 100, 800)
        found = [known(float(own.mean()), n, variance=float((own**2).mean() / own.mean() ** 2 - 1)) for own in samples]
        level = level_of(*found)
        for each in found:
            said = level.say(each, 0.0, 0.0, MARGIN)
            wrong += abs(said.above_ms) > said.band_ms
    assert wrong <= 2


EVIDENCE = st.builds(known, st.floats(0.01, 60_000), st.floats(1, 1e6), apart=st.floats(0, 1e6), variance=st.floats(0, 10))


@given(st.lists(EVIDENCE, min_size=1, max_size=20), st.floats(0, 1000), st.floats(-100, 1000))
def test_a_level_is_among_its_pops_and_what_is_said_between_it_and_them(found, thin_s, above_ms):
    level = level_of(*found)
    least, most = min(each.mean_ms for each in found), max(each.mean_ms for each in found)
    assert least * 0.999 <= level.ms <= most * 1.001
    for each in found:
        said = level.say(each, thin_s, above_ms, MARGIN)
        low, high = sorted((0.0, each.mean_ms - level.fresh_ms))
        assert low - 1e-6 <= said.above_ms <= high + 1e-6
        assert said.band_ms >= MARGIN_MS
        assert said.spread_ms >= 0
        hope_ms = level.hope_ms(said, above_ms)
        assert hope_ms is None or 0 <= hope_ms <= level.ms + 1e-6
