import math
from dataclasses import replace

import pytest

from gateway.control.sources.world import Known, Origin, World
from gateway.control.steering import admission
from gateway.control.steering.penalties import PRIOR_ATTEMPTS
from gateway.control.steering.ramps import LONGEST_S
from gateway.control.steering.refresh import LATE_S, LEAST, STARTING_S
from gateway.control.table.builder import build
from gateway.model import Affinity, Capacity
from k8s import State
from routing_core._testing import add_to_pool
from tests.unit.gateway.control.helpers import TWO_POPS, by_group, config_of, identity
from tests.unit.gateway.control.refreshing import FRA, NYC, ManyPops, read, scene_of, started

CONFIG = config_of()


# Capacity


def with_capacity(pop="null", pool="null"):
    """Of FRA."""
    text = TWO_POPS.replace("region: eu-central}", f"region: eu-central, capacity: {pop}}}")
    return text.replace('endpoints: ["192.0.2.1:80"]}', f'endpoints: ["192.0.2.1:80"], capacity: {pool}}}')


TEN, TWENTY = "{requests_in_flight: 10}", "{requests_in_flight: 20, low: 50%, high: 75%}"


@pytest.mark.parametrize(
    ("pop", "pool", "in_pop", "in_pool", "shed"),
    [
        ("null", "null", 1000, 1000, 1),
        (TEN, "null", 8, 8, 1),
        (TEN, "null", 9, 9, 0.5),  # low 8, high 10
        (TEN, "null", 9, 0, 0.5),  # of other services
        ("null", TEN, 99, 9, 0.5),
        (TWENTY, "null", 12, 0, 0.6),  # low 10, high 15
        (TEN, TWENTY, 9, 14, 0.2),  # the tighter holds
        (TWENTY, TEN, 14, 8, 0.2),
        (TEN, "null", 10, 10, 0),
    ],
)
def test_what_is_in_flight_sheds(pop, pool, in_pop, in_pool, shed):
    config = config_of(with_capacity(pop, pool))
    bench, refresh, spec, _ = scene_of(config)
    bench.figures.pools[bench.rows.pool(*FRA)] = {"in_flight": in_pool}
    bench.figures.pops[bench.rows.pop("fra")] = in_pop
    refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(bench.rows.pool(*FRA))
    assert seen["shed"] == pytest.approx(shed, abs=0.002)
    assert seen["admit"] == pytest.approx(max(shed, LEAST), abs=0.002)
    assert seen["admit"] > 0  # a PoP that is full is not dead
    assert read(bench, NYC)["shed"] == 1


@pytest.mark.parametrize(("pop", "pool"), [(TEN, "null"), ("null", TEN)])
@pytest.mark.parametrize(("n_others", "spared"), [(0, 0), (1, 4), (7, 8)])
def test_what_one_network_holds_fills_no_more_than_its_part(pop, pool, n_others, spared):
    config = config_of(with_capacity(pop, pool))
    bench, refresh, spec, _ = scene_of(config)
    row = bench.rows.pool(*FRA)
    bench.figures.pools[row] = {"in_flight": 9}
    bench.figures.pops[bench.rows.pop("fra")] = 9
    add_to_pool(bench.figures.figures, row, 0, held=9, held_by=7)
    bench.figures.groups[row] = (by_group(*[1] * n_others), 0, 0)
    for _ in range(2):
        bench.clock.advance(0.1)
        refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(row)
    assert (seen["spared_in_pop"], seen["spared"]) == ((spared, 0) if pop != "null" else (0, spared))
    assert seen["shed"] == pytest.approx(1 if spared else 0.5, abs=0.1)
    add_to_pool(bench.figures.figures, row, 0, held=-9, held_by=7)
    refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(row)
    assert seen["spared_in_pop"] == seen["spared"] == 0


def test_shedding_goes_by_a_mean_that_fades():
    """Else each turn would answer the last one's admission with its opposite."""
    config = config_of(with_capacity(TEN))
    bench, refresh, spec, _ = scene_of(config)
    refresh.turn(config, spec)
    bench.figures.pops[bench.rows.pop("fra")] = 10
    bench.clock.advance(0.1)
    refresh.turn(config, spec)
    assert read(bench, FRA)["shed"] == 1
    for _ in range(100):
        bench.clock.advance(0.1)
        refresh.turn(config, spec)
    assert read(bench, FRA)["shed"] == pytest.approx(0, abs=0.05)


