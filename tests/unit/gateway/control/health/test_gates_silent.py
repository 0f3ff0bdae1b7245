"""What a gate knows of who answers there: for a panic, and for those that wait."""

import pytest

from gateway.control.health.gates import SEEN_S, State
from routing_core._testing import add_to_endpoint
from tests.unit.gateway.control.helpers import Bench, config_of, identity, serving

ONE, TWO = identity("192.0.2.1"), identity("192.0.2.2")


@pytest.fixture
def bench():
    return Bench(config_of().services[0])


def eject(bench, one):
    bench.gates.eject(bench.gates.all[one], "5 gateway errors in a row", 31.25)


def test_what_a_probe_was_answered_is_kept_for_a_panic(bench):
    serving(bench, ONE)
    row = bench.gates.all[ONE].row

    def answers():
        return bench.figures.read_endpoint(row)["is_answering"]

    def judge(is_good, has_answered, before=0):
        bench.gates.judge(ONE, is_good, before, has_answered=has_answered)

    for _ in range(3):
        judge(False, has_answered=True)
    assert (bench.gates.all[ONE].state, answers()) == (State.SHUT, True)
    judge(False, has_answered=False)
    assert not answers()
    judge(False, has_answered=True)
    add_to_endpoint(bench.figures.figures, row, 0, connect_failures=1)
    assert not answers()
    judge(False, has_answered=True)  # began before
    assert not answers()
    judge(False, has_answered=True, before=1)
    assert answers()
    assert not bench.figures.read_endpoint(row)["is_admitting"]


def test_a_gate_is_silent_once_nothing_has_come_for_as_long_as_it_takes_to_shut_it(bench):
    serving(bench, ONE)

    def judge(is_silent, n=1):
        for _ in range(n):
            bench.gates.judge(ONE, False, 0, is_silent=is_silent)
        return bench.published(ONE)[0]

    assert judge(True, 2) == "admitting"
    assert judge(True) == "silent"
    assert judge(False) == "shut", "a refusal"
    assert judge(True, 2) == "shut"
    assert judge(True) == "silent"
    bench.judge(ONE, True)
    assert (bench.gates.all[ONE].state, bench.published(ONE)[0]) == (State.SHUT, "shut")
    bench.judge(ONE, True, True)
    assert bench.published(ONE)[0] == "admitting"


def test_that_a_shut_gate_has_fallen_silent_is_confirmed_at_the_shorter_interval(bench):
    serving(bench, ONE)
    gate = bench.gates.all[ONE]
    bench.judge(ONE, False, False, False)
    assert (gate.state, gate.is_confirming) == (State.SHUT, False)
    met = []
    for _ in range(4):
        bench.gates.judge(ONE, False, 0, is_silent=True)
        met.append((bench.published(ONE)[0], gate.is_confirming))
    assert met == [("shut", True), ("shut", True), ("silent", False), ("silent", False)]


def test_who_refuses_or_says_that_it_is_unwell_is_not_silent(bench):
    serving(bench, ONE, TWO)
    for _ in range(5):
        bench.gates.judge(ONE, False, 0)
        bench.gates.judge(TWO, False, 0, has_answered=True)
    assert [bench.published(one)[0] for one in (ONE, TWO)] == ["shut", "shut"]


def test_nor_who_is_doubted_ejected_or_gone(bench):
    serving(bench, ONE, TWO)
    bench.fail(ONE)
    bench.gates.turn()
    eject(bench, TWO)
    for one in (ONE, TWO):
        for _ in range(2):
            bench.gates.judge(one, False, 0, is_silent=True)
    assert [bench.published(one)[0] for one in (ONE, TWO)] == ["probing", "shut"]
    for one in (ONE, TWO):
        bench.gates.judge(one, False, 0, is_silent=True)
    assert [bench.published(one)[0] for one in (ONE, TWO)] == ["silent", "silent"]
    bench.select()
    bench.clock.advance(SEEN_S)
    bench.gates.turn()
    assert [bench.published(one)[0] for one in (ONE, TWO)] == ["silent", "silent"], "who waits there is told, once there is somebody else"
    bench.select(ONE)
    assert bench.published(ONE)[0] == "shut", "what was seen before says nothing of now"


def test_who_was_never_probed_does_not_answer_yet(bench):
    bench.select(ONE)
    assert not bench.figures.read_endpoint(bench.gates.all[ONE].row)["is_answering"]
