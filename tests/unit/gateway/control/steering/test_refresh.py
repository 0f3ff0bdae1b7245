import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.sources.world import Known, Origin, World
from gateway.control.steering.refresh import Refresh, availability_of, left_out
from gateway.control.table.builder import build
from k8s import State
from tests.unit.gateway.control.helpers import Bench, config_of, identity
from tests.unit.gateway.control.refreshing import FRA, NYC, answer, read, scene_of

CONFIG = config_of()


@pytest.mark.parametrize(
    ("ready", "total", "expected"), [(0, 0, 0), (0, 3, 0), (1, 1, 1), (5, 7, 1), (1, 2, 0.7), (2, 4, 0.7), (1, 4, 0.35)]
)
def test_availability(ready, total, expected):
    assert availability_of(ready, total) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shares", "out"),
    [
        ({"a": 1, "b": 1}, set()),
        ({"a": 0.2, "b": 1}, {"a"}),
        ({"a": 0.25, "b": 1}, set()),
        ({"a": 0.2, "b": 0.1, "c": 1}, {"b"}),  # never more than half, the poorest first
        ({"a": 0.2, "b": 0.2, "c": 1}, {"b"}),  # of some that are alike the last
        ({"a": 0.2, "b": 0.24}, set()),  # the others could not do without it
        ({"a": 0.2}, set()),
        ({"a": 0.2, "b": 0, "c": 1}, set()),  # a dead one is out already
        ({"a": 0.2, "b": 0, "c": 1, "d": 1}, {"a"}),
    ],
)
def test_left_out(shares, out):
    assert left_out(shares) == out


@given(st.dictionaries(st.text(min_size=1, max_size=2), st.floats(0, 1)))
def test_automation_never_leaves_out_more_than_half(shares):
    out = left_out(shares)
    assert all(0 < shares[pop] < 0.25 for pop in out)
    if out:
        assert len(out) + sum(share == 0 for share in shares.values()) <= len(shares) / 2


@pytest.fixture
def scene():
    return scene_of(CONFIG)


def test_availability_and_admit_follow_the_gates(scene):
    bench, refresh, spec, everyone = scene
    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["availability"] == read(bench, NYC)["admit"] == 1
    bench.judge(everyone[1], False, False, False)
    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["availability"] == pytest.approx(0.7, abs=0.002)
    bench.judge(everyone[2], False, False, False)
    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["availability"] == read(bench, NYC)["admit"] == 0
    assert read(bench, FRA)["availability"] == 1


def test_a_failed_connect_counts_at_the_next_look(scene):
    bench, refresh, spec, everyone = scene
    bench.fail(everyone[0])
    bench.gates.turn()
    refresh.turn(CONFIG, spec)
    assert read(bench, FRA)["availability"] == 0


def test_those_that_answer_are_counted_for_a_panic(scene):
    bench, refresh, spec, everyone = scene
    refresh.turn(CONFIG, spec)
    before = read(bench, NYC)["answering"]
    for _ in range(3):
        bench.gates.judge(everyone[2], False, 0, has_answered=True)
    refresh.turn(CONFIG, spec)
    assert (round(read(bench, NYC)["availability"], 2), read(bench, NYC)["answering"]) == (0.7, before)
    bench.gates.judge(everyone[2], False, 0)
    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["answering"] == before - 1


def test_the_own_zone_is_preferred_while_it_can_bear_that(scene):
    bench, refresh, spec, everyone = scene
    (service,) = spec.services
    pools = service.pools[0], replace(service.pools[1], n_preferred=1)
    spec = replace(spec, services=(replace(service, pools=pools),))

    def share_after(one, result):
        for _ in range(3):
            bench.judge(one, result)
        refresh.turn(CONFIG, spec)
        return read(bench, NYC)["all_zones"]

    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["all_zones"] == 0
    assert share_after(everyone[1], False) == 1
    assert share_after(everyone[2], False) == 0, "nobody is left"
    assert share_after(everyone[1], True) == 0 and read(bench, FRA)["all_zones"] == 0


