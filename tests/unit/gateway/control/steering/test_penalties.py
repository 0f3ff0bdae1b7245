import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.penalties import (
    LATER_MS,
    LATER_S,
    LEAST_MS,
    MOST_MS,
    PRIOR_ATTEMPTS,
    SILENCE_S,
    TAU_S,
    Outcomes,
    Penalty,
    Terms,
    cost_ms,
    later_ms,
)

TURN_S = 0.1
TERMS = Terms()
NOTHING = Outcomes(0)


def after(*turns, terms=TERMS):
    """A penalty after these turns, the last of them at 0 s, and what it said."""
    penalty, ms = Penalty(), 0.0
    for i, outcomes in enumerate(turns):
        ms = penalty.turn(outcomes, terms, (i + 1 - len(turns)) * TURN_S)
    return penalty, ms


def worth(failed, attempts):
    """So many failures, fading ones with their weights: what chance explains is left out, and some attempts that went well come on top."""
    return 5000 * max(0.0, failed - math.sqrt(failed)) / (attempts + PRIOR_ATTEMPTS)


def faded(per_turn, n_turns):
    """What is left of as many in each of the last turns."""
    return per_turn * sum(math.exp(-turn * TURN_S / TAU_S) for turn in range(n_turns))


@pytest.mark.parametrize(
    ("outcomes", "terms", "expected"),
    [
        (Outcomes(10), TERMS, 0),
        (Outcomes(10, failures=2), TERMS, 10_000),
        (Outcomes(10, server_errors=2), TERMS, 0),
        (Outcomes(10, server_errors=2), Terms(server_errors=True), 10_000),
        (Outcomes(10, rate_limited=2), TERMS, 0),
        (Outcomes(10, 1, 1, 1, 7_000), Terms(100.0, True, True), 200),
        (Outcomes(10, failures=1), Terms(failure_ms=900_000), 300_000),
    ],
)
def test_what_outcomes_cost(outcomes, terms, expected):
    assert cost_ms(outcomes, terms) == expected


@pytest.mark.parametrize(
    ("outcomes", "terms", "expected"),
    [
        (Outcomes(10, failures=3, server_errors=4), TERMS, 0),
        (Outcomes(10, rate_limited=2), TERMS, 2000),  # a failure's 5 s are more than a second
        (Outcomes(10, rate_limited=2), Terms(100.0), 200),
        (Outcomes(10, rate_limited=2, retry_after_ms=1_000), Terms(900.0), 1000),  # one of them said so
        (Outcomes(10, rate_limited=2, retry_after_ms=7_200_000), TERMS, 2000),
        (Outcomes(10, rate_limited=2, retry_after_ms=7_200_000), Terms(rate_limited=False), 0),
    ],
)
def test_what_those_cost_who_are_told_to_come_later(outcomes, terms, expected):
    assert later_ms(outcomes, terms) == expected


def limited(penalty, now, n=10, share=1.0, is_limited=True):
    return penalty.turn(Outcomes(n, rate_limited=round(n * share), retry_after_ms=round(n * share) * 3_600_000), TERMS, now, is_limited)


