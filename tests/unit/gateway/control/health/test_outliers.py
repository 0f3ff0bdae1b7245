import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.health.outliers import JITTER, Counts, Outliers, Rules
from tests.unit.gateway.control.helpers import by_group
from tests.unit.gateway.control.outlying import ALL, BAD, GOOD, SET, Scene, plus

# A run of errors


def test_a_run_of_errors_ejects_at_once():
    scene = Scene(*SET)
    for _ in range(4):
        assert not scene.errors(BAD).ejected
    [ejection] = scene.errors(BAD).ejected
    assert ejection.identity == BAD
    assert ejection.cause == "5 gateway errors in a row"
    assert 27 <= ejection.until - scene.now <= 33


def test_errors_of_one_turn_count_each():
    assert Scene(*SET).errors(BAD, n=7).ejected[0].cause == "7 gateway errors in a row"


def test_a_good_answer_ends_the_run():
    scene = Scene(*SET)
    scene.errors(BAD, n=4)
    scene.answers(BAD)
    scene.errors(BAD, n=4)
    scene.turn({BAD: Counts(answers=1, errors=20)})
    scene.errors(BAD, n=4)
    assert not scene.ejections


def test_a_500_neither_ends_nor_grows_a_run():
    scene = Scene(*SET)
    for _ in range(4):
        scene.turn({BAD: Counts(answers=1, errors=1, server_errors=1)})
    assert not scene.turn({BAD: Counts(answers=9, errors=0, server_errors=9)}).ejected
    assert scene.errors(BAD).ejected[0].cause == "5 gateway errors in a row"


def test_silence_neither_ends_nor_grows_a_run():
    scene = Scene(*SET)
    scene.errors(BAD, n=4)
    for _ in range(50):
        scene.turn({BAD: Counts(0, 0, 1, 9000)})  # the first byte of something that is not over
    assert scene.errors(BAD).ejected


def groups(n):
    """One of each of the first so many."""
    return by_group(*[1] * n)


@pytest.mark.parametrize(("n_asked", "n_needed"), [(1, 1), (2, 2), (3, 2), (5, 3), (8, 5)])
def test_a_run_ejects_when_most_networks_have_met_it(n_asked, n_needed):
    """Whoever asks anywhere in the pool counts: one client's run is its own, and so is that of who has a few networks."""
    scene = Scene(*SET)
    scene.turn({GOOD[0]: Counts(100, 0, good_by=groups(n_asked))})
    for _ in range(10):
        if n_needed > 1:
            assert not scene.turn({BAD: Counts(0, 50, bad_by=groups(n_needed - 1))}).ejected
    assert scene.turn({BAD: Counts(0, 5, bad_by=groups(n_needed))}).ejected


def test_a_network_that_met_a_run_before_it_broke_has_not_met_the_next_one():
    scene = Scene(*SET)
    scene.turn({GOOD[0]: Counts(8, 0, good_by=ALL)})
    scene.turn({BAD: Counts(0, 4, bad_by=groups(4))})
    scene.turn({BAD: Counts(1, 0, good_by=1)})
    last = by_group(0, 0, 0, 0, 0, 0, 0, 1)
    assert not scene.turn({BAD: Counts(0, 50, bad_by=last)}).ejected
    assert scene.turn({BAD: Counts(0, 50, bad_by=groups(4))}).ejected


def test_where_nobody_else_has_asked_for_two_sweeps_one_network_is_most():
    scene = Scene(*SET)
    scene.turn({GOOD[0]: Counts(8, 0, good_by=ALL)})
    scene.turn({BAD: Counts(0, 9, bad_by=1)}, gap=10)
    assert not scene.turn({BAD: Counts(0, 9, bad_by=1)}, gap=9.9).ejected
    scene.turn(gap=0.2)
    assert scene.turn({BAD: Counts(0, 1, bad_by=1)}).ejected


def test_a_network_of_which_256_errors_came_has_met_them():
    scene = Scene(*SET)
    scene.turn({BAD: Counts(0, 2, bad_by=1)})
    assert scene.turn({BAD: Counts(0, 254, bad_by=254)}).ejected


def test_runs_are_each_endpoints_own():
    scene = Scene(*SET)
    for one in SET:
        scene.errors(one, n=4)
    assert not scene.ejections


def test_counts_that_begin_anew_are_nobodys_news():
    scene = Scene(*SET)
    scene.answers(BAD, n=100)
    scene.counts[BAD] = Counts(0, 5)  # another row: it began at zero
    assert not scene.turn().ejected
    assert not scene.errors(BAD, n=4).ejected
    assert scene.errors(BAD).ejected


