import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.health import ejections as module
from gateway.control.health.ejections import rule_name, rules_of
from gateway.control.health.gates import State
from gateway.control.health.outliers import JITTER, Rules
from gateway.control.sources.world import Known, Origin
from k8s import State as SourceState
from routing_core._testing import add_to_endpoint
from tests.unit.gateway.control.ejecting import BAD, GOOD, POOL, SET, Stage, text
from tests.unit.gateway.control.helpers import by_group, config_of, identity


@pytest.fixture
def stage():
    return Stage(*SET)


# From figures to gates


def test_errors_in_a_row_over_two_workers_eject_at_once(stage):
    stage.count(BAD, errors=3, worker=0)
    stage.turn()
    stage.count(BAD, errors=1, worker=1)
    stage.turn()
    assert stage.ejected == set()
    stage.count(BAD, errors=1, worker=1)
    stage.turn()
    assert stage.ejected == {BAD}
    assert stage.ejections.counts == {(*POOL, "consecutive_errors"): 1}


def test_an_ejected_one_is_not_ready_and_counts_in_the_total(stage):
    stage.eject()
    gates = [gate.is_taking for gate in stage.gates.all.values()]
    assert (gates.count(True), len(gates)) == (9, 10)
    assert stage.publisher.table.spec.services[0].pools[0].total == 10


def test_half_of_a_set_at_most():
    stage = Stage(*SET[:5])
    for one in SET[:5]:
        stage.count(one, errors=5)
    stage.turn()
    assert len(stage.ejected) == 2
    assert stage.ejections.counts.total() == 2


def test_an_only_endpoint_stays_and_its_past_is_not_held_against_it():
    stage = Stage(BAD, SET[1])
    stage.have(BAD)
    for _ in range(20):
        stage.count(BAD, errors=5)
        stage.turn()
    assert stage.ejected == set()
    stage.have(BAD, SET[1])
    stage.turn()
    assert stage.ejected == set()
    stage.eject()


def test_it_returns_by_a_ramp_and_the_second_time_lasts_longer(stage):
    lengths = []
    for _ in range(14):
        lengths.append(stage.eject())
        stage.turn(lengths[-1] - 0.01)
        assert stage.state() is State.EJECTED
        stage.turn(0.02)
        assert stage.state() is State.RAMPING
        assert stage.gates.all[BAD].weight == pytest.approx(0.1)
    for times, length in enumerate(lengths, 1):
        assert length == pytest.approx(min(30 * times, 300), rel=JITTER)
    assert len(set(lengths)) == 14  # by the rng, each other


def test_jitter_is_the_rngs():
    first, second = Stage(*SET), Stage(*SET)
    second.ejections.rng = random.Random(8)
    assert first.eject() != second.eject()
    again = Stage(*SET)
    assert again.eject() == pytest.approx(Stage(*SET).eject())


@pytest.mark.parametrize(
    ("bad", "rule"), [({"answers": 80, "errors": 20}, "success_rate"), ({"answers": 100, "first_byte_ms": 900}, "latency")]
)
def test_a_sweep_finds_who_is_worse_than_the_others(stage, bad, rule):
    for _ in range(2):
        stage.count(BAD, **bad)
        for one in GOOD:
            stage.count(one, answers=100)
        stage.turn(6)
    assert stage.ejected == {BAD}
    assert stage.ejections.counts == {(*POOL, rule): 1}


def test_500s_eject_without_a_sweep(stage):
    for one in GOOD:
        stage.count(one, answers=100, good_by=by_group(1, 1))
    stage.turn(10)
    for one in GOOD:
        stage.count(one, answers=100, good_by=by_group(1, 1))
    stage.count(BAD, answers=100, server_errors=100, bad_by=by_group(1, 1))
    stage.turn()
    assert stage.ejected == {BAD}
    assert stage.ejections.counts == {(*POOL, "server_errors"): 1}


def test_a_sweep_comes_also_when_nothing_moves_any_more(stage):
    stage.count(BAD, answers=80, errors=20)
    for one in GOOD:
        stage.count(one, answers=100)
    stage.turn()
    stage.turn(9.7)
    assert stage.ejected == set()
    stage.turn(0.3)
    assert stage.ejected == {BAD}


def test_what_is_forgiven_is_forgiven_also_in_silence(stage):
    for times in (1, 2):
        assert stage.eject() == pytest.approx(30 * times, rel=JITTER)
        stage.turn(70)
    for _ in range(40):
        stage.turn(1)
    assert stage.eject() == pytest.approx(30, rel=JITTER)


def test_the_log_has_a_line_for_each(stage, caplog):
    caplog.set_level(logging.INFO, "isochrone.health")
    lasts_s = stage.eject()
    stage.turn(lasts_s)
    ejected, returned = caplog.records
    assert (ejected.getMessage(), ejected.endpoint, ejected.cause) == ("endpoint is ejected", "192.0.2.1:80", "5 gateway errors in a row")
    assert ejected.lasts_s == pytest.approx(lasts_s, abs=0.1)
    assert (returned.getMessage(), returned.was) == ("endpoint is ramping", "ejected")


