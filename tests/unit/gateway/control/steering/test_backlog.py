import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.steering.backlog import DEVIATIONS, FORGET_S, LEAST_MS, LEAST_PER_S, MOST_MS, TAU_S, WINDOW_S, Backlog, Seen

TURN_S = 0.1
USUAL_MS = 100.0


def run(backlog, seconds, begin, in_flight, per_s, first_byte_ms=USUAL_MS):
    """Turns of 100 ms; `in_flight` may be a function of the seconds since the begin. Returns what each said."""
    said, answered = [], 0.0
    for turn in range(1, round(seconds / TURN_S) + 1):
        after = turn * TURN_S
        answers = int(per_s * after) - int(answered)
        answered += answers
        n = in_flight(after) if callable(in_flight) else in_flight
        said.append(backlog.turn(Seen(round(n), answers, first_byte_ms), begin + after))
    return said


def calm(per_s=100.0, extra=0):
    """One that has been at 100 ms for long."""
    backlog = Backlog()
    said = run(backlog, 30, 0, per_s * USUAL_MS / 1000 + extra, per_s)
    return backlog, said


@pytest.mark.parametrize("per_s", [3.0, 20.0, 100.0, 5000.0])
def test_what_the_law_explains_is_no_backlog(per_s):
    assert set(calm(per_s)[1]) == {0}


def test_what_is_in_flight_beyond_it_waits():
    """100 a second are answered, and 200 a second come."""
    backlog, _ = calm()
    said = run(backlog, 5, 30, lambda after: 10 + 100 * after, 100)
    assert 0 < said[4] < 500 / 2  # 50 more by then, and the means know of some of them
    # The mean is a second late. Of the 10 in service some are more by chance: a tenth of a second's are alike, and so are 100 answers.
    chance = DEVIATIONS * math.sqrt(10 * 0.1 + 10 * 10 * 2 / 100)
    assert said[-1] == pytest.approx((100 * (5 - TAU_S) - chance) * 10, rel=0.02)
    assert said[10:] == sorted(said[10:])


def test_it_is_forgotten_slowly():
    """Those who left are what ended it."""
    backlog, _ = calm()
    most = run(backlog, 5, 30, 500, 100)[-1]
    said = run(backlog, 60, 35, 10, 100)
    assert said[round(FORGET_S / TURN_S)] == pytest.approx(most / math.e, rel=0.1)
    assert said[-1] >= LEAST_MS or said[-1] == 0
    assert run(backlog, 60, 95, 10, 100)[-1] == 0


def test_as_soon_as_answers_tell_of_it_the_wait_is_theirs():
    """The time to first byte says it: not twice."""
    fresh = Backlog()
    assert set(run(fresh, 10, 0, 500, 100, first_byte_ms=5000)) == {0}


def test_twice_the_traffic_is_no_backlog():
    """A PoP that takes over from another has at once as much more in flight as its answers grow by a moment later."""
    backlog, _ = calm()
    said = run(backlog, 0.1, 30, 20, 100) + run(backlog, 10, 30.1, 20, 200)
    assert set(said) == {0}


@pytest.mark.parametrize("extra", [50, 5000])
def test_long_polls_are_no_queue(extra):
    """What has been there for a while beyond the law, and grows with the answers."""
    backlog, _ = calm(extra=extra)
    run(backlog, 40, 30, 10 + extra, 100)
    assert set(run(backlog, 10, 70, 20 + 2 * extra, 200)) == {0}
    assert set(run(backlog, 30, 80, 10 + extra, 100)) == {0}


def test_within_two_windows_a_new_kind_of_them_is_taken_for_what_it_is():
    backlog, _ = calm()
    assert run(backlog, 1, 30, 60, 100)[-1] > 0
    run(backlog, 2 * WINDOW_S, 31, 60, 100)
    waits = backlog.wait_ms
    assert run(backlog, FORGET_S, 51, 60, 100)[-1] < waits / 2


@pytest.mark.parametrize("n", [2, 6, 15])
def test_clients_that_ask_on_the_second_are_no_queue_where_a_turn_falls_on_it(n):
    """Each is answered in a millisecond. Before, seven of them were a wait of 100 ms for as long as the two clocks kept pace."""
    backlog = Backlog()
    said = [backlog.turn(Seen(n if turn % 10 == 0 else 0, n if turn % 10 == 1 else 0, 1.0), turn * TURN_S) for turn in range(1, 600)]
    assert set(said) == {0}


