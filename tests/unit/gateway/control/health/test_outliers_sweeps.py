from dataclasses import replace

import pytest

from gateway.control.health.outliers import JITTER, Counts, Rules, slow, unsuccessful
from tests.unit.gateway.control.outlying import ALL, BAD, ONE, SET, Scene, rated, timed

SWEPT = Rules(server_errors=False)  # which would not wait for a sweep

# Success rate


@pytest.mark.parametrize(
    ("rates", "found"),
    [
        ((1, 1, 1, 1, 1), []),
        ((1, 1, 1, 1, 0), [4]),
        ((1, 1, 1, 1, 0.5), [4]),
        ((0.94, 1, 1, 1, 1), [0]),
        ((0.95, 1, 1, 1, 1), [0]),
        ((0.96, 1, 1, 1, 1), []),  # an outlier, and not worth it
        ((0.5, 0.5, 0.5, 0.5, 0.5), []),  # it is not the endpoints
        ((0.5, 0.6, 0.5, 0.6, 0.5), []),
        ((0, 1, 1, 1), []),  # too few to compare
        ((1, 0.35, 1, 1, 1, 1, 0.3, 1, 1, 1), [6, 1]),  # the worst first
    ],
)
def test_who_is_unsuccessful(rates, found):
    assert list(unsuccessful(rated(*rates))) == [SET[i] for i in found]


def test_who_had_few_requests_is_neither_judged_nor_counted():
    assert unsuccessful(rated(1, 1, 1, 1, 0, n=99)) == {}
    few = rated(1, 1, 1, 1, 0) | {SET[5]: Counts(0, 99)}
    assert list(unsuccessful(few)) == [SET[4]]
    assert unsuccessful(rated(1, 1, 1, 0) | {SET[5]: Counts(0, 99)}) == {}


def test_a_sweep_ejects_by_success_rate():
    scene = Scene(*SET[:5], rules=SWEPT)
    for _ in range(20):  # each turn has good answers too: no run
        scene.turn(dict.fromkeys(SET[1:5], Counts(5, 0)) | {BAD: Counts(2, 3)})
    assert not scene.ejections
    [ejection] = scene.turn(gap=10).ejected
    assert ejection.identity == BAD
    assert ejection.cause == "40.0% good answers, where an outlier is under 42.4%"


@pytest.mark.parametrize("bad_by", [ONE, ALL])
def test_errors_of_one_client_are_no_endpoints_lack_of_success(bad_by):
    """Of endpoints that fail a fifth by one client's doing some fail a little more."""
    scene = Scene(*SET[:5], rules=SWEPT)
    poisoned = Counts(80, 20, bad_by=bad_by, good_by=ALL)
    scene.turn(dict.fromkeys(SET[1:5], poisoned) | {BAD: Counts(75, 25, bad_by=bad_by, good_by=ALL)})
    assert [one.identity for one in scene.turn(gap=10).ejected] == ([BAD] if bad_by == ALL else [])