def test_of_a_pop_that_is_gone_nothing_is_kept():
    config = config_of(with_capacity(pop="{requests_in_flight: 10}"))
    _, refresh, spec, _ = scene_of(config)
    refresh.turn(config, spec)
    refresh.forget_pop("fra")
    refresh.forget_pop("fra")
    assert refresh.pops == {}


# admit


def test_admit_is_availability_times_shed_times_ramp():
    config = config_of(TWO_POPS.replace('"192.0.2.3:80"]', '"192.0.2.3:80"], capacity: {requests_in_flight: 10}'))
    bench, refresh, spec, everyone = started(config)
    row = bench.rows.pool(*NYC)
    bench.judge(everyone[1], False, False, False)
    bench.judge(everyone[2], False, False, False)
    refresh.turn(config, spec)
    assert read(bench, NYC)["admit"] == 0
    bench.judge(everyone[1], True, True, True)
    bench.clock.advance(60)
    refresh.turn(config, spec)
    bench.figures.pools[row] = {"in_flight": 9}
    bench.clock.advance(24)
    for _ in range(2):  # the second adds no time
        refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(row)
    assert (seen["availability"], seen["shed"], seen["ramp"]) == pytest.approx((0.7, 0.5, 0.46), abs=0.002)
    assert seen["admit"] == pytest.approx(0.7 * 0.5 * 0.46, abs=0.002)


def test_who_is_full_keeps_the_least_also_where_it_is_left_out():
    text = TWO_POPS.replace('"192.0.2.3:80"]', '"192.0.2.3:80"], capacity: {requests_in_flight: 1}')
    config = config_of(text)
    bench, refresh, _, _ = scene_of(config)
    many = [identity(f"192.0.2.{n}", pop="nyc") for n in range(10, 20)]
    bench.select(identity("192.0.2.1"), identity("192.0.2.2", pop="nyc"), *many)
    for one in many[:2]:
        bench.judge(one, True)
    world = World()
    world.describe(FRA, [Known(identity("192.0.2.1"), State.READY, Origin.STATIC)])
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in many])
    spec = build(config, world, bench.rows, 2).spec
    bench.figures.pools[bench.rows.pool(*NYC)] = {"in_flight": 5}
    refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(bench.rows.pool(*NYC))  # a fifth is ready
    assert (seen["shed"], seen["ramp"], seen["admit"]) == (0, 1, LEAST)
    bench.judge(many[2], True)
    refresh.turn(config, spec)
    seen = bench.figures.figures.read_pool(bench.rows.pool(*NYC))
    assert (seen["shed"], seen["admit"]) == (0, LEAST)


# The ramp


def ramps(bench):
    return read(bench, FRA)["ramp"], read(bench, NYC)["ramp"]


def test_at_process_start_nobody_ramps():
    bench, refresh, spec, everyone = scene_of(CONFIG)
    bench.judge(everyone[0], False, False, False)
    refresh.turn(CONFIG, spec)
    bench.judge(everyone[0], True, True, True)
    bench.clock.advance(STARTING_S - 0.1)
    refresh.turn(CONFIG, spec)
    assert ramps(bench) == (1, 1)
    assert read(bench, FRA)["admit"] == 1


def test_afterwards_a_pop_that_comes_back_does():
    bench, refresh, spec, everyone = started(CONFIG)
    bench.judge(everyone[0], False, False, False)
    refresh.turn(CONFIG, spec)
    bench.clock.advance(6)
    bench.judge(everyone[0], True, True, True)
    seen = []
    for _ in range(4):
        refresh.turn(CONFIG, spec)
        seen.append((read(bench, FRA)["ramp"], read(bench, FRA)["admit"]))
        bench.clock.advance(20)
    assert [ramp for ramp, _ in seen] == [admit for _, admit in seen] == pytest.approx([0.1, 0.4, 0.7, 1], abs=0.002)
    assert read(bench, NYC)["ramp"] == 1


