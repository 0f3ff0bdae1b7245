import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.health import looks
from gateway.control.health.gates import GATE_STATES, SEEN_S, TRANSITIONS, Event, State, is_admitting, transition
from gateway.control.sources.world import Origin
from gateway.model import Statuses
from tests.support.diagrams import followers_by, followers_in
from tests.unit.gateway.control.helpers import TWO_POPS, Bench, config_of, identity, serving

ONE, TWO = identity("192.0.2.1"), identity("192.0.2.2")


@pytest.fixture
def bench():
    return Bench(config_of().services[0])


# The table


def test_every_pair_is_listed_or_an_error():
    for state in State:
        for event in Event:
            if event in TRANSITIONS[state]:
                assert transition(state, event) in (None, *State)
            else:
                with pytest.raises(ValueError, match=f"a gate that is {state.value} can't have: {event.value}"):
                    transition(state, event)
    unlisted = {(state, event) for state in State for event in Event if event not in TRANSITIONS[state]}
    ramped = {(state, Event.RAMPED) for state in State if state is not State.RAMPING}
    refused = {(state, event) for state in State for event in (Event.CONNECT_FAILED, Event.EJECTED) if not is_admitting(state)}
    restored = {(state, Event.RESTORED) for state in State if state is not State.EJECTED}
    assert unlisted == ramped | refused | restored


def test_nobody_who_failed_comes_back_without_a_ramp():
    for state in (State.SHUT, State.DOUBTED, State.JOINING, State.EJECTED):
        for event in Event:
            if event in TRANSITIONS[state]:
                assert transition(state, event) is not State.ADMITTING


def test_the_page_shows_this_table():
    page = Path("docs/health.md").read_text()
    for state, events in TRANSITIONS.items():
        for event, after in events.items():
            assert f"| {state.value} | {event.value} | {after.value if after else 'stays'} |" in page
    n_rows = sum(len(events) for events in TRANSITIONS.values())
    assert page.count("| stays |") + sum(page.count(f"| {state.value} |\n") for state in State) == n_rows
    moves = ((state.value, (after or state).value, event.value) for state in State for event, after in TRANSITIONS[state].items())
    assert followers_in(Path("docs/health.md"), "doubted") == followers_by(moves)


# Playbooks


def test_at_the_start_one_good_probe_is_enough_and_nobody_ramps(bench):
    assert bench.select(ONE) == [ONE]
    assert bench.published(ONE) == ("probing", 1.0)
    bench.judge(ONE, True)
    assert bench.published(ONE) == ("admitting", 1.0)
    assert bench.opened == [ONE]


def test_at_the_start_a_dead_one_is_shut_after_down_after(bench):
    bench.select(ONE)
    bench.judge(ONE, False)
    assert bench.gates.all[ONE].is_confirming
    bench.judge(ONE, False)
    assert bench.published(ONE) == ("probing", 1.0)
    bench.judge(ONE, False)
    assert bench.published(ONE) == ("shut", 1.0)
    assert bench.opened == []


def test_who_is_asked_something_else_is_judged_anew(bench):
    bench.select(ONE)
    bench.judge(ONE, False, False, False)
    assert bench.published(ONE)[0] == "shut"
    bench.judge(ONE, True)
    health = replace(bench.service.health, expect=(Statuses(204, 204),))
    bench.service = replace(bench.service, health=health)
    assert bench.select(ONE) == [ONE]  # at once, not when its old interval is over
    assert bench.gates.all[ONE].good_run == 0
    bench.service = replace(bench.service, health=replace(health, interval=1.0))
    assert bench.select(ONE) == []


def test_a_static_newcomer_waits_for_its_probe_then_ramps(bench):
    serving(bench, ONE)
    assert bench.select(ONE, TWO) == [TWO]
    assert bench.gates.all[TWO].state is State.JOINING
    assert bench.published(TWO)[0] == "probing"
    bench.judge(TWO, True)
    state, weight = bench.published(TWO)
    assert state == "admitting"
    assert weight == pytest.approx(0.1, abs=0.001)