def test_service_time_is_first_byte_less_path(scene):
    bench, refresh, spec, _ = scene
    row = bench.rows.pool(*FRA)
    refresh.on_connect(FRA, 0.010)
    refresh.turn(CONFIG, spec)
    answer(bench, FRA, 30, 10)
    bench.clock.advance(0.1)
    refresh.turn(CONFIG, spec)
    seen = bench.figures.figures.read_pool(row)
    assert seen["path_ms"] == pytest.approx(10, abs=0.01)
    assert seen["service_ms"] == pytest.approx(20, abs=0.01)
    assert seen["samples"] == 10


def test_service_time_is_never_negative_and_path_unknown_is_said(scene):
    bench, refresh, spec, _ = scene
    row = bench.rows.pool(*FRA)
    refresh.turn(CONFIG, spec)
    assert bench.figures.figures.read_pool(row)["path_ms"] == -1
    refresh.on_connect(FRA, 0.050)
    refresh.turn(CONFIG, spec)
    answer(bench, FRA, 10, 1)
    refresh.turn(CONFIG, spec)
    seen = bench.figures.figures.read_pool(row)
    assert (seen["service_ms"], seen["samples"]) == (0, 1)


def test_connects_of_traffic_are_evidence_of_the_path(scene):
    bench, refresh, spec, _ = scene
    row = bench.rows.pool(*NYC)
    refresh.turn(CONFIG, spec)
    bench.figures.pools[row] = {"connect_us": 160_000, "connects": 2}
    refresh.turn(CONFIG, spec)
    refresh.turn(CONFIG, spec)  # nothing new: the same sums are no sample
    assert bench.figures.figures.read_pool(row)["path_ms"] == pytest.approx(80, abs=0.01)


def test_a_pool_of_terminating_but_serving_ones_is_left_to_a_panic(scene):
    bench, refresh, _, everyone = scene
    world = World()
    world.describe(FRA, [Known(everyone[0], State.SERVING_TERMINATING, Origin.KUBERNETES)])
    world.describe(NYC, [Known(one, State.READY, Origin.KUBERNETES) for one in everyone[1:]])
    spec = build(config_of(), world, bench.rows, 2).spec
    refresh.turn(CONFIG, spec)
    assert [(len(pool.endpoints), pool.is_last_resort) for pool in spec.services[0].pools] == [(1, True), (2, False)]
    assert read(bench, FRA)["availability"] == read(bench, FRA)["admit"] == 0
    assert read(bench, NYC)["availability"] == 1


def test_automatic_drain_is_published_and_said_once(caplog):
    caplog.set_level(logging.INFO, "isochrone.health")
    config = config_of()
    bench = Bench(config.services[0])
    many = [identity(f"192.0.2.{n}", pop="nyc") for n in range(10, 20)]
    bench.select(*many, identity("192.0.2.1"))
    for one in (*many[:2], identity("192.0.2.1")):
        bench.judge(one, True)
    world = World()
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in many])
    world.describe(FRA, [Known(identity("192.0.2.1"), State.READY, Origin.STATIC)])
    refresh = Refresh(bench.figures, bench.rows, bench.gates, bench.clock)
    spec = build(config, world, bench.rows, 1).spec
    for _ in range(2):
        refresh.turn(CONFIG, spec)
    # Whom it is drained for the decision says, request by request.
    assert read(bench, NYC)["admit"] == read(bench, NYC)["availability"] == pytest.approx(0.28, abs=0.002)
    bench.judge(many[2], True)
    refresh.turn(CONFIG, spec)
    assert read(bench, NYC)["admit"] == pytest.approx(0.42, abs=0.002)
    lines = [record.getMessage() for record in caplog.records if "pool" in record.getMessage()]
    assert lines == ["pool drained automatically: too little of it is ready", "pool taken back: enough of it is ready"]


def test_what_is_forgotten_is_learned_anew(scene):
    bench, refresh, spec, _ = scene
    refresh.on_connect(FRA, 0.010)
    refresh.forget(FRA)
    refresh.forget(FRA)
    refresh.turn(CONFIG, spec)
    assert bench.figures.figures.read_pool(bench.rows.pool(*FRA))["path_ms"] == -1