@pytest.mark.parametrize(
    ("cause", "rule"),
    [
        ("7 gateway errors in a row", "consecutive_errors"),
        ("96.1% good answers, ...", "success_rate"),
        ("96.1% of answers 5xx or none, ...", "server_errors"),
    ],
)
def test_each_cause_is_some_rules(cause, rule):
    assert rule_name(cause) == rule


def test_rules_are_the_configurations():
    config = config_of(
        text(consecutive_errors=3, interval="5s", eject="10s", eject_max="1m", max_share="20%", success_rate="false", latency="false")
    )
    assert rules_of(config.services[0].outliers) == Rules(3, 5, 10, 60, 0.2, False, False)
    assert rules_of(config_of(text(server_errors="false")).services[0].outliers) == Rules(server_errors=False)
    assert rules_of(config_of(text()).services[0].outliers) == Rules()


# Beside what else shuts gates


def test_probes_that_fail_meanwhile_have_the_last_word(stage):
    stage.turn(9)
    stage.eject()
    stage.probe(BAD, False, False, False)
    stage.turn()
    assert stage.state() is State.SHUT
    stage.probe(BAD, True, True, True)
    stage.turn()
    assert stage.state() is State.RAMPING  # before the ejection's time
    stage.turn(5)  # with a sweep in it
    assert stage.eject() == pytest.approx(60, rel=JITTER)  # that it was ejected is not forgotten


def test_its_place_is_another_ones_once_it_is_dead():
    stage = Stage(*SET[:2])
    stage.eject()
    stage.count(SET[1], errors=5)
    stage.turn()
    assert stage.ejected == {BAD}
    stage.probe(BAD, False, False, False)
    stage.turn()
    stage.eject(SET[1])
    assert stage.state() is State.SHUT


def test_the_dead_are_of_the_set_but_not_of_the_ejected():
    stage = Stage(*SET[:4])
    for one in SET[2:4]:
        stage.probe(one, False, False, False)
    for one in SET[:2]:
        stage.count(one, errors=5)
    stage.turn()
    assert stage.ejected == set(SET[:2])


def test_what_a_panic_sends_to_the_dead_is_no_outlier(stage):
    stage.probe(BAD, False, False, False)
    for _ in range(10):
        stage.count(BAD, errors=50)
        stage.turn()
    stage.probe(BAD, True, True, True)
    stage.count(BAD, errors=4)
    stage.turn()
    assert stage.state() is State.RAMPING
    assert stage.ejections.counts.total() == 0
    stage.count(BAD, errors=5)
    stage.turn()
    assert stage.state() is State.EJECTED


def test_a_failed_connect_in_the_same_turn_goes_first(stage):
    add_to_endpoint(stage.publisher.figures, stage.gates.all[BAD].row, 0, connect_failures=1)
    stage.count(BAD, errors=9)
    stage.turn()
    assert stage.state() is State.DOUBTED
    assert stage.ejections.counts.total() == 0


# Tables come and go


def test_a_reload_keeps_who_is_ejected_and_takes_new_rules(stage):
    lasts_s = stage.eject()
    stage.publisher.publish_config(config_of(text(eject="10s", consecutive_errors=2)), stage.publisher.locator)
    stage.turn()
    assert stage.ejected == {BAD}
    stage.count(SET[1], errors=2)
    stage.turn()
    assert stage.ejected == {BAD, SET[1]}
    assert stage.ejections.pools[POOL].ejections[SET[1]].until - stage.clock.now == pytest.approx(10, rel=JITTER)
    stage.turn(lasts_s)
    assert stage.state() is State.RAMPING


def test_a_reload_that_switches_it_off_brings_everybody_back(stage):
    stage.eject()
    off = config_of(text(consecutive_errors=0, success_rate="false", latency="false", server_errors="false"))
    stage.publisher.publish_config(off, stage.publisher.locator)
    stage.turn()
    assert stage.state() is State.RAMPING
    stage.count(BAD, errors=50)
    stage.turn()
    stage.count(BAD, errors=50)
    stage.turn()
    assert stage.ejected == set()


def test_one_that_leaves_the_table_and_is_back_in_time_is_still_ejected(stage):
    lasts_s = stage.eject()
    stage.have(*GOOD)
    stage.turn(lasts_s / 2)
    stage.have(*SET)
    stage.turn()
    assert stage.ejected == {BAD}
    stage.turn(lasts_s / 2)
    assert stage.state() is State.RAMPING