def test_a_newcomer_that_kubernetes_calls_ready_takes_traffic_at_once(bench):
    serving(bench, ONE)
    bench.select(ONE, TWO, origin=Origin.KUBERNETES)
    assert bench.gates.all[TWO].state is State.RAMPING
    assert bench.published(TWO)[0] == "admitting"
    assert TWO in bench.opened


@pytest.mark.parametrize("origin", Origin)
def test_a_new_address_of_a_name_that_moved_stands_where_the_last_one_stood(bench, origin):
    serving(bench, ONE)
    assert bench.select(TWO, origin=origin) == [TWO]
    assert bench.gates.all[TWO].state is State.ADMITTING
    assert bench.published(TWO) == ("admitting", 1.0)
    assert TWO in bench.opened
    bench.judge(TWO, False, False, False)
    assert bench.gates.all[TWO].state is State.SHUT
    three = identity("192.0.2.3")
    bench.select(three)  # of one that took nothing there is nothing to inherit
    assert bench.gates.all[three].state in (State.JOINING, State.RAMPING)


def test_where_others_stay_a_newcomer_inherits_nothing(bench):
    serving(bench, ONE, elsewhere := identity("192.0.2.8", pop="nyc"))
    bench.select(ONE, TWO, elsewhere)
    assert bench.gates.all[TWO].state is State.JOINING
    bench.select(ONE, identity("192.0.2.9", pop="sin"))
    assert bench.gates.all[identity("192.0.2.9", pop="sin")].state is State.JOINING


@pytest.mark.parametrize("renamed", [identity(service="store"), identity(pop="fra1")])
@pytest.mark.parametrize("origin", Origin)
def test_an_endpoint_under_another_name_of_its_service_or_pop_stands_where_it_stood(bench, renamed, origin):
    serving(bench, identity())
    assert bench.select(renamed, origin=origin) == [renamed]  # it is probed all the same
    assert bench.gates.all[renamed].state is State.ADMITTING
    bench.judge(renamed, False, False, False)
    assert bench.gates.all[renamed].state is State.SHUT
    again = identity()._replace(service="again")
    bench.select(again)
    assert bench.gates.all[again].state is State.JOINING  # of one that took nothing there is nothing to inherit


def test_who_is_judged_in_another_way_under_another_name_is_new(bench):
    serving(bench, identity())
    bench.service = config_of(TWO_POPS.replace("name: shop\n", "name: shop\n    health: {path: /ready}\n")).services[0]
    store = identity(service="store")
    bench.select(store)
    assert bench.gates.all[store].state is State.JOINING


def test_down_needs_failures_in_a_row(bench):
    serving(bench, ONE)
    bench.judge(ONE, False, False, True, False, False)
    assert bench.gates.all[ONE].state is State.ADMITTING
    bench.judge(ONE, False)
    assert bench.gates.all[ONE].state is State.SHUT


def test_up_needs_successes_in_a_row_then_the_weight_grows_linearly(bench):
    serving(bench, ONE)
    bench.judge(ONE, False, False, False)
    bench.judge(ONE, True, True, False, True, True)
    assert bench.gates.all[ONE].state is State.SHUT
    bench.judge(ONE, True)
    weights = []
    for _ in range(4):
        bench.gates.turn()
        weights.append(bench.published(ONE)[1])
        bench.clock.advance(10)
    assert weights == pytest.approx([0.1, 0.4, 0.7, 1.0], abs=0.002)
    assert bench.gates.all[ONE].state is State.ADMITTING


def test_a_failed_connect_shuts_until_a_probe_succeeds(bench):
    serving(bench, ONE)
    bench.fail(ONE)
    assert [gate.identity for gate in bench.gates.turn()] == [ONE]
    assert bench.published(ONE)[0] == "probing"
    assert bench.gates.all[ONE].is_confirming
    assert bench.gates.turn() == []  # said once
    bench.judge(ONE, True)
    assert bench.published(ONE)[0] == "admitting"
    assert bench.gates.all[ONE].state is State.RAMPING
    assert bench.figures.read_endpoint(bench.rows.endpoint(ONE))["forgiven"] == 1
    assert bench.gates.turn() == []