def test_a_queue_where_answers_are_few_is_known():
    """One at a time, 300 ms each: four wait all the while."""
    backlog = Backlog()
    run(backlog, 30, 0, 1, 3.3, first_byte_ms=300)
    assert run(backlog, 10, 30, 5, 3.3, first_byte_ms=300)[-1] > 300


@pytest.mark.parametrize("per_s", [50.0, 100.0, 2000.0])
@pytest.mark.parametrize("pause_s", [0.3, 0.8])
def test_a_pause_is_no_queue(per_s, pause_s):
    """Nobody is answered meanwhile, then all who came are at once."""
    backlog, _ = calm(per_s)
    law = per_s * USUAL_MS / 1000
    said = run(backlog, pause_s, 30, lambda after: law + per_s * after, 0)
    before = backlog.wait_ms
    said.append(backlog.turn(Seen(round(law), round(per_s * (pause_s + TURN_S)), USUAL_MS), 30 + pause_s + TURN_S))
    assert backlog.queue_ms == 0
    said += run(backlog, 5, 30 + pause_s + TURN_S, law, per_s)
    assert set(said[2:]) == {0}, "before two turns nobody knows that it is one"
    assert before == 0


def test_what_a_pause_leaves_waiting_is_a_queue():
    """It can't answer them faster than before."""
    backlog, _ = calm()
    run(backlog, 0.5, 30, lambda after: 10 + 100 * after, 0)
    assert min(run(backlog, 5, 30.5, 60, 100)) > 200


def test_where_nobody_was_answered_for_seconds_the_first_answer_ends_no_wait():
    backlog, _ = calm()
    for turn in range(1, 41):
        most = backlog.turn(Seen(10 * turn, 0, USUAL_MS, networks=3), 30 + turn * TURN_S)
    assert most > 3000
    assert backlog.turn(Seen(100, 300, USUAL_MS), 34.1) > 0.9 * most


def test_who_pauses_for_longer_is_a_queue_again():
    backlog, _ = calm()
    assert run(backlog, 2, 30, lambda after: 10 + 100 * after, 0)[-1] > 500


def test_where_next_to_nothing_is_answered_nothing_is_said():
    assert set(run(Backlog(), 20, 0, 50, LEAST_PER_S / 2)) == {0}


def test_one_that_answers_no_more_stays_what_it_was():
    """Else who hangs would look free as soon as its answers are forgotten."""
    backlog, _ = calm()
    run(backlog, 2, 30, lambda after: 10 + 200 * after, 100)
    said = run(backlog, 20, 32, 410, 0)
    assert said == sorted(said) and said[-1] > 1000
    assert run(backlog, 20, 52, 0, 0)[-1] < said[-1] / 2


def test_never_more_than_ten_seconds_and_never_below_0():
    assert run(Backlog(), 5, 0, lambda after: 10_000 * after, 20)[-1] == MOST_MS


def test_a_turn_without_time_changes_nothing():
    backlog, _ = calm()
    run(backlog, 3, 30, 300, 100)
    before = backlog.wait_ms
    assert backlog.turn(Seen(10_000, 0, USUAL_MS), 33.0) == before > 0


def by_chance(per_s, sigma, variance, seconds=300):
    """What is said where Poisson arrivals stay 100 ms each, in the mean, log-normal of that width; each turn."""
    rng, backlog = np.random.default_rng(per_s), Backlog()
    begun = np.cumsum(rng.exponential(1 / per_s, round(per_s * seconds)))
    ended = np.sort(begun + rng.lognormal(-sigma * sigma / 2, sigma, len(begun)) * USUAL_MS / 1000)
    ends = np.arange(1, round(seconds / TURN_S)) * TURN_S
    n_begun, n_ended = np.searchsorted(begun, ends), np.searchsorted(ended, ends)
    answers = np.diff(n_ended, prepend=0)
    turns = zip(ends, n_begun - n_ended, answers, strict=True)
    return [backlog.turn(Seen(int(waiting), int(n), USUAL_MS, variance=variance), float(at)) for at, waiting, n in turns]


@pytest.mark.parametrize("sigma", [0.0, 1.2])
@pytest.mark.parametrize("per_s", [4, 15, 60, 300, 3000])
def test_chance_alone_is_rarely_a_wait_worth_speaking_of(per_s, sigma):
    said = by_chance(per_s, sigma, math.exp(sigma * sigma) - 1)
    assert sum(said) / len(said) < 0.1


