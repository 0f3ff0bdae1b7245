"""What the refresh works on, and what it leaves alone, where there are many pools: and that nothing is lost by that."""

import math
from dataclasses import replace

import pytest

from gateway.control.steering.agenda import LEAST_SWEPT, SWEEP_TURNS
from gateway.control.steering.penalties import PRIOR_ATTEMPTS
from gateway.control.steering.refresh import INTERVAL_S, MOST_WORKED
from routing_core import Table, explain
from routing_core._testing import add_to_endpoint, add_to_pool, add_to_pop
from tests.unit.gateway.control.refreshing import ManyPops

FAR = (0.0, 0.0, 0.0)


@pytest.fixture
def rare(monkeypatch):
    """Sweeps that go around once in 10 s also where there are few pools."""
    monkeypatch.setattr("gateway.control.steering.agenda.LEAST_SWEPT", 1)


def unswept(scene):
    """A pool that is not in turn for a while."""
    return next(number for number in reversed(range(len(scene.spec.pops))) if number >= 3 * LEAST_SWEPT)


def test_of_many_that_have_nothing_to_do_a_few_are_worked_on_and_all_in_turn():
    scene = ManyPops(SWEEP_TURNS + LEAST_SWEPT)
    scene.turn()
    assert sum(scene.counting.read.values()) == LEAST_SWEPT
    scene.turn(SWEEP_TURNS - 1)
    assert len(scene.counting.read) == len(scene.spec.pops)
    assert sum(scene.counting.read.values()) == SWEEP_TURNS * LEAST_SWEPT


@pytest.mark.parametrize(
    "count", [{"in_flight": 1}, {"attempts": 1}, {"failures": 1}, {"first_bytes": 1, "first_byte_us": 10}, {"attempts": 1, "in_flight": -1}]
)
def test_whose_counters_moved_is_worked_on_in_the_next_turn_and_once(count):
    scene = ManyPops(4 * LEAST_SWEPT)
    number = unswept(scene)
    add_to_pool(scene.figures, scene.row(number), 1, in_flight=1)
    scene.turn(2)
    scene.counting.read.clear()
    add_to_pool(scene.figures, scene.row(number), 1, **count)
    scene.turn()
    assert scene.counting.read[scene.row(number)] == 1
    scene.counting.read.clear()
    if "failures" not in count:  # a penalty is followed until it is over
        scene.refresh.turn(scene.config, scene.spec)
        assert scene.counting.read[scene.row(number)] <= 1