def test_what_was_counted_before_it_was_seen_is_nobodys_news():
    scene = Scene(*GOOD)
    scene.counts[BAD] = Counts(3, 1000)
    assert not scene.turn().ejected
    del scene.counts[BAD]
    scene.turn()
    scene.counts[BAD] = Counts(3, 2000)
    assert not scene.turn().ejected


# How long


def test_it_returns_when_the_time_is_over():
    scene = Scene(*SET)
    lasts = scene.eject(BAD)
    assert not scene.turn(gap=lasts - 0.01).restored
    assert scene.ejected == {BAD}
    assert scene.turn(gap=0.02).restored == [BAD]
    assert not scene.ejected
    assert not scene.turn().restored


def test_it_grows_with_each_ejection_up_to_the_cap():
    scene = Scene(*SET)
    lengths = []
    for _ in range(14):
        lengths.append(scene.eject(BAD))
        scene.turn(gap=lengths[-1] + 0.01)
    for times, length in enumerate(lengths, 1):
        assert length == pytest.approx(min(30 * times, 300), rel=JITTER)
    assert len(set(lengths)) == 14  # jitter
    assert max(lengths) - min(lengths[10:]) < 0.2 * 300


def test_it_falls_by_one_for_each_interval_without():
    scene = Scene(*SET)
    for times in (1, 2, 3):
        assert scene.eject(BAD) == pytest.approx(30 * times, rel=JITTER)
        scene.turn(gap=120)
    scene.turn(gap=10)  # a sweep: 2
    scene.turn(gap=10)  # 1
    assert scene.eject(BAD) == pytest.approx(60, rel=JITTER)
    scene.turn(gap=120)
    for _ in range(5):
        scene.turn(gap=10)
    assert scene.eject(BAD) == pytest.approx(30, rel=JITTER)


def test_while_it_is_ejected_it_does_not_fall():
    """Its return and a sweep may fall on the same turn: else no second ejection would ever be longer."""
    scene = Scene(*SET)
    lasts = scene.eject(BAD)
    for _ in range(int(lasts / 10)):
        scene.turn(gap=10)
    scene.turn(gap=10)
    assert scene.restored == [BAD]
    assert scene.eject(BAD) == pytest.approx(60, rel=JITTER)


def test_after_the_cap_a_long_peace_is_not_needed():
    scene = Scene(*SET)
    for _ in range(50):
        scene.turn(gap=scene.eject(BAD) + 0.01)
    for _ in range(11):
        scene.turn(gap=10)
    assert scene.eject(BAD) == pytest.approx(30, rel=JITTER)


def test_errors_of_what_was_under_way_or_of_a_panic_do_not_count():
    scene = Scene(*SET)
    lasts = scene.eject(BAD)
    for _ in range(5):
        assert not scene.errors(BAD, n=100).ejected
    scene.turn(gap=lasts)
    assert scene.restored == [BAD]
    assert not scene.errors(BAD, n=4).ejected
    assert scene.errors(BAD).ejected


# How many


@pytest.mark.parametrize(
    ("size", "max_share", "most"), [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (10, 0.5, 5), (10, 0.1, 1), (9, 0.1, 0), (4, 1, 4)]
)
def test_no_more_than_the_share_of_a_set_is_ejected(size, max_share, most):
    scene = Scene(*SET[:size], rules=Rules(max_share=max_share))
    for _ in range(3):
        scene.errors(*SET[:size], n=5)
    assert len(scene.ejected) == most


def test_a_share_is_rounded_down_as_people_do():
    assert Rules(max_share=0.29).most(100) == 29
    assert Rules(max_share=0.5).most(7) == 3


def test_the_worst_go_first():
    scene = Scene(*SET[:4])
    scene.turn({SET[0]: Counts(0, 5), SET[1]: Counts(0, 9), SET[2]: Counts(0, 7)})
    assert [one.identity for one in scene.ejections] == [SET[1], SET[2]]


def test_who_had_to_wait_is_ejected_by_a_fresh_error_only():
    scene = Scene(*SET[:2])
    lasts = scene.eject(BAD)
    scene.errors(SET[1], n=9)
    assert not scene.turn(gap=lasts + 1).ejected
    assert scene.errors(SET[1]).ejected[0].cause == "10 gateway errors in a row"


def test_when_the_set_shrinks_those_that_are_too_many_return():
    scene = Scene(*SET)
    first = [one for one in SET[:5] if scene.eject(one)]
    for one in SET[5:9]:
        del scene.counts[one]
    soonest = sorted(first, key=lambda one: scene.outliers.records[one].until)
    assert scene.turn().restored == soonest[:2]  # three of six may stay
    assert len(scene.ejected) == 3