def test_each_sweep_judges_its_own_interval():
    scene = Scene(*SET[:5], rules=replace(SWEPT, max_share=1))
    half = {one: Counts(counts.answers // 2, counts.errors // 2) for one, counts in rated(0, 1, 1, 1, 1, n=198).items()}
    half[BAD] = Counts(1, 98)
    assert not scene.sweep(half).ejected
    assert not scene.sweep(half).ejected


def test_between_two_sweeps_nobody_is_compared():
    scene = Scene(*SET[:5], rules=SWEPT)
    scene.sweep()
    grown = rated(1, 1, 1, 1, 0) | {SET[4]: Counts(10, 90)}
    assert not scene.turn(grown, gap=9.9).ejected
    assert scene.turn(gap=0.2).ejected


def test_a_sweep_judges_nothing_of_before_the_return():
    scene = Scene(*SET[:6], rules=replace(SWEPT, eject_s=1))
    scene.turn(rated(1, 1, 1, 1, 1) | {SET[5]: Counts(10, 50)})
    lasts = scene.errors(SET[5], n=50).ejected[0].until - scene.now
    scene.turn(gap=lasts)
    assert not scene.turn(gap=10 - lasts).ejected
    lasts = scene.errors(SET[5], n=5).ejected[0].until - scene.now
    scene.turn(rated(1, 1, 1, 1, 1) | {SET[5]: Counts(10, 200)})  # a panic
    scene.turn(gap=lasts)
    assert not scene.turn(gap=10).ejected


def test_a_newcomers_past_is_not_judged():
    scene = Scene(*SET[:5], rules=SWEPT)
    scene.turn(rated(1, 1, 1, 1, 1))
    scene.counts[SET[5]] = Counts(100, 900)
    scene.turn()
    assert not scene.turn({SET[5]: Counts(100, 0)}, gap=10).ejected


def test_who_left_before_the_sweep_is_not_judged():
    scene = Scene(*SET[:6], rules=SWEPT)
    scene.turn(rated(1, 1, 1, 1, 1) | {SET[5]: Counts(10, 90)})
    del scene.counts[SET[5]]
    assert not scene.turn(gap=10).ejected
    assert not scene.ejected


# Latency


@pytest.mark.parametrize(
    ("means_ms", "found"),
    [
        ((30, 30, 30), []),
        ((30, 30, 91), [2]),
        ((30, 30, 90), []),  # not over three times
        ((10, 10, 59), []),  # five times, and not worth it
        ((10, 10, 60), [2]),
        ((400, 500, 600), []),
        ((20, 90), []),  # which of two is the outlier?
        ((30, 1000, 30, 30, 2000), [4, 1]),
    ],
)
def test_who_is_slow(means_ms, found):
    assert list(slow(timed(*means_ms))) == [SET[i] for i in found]


def test_who_answered_seldom_is_neither_judged_nor_counted():
    assert slow(timed(30, 30, 900, n=19)) == {}
    assert slow(timed(30, 900) | {SET[5]: Counts(19, 0, 19, 1)}) == {}


def test_a_sweep_ejects_by_latency():
    scene = Scene(*SET[:4], rules=SWEPT)
    [ejection] = scene.sweep(timed(900, 30, 40, 50)).ejected
    assert ejection == (BAD, ejection.until, "first byte after 900 ms, where the median is 45 ms")
    assert ejection.until - scene.now == pytest.approx(30, rel=JITTER)


@pytest.mark.parametrize(("slow_by", "ejected"), [(ONE, []), (ALL, [BAD])])
def test_a_slow_page_of_one_client_ejects_nobody(slow_by, ejected):
    """One answer of 4 s among 60 makes a mean of 67 ms of one of 10."""
    scene = Scene(*SET[:4], rules=SWEPT)
    grown = {one: counts._replace(good_by=ALL) for one, counts in timed(10, 10, 10, 10).items()}
    grown[BAD] = Counts(60, 0, 60, 4_000_000, good_by=ALL, slow_by=slow_by)
    assert [one.identity for one in scene.sweep(grown).ejected] == ejected


def test_the_unsuccessful_go_before_the_slow_and_nobody_twice():
    grown = {one: Counts(100, 0, 100, 3_000_000) for one in SET[:6]}
    grown[SET[1]] = Counts(100, 0, 100, 90_000_000)
    grown[SET[2]] = Counts(30, 70, 30, 90_000_000)
    scene = Scene(*SET[:6], rules=SWEPT)
    unsuccessful_one, slow_one = scene.sweep(grown).ejected
    assert (unsuccessful_one.identity, slow_one.identity) == (SET[2], SET[1])
    assert "good answers" in unsuccessful_one.cause
    assert "first byte" in slow_one.cause
    scene = Scene(*SET[:6], rules=replace(SWEPT, max_share=0.2))
    assert [one.identity for one in scene.sweep(grown).ejected] == [SET[2]]


@pytest.mark.parametrize("rules", [replace(SWEPT, success_rate=False), replace(SWEPT, latency=False)])
def test_each_rule_of_the_sweep_can_be_off(rules):
    grown = {one: Counts(100, 0, 100, 3_000_000) for one in SET[:6]}
    grown[SET[1]] = Counts(100, 0, 100, 90_000_000)
    grown[SET[2]] = Counts(10, 90, 10, 300_000)
    scene = Scene(*SET[:6], rules=rules)
    assert [one.identity for one in scene.sweep(grown).ejected] == [SET[1] if rules.latency else SET[2]]


def test_the_ejected_are_not_compared_with():
    scene = Scene(*SET[:5], rules=SWEPT)
    scene.eject(SET[4])
    assert not scene.sweep(rated(0, 1, 1, 1, 1)).ejected  # four are left
