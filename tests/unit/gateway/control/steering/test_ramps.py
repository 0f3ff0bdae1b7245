import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.ramps import FIRST_SHARE, Ramp, Stage, relative

RAMP_S = 60.0


def whole(now=0.0):
    """One that was there at the start."""
    ramp = Ramp()
    assert ramp.turn(now, True, True, RAMP_S) == 1
    return ramp


def test_at_process_start_nobody_ramps():
    ramp = Ramp()
    assert ramp.turn(0, False, True, RAMP_S) == 1
    assert ramp.turn(1, True, True, RAMP_S) == 1
    assert ramp.turn(2, False, True, RAMP_S) == 1
    assert ramp.turn(3, True, True, RAMP_S) == 1
    assert ramp.turn(4, True, False, RAMP_S) == 1
    assert ramp.stage is Stage.WHOLE


def test_one_that_comes_back_grows_linearly():
    ramp = whole()
    ramp.turn(10, False, False, RAMP_S)
    seen = [ramp.turn(100 + after, True, False, RAMP_S) for after in (0, 15, 30, 45, 60, 1000)]
    assert seen == pytest.approx([0.1, 0.325, 0.55, 0.775, 1, 1])
    assert ramp.stage is Stage.WHOLE


def test_one_that_is_new_ramps_too():
    ramp = Ramp()
    assert ramp.turn(100, True, False, RAMP_S) == FIRST_SHARE
    assert ramp.turn(130, True, False, RAMP_S) == pytest.approx(0.55)


def test_one_that_was_down_at_the_start_ramps_when_it_comes():
    ramp = Ramp()
    assert ramp.turn(0, False, True, RAMP_S) == 1
    ramp.turn(1, False, False, RAMP_S)
    assert ramp.turn(2, True, False, RAMP_S) == FIRST_SHARE


@pytest.mark.parametrize(("absence_s", "first"), [(0.0, 1), (0.9, 1), (1, 0.85), (3, 0.55), (6, 0.1), (600, 0.1)])
def test_an_absence_costs_in_proportion(absence_s, first):
    ramp = whole()
    ramp.turn(100, False, False, RAMP_S)
    back = 100 + absence_s
    assert ramp.turn(back, True, False, RAMP_S) == pytest.approx(first)
    assert ramp.turn(back + 6, True, False, RAMP_S) == pytest.approx(min(1, first + 0.09))


def test_one_that_goes_again_on_its_way_goes_on_from_there():
    ramp = whole()
    ramp.turn(10, False, False, RAMP_S)
    ramp.turn(20, True, False, RAMP_S)
    assert ramp.turn(50, True, False, RAMP_S) == pytest.approx(0.55)
    ramp.turn(50, False, False, RAMP_S)
    assert ramp.turn(50.2, True, False, RAMP_S) == pytest.approx(0.55)
    ramp.turn(50.2, False, False, RAMP_S)
    assert ramp.turn(52.2, True, False, RAMP_S) == pytest.approx(0.25)
    assert ramp.turn(82.2, True, False, RAMP_S) == pytest.approx(0.7)


def test_a_name_that_moves_every_30_s_costs_nothing():
    """Its new address is asked within a second; before, each move began a whole ramp anew, and the PoP stayed below 55 % for good."""
    ramp = whole()
    factors = [ramp.turn(turn / 10, turn % 300 >= 5, False, RAMP_S) for turn in range(6000) if turn % 300 >= 5]
    assert min(factors) == 1


def test_flapping_each_7_s_it_never_gets_far():
    ramp = whole()
    factors = [ramp.turn(turn / 10, turn % 140 >= 70, False, RAMP_S) for turn in range(6000)]
    assert max(factors) <= FIRST_SHARE + (1 - FIRST_SHARE) * 7 / RAMP_S


def test_while_away_it_stands_at_the_beginning():
    """An undrained PoP is in the next table at once, and its figures are refreshed only then."""
    ramp = whole()
    assert ramp.turn(1, False, False, RAMP_S) == FIRST_SHARE


def test_switched_off_it_is_whole_at_once():
    ramp = whole()
    assert ramp.turn(1, False, False, 0) == 1
    assert ramp.turn(2, True, False, 0) == 1
    ramp.turn(3, False, False, RAMP_S)
    ramp.turn(4, True, False, RAMP_S)
    assert ramp.turn(5, True, False, 0) == 1  # by a reload, on the way
    assert ramp.turn(6, True, False, RAMP_S) == 1  # and it is not begun anew


@given(
    st.lists(st.tuples(st.floats(0.01, 30), st.booleans()), min_size=1, max_size=15),
    st.sampled_from([0.0, 20.0, 60.0]),
)
def test_after_the_start_the_factor_is_what_absences_have_left(turns, ramp_s):
    """Naive model: a level that each second of presence raises by 1 / ramp_s, and each of an absence, if that is a second or more, lowers
    by ten times that."""
    ramp, now, level, gone_at = whole(), 0.0, 1.0, None
    was_available = True
    for gap, is_available in turns:
        now += gap
        factor = ramp.turn(now, is_available, False, ramp_s)
        if was_available and ramp_s:
            level = min(1.0, level + gap / ramp_s)
        if was_available and not is_available:
            gone_at = now
        if is_available and not was_available and ramp_s and now - gone_at >= 1:
            level = max(0.0, level - 10 * (now - gone_at) / ramp_s)
        was_available = is_available
        if is_available:
            assert factor == pytest.approx(0.1 + 0.9 * level)


def test_where_all_return_the_furthest_takes_all():
    assert relative({"fra": 0.1, "nyc": 0.4}) == pytest.approx({"fra": 0.25, "nyc": 1})
    assert relative({"fra": 0.1, "nyc": 1.0}) == {"fra": 0.1, "nyc": 1.0}
    assert relative({"fra": 0.1}) == {"fra": 1}
    assert relative({}) == {}