def test_the_ramp_is_as_long_as_configured_and_can_be_off():
    for text, ramp in (("pop_ramp: 10s", 0.55), ("pop_ramp: 0s", 1)):
        config = config_of(TWO_POPS.replace("- name: shop", f"- name: shop\n    {text}"))
        bench, refresh, spec, everyone = started(config)
        bench.judge(everyone[0], False, False, False)
        refresh.turn(config, spec)
        bench.clock.advance(6)
        bench.judge(everyone[0], True, True, True)
        refresh.turn(config, spec)
        bench.clock.advance(5)
        refresh.turn(config, spec)
        assert read(bench, FRA)["ramp"] == pytest.approx(ramp, abs=0.002)


def test_where_all_come_back_nobody_waits_for_another():
    bench, refresh, spec, everyone = started(CONFIG)
    for one in everyone:
        bench.judge(one, False, False, False)
    refresh.turn(CONFIG, spec)
    for one in everyone:
        bench.judge(one, True, True, True)
    refresh.turn(CONFIG, spec)
    assert ramps(bench) == (1, 1)


@pytest.mark.parametrize(("is_judged_alike", "ramp"), [(True, 1), (False, 0.1)])
def test_a_pop_under_another_name_does_not_ramp(is_judged_alike, ramp):
    """Its endpoint stands as it stood, or has to be judged first."""
    bench, refresh, _, (_, *others) = started(CONFIG)
    text = TWO_POPS.replace("fra", "fra1")
    if not is_judged_alike:
        text = text.replace("- name: shop", "- name: shop\n    health: {interval: 7s}")
    config, moved = config_of(text), identity("192.0.2.1", pop="fra1")
    bench.service = config.services[0]
    bench.select(moved, *others)
    world = World()
    world.describe(("shop", "fra1"), [Known(moved, State.READY, Origin.STATIC)])
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in others])
    refresh.turn(config, build(config, world, bench.rows, 2).spec)
    assert read(bench, ("shop", "fra1"))["ramp"] == pytest.approx(ramp, abs=0.002)
    assert read(bench, NYC)["ramp"] == 1


def test_one_that_is_drained_while_it_is_renamed_ramps_when_it_is_back():
    bench, refresh, _, (_, *others) = started(CONFIG)
    config, moved = config_of(TWO_POPS.replace("fra", "fra1")), identity("192.0.2.1", pop="fra1")
    bench.service = config.services[0]
    bench.select(moved, *others)
    world = World()
    world.describe(("shop", "fra1"), [Known(moved, State.READY, Origin.STATIC)])
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in others])
    spec = build(config, world, bench.rows, 2).spec
    refresh.turn(config, replace(spec, pops=(replace(spec.pops[0], is_drained=True), spec.pops[1])))
    bench.clock.advance(0.3)
    refresh.turn(config, spec)
    assert read(bench, ("shop", "fra1"))["ramp"] == pytest.approx(0.1, abs=0.002)


FRA_LINE = '      - {pop: fra, endpoints: ["192.0.2.1:80"]}\n'


@pytest.mark.parametrize("is_forgotten", [True, False])
@pytest.mark.parametrize(("absence_s", "ramp"), [(0.5, 1), (3, 0.55), (60, 0.1), (3600, 0.1)])
def test_a_pop_that_was_out_of_the_file_was_away_for_that_time(is_forgotten, absence_s, ramp):
    """Whether its row was given back meanwhile, or is kept by what goes on there."""
    bench, refresh, spec, (fra, *others) = started(CONFIG)
    config = config_of(TWO_POPS.replace(FRA_LINE, ""))
    bench.select(*others)
    world = World()
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in others])
    refresh.turn(config, build(config, world, bench.rows, 2).spec)
    if is_forgotten:
        refresh.forget(FRA)
        bench.gates.forget(fra)
    bench.clock.advance(absence_s)
    bench.select(fra, *others)
    bench.judge(fra, True)
    refresh.turn(CONFIG, spec)
    assert read(bench, FRA)["ramp"] == pytest.approx(ramp, abs=0.002)
    assert read(bench, NYC)["ramp"] == 1