def test_one_that_leaves_and_comes_back_is_still_ejected():
    scene = Scene(*SET)
    lasts = scene.eject(BAD)
    there = scene.counts.pop(BAD)
    scene.turn()
    assert not scene.restored
    scene.counts[BAD] = plus(there, Counts(0, 50))
    assert not scene.turn().ejected
    assert scene.ejected == {BAD}
    assert scene.turn(gap=lasts).restored == [BAD]


def test_who_left_takes_nobodys_place_until_it_is_back():
    scene = Scene(*SET[:4])
    scene.eject(BAD)
    there = scene.counts.pop(BAD)
    scene.turn()
    scene.eject(SET[1])  # one of three
    assert not scene.errors(SET[2], n=5).ejected
    scene.counts[BAD] = there
    assert not scene.turn().restored  # two of four
    del scene.counts[SET[3]]
    first, second = sorted((BAD, SET[1]), key=lambda one: scene.outliers.records[one].until)
    assert scene.turn().restored == [first]  # one of three: the one whose time is over first
    assert scene.ejected == {second}


def test_one_that_left_is_restored_when_its_time_is_over_and_then_forgotten():
    scene = Scene(*SET)
    lasts = scene.eject(BAD)
    del scene.counts[BAD]
    scene.turn()
    assert scene.turn(gap=lasts).restored == [BAD]
    scene.sweep()
    assert BAD not in scene.outliers.records
    assert set(scene.outliers.records) == set(GOOD)


def test_one_that_was_away_for_a_while_is_known_again():
    scene = Scene(*SET)
    for _ in range(3):
        scene.turn(gap=scene.eject(BAD) + 0.01)
    there = scene.counts.pop(BAD)
    scene.sweep()
    scene.counts[BAD] = there
    scene.turn()
    assert scene.eject(BAD) == pytest.approx(90, rel=JITTER)


def test_one_that_left_and_whose_time_is_over_makes_no_room():
    scene = Scene(*SET[:4])
    scene.eject(BAD)
    del scene.counts[BAD]
    scene.turn(gap=20)
    scene.counts[SET[4]] = Counts(0, 0)
    scene.turn()
    scene.eject(SET[1])
    scene.eject(SET[2])
    del scene.counts[SET[4]]
    assert scene.turn(gap=14).restored[0] == BAD
    assert len(scene.ejected) == 1  # of three


# Switched off, and on


@pytest.mark.parametrize("rules", [Rules(consecutive_errors=0), Rules(eject_s=0), Rules(max_share=0)])
def test_a_rule_that_is_off_ejects_nobody(rules):
    scene = Scene(*SET, rules=rules)
    for _ in range(10):
        scene.errors(BAD, n=9)
    assert not scene.ejections


def test_with_all_rules_off_everybody_returns():
    scene = Scene(*SET)
    scene.eject(BAD)
    scene.rules = Rules(success_rate=False, latency=False)
    assert not scene.turn().restored
    scene.rules = Rules(consecutive_errors=0, success_rate=False, latency=False, server_errors=False)
    assert scene.turn().restored == [BAD]


def test_a_cap_below_the_first_ejection_holds():
    scene = Scene(*SET, rules=Rules(eject_s=30, eject_max_s=10))
    assert scene.eject(BAD) == pytest.approx(10, rel=JITTER)


# Whatever happens

SOME = st.sets(st.sampled_from(SET[:6]))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.05, 40), SOME, SOME, SOME), max_size=12), st.sampled_from([0.0, 0.34, 0.5, 1.0]))
def test_the_share_holds_and_who_is_ejected_returns(turns, max_share):
    rules, outliers, rng = Rules(max_share=max_share), Outliers(), random.Random(1)
    counts = dict.fromkeys(SET[:6], Counts(0, 0))
    until, now = {}, 0.0
    for gap, away, failing, late in [(0.1, set(), set(), set()), *turns]:
        now += gap
        for one in counts:
            answers, errors = (0, 120) if one in failing else (120, 0)
            counts[one] = plus(counts[one], Counts(answers, errors, answers, answers * (900_000 if one in late else 20_000)))
        here = [one for one in counts if one not in away]
        verdicts = outliers.turn({one: counts[one] for one in here}, rules, now, rng)
        for one in verdicts.restored:
            del until[one]  # KeyError: restored without having been ejected
        for ejection in verdicts.ejected:
            assert ejection.identity in here
            assert ejection.identity not in until
            assert 0.9 * 30 - 1e-6 <= ejection.until - now <= 1.1 * 300 + 1e-6
            until[ejection.identity] = ejection.until
        assert all(time > now for time in until.values())
        assert len(until.keys() & set(here)) <= max_share * len(here)
    for _ in range(20):
        now += 100
        outliers.turn({}, rules, now, rng)
    assert not outliers.records