def test_a_probe_does_not_forgive_what_came_after_it_began(bench):
    serving(bench, ONE)
    bench.fail(ONE)
    bench.gates.turn()
    bench.fail(ONE)  # while the probe is under way, which began when one had failed
    bench.gates.judge(ONE, True, 1)
    assert bench.gates.all[ONE].forgiven == 1
    assert bench.gates.all[ONE].connect_failures != 2  # not looked at yet: workers see the difference themselves
    assert [gate.identity for gate in bench.gates.turn()] == [ONE]
    assert bench.gates.all[ONE].state is State.DOUBTED


def test_a_probe_that_began_before_the_failure_says_nothing(bench):
    serving(bench, ONE)
    bench.fail(ONE)
    bench.gates.turn()
    bench.gates.judge(ONE, True, 0)
    assert bench.gates.all[ONE].state is State.DOUBTED
    bench.judge(ONE, True)
    assert bench.gates.all[ONE].state is State.RAMPING


def test_a_doubted_one_that_probes_find_dead_is_shut(bench):
    serving(bench, ONE)
    bench.fail(ONE)
    bench.gates.turn()
    bench.judge(ONE, False, False, False)
    assert bench.published(ONE)[0] == "shut"


def test_who_was_not_selectable_for_a_while_ramps(bench):
    serving(bench, ONE, TWO)
    bench.select(ONE)
    assert bench.gates.all[TWO].is_parked
    assert not bench.gates.all[TWO].is_taking
    bench.gates.turn()
    assert bench.published(TWO)[0] == "admitting"  # a worker may not know the table without it yet
    bench.clock.advance(SEEN_S)
    bench.gates.turn()
    assert bench.published(TWO)[0] == "shut"  # workers let go of its connections
    assert not is_answering(bench, TWO)  # also in a panic
    bench.judge(TWO, False, False, False)
    assert bench.gates.all[TWO].state is State.ADMITTING  # a parked one is not judged
    assert bench.select(ONE, TWO) == [TWO]
    assert bench.gates.all[TWO].state is State.RAMPING
    assert bench.gates.all[ONE].state is State.ADMITTING


@pytest.mark.parametrize(("origin", "after"), [(Origin.STATIC, State.JOINING), (Origin.KUBERNETES, State.RAMPING)])
def test_of_who_was_away_for_longer_than_a_probes_interval_what_is_known_is_old(bench, origin, after):
    """Where something goes on there its gate is still there when it comes back, hours later perhaps."""
    serving(bench, ONE, TWO)
    bench.select(ONE, origin=origin)
    bench.clock.advance(bench.service.health.interval)
    bench.select(ONE, TWO, origin=origin)
    assert bench.gates.all[TWO].state is State.RAMPING
    bench.select(ONE, origin=origin)
    bench.clock.advance(bench.service.health.interval + 0.1)
    assert bench.select(ONE, TWO, origin=origin) == [TWO]
    assert bench.gates.all[TWO].state is after
    assert bench.published(TWO)[0] == GATE_STATES[after]
    assert is_answering(bench, TWO) is (after is State.RAMPING)
    bench.judge(TWO, True)
    assert bench.published(TWO)[0] == "admitting"


@pytest.mark.parametrize("origin", Origin)
def test_who_comes_back_in_the_place_of_who_took_traffic_goes_on(bench, origin):
    """A name that moves there and back, and a PoP that gets another name and its old one again."""
    for other in (TWO, identity(pop="fra1")):
        bench = Bench(config_of().services[0])
        serving(bench, ONE)
        bench.select(other, origin=origin)
        assert bench.gates.all[other].state is State.ADMITTING
        bench.clock.advance(3600)
        assert bench.select(ONE, origin=origin) == [ONE]  # it is probed all the same
        assert bench.gates.all[ONE].state is State.ADMITTING
        assert bench.published(ONE) == ("admitting", 1.0)


def is_answering(bench, one):
    return bench.figures.read_endpoint(bench.gates.all[one].row)["is_answering"]