def test_of_a_pop_that_was_away_for_long_nothing_is_kept():
    bench, refresh, _, (_, *others) = started(CONFIG)
    bench.select(*others)
    world = World()
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in others])
    for generation in (2, 3):
        config = config_of(TWO_POPS.replace(FRA_LINE, ""))
        refresh.turn(config, build(config, world, bench.rows, generation).spec)
        assert bool(refresh.away) is (generation == 2)
        bench.clock.advance(LONGEST_S)


def test_a_drained_pop_stands_at_the_beginning_before_it_is_taken_back():
    """Workers see the table without the drain before the next turn."""
    bench, refresh, spec, _ = started(CONFIG)
    fra, nyc = spec.pops
    drained = replace(spec, pops=(replace(fra, is_drained=True), nyc))
    refresh.turn(CONFIG, drained)
    assert ramps(bench) == pytest.approx((0.1, 1), abs=0.002)
    assert read(bench, FRA)["admit"] == pytest.approx(0.1, abs=0.002)
    bench.clock.advance(300)
    refresh.turn(CONFIG, spec)
    bench.clock.advance(30)
    refresh.turn(CONFIG, spec)
    assert ramps(bench) == pytest.approx((0.55, 1), abs=0.002)


# Penalties


def worth(failed, each_ms=5000):
    """So many of ten attempts, see test_penalties."""
    return each_ms * (failed - math.sqrt(failed)) / (10 + PRIOR_ATTEMPTS)


@pytest.mark.parametrize(
    ("more", "outcomes", "penalty_ms"),
    [
        ("", {}, 0),
        ("", {"failures": 1}, 0),  # chance
        ("", {"failures": 4}, worth(4)),
        ("", {"server_errors": 5}, 0),
        ("", {"rate_limited": 1}, 100),  # a tenth of a second
        ("", {"rate_limited": 1, "retry_after_ms": 60_000}, 100),
        ("penalties: {failure: 1s}", {"failures": 4, "rate_limited": 1}, worth(4, 1000) + 100),
        ("penalties: {server_errors: true}", {"server_errors": 5}, worth(5)),
        ("penalties: {rate_limited: false}", {"rate_limited": 10}, 0),
        ("penalties: {failure: 0s}", {"failures": 10}, 0),
    ],
)
def test_what_went_wrong_is_a_penalty_at_once(more, outcomes, penalty_ms):
    """Not paced: it is no latency."""
    config = config_of(TWO_POPS.replace("- name: shop", f"- name: shop\n    {more}"))
    bench, refresh, spec, _ = started(config)
    bench.figures.pools[bench.rows.pool(*FRA)] = {"attempts": 10, **outcomes}
    bench.figures.groups[bench.rows.pool(*FRA)] = (by_group(1, 1, 1, 1), by_group(1, 1, 1), 0)  # of four groups of clients three
    bench.clock.advance(0.1)
    refresh.turn(config, spec)
    assert bench.figures.figures.read_pool(bench.rows.pool(*FRA))["penalty_ms"] == pytest.approx(penalty_ms, abs=0.01)
    assert read(bench, NYC)["penalty_ms"] == 0
    refresh.turn(config, spec)  # the same sums are nothing new
    assert bench.figures.figures.read_pool(bench.rows.pool(*FRA))["penalty_ms"] == pytest.approx(penalty_ms, abs=0.01)


@pytest.mark.parametrize(
    ("bad", "moves"), [(by_group(30), False), (by_group(0, 15, 15), True), (by_group(8, 8, 7, 7), True)], ids=["one", "two", "all"]
)
def test_failures_of_one_client_move_nobody(bad, moves):
    bench, refresh, spec, _ = started(CONFIG)
    row = bench.rows.pool(*FRA)
    bench.figures.pools[row] = {"attempts": 230, "failures": 30}
    bench.figures.groups[row] = (by_group(50, 50, 50, 50), 0, bad)
    bench.clock.advance(0.1)
    refresh.turn(CONFIG, spec)
    assert (read(bench, FRA)["penalty_ms"] > 0) is moves


@pytest.mark.parametrize(
    "groups",
    [(by_group(1, 1, 1, 1), by_group(1, 1), 0), (by_group(*[1] * 8), by_group(1, 1, 1), 0), (by_group(1), by_group(1), 0)],
    ids=str,
)
def test_429s_of_few_clients_move_nobody(groups):
    bench, refresh, spec, _ = started(CONFIG)
    row = bench.rows.pool(*FRA)
    for turn in range(1, 50):
        bench.figures.pools[row] = {"attempts": 10 * turn, "rate_limited": 9 * turn, "retry_after_ms": 9 * turn * 300_000}
        bench.figures.groups[row] = groups
        bench.clock.advance(0.1)
        refresh.turn(CONFIG, spec)
        assert bench.figures.figures.read_pool(row)["penalty_ms"] == 0