def test_no_more_than_so_many_a_turn_the_longest_waiting_first():
    scene = ManyPops(300, n_services=2)
    scene.turn(1)
    scene.counting.read.clear()
    rows = [scene.row(number, service) for service in ("s0", "s1") for number in range(300)]
    for row in rows:
        add_to_pool(scene.figures, row, 0, attempts=1, first_bytes=1, first_byte_us=1000)
    turns = -(-len(rows) // MOST_WORKED) + 1
    for turn in range(turns):
        scene.counting.read.clear()
        for row in rows[:100]:  # these move on: the others come before them all the same
            add_to_pool(scene.figures, row, 0, attempts=1)
        scene.turn()
        assert sum(scene.counting.read.values()) <= MOST_WORKED, turn
    assert {scene.refresh.pools[key].times[4] for key in scene.refresh.pools} == {1}


def test_who_is_down_is_down_at_once_however_many_wait():
    scene = ManyPops(MOST_WORKED + 50)
    for number in range(MOST_WORKED + 50):
        scene.answer(number, 10)
    number = MOST_WORKED + 40
    gate = scene.gates.all[scene.identities[number]]
    add_to_endpoint(scene.figures, gate.row, 0, connect_failures=1)
    scene.gates.turn()
    scene.turn()
    assert (scene.pool(number)["availability"], scene.pool(number)["admit"]) == (0, 0)
    assert scene.pool(number - 1)["admit"] == 1


@pytest.mark.usefixtures("rare")
def test_what_a_pop_sheds_holds_for_every_service_in_it():
    scene = ManyPops(100, pop=", capacity: {requests_in_flight: 10}", n_services=2)
    number = 90
    add_to_pop(scene.figures, scene.rows.pop(f"p{number}"), 0, 10)
    scene.turn(40)
    assert [scene.pool(number, service)["shed"] for service in ("s0", "s1")] == pytest.approx([5 * 2.718**-2] * 2, abs=0.03)
    scene.turn(60)
    assert [scene.pool(number, service)["shed"] for service in ("s0", "s1")] == pytest.approx([0, 0], abs=0.05)
    add_to_pop(scene.figures, scene.rows.pop(f"p{number}"), 0, -10)
    scene.turn(100)
    assert [scene.pool(number, service)["admit"] for service in ("s0", "s1")] == [1, 1]
    assert scene.pool(number - 1)["shed"] == 1


@pytest.mark.usefixtures("rare")
def test_a_burst_after_a_quiet_time_fills_the_mean_no_faster_than_ever():
    """What had nothing to do was not worked on; that is no reason to think that it had been full all the while."""
    scene = ManyPops(100, backend=", capacity: {requests_in_flight: 10}")
    number = 90
    scene.turn(80)
    add_to_pool(scene.figures, scene.row(number), 0, in_flight=10)
    scene.turn()
    assert scene.pool(number)["shed"] == 1
    scene.turn(40)  # followed to its end, though nothing is counted any more
    assert scene.pool(number)["shed"] == pytest.approx(5 * 2.718**-2, abs=0.05)


@pytest.mark.usefixtures("rare")
def test_a_burst_after_a_quiet_time_is_not_usual_either():
    scene = ManyPops(100)
    number = 90
    add_to_pool(scene.figures, scene.row(number), 0, in_flight=1)
    scene.turn(80)
    add_to_pool(scene.figures, scene.row(number), 0, in_flight=100)
    scene.turn()
    assert scene.pool(number)["usual"] < 15


def share_of(scene, number):
    """Of the requests, which the pool takes."""
    return next(one.share for one in explain(Table(scene.spec, scene.figures), 0, FAR).candidates if one.pop == f"p{number}")


def scene_of_slow_ones():
    """All take 200 ms; the last isn't in turn for a while."""
    scene = ManyPops(2 * LEAST_SWEPT)
    for number in range(2 * LEAST_SWEPT):
        scene.answer(number, 200)
    scene.turn()
    return scene, 2 * LEAST_SWEPT - 1


@pytest.mark.usefixtures("rare")
def test_a_version_begins_also_where_nothing_is_worked_on():
    scene, number = scene_of_slow_ones()
    assert share_of(scene, number) < 0.1
    scene.answer(number, 20, 100_000)
    shares = []
    for _ in range(6):
        scene.turn(20)
        shares.append(share_of(scene, number))
    assert shares == sorted(shares)
    assert shares[0] < 0.3 and 0.4 < shares[2] < 0.7
    assert shares[-1] == pytest.approx(1)


def test_a_pool_that_was_in_no_table_for_a_while_has_one_estimate():
    scene, number = scene_of_slow_ones()
    whole, spec = scene.config, scene.spec
    service = replace(whole.services[0], backends=whole.services[0].backends[:-1])
    scene.config = replace(whole, services=(service,))
    scene.spec = replace(spec, services=(replace(spec.services[0], pools=spec.services[0].pools[:-1]),))
    scene.turn(30)
    scene.answer(number, 20, 100_000)
    scene.config, scene.spec = whole, spec
    scene.turn()
    assert share_of(scene, number) == pytest.approx(1)


def test_of_a_slow_one_that_is_left_alone_the_estimate_fades_to_what_the_others_take():
    scene, slow = ManyPops(LEAST_SWEPT + 2), LEAST_SWEPT + 1
    others = [number for number in range(len(scene.spec.pops)) if number != slow]
    for number in [*others, slow]:
        for _ in range(10):
            scene.answer(number, 300 if number == slow else 100)
    scene.turn(20)
    assert scene.pool(slow)["service_ms"] == pytest.approx(300, rel=0.05)
    seen = []
    for _ in range(320):
        for number in others:
            scene.answer(number, 100, 50)
        scene.clock.advance(1 - INTERVAL_S)
        scene.turn()
        seen.append(scene.pool(slow)["service_ms"])
    assert seen == sorted(seen, reverse=True)
    # Its samples fade until few are left, and those stay for a while; when there are too few it fades by itself.
    assert seen[60] == seen[0]
    assert seen[140] < 150
    assert seen[240] < 1.06 * scene.refresh.levels["s0"].ms
    # Unknown: no margin of what it was is left.
    assert scene.pool(slow)["samples"] == 0
    assert seen[-1] == pytest.approx(scene.refresh.levels["s0"].ms, abs=0.001) == pytest.approx(100, rel=0.05)


def test_who_is_away_has_no_penalty_when_it_is_back():
    scene = ManyPops(2)
    add_to_pool(scene.figures, scene.row(0), 0, attempts=10, failures=10)
    scene.turn()
    assert scene.pool(0)["penalty_ms"] == pytest.approx(5000 * (10 - math.sqrt(10)) / (10 + PRIOR_ATTEMPTS), abs=0.01)
    for is_good in (False,) * 3 + (True,) * 3:
        scene.clock.advance(2)
        scene.gates.judge(scene.identities[0], is_good, 0)
        add_to_pool(scene.figures, scene.row(0), 0, attempts=3, failures=3)
        scene.turn()
    assert scene.pool(0)["ramp"] == pytest.approx(0.1, abs=0.01)
    scene.turn(10)
    # What failed while it was away is no news; what failed since is.
    assert 0 < scene.pool(0)["penalty_ms"] < 5000 * (3 - math.sqrt(3)) / (3 + PRIOR_ATTEMPTS)
    assert scene.refresh.pools["s0", "p0"].penalty.bad < 4


@pytest.mark.parametrize(("service", "waits"), [("", True), ("long_lived: true", False)])
def test_what_waits_against_what_is_answered_is_a_penalty(service, waits):
    scene = ManyPops(2, service=service)
    for turn in range(60):
        scene.answer(0, 50, 10)
        if turn >= 20:
            add_to_pool(scene.figures, scene.row(0), 0, waiting=20)
        scene.turn()
    assert (scene.pool(0)["penalty_ms"] > 1000) is waits
    assert scene.pool(1)["penalty_ms"] == 0


@pytest.mark.usefixtures("rare")
@pytest.mark.parametrize(("service", "waits"), [("", True), ("long_lived: true", False)])
def test_who_falls_silent_behind_an_answer_is_found_though_nothing_is_counted_any_more(service, waits):
    """And in turn it is worked on once in 10 s."""
    scene = ManyPops(100, service=service)
    number = unswept(scene)
    scene.answer(number, 50, 10)
    add_to_pool(scene.figures, scene.row(number), 0, waiting=20)
    scene.counting.waiting[scene.row(number)] = (1,) * len(scene.figures.read_waiting(scene.row(number)))
    scene.turn(30)
    assert (scene.pool(number)["penalty_ms"] > 1000) is waits
    assert (scene.counting.read[scene.row(number)] >= 30) is waits


@pytest.mark.parametrize(("held_up", "in_flight"), [(True, 0), (False, 20)])
def test_neither_a_beat_that_came_late_nor_what_waits_for_its_client_is_a_queue(held_up, in_flight):
    scene = ManyPops(2)
    scene.refresh.resumed_at = lambda: scene.clock() if held_up and turn >= 20 else -math.inf
    for turn in range(60):
        scene.answer(0, 50, 10)
        if turn >= 20:
            add_to_pool(scene.figures, scene.row(0), 0, waiting=20 - in_flight, in_flight=in_flight)
        scene.turn()
    assert scene.pool(0)["penalty_ms"] == 0


def test_a_path_that_a_probe_found_otherwise_is_published_soon():
    scene = ManyPops(4 * LEAST_SWEPT)
    number = unswept(scene)
    scene.refresh.on_connect(("s0", f"p{number}"), 0.030)
    scene.turn()
    assert scene.pool(number)["path_ms"] == 30
    scene.refresh.on_connect(("s0", f"p{number}"), 0.035)  # not the least
    scene.counting.read.clear()
    scene.turn()
    assert scene.counting.read[scene.row(number)] == 0
    scene.refresh.on_connect(("s0", "elsewhere"), 0.030)  # in no table


def go(scene, number, is_good):
    """It goes, or comes back after an absence that costs a whole ramp."""
    if is_good:
        scene.clock.advance(6)
    for _ in range(3):
        scene.gates.judge(scene.identities[number], is_good, 0)


def ramp_after_each(scene, number, seconds, times):
    seen = [scene.pool(number)["ramp"]]
    for _ in range(times):
        scene.clock.advance(seconds - 2 * INTERVAL_S)
        scene.turn(2)
        seen.append(scene.pool(number)["ramp"])
    return seen


@pytest.mark.usefixtures("rare")
def test_a_ramp_goes_on():
    scene = ManyPops(100)
    for is_good in (False, True):
        go(scene, 90, is_good)
        scene.turn()
    assert ramp_after_each(scene, 90, 10, 7) == pytest.approx([0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1, 1], abs=0.01)


@pytest.mark.usefixtures("rare")
def test_where_all_return_they_ramp_relative_to_the_first():
    scene = ManyPops(100)
    for number in range(100):
        go(scene, number, False)
    scene.turn()
    scene.clock.advance(6)
    for number in range(99):
        for _ in range(3):
            scene.gates.judge(scene.identities[number], True, 0)
    scene.turn()
    assert ramp_after_each(scene, 0, 10, 3) == [1] * 4
    go(scene, 99, True)
    scene.turn()
    assert scene.pool(0)["ramp"] == 1
    own = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1]
    first = [0.64, 0.79, 0.94, 1, 1, 1, 1]
    assert ramp_after_each(scene, 99, 10, 6) == pytest.approx([one / other for one, other in zip(own, first, strict=True)], abs=0.01)
