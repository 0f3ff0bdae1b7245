import random

import pytest

from gateway.control.health.outliers import ERROR_ANSWERS, Counts, Rules, failing_more
from tests.unit.gateway.control.outlying import ALL, BAD, ONE, SET, Scene


def shared(*shares, n=100):
    """Answers of which these shares are 500."""
    return {one: Counts(n, 0, server_errors=round(share * n)) for one, share in zip(SET, shares, strict=False)}


def met_by_all(*shares, n=100):
    return {one: counts._replace(bad_by=ALL if counts.bad else 0, good_by=ALL) for one, counts in shared(*shares, n=n).items()}


# Shares


@pytest.mark.parametrize(
    ("shares", "n", "found"),
    [
        ((1, 0), 20, [0]),
        ((1, 0), 19, []),  # too few to say
        ((0.7, 0), 20, []),  # may be chance
        ((0.7, 0), 100, [0]),
        ((0.4, 0), 100, [0]),
        ((0.35, 0), 100, []),  # may be chance
        ((0.35, 0), 400, [0]),
        ((0.25, 0), 10_000, []),  # surely worse, and not worth it
        ((1,), 1000, []),  # with nobody to compare
        ((0.5, 0.5, 0.5), 1000, []),  # the application's own
        ((1, 1, 1, 1), 1000, []),
        ((0.5, 0.45, 0.5, 0.55), 100, []),
        ((1, 0.5), 200, [0]),
        ((1, 1, 0, 0), 100, [0, 1]),
        ((1, 1, 0), 200, [0, 1]),  # how many of them may be, others say
        ((1, 1, 1, 0), 1000, [0, 1, 2]),
        ((0, 1, 0, 0.6, 0, 0, 0, 0), 100, [1, 3]),  # the worst first
    ],
)
def test_who_fails_more_than_the_others(shares, n, found):
    assert list(failing_more(shared(*shares, n=n))) == [SET[i] for i in found]


def test_the_cause_says_both_shares():
    assert failing_more(shared(0.9, 0.1)) == {BAD: "90.0% of answers 5xx or none, where others have 10.0%"}


def test_no_answer_counts_as_one_of_5xx():
    assert list(failing_more({BAD: Counts(50, 50, server_errors=20), SET[1]: Counts(100, 0)})) == [BAD]


def test_those_that_answered_seldom_are_compared_with_all_together():
    """Where one that fails at once takes nearly all the others never have many answers each."""
    few = {one: Counts(8, 0) for one in SET[2:4]}
    assert failing_more({BAD: Counts(1000, 0, server_errors=1000), **few}) == {}
    few[SET[4]] = Counts(8, 0)
    assert list(failing_more({BAD: Counts(1000, 0, server_errors=1000), **few})) == [BAD]
    failing = {one: Counts(8, 0, server_errors=8) for one in few}
    assert failing_more({BAD: Counts(1000, 0, server_errors=1000), **failing}) == {}


def test_who_answered_seldom_is_neither_judged_nor_counted():
    few = Counts(ERROR_ANSWERS - 1, 0, server_errors=ERROR_ANSWERS - 1)
    assert failing_more({**shared(0, 0), SET[5]: few}) == {}
    assert failing_more({**shared(1), SET[5]: Counts(ERROR_ANSWERS - 1, 0)}) == {}


def test_chance_is_not_taken_for_a_fault():
    """A poison that is half of all requests, looked at again and again."""
    rng = random.Random(3)
    for _ in range(20_000):
        n = rng.choice((20, 40, 100))
        assert failing_more({one: Counts(n, 0, server_errors=rng.getrandbits(n).bit_count()) for one in SET[:4]}) == {}


# In a pool


def test_one_that_fails_is_ejected_as_soon_as_there_is_enough_to_compare():
    scene = Scene(*SET[:4])
    scene.sweep(met_by_all(0, 0, 0, 0))
    assert not scene.turn(met_by_all(1, 0, 0, 0, n=19)).ejected
    [ejection] = scene.turn(met_by_all(1, 0, 0, 0, n=10)).ejected
    assert ejection.identity == BAD
    assert 27 <= ejection.until - scene.now <= 33


@pytest.mark.parametrize("rules", [Rules(server_errors=False), Rules(max_share=0)])
def test_switched_off_it_ejects_nobody(rules):
    scene = Scene(*SET[:4], rules=rules)
    for _ in range(10):
        scene.sweep(met_by_all(1, 0, 0, 0))
    assert not scene.ejections


def test_an_only_endpoint_and_half_of_a_pool_stay():
    for n, most in ((1, 0), (2, 1), (3, 1), (4, 2)):
        scene = Scene(*SET[:n])
        for _ in range(2):
            scene.sweep(met_by_all(*[1] * (n - 1), 0))
        assert len(scene.ejected) == min(most, n - 1)


def test_what_came_to_one_network_alone_is_that_clients_own():
    """Most of what this one answered, and the others none of it: that client has seen to it."""
    scene = Scene(*SET[:2])
    scene.sweep(met_by_all(0, 0))
    poison = Counts(900, 0, server_errors=900, bad_by=ONE)
    scene.turn(met_by_all(0, 0))
    assert not scene.turn({BAD: poison}).ejected
    scene.turn(gap=10)  # a sweep: what others were answered before still counts
    assert not scene.turn({BAD: poison, SET[1]: Counts(100, 0, good_by=ALL)}).ejected
    assert scene.turn({BAD: Counts(1, 0, server_errors=1, bad_by=ALL)}).ejected


def test_where_there_is_one_network_alone_it_is_most():
    scene = Scene(*SET[:2])
    scene.sweep()
    assert scene.turn({BAD: Counts(100, 0, server_errors=100, bad_by=ONE), SET[1]: Counts(100, 0, good_by=ONE)}).ejected


def test_who_came_later_is_compared_from_the_next_sweep_on():
    """All fail for a moment: of what a newcomer has answered that is more."""
    scene = Scene(*SET[1:4])
    scene.sweep()
    scene.turn(dict.fromkeys(SET[1:4], Counts(1000, 0, good_by=ALL)))
    scene.counts[BAD] = Counts(0, 0)
    scene.turn()
    storm = Counts(100, 0, server_errors=100, bad_by=ALL)
    assert not scene.turn(dict.fromkeys(SET[:4], storm)).ejected
    scene.turn(gap=10)
    assert scene.turn(met_by_all(1, 0, 0, 0)).ejected


def test_nothing_of_before_its_ejection_is_held_against_one_that_returns():
    scene = Scene(*SET[:4])
    scene.sweep()
    [ejection] = scene.turn(met_by_all(1, 0, 0, 0)).ejected
    scene.turn(gap=ejection.until - scene.now)
    for _ in range(5):
        scene.sweep(met_by_all(0, 0, 0, 0))
    assert len(scene.ejections) == 1