@pytest.mark.parametrize(("part", "failed"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_what_is_one_networks_own_counts_for_nothing_then_and_later(part, failed):
    """Neither as a failure nor as one of those that chance does not explain."""
    penalty = Penalty()
    assert penalty.turn(Outcomes(10, failures=4), TERMS, 0.0, part=part) == pytest.approx(worth(failed, 10))
    kept = math.exp(-0.1 / TAU_S)
    assert penalty.turn(Outcomes(0), TERMS, 0.1) == pytest.approx(worth(failed * kept, 10 * kept))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_pop_that_turns_a_share_away_looks_slower_by_that_share_of_a_second(share):
    penalty = Penalty()
    for turn in range(1, 501):
        ms = limited(penalty, turn * TURN_S, share=share)
    assert ms == pytest.approx(share * LATER_MS, rel=0.01)


def test_who_is_turned_away_alone_moves_nobody_however_often():
    penalty = Penalty()
    assert {limited(penalty, turn * TURN_S, n=100, is_limited=False) for turn in range(500)} == {0}


def test_after_the_last_one_it_falls_evenly_and_is_forgotten_whatever_was_asked_for():
    penalty = Penalty()
    for turn in range(-100, 1):
        assert limited(penalty, turn * TURN_S) == pytest.approx(LATER_MS)
    seen = {turn: penalty.turn(NOTHING, TERMS, turn * TURN_S, True) for turn in range(1, 101)}
    assert seen[50] == pytest.approx(LATER_MS / 2)
    assert seen[99] > 0 == seen[round(LATER_S / TURN_S)]
    assert penalty.is_free


def test_failures_beside_it_keep_their_own_cost():
    penalty, ms = after(Outcomes(10, failures=4, rate_limited=5))
    assert ms == worth(4, 10) == 500
    assert penalty.turn(NOTHING, TERMS, 0.0, True) == pytest.approx(500 + 500)
    assert penalty.turn(Outcomes(10), TERMS, LATER_S, True) == pytest.approx(worth(4 * math.exp(-1), 10 + 10 * math.exp(-1)))


def test_a_503_that_is_both_is_one_attempt():
    assert Penalty().turn(Outcomes(10, server_errors=10, rate_limited=10), TERMS, 0.0, True) == LATER_MS


def failing(share, per_turn):
    """The penalty of one that fails so many of its attempts, when it has done so for long."""
    penalty, done, seen = Penalty(), 0, []
    for turn in range(1, 1001):
        failed = int(turn * per_turn * share) - done
        done += failed
        seen.append(penalty.turn(Outcomes(per_turn, failed), TERMS, turn * TURN_S))
    return sum(seen[-200:]) / 200


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_a_busy_one_that_fails_a_share_looks_slower_by_that_share_of_5_s(share):
    assert failing(share, 1000) == pytest.approx(share * 5000, rel=0.05)


@pytest.mark.parametrize("per_turn", [1, 20])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_of_one_that_is_less_busy_what_chance_explains_is_left_out(share, per_turn):
    attempts = faded(per_turn, 1000)
    assert failing(share, per_turn) == pytest.approx(worth(share * attempts, attempts), rel=0.01)
    assert failing(0.01, per_turn) < 50 * 0.8


def at_one_a_second(*failed_at):
    """What is said in ten minutes, each turn."""
    penalty, seen = Penalty(), []
    for turn in range(6000):
        is_asked = turn % 10 == 0
        failures = is_asked and turn // 10 in failed_at
        seen.append(penalty.turn(Outcomes(int(is_asked), int(failures)), TERMS, turn * TURN_S))
    return seen


def test_one_reset_moves_nobody_and_two_in_ten_seconds_do():
    assert max(at_one_a_second(300)) == 0
    assert max(at_one_a_second(300, 350, 400)) <= 1, "one now and then is chance too"
    for gap_s in (1, 5, 9):
        seen = at_one_a_second(300, 300 + gap_s)
        assert max(seen) > 50
        assert seen.index(max(seen)) == 10 * (300 + gap_s), "as soon as it is known"


def test_one_that_fails_all_is_known_within_a_second():
    """At 100 a second, all of which went well for long."""
    penalty, _ = after(*[Outcomes(10)] * 1000)
    seen = [penalty.turn(Outcomes(10, 10), TERMS, turn * TURN_S) for turn in range(1, 101)]
    assert seen[9] > 400
    assert seen == sorted(seen) and seen[-1] > 3000


def test_it_is_felt_at_the_next_turn():
    assert after(Outcomes(10, failures=10))[1] == worth(10, 10) > 1700
    assert after(*[Outcomes(10)] * 100, Outcomes(10, failures=10))[1] > 50


def test_one_that_is_well_again_is_forgiven_with_the_time_constant():
    penalty, before = after(*[Outcomes(100, failures=100)] * 200)
    assert before == pytest.approx(worth(faded(100, 200), faded(100, 200))) == pytest.approx(5000, rel=0.02)
    for turn in range(1, int(TAU_S / TURN_S) + 1):
        ms = penalty.turn(Outcomes(100), TERMS, turn * TURN_S)
    assert ms == pytest.approx(5000 / math.e, rel=0.2)


@pytest.mark.parametrize("per_turn", [1, 1000])
def test_one_that_nobody_tries_any_more_is_forgotten_and_the_sooner_the_less_it_was_tried(per_turn):
    penalty, _ = after(*[Outcomes(per_turn, failures=per_turn)] * 100)
    seen = {turn: penalty.turn(NOTHING, TERMS, turn * TURN_S) for turn in range(1, 2001)}
    failed = faded(per_turn, 100)
    assert seen[100] == pytest.approx(worth(failed / math.e, failed / math.e))  # for SILENCE_S nothing but the evidence fades
    assert seen[200] == pytest.approx(worth(failed / math.e**2, failed / math.e**2) / math.e)
    assert (SILENCE_S, TAU_S) == (10, 10)
    gone = round(TAU_S * math.log(failed) / TURN_S)  # one failure is left
    assert seen[gone - 1] > 0
    assert seen[gone + 1] == seen[2000] == 0
    assert penalty.cost_ms == penalty.failed == 0


def test_a_busy_one_looks_as_bad_until_it_is_silent_for_long():
    penalty, _ = after(*[Outcomes(1000, failures=1000)] * 100)
    assert penalty.turn(NOTHING, TERMS, SILENCE_S) == pytest.approx(5000, rel=0.01)
    assert penalty.turn(NOTHING, TERMS, SILENCE_S + TAU_S) == pytest.approx(5000 / math.e, rel=0.02)


def test_a_good_answer_never_makes_it_worse():
    penalty, _ = after(*[Outcomes(1000, failures=1000)] * 100)
    before = penalty.turn(NOTHING, TERMS, 40.0)
    assert 0 < before < 500
    assert penalty.turn(Outcomes(1), TERMS, 40.1) <= before


def test_what_fails_long_after_it_was_tried_is_one_attempt():
    """A timeout of 30 s: the attempt has all but faded when its end is counted."""
    penalty, _ = after(Outcomes(9))
    assert penalty.turn(Outcomes(0, failures=9), TERMS, 30.0) == pytest.approx(worth(9, 9))
    busy, _ = after(*[Outcomes(10)] * 100)
    assert busy.turn(Outcomes(0, failures=10), TERMS, 0.1) < 500


def test_attempts_that_went_well_are_counted_alone():
    """The short way, which most pools take at most turns, comes to the same."""
    short, long = Penalty(), Penalty()
    for turn in range(1, 50):
        short.attempt(turn % 3, turn * TURN_S)
        assert long.turn(Outcomes(turn % 3), TERMS, turn * TURN_S) == 0
    assert short.turn(Outcomes(4, 2), TERMS, 5.0) == pytest.approx(long.turn(Outcomes(4, 2), TERMS, 5.0))
    with pytest.raises(AssertionError):
        short.attempt(1, 5.1)


def test_seldom_used_it_says_less():
    """Asked every two seconds, it fails every other time: three failures of five or six attempts."""
    penalty = Penalty()
    seen = [penalty.turn(Outcomes(1, turn % 2), TERMS, 2.0 * turn) for turn in range(200)]
    attempts, failed = 1 / (1 - math.exp(-0.2)), 1 / (1 - math.exp(-0.4))
    assert seen[-1] == pytest.approx(worth(failed, attempts))
    assert seen[-2] == pytest.approx(worth(failed * math.exp(-0.2), attempts))
    assert 250 < seen[-2] < seen[-1] < 500


def test_nothing_costs_nothing():
    penalty = Penalty()
    for turn in range(100):
        assert penalty.turn(Outcomes(turn % 3), TERMS, turn * TURN_S) == 0
        assert penalty.turn(Outcomes(5, server_errors=5), TERMS, turn * TURN_S) == 0


TURNS = st.tuples(st.floats(0, 100), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10**7))


@given(st.lists(TURNS, min_size=1, max_size=30), st.booleans())
def test_never_more_than_the_dearest_outcome_and_never_below_0(turns, server_errors):
    penalty, now, terms = Penalty(), 0.0, Terms(server_errors=server_errors)
    for gap, *counts in turns:
        now += gap
        ms = penalty.turn(Outcomes(*counts), terms, now, is_limited=True)
        assert ms == 0 or LEAST_MS * (1 - 1e-9) <= ms <= (MOST_MS + LATER_MS) * (1 + 1e-9)


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=20))
def test_it_is_the_weighted_mean_of_all_attempts_less_what_chance_explains(turns):
    """Naive model, while there is never silence: each turn by itself, weighted by its age."""
    penalty, now, seen = Penalty(), 0.0, []
    for gap, attempts, failed in turns:
        now += gap
        seen.append((now, attempts, min(failed, attempts)))
        ms = penalty.turn(Outcomes(attempts, seen[-1][2]), TERMS, now)
    weights = [math.exp(-(now - at) / TAU_S) for at, _, _ in seen]
    failed = sum(weight * failed for weight, (_, _, failed) in zip(weights, seen, strict=True))
    attempts = sum(weight * attempts for weight, (_, attempts, _) in zip(weights, seen, strict=True))
    assert ms == pytest.approx(worth(failed, attempts), abs=LEAST_MS)