def test_a_shut_one_that_returns_stays_shut(bench):
    """And answers as it did."""
    serving(bench, ONE)
    for _ in range(3):
        bench.gates.judge(ONE, False, 0, has_answered=True)
    bench.select()
    bench.clock.advance(SEEN_S)
    bench.gates.turn()
    assert not is_answering(bench, ONE)
    bench.select(ONE)
    assert bench.gates.all[ONE].state is State.SHUT
    assert is_answering(bench, ONE)


def test_slow_start_can_be_off():
    bench = Bench(config_of(TEXT_WITHOUT_RAMP).services[0])
    serving(bench, ONE)
    bench.fail(ONE)
    bench.gates.turn()
    bench.judge(ONE, True)
    assert bench.published(ONE) == ("admitting", 1.0)
    bench.gates.turn()
    assert bench.gates.all[ONE].state is State.ADMITTING


def eject(bench, one):
    bench.gates.eject(bench.gates.all[one], "5 gateway errors in a row", 31.25)


def restore(bench, one):
    bench.gates.restore(bench.gates.all[one])


def test_an_outlier_takes_nothing_and_returns_by_a_ramp(bench):
    serving(bench, ONE)
    eject(bench, ONE)
    assert bench.gates.all[ONE].state is State.EJECTED
    assert bench.published(ONE)[0] == "shut"
    assert not bench.gates.all[ONE].is_taking
    bench.judge(ONE, True, True, True, False, False)  # a probe may pass where traffic fails
    assert bench.gates.all[ONE].state is State.EJECTED
    restore(bench, ONE)
    assert bench.published(ONE) == ("admitting", pytest.approx(0.1, abs=0.001))
    bench.clock.advance(30)
    bench.gates.turn()
    assert bench.gates.all[ONE].state is State.ADMITTING


def test_an_outlier_that_still_ramps_is_ejected_too(bench):
    serving(bench, ONE)
    bench.judge(ONE, False, False, False, True, True, True)
    assert bench.gates.all[ONE].state is State.RAMPING
    eject(bench, ONE)
    assert bench.gates.all[ONE].state is State.EJECTED


def test_an_outlier_that_probes_find_dead_is_theirs(bench):
    serving(bench, ONE)
    eject(bench, ONE)
    bench.judge(ONE, False, False, False)
    assert bench.gates.all[ONE].state is State.SHUT
    restore(bench, ONE)
    assert bench.gates.all[ONE].state is State.SHUT
    bench.judge(ONE, True, True, True)
    assert bench.gates.all[ONE].state is State.RAMPING


def test_a_failed_connect_of_an_outlier_is_no_event_until_it_returns(bench):
    serving(bench, ONE)
    eject(bench, ONE)
    bench.fail(ONE)
    assert bench.gates.turn() == []
    assert bench.gates.all[ONE].state is State.EJECTED
    restore(bench, ONE)
    assert [gate.identity for gate in bench.gates.turn()] == [ONE]
    assert bench.gates.all[ONE].state is State.DOUBTED


def test_a_good_probe_forgives_the_connects_that_an_outlier_failed(bench):
    serving(bench, ONE)
    eject(bench, ONE)
    bench.fail(ONE)
    bench.gates.turn()
    bench.judge(ONE, True)
    restore(bench, ONE)
    assert bench.gates.turn() == []
    assert bench.gates.all[ONE].is_taking


def test_who_takes_nothing_or_is_parked_is_not_ejected(bench):
    serving(bench, ONE, TWO)
    bench.fail(ONE)
    bench.gates.turn()
    eject(bench, ONE)
    assert bench.gates.all[ONE].state is State.DOUBTED
    bench.select(ONE)
    eject(bench, TWO)
    assert bench.gates.all[TWO].state is State.ADMITTING


def test_an_outlier_that_is_parked_comes_back_as_one(bench):
    serving(bench, ONE, TWO)
    eject(bench, TWO)
    bench.select(ONE)
    restore(bench, TWO)
    bench.select(ONE, TWO)
    assert bench.gates.all[TWO].state is State.EJECTED
    assert bench.published(TWO)[0] == "shut"


