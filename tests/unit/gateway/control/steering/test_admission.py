import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.admission import LEAST, MOST_PER_S, PATIENCE_S, WORTH_MS, Admission, admitted

TURN_S = 0.1


def run(admission, seconds, begin, queue_ms, answer_ms=100.0):
    """Turns of 100 ms; the share after each."""
    shares = []
    for turn in range(1, round(seconds / TURN_S) + 1):
        admission.turn(queue_ms, answer_ms, begin + turn * TURN_S)
        shares.append(admission.share)
    return shares


def test_without_a_queue_all_are_taken():
    assert set(run(Admission(), 60, 0, 0.0)) == {1.0}


@pytest.mark.parametrize(
    ("queue_ms", "per_s"), [(WORTH_MS, 0.0), (WORTH_MS + 5, 0.2), (WORTH_MS + 20, 0.8), (WORTH_MS + 50, MOST_PER_S), (5000, MOST_PER_S)]
)
def test_while_requests_queue_the_share_shrinks_by_how_long_they_wait(queue_ms, per_s):
    admission = Admission()
    run(admission, 1, 0, 0.0)
    assert run(admission, 1, 1, queue_ms)[-1] == pytest.approx(math.exp(-per_s))


def test_a_hiccup_of_what_takes_a_millisecond_is_not_a_hundred_of_them():
    admission = Admission()
    run(admission, 1, 0, 0.0)
    assert run(admission, 0.5, 1, WORTH_MS + 5, answer_ms=0.2)[-1] > 0.8


def test_somebody_is_always_taken():
    assert run(Admission(), 60, 0, 5000)[-1] == LEAST


def test_it_grows_slowly_where_a_queue_has_just_been_and_is_whole_within_minutes():
    admission = Admission()
    run(admission, 10, 0, 5000)
    shares = run(admission, 150, 10, 0.0)
    assert shares == sorted(shares)
    after = {seconds: shares[round(seconds / TURN_S) - 1] - LEAST for seconds in (10, 30, 60, 90)}
    assert after[10] < 0.06
    assert after[60] - after[30] > 2 * after[30]
    assert shares[-1] == 1


def test_a_second_queue_has_it_grow_slowly_again():
    admission = Admission()
    run(admission, 2, 0, 100)
    run(admission, PATIENCE_S, 2, 0.0)
    run(admission, 0.2, 2 + PATIENCE_S, 100)
    before = admission.share
    assert run(admission, 1, 2.2 + PATIENCE_S, 0.0)[-1] - before < 0.006


@pytest.mark.parametrize(
    ("share", "others", "said"), [(0.5, [1.0, 0.5], 0.5), (0.5, [0.5, 0.5], 1.0), (0.2, [0.2, 0.4], 0.5), (0.3, [], 1.0)]
)
def test_what_one_takes_is_relative_to_the_one_that_takes_most(share, others, said):
    assert admitted(share, others) == pytest.approx(said)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 100))))
def test_whatever_comes_it_is_in_its_bounds(turns):
    admission, now = Admission(), 0.0
    for queue_ms, answer_ms, seconds in turns:
        now += seconds
        before = admission.share
        admission.turn(queue_ms, answer_ms, now)
        assert LEAST <= admission.share <= 1
        assert admission.share <= before if queue_ms > WORTH_MS else admission.share >= before
