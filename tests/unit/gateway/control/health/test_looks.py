from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.health import looks
from tests.unit.gateway.control.helpers import Bench, config_of, identity, serving

MANY = [identity(f"10.0.{n // 250}.{n % 250 + 1}") for n in range(3000)]


@pytest.fixture
def bench():
    return Bench(config_of().services[0])


def settled(bench, *everyone):
    """Serving, and nobody waits for a look."""
    serving(bench, *everyone)
    while bench.gates.looks.take():
        pass


def test_a_turn_in_which_nothing_happens_asks_for_no_figures_of_any_endpoint(bench, monkeypatch):
    settled(bench, *MANY)
    asked = []
    monkeypatch.setattr(bench.figures, "read_endpoint", asked.append)
    monkeypatch.setattr(bench.figures, "set_endpoint", lambda row, **_: asked.append(row), raising=False)
    assert bench.gates.turn() == [] and asked == []


def test_of_thousands_the_one_that_failed_is_found_at_once(bench):
    settled(bench, *MANY)
    bench.fail(MANY[2900], 3)
    (gate,) = bench.gates.turn()
    assert (gate.identity, gate.connect_failures) == (MANY[2900], 3)
    assert bench.gates.turn() == []


def test_who_failed_while_it_was_away_is_doubted_at_its_return(bench):
    settled(bench, MANY[0], MANY[1])
    bench.select(MANY[0])
    bench.fail(MANY[1])
    assert bench.gates.turn() == []
    bench.select(MANY[0], MANY[1])
    assert [gate.identity for gate in bench.gates.turn()] == [MANY[1]]


def test_who_failed_while_it_was_shut_is_doubted_as_soon_as_it_opens(bench):
    settled(bench, MANY[0])
    health = bench.service.health
    bench.judge(MANY[0], *[False] * health.down_after)
    bench.fail(MANY[0])  # a panic sends it traffic
    assert bench.gates.turn() == []
    for _ in range(health.up_after):
        bench.gates.judge(MANY[0], True, 0)  # by probes that began before
    assert [gate.identity for gate in bench.gates.turn()] == [MANY[0]]


def test_those_that_wait_longest_come_first(bench, monkeypatch):
    settled(bench, *MANY[:5])
    monkeypatch.setattr(looks, "PER_TURN", 2)
    for one in MANY[3:5]:
        bench.gates.looks.ask(bench.gates.all[one])
    for one in MANY[:3]:
        bench.fail(one)
    taken = [[gate.identity for gate in bench.gates.looks.take()] for _ in range(4)]
    assert taken == [MANY[3:5], MANY[:2], MANY[2:3], []]


@given(st.lists(st.tuples(st.sampled_from(["come", "go", "fail"]), st.integers(0, 7)), max_size=60))
def test_whoever_comes_and_goes_all_that_fail_are_found(steps):
    bench = Bench(config_of().services[0])
    found = bench.gates.looks
    here, failed = {}, set()
    for what, number in steps:
        one = MANY[number]
        if what == "come" and one not in here:
            serving(bench, *here, one)
            here[one] = bench.gates.all[one]
        elif what == "go" and one in here:
            del here[one]
            bench.select(*here)
            bench.gates.forget(one)
            failed.discard(one)
        elif what == "fail" and one in here:
            bench.fail(one)
            failed.add(one)
    assert failed <= {gate.identity for gate in found.take()} <= set(here)
    assert all(gate.connect_failures == bench.figures.failures.get(gate.row, 0) for gate in here.values())
    assert found._rows == array("i", [gate.row for gate in found._gates]) and set(found._places) == set(here)
