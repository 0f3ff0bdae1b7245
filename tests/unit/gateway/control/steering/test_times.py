"""Which times are published of the pools of a service, together; their pace by itself is test_pacing's."""

import math
from dataclasses import replace

import pytest

from gateway.control.steering import times as module
from gateway.control.steering.estimates import BUSY_TAU_S
from gateway.control.steering.levels import MOST_TIMES, SPREAD
from gateway.control.steering.refresh import INTERVAL_S, Refresh
from routing_core import Table, explain
from tests.unit.gateway.control.refreshing import ManyPops

MANY = 12  # more than are worked on in a turn although nothing happened


def services(scene, service="s0"):
    """What is in force of each PoP, newest first known or not."""
    return [scene.pool(number, service)["service_ms"] for number in range(len(scene.spec.pops))]


def written(scene, service="s0"):
    """(PoP, version, service_ms) of each write of times since this was asked."""
    numbers = {scene.row(number, service): number for number in range(len(scene.spec.pops))}
    return [(numbers[row], of["version"], of["service_ms"]) for row, of in scene.counting.written if row in numbers and "service_ms" in of]


def steady(scene, ms, seconds, *, per_turn=50, numbers=None, service="s0"):
    """So many answers a turn of each, all alike. Yields after each turn."""
    for _ in range(seconds * 10):
        for number in range(len(scene.spec.pops)) if numbers is None else numbers:
            scene.answer(number, ms, per_turn, service=service)
        scene.turn()
        yield


def run(turns):
    for _ in turns:
        pass


def without(scene, number):
    """The configuration and the table without a PoP of the last numbers; returns those with it."""
    whole, spec = scene.config, scene.spec
    of, built = whole.services[0], spec.services[0]
    rest = [i for i in range(len(of.backends)) if i != number]
    scene.config = replace(whole, services=(replace(of, backends=tuple(of.backends[i] for i in rest)), *whole.services[1:]))
    pools = tuple(built.pools[i] for i in rest)
    scene.spec = replace(spec, services=(replace(built, pools=pools), *spec.services[1:]))
    return whole, spec


def test_a_level_that_is_first_known_is_in_all_pools_at_once():
    """Whoever has answered: it is news of no pool beside another."""
    scene = ManyPops(MANY)
    scene.answer(MANY - 1, 20)
    scene.turn()
    assert services(scene) == pytest.approx([20] * MANY)
    assert sorted({(number, version) for number, version, _ in written(scene)}) == [(number, None) for number in range(MANY)]


def test_what_a_pools_own_samples_say_after_that_is_paced():
    scene = ManyPops(2)
    scene.answer(0, 20)
    scene.turn()
    scene.counting.written.clear()
    run(steady(scene, 200, 2, numbers=[1]))
    assert written(scene)
    assert None not in {version for _, version, _ in written(scene)}


def test_a_level_that_moves_is_written_into_all_pools_of_its_service_in_one_version():
    """Whether they have traffic or not, and whether anything else is to be done there."""
    scene = ManyPops(MANY)
    busy = range(MANY - 4)
    run(steady(scene, 20, 20, numbers=busy))
    scene.counting.written.clear()
    run(steady(scene, 200, 20, numbers=busy))
    by_version = {}
    for number, version, service_ms in written(scene):
        by_version.setdefault(version, {})[number] = service_ms
    assert None not in by_version
    assert all(set(found) == set(range(MANY)) for found in by_version.values())
    assert services(scene) == pytest.approx([200] * MANY, rel=0.05)


@pytest.mark.parametrize("ms", [5, 200])
def test_of_pops_that_all_become_slower_none_looks_slower_than_the_others(ms):
    """A new release everywhere. Those without traffic are no better; in no version is what is common counted twice."""
    scene = ManyPops(MANY)
    run(steady(scene, 20, 20, numbers=range(MANY - 4)))
    for _ in steady(scene, ms, 20, numbers=range(MANY - 4)):
        assert max(services(scene)) - min(services(scene)) < 0.5
        assert max(services(scene)) < 1.05 * max(ms, 20)
    assert services(scene) == pytest.approx([ms] * MANY, rel=0.05)


def test_while_it_starts_all_that_is_known_is_in_force_at_once_and_not_twice():
    scene = ManyPops(3)
    scene.refresh = Refresh(scene.counting, scene.rows, scene.gates, scene.clock)
    for ms in (20, 200):
        for number in range(2):
            scene.answer(number, ms, 10_000)
        scene.turn()
        assert {version for _, version, _ in written(scene)} == {None}
        assert services(scene) == pytest.approx([services(scene)[0]] * 3)
    # The first ones had faded a little, and the others count for MOST_TIMES the level.
    kept = math.exp(-INTERVAL_S / BUSY_TAU_S)
    assert services(scene)[0] == pytest.approx((20 * kept + 160) / (kept + 1), rel=0.001)


def test_two_services_do_not_touch_one_another():
    scene = ManyPops(4, n_services=2)
    for _ in zip(steady(scene, 20, 10), steady(scene, 50, 10, service="s1"), strict=True):
        pass
    assert (services(scene), services(scene, "s1")) == (pytest.approx([20] * 4), pytest.approx([50] * 4))
    scene.counting.written.clear()
    for _ in zip(steady(scene, 300, 10), steady(scene, 50, 10, service="s1"), strict=True):
        pass
    assert services(scene) == pytest.approx([300] * 4, rel=0.05)
    assert services(scene, "s1") == pytest.approx([50] * 4)
    assert written(scene, "s1") == []