def test_how_much_is_chance_goes_by_how_much_the_work_varies():
    """Heavy tails taken for work that is all alike are a queue now and then."""
    said, alike = by_chance(300, 1.2, math.exp(1.44) - 1), by_chance(300, 1.2, 0.0)
    assert sum(said) < sum(alike) / 10 > 0


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0, 30_000)), max_size=30))
def test_whatever_comes_it_is_in_its_bounds(turns):
    backlog, now = Backlog(), 0.0
    for gap, in_flight, answers, first_byte_ms in turns:
        now += gap
        wait_ms = backlog.turn(Seen(in_flight, answers, first_byte_ms), now)
        assert wait_ms == 0 or LEAST_MS <= wait_ms <= MOST_MS


@pytest.mark.parametrize(("lay_ms", "waits"), [(1500, False), (0, True)])
def test_what_answers_lay_here_is_the_gateways_own_wait(lay_ms, waits):
    """A worker that is starved sees each of them 150 ms late: by then more than twice as many are waited for."""
    backlog, _ = calm()
    said = [backlog.turn(Seen(25, 10, USUAL_MS, lay_ms), 30 + turn * TURN_S) for turn in range(1, 50)]
    assert (max(said) > 0) is waits


def test_of_a_time_that_nobody_knows_nothing_is_judged():
    backlog, _ = calm()
    before = run(backlog, 5, 30, 500, 100)[-1]
    assert backlog.skip(38.0) == before > 0
    assert backlog.turn(Seen(500, 10, USUAL_MS), 38.1) == pytest.approx(before, rel=0.1), "a tenth of a second has gone by, not three"
    assert Backlog().skip(1.0) == 0


def mute(backlog, seconds, begin, waiting, networks=3, first_byte_ms=USUAL_MS):
    """Nobody is answered. `waiting`: by turn."""
    turns = range(1, round(seconds / TURN_S) + 1)
    return [backlog.turn(Seen(waiting(n), 0, first_byte_ms, networks=networks), begin + n * TURN_S) for n in turns]


@pytest.mark.parametrize("waiting", [lambda _: 6, lambda turn: 0 if turn % 10 == 0 else 6], ids=["they stay", "they give up and return"])
@pytest.mark.parametrize("begun", [Backlog, lambda: calm(per_s=1.5)[0]], ids=["never answered", "seldom"])
def test_where_nobody_is_answered_it_waits_as_long_as_that_lasts(begun, waiting):
    backlog = begun()
    begin = backlog.at or 0.0
    said = mute(backlog, 8, begin, waiting)
    assert backlog.is_mute
    assert said[8] == 0 and said[-1] == pytest.approx(8000, rel=0.1)
    assert said == sorted(said)
    backlog.turn(Seen(6, 1, USUAL_MS), begin + 8.1)
    assert not backlog.is_mute


@pytest.mark.parametrize(
    ("waiting", "networks", "first_byte_ms"),
    [(6, 0, USUAL_MS), (6, 1, USUAL_MS), (1, 1, USUAL_MS), (6, 3, 4000.0), (2, 2, 2000.0)],
    ids=["of few among many", "of one client", "one request", "usual there", "usual there, of two"],
)
def test_what_hangs_and_proves_nothing(waiting, networks, first_byte_ms):
    assert set(mute(Backlog(), 8, 0.0, lambda _: waiting, networks, first_byte_ms)) == {0}


@pytest.mark.parametrize(("networks", "begins_s"), [(2, 5.0), (3, 1.0)])
@pytest.mark.parametrize("waiting", [lambda _: 1, lambda turn: turn % 3 == 0], ids=["one waits", "one after another"])
def test_few_requests_of_several_networks_are_evidence_when_it_lasts(waiting, networks, begins_s):
    backlog = Backlog()
    said = mute(backlog, 12, 0.0, waiting, networks)
    first = next(turn for turn, ms in enumerate(said, start=1) if ms > 0)
    assert first * TURN_S == pytest.approx(begins_s + 2 * USUAL_MS / 1000, abs=0.7)
    assert said[-1] == pytest.approx(10_000, rel=0.1)


def test_who_went_and_did_not_come_back_is_evidence_no_longer():
    backlog = Backlog()
    said = mute(backlog, 3, 0.0, lambda _: 1)
    said += mute(backlog, 9, 3.0, lambda _: 0)
    assert backlog.is_mute and max(said) <= 3000, "what nobody waited is no wait"
    mute(backlog, 2, 12.0, lambda _: 0)
    assert not backlog.is_mute