def test_one_that_is_away_when_its_time_is_over_returns_with_the_table(stage):
    lasts_s = stage.eject()
    stage.have(*GOOD)
    stage.turn(lasts_s)
    assert stage.state() is State.EJECTED  # parked: nobody asks
    stage.have(*SET)
    stage.turn()
    assert stage.state() is State.RAMPING


def test_one_whose_gate_was_forgotten_meanwhile_begins_anew(stage):
    stage.eject()
    stage.have(*GOOD)
    stage.gates.forget(BAD)
    stage.turn()
    stage.have(*SET)
    stage.turn()
    assert stage.state() is State.JOINING
    stage.probe(BAD, True)
    stage.turn()
    assert stage.state() is State.RAMPING


def test_a_newcomer_is_judged_from_its_first_request(stage):
    new = identity("192.0.2.99")
    stage.have(*SET, new)
    stage.turn()
    stage.probe(new, True)
    stage.turn()
    stage.eject(new)


def test_pools_that_are_gone_are_forgotten(stage):
    stage.eject()
    assert stage.ejections.pools.keys() == {POOL}
    config = config_of(text().replace("shop", "store"))
    stage.publisher.publish_config(config, stage.publisher.locator)
    stage.turn()
    assert stage.ejections.pools.keys() == {("store", "fra")}


# What it costs


def test_nobody_looks_at_endpoints_where_nothing_happens(stage):
    stage.figures.n_looks = 0
    for _ in range(300):
        stage.turn()
    assert stage.figures.n_looks == 0


def test_where_nothing_fails_it_looks_to_sweep_alone(stage):
    stage.figures.n_looks = 0
    for _ in range(350):
        stage.count(BAD, answers=9)
        stage.turn()
    assert stage.figures.n_looks == 3 * len(SET)
    for _ in range(350):
        stage.turn()
    assert stage.figures.n_looks == 4 * len(SET)


def test_many_pools_are_swept_in_turns(monkeypatch):
    monkeypatch.setattr(module, "SWEPT_PER_TURN", 3)
    pools = ", ".join(f'{{pop: p{number}, endpoints: ["192.0.2.1:80"]}}' for number in range(5))
    places = ", ".join(f"{{name: p{number}, lat: 50, lon: 8}}" for number in range(5))
    config = config_of(
        f"""
listeners: [{{name: web, bind: "127.0.0.1:0"}}]
pops: [{places}]
services: [{{name: shop, backends: [{pools}]}}]
routes: [{{service: shop}}]
"""
    )
    stage = Stage(config=config)
    for number in range(5):
        two = [identity(f"192.0.2.{last}", pop=f"p{number}") for last in (1, 2)]
        stage.publisher.world.describe(("shop", f"p{number}"), [Known(one, SourceState.READY, Origin.STATIC) for one in two])
    stage.publisher.publish()
    stage.turn()
    stage.figures.pool[0] += 1
    stage.turn()
    stage.turn(9.7)
    stage.figures.n_looks = 0
    looks = []
    for _ in range(5):
        stage.turn(0.2)
        looks.append(stage.figures.n_looks)
    assert looks == [4, 8, 10, 10, 10]


def test_an_error_is_looked_at_once_and_until_nobody_is_ejected(stage):
    stage.count(BAD, answers=50)
    stage.turn()
    stage.figures.n_looks = 0
    stage.count(BAD, errors=4)
    stage.turn()
    stage.turn()
    assert stage.figures.n_looks == len(SET)
    stage.count(BAD, answers=1)  # not looked at, but not unseen
    stage.turn()
    stage.count(BAD, errors=4)
    stage.turn()
    stage.turn()
    assert stage.ejected == set()
    stage.count(BAD, errors=5)
    stage.turn()
    assert stage.ejected == {BAD}


# Whatever happens

ONE = st.integers(0, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["errors", "answers", "good", "bad", "toggle"]), ONE),
        st.tuples(st.just("wait"), st.floats(0.1, 60)),
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(STEPS)
def test_gates_and_judgement_agree_and_half_stay(steps):
    stage = Stage(*SET[:5])
    present = list(SET[:5])
    for what, of in steps:
        if what == "wait":
            stage.turn(of)
        elif what == "toggle":
            if SET[of] in present:
                present.remove(SET[of])
            else:
                present.append(SET[of])
            stage.have(*present)
        elif what in ("good", "bad"):
            stage.probe(SET[of], *[what == "good"] * 3)
        else:
            stage.count(SET[of], **{what: 6})
        stage.turn()
        pool = stage.ejections.pools[POOL]
        assert pool.ejections.keys() == {one for one, record in pool.judge.records.items() if record.until is not None}
        here = {one for one in stage.ejected if not stage.gates.all[one].is_parked}
        assert here == pool.ejections.keys() & set(present)
        assert len(here) <= len(present) // 2
    for one in present:
        stage.probe(one, True, True, True)
    for _ in range(3):
        stage.turn(400)
    assert all(stage.state(one) in (State.ADMITTING, State.RAMPING) for one in present)