def test_a_pop_new_in_the_table_has_the_level_at_once():
    scene = ManyPops(4)
    whole, spec = without(scene, 3)
    run(steady(scene, 20, 3, numbers=range(3)))
    assert scene.pool(3)["service_ms"] == 0
    scene.counting.written.clear()
    scene.config, scene.spec = whole, spec
    scene.turn()
    seen = scene.pool(3)
    assert (seen["service_ms"], seen["samples"], seen["most_ms"]) == pytest.approx((20, 0, MOST_TIMES * 20))
    assert (seen["spread_ms"], seen["hope_ms"]) == pytest.approx((SPREAD * 20, (1 - SPREAD) * 20))
    assert [(number, version) for number, version, _ in written(scene)] == [(3, None)]


def test_what_stands_behind_it_is_written_where_only_that_changed():
    scene = ManyPops(2)
    run(steady(scene, 20, 5, per_turn=1))
    before = [scene.pool(number) for number in range(2)]
    assert (before[0]["samples"], before[0]["hope_ms"]) == (pytest.approx(49, abs=1), -1)
    scene.counting.written.clear()
    scene.turn(300)
    after = [scene.pool(number) for number in range(2)]
    for was, now in zip(before, after, strict=True):
        assert now["samples"] < was["samples"] / 2
        assert now["spread_ms"] > was["spread_ms"]
        assert now["hope_ms"] == pytest.approx(20 - now["spread_ms"], abs=0.1), "who has had few lately is not known well"
        assert now["service_ms"] == was["service_ms"]
    assert written(scene) == []
    kinds = {tuple(values) for _, values in scene.counting.written if "samples" in values}
    assert kinds == {("samples", "spread_ms", "hope_ms")}


def test_where_nothing_changed_nothing_is_written():
    scene = ManyPops(2)
    scene.turn(30)
    scene.counting.written.clear()
    scene.turn(30)
    assert scene.counting.written == []
    for _ in steady(scene, 20, 60):
        pass
    scene.counting.written.clear()
    for _ in steady(scene, 20, 5):
        pass
    assert written(scene) == []


def test_the_most_a_sample_counts_for_follows_the_level():
    scene = ManyPops(2)
    run(steady(scene, 20, 5))
    assert [scene.pool(number)["most_ms"] for number in range(2)] == pytest.approx([MOST_TIMES * 20] * 2)
    before = scene.figures.read_pool_served(scene.row(0))
    scene.answer(0, 60_000, 1, by=3)
    assert scene.figures.read_pool_served(scene.row(0))[3] - before[3] == MOST_TIMES * 20_000
    run(steady(scene, 100, 20))
    assert [scene.pool(number)["most_ms"] for number in range(2)] == pytest.approx([MOST_TIMES * 100] * 2, rel=0.05)


@pytest.mark.parametrize("is_asked", [True, False], ids=["there is traffic", "there is none"])
def test_a_reload_that_drops_a_pop_takes_its_samples_out_of_the_level(is_asked):
    scene = ManyPops(3)
    for _ in zip(steady(scene, 20, 10, numbers=[0]), steady(scene, 100, 10, numbers=[1, 2]), strict=True):
        pass
    level = scene.refresh.levels["s0"]
    assert level.ms > 50
    for number in (2, 1):
        without(scene, number)
    run(steady(scene, 20, 3, numbers=[0] if is_asked else []))
    assert level.ms == pytest.approx(20, rel=0.05)
    assert scene.pool(0)["service_ms"] == pytest.approx(20, rel=0.05)


def test_of_a_service_that_is_gone_no_level_is_kept():
    scene = ManyPops(2, n_services=2)
    run(steady(scene, 20, 1))
    run(steady(scene, 50, 1, service="s1"))
    scene.config = replace(scene.config, services=scene.config.services[1:])
    scene.spec = replace(scene.spec, services=scene.spec.services[1:])
    scene.turn()
    assert set(scene.refresh.levels) == {"s1"}
    assert services(scene, "s1") == pytest.approx([50] * 2)


def test_of_many_services_no_more_than_so_many_pools_are_looked_at_at_once(monkeypatch):
    monkeypatch.setattr(module, "MOST_SETTLED", 3)
    scene = ManyPops(2, n_services=3)
    for service in ("s0", "s1", "s2"):
        for number in range(2):
            scene.answer(number, 20, service=service)
    scene.turn()
    # Whole services, the last of them beyond the bound.
    assert sorted(services(scene, service) for service in ("s0", "s1", "s2")) == [[0, 0], [20, 20], [20, 20]]
    scene.turn()
    assert [services(scene, service) for service in ("s0", "s1", "s2")] == [[20, 20]] * 3


def test_the_decision_is_by_what_was_published():
    scene = ManyPops(2)
    run(steady(scene, 20, 2))
    candidates = explain(Table(scene.spec, scene.figures), 0, (0.0, 0.0, 0.0)).candidates
    assert [one.service_ms for one in candidates] == pytest.approx([20, 20])