def test_what_most_clients_met_long_ago_says_nothing_of_now():
    bench, refresh, spec, _ = started(CONFIG)
    row = bench.rows.pool(*FRA)
    bench.figures.pools[row] = {"attempts": 10, "rate_limited": 10}
    bench.figures.groups[row] = (by_group(1, 1, 1, 1), by_group(1, 1, 1, 1), 0)
    for _ in range(3):
        bench.clock.advance(11)
        refresh.turn(CONFIG, spec)
    bench.figures.pools[row] = {"attempts": 20, "rate_limited": 20}
    bench.figures.groups[row] = (by_group(2, 2, 2, 2), by_group(2, 1, 1, 1), 0)  # all have asked again, and one is told to come later
    bench.clock.advance(0.1)
    refresh.turn(CONFIG, spec)
    assert bench.figures.figures.read_pool(row)["penalty_ms"] == 0


def queued(scene, seconds=4, late_every=0):
    """100 requests a second are answered in p0, and 200 come; in the other 50 and all are answered."""
    for turn in range(10 * (10 + seconds)):
        for number in range(len(scene.spec.pops)):
            scene.answer(number, 50, 5 if number else 10)
        if turn >= 100:
            add_to_pool(scene.figures, scene.row(0), 0, waiting=10)
        if late_every and turn % late_every == 0:
            scene.clock.advance(2 * LATE_S)
        scene.turn()


def test_who_queues_sheds_what_it_cannot_do():
    scene = ManyPops(2)
    queued(scene)
    seen = scene.pool(0)
    assert seen["shed"] == pytest.approx(admission.LEAST, abs=0.001)
    assert seen["admit"] == pytest.approx(seen["shed"], abs=0.002)
    assert scene.pool(1)["shed"] == 1


def test_who_was_late_himself_blames_no_pop():
    """Each second one of its turns comes late: what waits may have waited for it."""
    scene = ManyPops(2)
    queued(scene, late_every=10)
    assert scene.pool(0)["penalty_ms"] > 1000
    assert scene.pool(0)["shed"] == 1


def test_where_all_queue_nobody_sheds():
    """The rest has to go somewhere."""
    scene = ManyPops(1)
    queued(scene)
    assert scene.pool(0)["penalty_ms"] > 1000
    assert scene.pool(0)["shed"] == 1


@pytest.mark.parametrize(
    "said",
    [
        {"backend": ", capacity: {requests_in_flight: 100000}"},
        {"pop": ", capacity: {requests_in_flight: 100000}"},
        {"service": "long_lived: true"},
    ],
    ids=str,
)
def test_a_queue_sheds_nothing_where_a_capacity_was_said_or_requests_last(said):
    scene = ManyPops(2, **said)
    queued(scene)
    assert scene.pool(0)["shed"] == 1


@pytest.mark.parametrize("affinity", [Affinity(cookie="pop"), Affinity(header="x-session"), Affinity(client=True)], ids=str)
def test_a_queue_moves_nobody_who_is_kept_by_affinity(affinity):
    scene = ManyPops(2)
    (route,) = scene.config.routes
    scene.config = replace(scene.config, routes=(replace(route, steering=replace(route.steering, affinity=affinity)),))
    queued(scene)
    assert scene.pool(0)["shed"] == 1
    assert scene.pool(0)["penalty_ms"] > 1000


def test_a_capacity_that_a_reload_brings_ends_what_was_learned():
    scene = ManyPops(2)
    queued(scene)
    assert scene.pool(0)["shed"] < 1
    service = scene.config.services[0]
    backends = tuple(replace(behind, capacity=Capacity(requests_in_flight=100000)) for behind in service.backends)
    scene.config = replace(scene.config, services=(replace(service, backends=backends),))
    scene.spec = scene.build()
    scene.turn()
    assert scene.pool(0)["shed"] == 1
