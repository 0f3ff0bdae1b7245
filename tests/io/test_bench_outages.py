"""Benches of steering where endpoints come, go and fall silent: names that rotate, black holes, panics."""

from functools import partial

import numpy as np
import pytest

from bench.steering import outages
from bench.steering.configuration import SERVICE, config_of
from bench.steering.counting import ADDRESSES
from bench.steering.data import Setting
from bench.steering.events import Events
from bench.steering.names import RESOLVED_S, rotate
from bench.steering.servers import Hole, Server, Work
from bench.steering.simulator import Records, Simulation
from routing_core._testing import group
from tests.io.measured import BERLIN, LYON, PARIS, TOKYO, quiet

__all__ = ["quiet"]  # a fixture that is used by itself

CLIENTS = (BERLIN, LYON) * 16  # enough for every group of networks
NEAR_PARIS = Setting("two", CLIENTS, (PARIS, TOKYO), np.array([[20.0, 230.0], [10.0, 240.0]] * 16))
ALONE = Setting("one", CLIENTS, (PARIS,), np.array([[20.0], [10.0]] * 16))
PER_S = 60.0


def world(setting, *, n_endpoints=2, path_ms=2.0, work=None, per_s=PER_S, **more):
    config = config_of(setting.pops, **more)
    return Simulation(setting, config, per_s=per_s, n_endpoints=n_endpoints, path_ms=path_ms, work=work or Work(20.0, 0.2))


def at(simulation, when, act, pop=0):
    simulation.events.at(when, simulation.sites[pop].each, act)


def swallow(hole):
    return partial(Server.swallow, hole=hole)


def in_use(simulation):
    (edge,) = simulation.edges
    return {endpoint.address for pool in edge.publisher.table.spec.services[0].pools for endpoint in pool.endpoints}


# --- Names ---


def test_whoever_a_name_stands_for_nobody_notices():
    simulation = world(NEAR_PARIS)
    before = in_use(simulation)
    rotate(simulation, 0, 10.0, 80.0, 2, -5.0)
    records = simulation.run(95)
    assert records.n_failed == 0 and set(records.attempts) == {1}
    assert records.between(60, 95).share_of(0) > 0.9
    paris = {"198.18.0.7", "198.18.0.8"}  # after three look-ups
    assert in_use(simulation) == paris | {address for address in before if address.startswith("198.18.1.")}
    (edge,) = simulation.edges
    assert {identity.address for identity in edge.gates.all} == in_use(simulation)  # rows of those that went are given back


def test_those_of_a_name_that_went_before_it_says_so_cost_nobody_his_answer():
    simulation = world(NEAR_PARIS, n_endpoints=4)
    rotate(simulation, 0, 10.0, 80.0, 2, 3.0)
    records = simulation.run(95)
    assert records.n_failed == 0 and (records.attempts > 1).any()
    # Half of it is gone: 70 % of its clients at least, and all of them after the look-up.
    assert 0.6 < records.between(7.5, 10).share_of(0) < 0.95
    assert records.between(12, 36).share_of(0) > 0.95
    (edge,) = simulation.edges
    assert edge.world.total((SERVICE, simulation.names[0])) == 4  # who came later counts once it was ready


def test_what_is_known_of_a_pop_is_not_lost_with_its_addresses():
    alike = Setting("two", CLIENTS, (PARIS, LYON), np.array([[20.0, 21.0]] * 32))
    simulation = world(alike, work=Work(40.0, 0.2))
    at(simulation, 5.0, lambda server: setattr(server, "slowness", 5.0))  # those that come later too
    rotate(simulation, 0, RESOLVED_S, 70.0, 2, -60.0)
    records = simulation.run(75)
    assert records.between(0, 5).share_of(0) > 0.3
    for begin_s in (25, RESOLVED_S, RESOLVED_S + 5, 2 * RESOLVED_S, 2 * RESOLVED_S + 5):
        assert records.between(begin_s, begin_s + 5).share_of(0) < 0.05, begin_s


# --- Black holes ---


def test_a_hole_says_no_word_more():
    events, ended = Events(), []
    server = Server(events, None, Work(), n_slots=1)
    server.pinned_s = 1.0
    server.submit(ended.append)
    server.submit(ended.append)
    events.at(0.5, server.swallow, Hole.MUTE)
    events.at(2.0, server.submit, ended.append)
    events.run(10)
    assert ended == []
    server.rise()
    server.submit(ended.append)
    events.run(20)
    assert ended == [True]


def test_who_reaches_for_one_that_is_deaf_waits_for_a_deadline_and_is_answered_by_the_other():
    simulation = world(ALONE)
    one = next(iter(simulation.sites[0].servers.values()))
    simulation.events.at(5.0, one.swallow, Hole.DEAF)
    records = simulation.run(60).between(0, 40)
    assert records.n_failed == 0
    waited = records.between(4.9, 40).latency_ms > 1000
    assert waited.any() and waited.sum() < 10
    # By the connect deadline at the earliest; who had a connection waits until probes call it silent.
    longest_s = records.latency_ms.max() / 1000
    assert 2.0 <= longest_s < 20.0
    assert not (records.between(9, 40).latency_ms > 1000).any()