def test_the_log_says_why_and_for_how_long(bench, caplog):
    caplog.set_level(logging.INFO, "isochrone.health")
    serving(bench, ONE)
    caplog.clear()
    eject(bench, ONE)
    restore(bench, ONE)
    ejected, returned = caplog.records
    assert (ejected.getMessage(), ejected.levelno) == ("endpoint is ejected", logging.WARNING)
    assert (ejected.endpoint, ejected.cause, ejected.lasts_s) == ("192.0.2.1:80", "5 gateway errors in a row", 31.2)
    assert (returned.getMessage(), returned.was, returned.event) == ("endpoint is ramping", "ejected", "ejection over")


TEXT_WITHOUT_RAMP = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
pops: [{name: fra, lat: 50.11, lon: 8.68}]
services: [{name: shop, slow_start: 0s, backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}]}]
routes: [{service: shop}]
"""


def test_a_change_is_one_line_in_the_log_and_the_end_of_a_ramp_none(bench, caplog):
    caplog.set_level(logging.INFO, "isochrone.health")
    serving(bench, ONE)
    bench.judge(ONE, False, False, False, True, True, True)
    bench.clock.advance(60)
    bench.gates.turn()
    assert [(record.getMessage(), record.was) for record in caplog.records] == [
        ("endpoint is admitting", "waiting"),
        ("endpoint is shut", "admitting"),
        ("endpoint is ramping", "shut"),
    ]
    assert caplog.records[1].endpoint == "192.0.2.1:80"


def test_a_turn_looks_at_a_bounded_number_and_reaches_all(bench, monkeypatch):
    everyone = [identity(f"192.0.2.{n}") for n in range(1, 6)]
    serving(bench, *everyone)
    bench.gates.turn()
    monkeypatch.setattr(looks, "PER_TURN", 2)
    for one in everyone:
        bench.fail(one)
    found = []
    for _ in range(3):
        turn = [gate.identity for gate in bench.gates.turn()]
        assert len(turn) <= 2
        found += turn
    assert sorted(found, key=str) == everyone


def test_results_for_strangers_and_forgotten_ones_are_nobodys(bench):
    bench.gates.judge(ONE, True, 0)
    serving(bench, ONE)
    bench.gates.forget(ONE)
    bench.gates.judge(ONE, False, 0)
    assert bench.gates.all == {}


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["good", "bad", "fail", "stale", "turn", "park", "begin", "eject", "restore"]),
        st.floats(0, 40, allow_nan=False),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_comes_the_published_gate_agrees_with_the_state(steps):
    """Naive model of what must hold: taking only with a state that admits, never with an unforgiven failure seen, ramps only grow."""
    bench = Bench(config_of().services[0])
    bench.select(ONE)
    for step in steps:
        gate = bench.gates.all[ONE]
        state, since, weight = gate.state, gate.since, gate.weight
        if step == "good":
            bench.judge(ONE, True)
        elif step == "bad":
            bench.judge(ONE, False)
        elif step == "stale":
            bench.gates.judge(ONE, True, gate.forgiven)
        elif step == "fail":
            bench.fail(ONE)
        elif step == "turn":
            bench.gates.turn()
        elif step == "park":
            bench.select(*([] if not gate.is_parked else [ONE]))
        elif step == "begin":
            bench.gates.begin()
        elif step == "eject":
            eject(bench, ONE)
        elif step == "restore":
            restore(bench, ONE)
        else:
            bench.clock.advance(step)
        seen, seen_weight = bench.published(ONE)
        assert seen == ("shut" if gate.is_left else GATE_STATES[gate.state])
        assert gate.is_parked or not gate.is_left
        assert 0.09 < seen_weight <= 1.0
        if gate.state is State.RAMPING and state is State.RAMPING and gate.since == since:
            assert gate.weight >= weight
        if gate.is_taking:
            assert is_admitting(gate.state)
            assert gate.connect_failures == gate.forgiven
        failures = bench.figures.failures.get(bench.rows.endpoint(ONE), 0)
        assert gate.forgiven <= failures
        if step == "turn" and not gate.is_parked and is_admitting(gate.state):  # else no worker would send it any, and nobody would see why
            assert gate.forgiven == failures