def test_what_was_sent_to_one_that_is_mute_fails_at_its_deadline():
    simulation = world(ALONE, top={"timeouts": {"first_byte": "3s"}})
    at(simulation, 5.0, swallow(Hole.MUTE))
    at(simulation, 10.0, Server.rise)
    records = simulation.run(60)
    assert records.between(0, 4.9).n_failed == 0
    lost = records.between(5, 9.9)
    assert lost.n_failed == len(lost.at_s)
    assert set(lost.attempts) == {1}  # it may have been done: nobody else is asked
    assert records.between(12, 50).n_failed == 0


def test_a_pop_that_answers_no_network_is_left_within_seconds():
    """Few requests are no queue by any law: what counts is that several networks wait and none is answered."""
    simulation = world(NEAR_PARIS, per_s=1.5, top={"timeouts": {"first_byte": "30s"}})
    at(simulation, 30.0, swallow(Hole.MUTE))
    records = simulation.run(90)
    assert records.between(0, 30).share_of(0) > 0.9
    assert records.between(30, 36).n_failed > 0
    assert records.between(38, 55).share_of(0) < 0.3


def test_a_probe_by_http_finds_one_that_is_mute_and_who_waits_there_leaves():
    simulation = world(NEAR_PARIS, service={"health": {"type": "http", "path": "/", "interval": "1s", "timeout": "500ms"}})
    at(simulation, 5.0, swallow(Hole.MUTE))
    records = simulation.run(60)
    assert records.n_failed == 0  # all were asked of Tokyo
    hurt = records.between(5, 9).latency_ms > 1000
    assert hurt.any() and records.latency_ms.max() < 8000


# --- Panics ---


def test_in_a_panic_the_last_one_that_answers_has_all():
    simulation = world(NEAR_PARIS)
    at(simulation, 5.0, Server.die)
    simulation.events.at(5.0, next(iter(simulation.sites[1].servers.values())).die)
    at(simulation, 40.0, Server.rise)
    records = simulation.run(60)
    assert records.n_failed == 0
    assert set(records.between(6, 40).served) == {1}
    assert set(records.between(55, 60).attempts) == {1} and records.between(55, 60).n_failed == 0


def test_in_a_panic_probes_are_ignored():
    """One endpoint of eight is well, as probes have it. It is asked no more than the others: nobody knows who is."""
    simulation = world(NEAR_PARIS, n_endpoints=4, service={"health": {"type": "http", "path": "/", "interval": "1s"}})
    well, *others = [server for site in simulation.sites for server in site.servers.values()]
    for server in others:
        simulation.events.at(5.0, setattr, server, "is_unwell", True)
    (edge,) = simulation.edges
    attempts = []

    def look():
        attempts.append([edge.figures.read_endpoint(gate.row)["attempts"] for gate in edge.gates.all.values()])

    for when in (20.0, 40.0):
        simulation.events.at(when, look)
    records = simulation.run(41)
    assert records.n_failed == 0 and set(records.attempts) == {1} and well.is_up
    assert edge.worker.lacks_much and sum(gate.is_taking for gate in edge.gates.all.values()) == 1
    assert 0.3 < records.between(20, 40).share_of(0) < 0.7
    asked = np.diff(attempts, axis=0)[0]
    assert asked.max() < 0.25 * asked.sum()


def test_where_nobody_answers_who_refused_is_asked_again():
    simulation = world(NEAR_PARIS)
    for pop in range(2):
        at(simulation, 5.0, Server.die, pop)
        at(simulation, 15.0, Server.rise, pop)
    records = simulation.run(40)
    lost = records.between(5.1, 14.9)
    assert lost.n_failed == len(lost.at_s) and (lost.attempts > 2).all()  # both PoPs were asked
    assert records.between(15.1, 40).n_failed == 0  # before any probe has found them


def test_each_group_of_networks_has_an_address():
    assert [group(address) for address in ADDRESSES] == list(range(8))


# --- Judged ---


def test_regret_is_against_whoever_answered_then():
    whole, ones = np.zeros(4, dtype=int), np.ones(4)
    records = Records(np.array([1.0, 2.0, 11.0, 12.0]), whole, whole, np.array([0, 1, 1, -1]), ones, whole, whole)
    answering = np.array([[True, True], [False, True]])
    found = outages._regret_ms(NEAR_PARIS, records, [0.0, 10.0], answering)
    assert found[:3].tolist() == [0.0, 210.0, 0.0] and np.isnan(found[3])


@pytest.mark.slow
def test_a_hole_is_told_with_what_hurts():
    outcome = outages.SCENARIOS["hole-endpoint"](NEAR_PARIS)
    assert outcome.figures["failed"] == 0 < outcome.figures["waited_over_1_s"]
    assert (outcome.figures["timeouts.connect_s"], outcome.figures["health.down_after"]) == (2, 3)
    assert [goal.holds for goal in outcome.goals] == [True, True, True]
