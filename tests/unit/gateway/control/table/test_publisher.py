import asyncio
import random

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.health.ejections import Ejections
from gateway.control.sources.world import Known, Origin
from gateway.control.steering.agenda import PoolState, agenda_of
from gateway.control.steering.headroom import Filling
from gateway.control.steering.levels import Level
from gateway.control.steering.refresh import Refresh
from gateway.control.table import publisher as module
from gateway.control.table.affinity import cookie_value
from gateway.control.table.builder import build
from gateway.control.table.publisher import COALESCE_S
from gateway.dataplane import Counters, Worker
from geoip import Locator
from k8s import State
from tests.unit.gateway.control.helpers import TWO_POPS, Clock, config_of, identity, play, publisher_of

FRA = ("shop", "fra")


def describe(publisher, *addresses):
    publisher.world.describe(FRA, [Known(identity(one), State.READY, Origin.STATIC) for one in addresses])


def endpoints(publisher):
    return [endpoint.address for endpoint in publisher.table.spec.services[0].pools[0].endpoints]


def test_there_is_a_snapshot_from_the_first_moment():
    publisher = publisher_of(config_of(), Clock())
    assert publisher.generation == publisher.snapshots.generation == 1
    assert endpoints(publisher) == []


def test_a_publish_takes_what_is_known_now_and_tells_who_needs_a_probe():
    told, woken = [], []
    publisher = publisher_of(config_of(), Clock(), on_select=told.extend, wake=lambda: woken.append(1))
    describe(publisher, "192.0.2.1", "192.0.2.9")
    publisher.publish()
    assert endpoints(publisher) == ["192.0.2.1", "192.0.2.9"]
    assert [str(gate.identity) for gate in told] == ["192.0.2.1:80", "192.0.2.9:80"]
    assert publisher.generation == publisher.snapshots.generation == 2
    publisher.publish()
    assert len(told) == 2
    assert len(woken) == 3


def test_newcomers_that_take_nothing_yet_are_in_the_figures_before_workers_see_the_table():
    seen = []

    def on_newcomers(config, spec):
        assert config is publisher.config
        seen.append((spec.generation, publisher.snapshots.generation))

    publisher = publisher_of(config_of(), Clock())
    publisher.on_newcomers = on_newcomers
    describe(publisher, "192.0.2.1")
    publisher.publish()
    assert seen == [(2, 1)]
    publisher.gates.judge(identity("192.0.2.1"), True, 0)
    publisher.publish()
    assert seen == [(2, 1)]  # nobody new
    publisher.gates.begin()
    publisher.world.describe(FRA, [Known(identity("192.0.2.2"), State.READY, Origin.KUBERNETES)])
    publisher.publish()
    assert seen == [(2, 1)]  # takes its share at once


def test_so_are_pools_that_nothing_is_known_of():
    """Else a PoP that a reload adds has all of its share until the next turn: an empty row admits everything."""
    seen = []
    publisher = publisher_of(config_of(), Clock(), on_newcomers=lambda config, spec: seen.append((spec.generation, config)))
    assert seen == [(1, publisher.config)]
    publisher.publish()
    assert len(seen) == 1
    more = TWO_POPS.replace("services:", "  - {name: lon, lat: 51.5, lon: 0}\nservices:")
    more = more.replace("backends:", 'backends:\n      - {pop: lon, endpoints: ["192.0.2.4:80"]}')
    publisher.publish_config(config_of(more), Locator())
    assert seen[1:] == [(3, publisher.config)]
    publisher.publish_config(config_of(), Locator())
    assert len(seen) == 2  # one less is nothing new
    publisher.publish_config(config_of(more), Locator())
    assert len(seen) == 3  # what was learned of it has not been kept up meanwhile


def test_cookies_are_signed_with_the_key():
    assert [pop.cookie for pop in publisher_of(config_of(), Clock()).table.spec.pops] == ["", ""]
    publisher = publisher_of(config_of(), Clock(), affinity_key=b"k" * 16)
    cookies = [pop.cookie for pop in publisher.table.spec.pops]
    assert cookies == [cookie_value(b"k" * 16, "fra"), cookie_value(b"k" * 16, "nyc")]
    publisher.publish()
    assert [pop.cookie for pop in publisher.table.spec.pops] == cookies


def test_changes_within_ten_milliseconds_are_one_table():
    async def scenario(loop):
        publisher = publisher_of(config_of(), Clock())
        for n in range(1, 100):
            describe(publisher, f"192.0.2.{n}")
            publisher.request()
        await loop.advance(COALESCE_S * 3)
        assert publisher.generation == 2
        assert endpoints(publisher) == ["192.0.2.99"]
        publisher.request(COALESCE_S)
        publisher.request(0.0)  # gathered already: sooner
        await loop.advance(0.002)
        assert publisher.generation == 3
        await loop.advance(COALESCE_S * 2)
        assert publisher.generation == 3
        publisher.request()
        publisher.publish()  # takes the plan with it
        await loop.advance(COALESCE_S * 2)
        assert publisher.generation == 4
        publisher.request()
        publisher.stop()
        await loop.advance(COALESCE_S * 2)
        assert publisher.generation == 4

    play(scenario)


def test_a_table_that_is_asked_for_at_once_is_one_with_what_is_asked_for_after_it():
    """On the loop that serves: where nothing is left to wait for, what it hands out is no timer and has no time."""

    async def scenario():
        published = asyncio.Event()
        publisher = publisher_of(config_of(), Clock(), wake=published.set)
        published.clear()  # of the first table
        for wait in (0.0, 0.0, COALESCE_S):
            publisher.request(wait)
        await asyncio.wait_for(published.wait(), 5)
        assert (publisher.generation, publisher.is_due) == (2, False)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_when_building_is_slow_no_more_than_half_of_the_time_goes_into_it():
    async def scenario(loop):
        publisher = publisher_of(config_of(), Clock())
        publisher.build_s = 30.0  # just now, by the clock
        publisher.request(0.0)
        await loop.advance(0.02)
        assert publisher.generation == 1
        publisher.clock.advance(31)  # long ago: at once
        publisher.stop()
        publisher.request(0.0)
        await loop.advance(0.01)
        assert publisher.generation == 2

    play(scenario)


def test_a_build_that_fails_leaves_the_last_table(monkeypatch, caplog):
    async def scenario(loop):
        publisher = publisher_of(config_of(), Clock())
        describe(publisher, "192.0.2.1")
        publisher.publish()
        describe(publisher, "no address")
        publisher.request(0.0)
        await loop.advance(0.005)
        assert endpoints(publisher) == ["192.0.2.1"]
        assert publisher.snapshots.generation == 2
        describe(publisher, "192.0.2.2")
        publisher.request(0.0)
        await loop.advance(0.005)
        assert endpoints(publisher) == ["192.0.2.2"]

    play(scenario)
    assert "no new table: the last one stays" in caplog.text


def test_a_new_locator_keeps_the_table():
    publisher = publisher_of(config_of(), Clock())
    table = publisher.table
    publisher.publish_locator(Locator())
    assert publisher.table is table
    assert (publisher.generation, publisher.snapshots.generation) == (1, 2)


def test_a_configuration_is_put_in_use_whole_or_not_at_all(monkeypatch):
    old = config_of()
    publisher = publisher_of(old, Clock())
    before = (publisher.config, publisher.locator, publisher.settings, publisher.table)
    new = config_of(debug_headers="true")
    monkeypatch.setattr(module, "build", lambda *_: (_ for _ in ()).throw(ValueError("too many PoPs")))
    with pytest.raises(ValueError, match="too many PoPs"):
        publisher.publish_config(new, Locator())
    assert (publisher.config, publisher.locator, publisher.settings, publisher.table) == before
    monkeypatch.undo()
    locator = Locator()
    publisher.publish_config(new, locator)
    assert (publisher.config, publisher.locator) == (new, locator)
    assert publisher.settings is not before[2]


def test_rows_are_given_back_when_no_worker_can_reach_them(nothing_left):
    gone = []
    publisher = publisher_of(config_of(), Clock(), on_collect=gone.extend)
    worker = Worker(0, publisher.snapshots, publisher.figures, Counters(2))
    worker.turn(1)
    describe(publisher, "192.0.2.1")
    publisher.publish()
    worker.turn(2)
    row = publisher.rows.find("endpoint", identity("192.0.2.1"))
    describe(publisher, "192.0.2.2")
    publisher.publish()
    publisher.collect()
    assert gone == []  # the worker has not looked since
    assert publisher.rows.find("endpoint", identity("192.0.2.1")) == row
    worker.turn(3)
    publisher.collect()
    assert gone == [("endpoint", identity("192.0.2.1"))]
    worker.close()


# One table after another


members = st.dictionaries(st.integers(1, 5), st.sampled_from(State), max_size=5)
steps = st.lists(st.tuples(st.sampled_from(["fra", "nyc"]), members, st.sampled_from(["", "drain", "reload"])), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_what_is_built_upon_the_last_table_is_what_all_of_it_anew_would_be(played):
    config = config_of()
    publisher = publisher_of(
        config, Clock(), on_collect=lambda gone: [publisher.gates.forget(one) for kind, one in gone if kind == "endpoint"]
    )
    refresh = Refresh(publisher.figures, publisher.rows, publisher.gates, publisher.clock)
    ejections = Ejections(publisher.figures, publisher.gates, publisher.clock, random.Random(1))
    for pop, states, what in played:
        known = [Known(identity(f"192.0.2.{n}", pop=pop), state, Origin.KUBERNETES) for n, state in states.items()]
        publisher.world.describe(("shop", pop), known)
        if what == "drain":
            publisher.world.drained ^= {pop}
        publisher.publish_config(config_of(), publisher.locator) if what == "reload" else publisher.publish()
        spec, rows = publisher.table.spec, publisher.rows
        anew = build(publisher.config, publisher.world, rows, spec.generation)
        assert spec == anew.spec
        assert rows.rows.keys() - rows.retired.keys() == anew.used
        selected = {one.identity for one, _, _ in anew.selected}
        gates = publisher.gates
        assert {one for of_pool in gates.chosen.values() for one in of_pool} == selected
        assert {one for one, gate in gates.all.items() if not gate.is_parked} == selected
        refresh.turn(publisher.config, spec)
        ejections.turn(publisher.config, spec)
        whole = agenda_of(publisher.config, spec, True, lambda key: PoolState(), lambda pop: Filling(), lambda service: Level())
        assert refresh._agenda.endpoint_rows == whole.endpoint_rows
        assert [pool.pop for pool in refresh._agenda.endpoint_pools] == [pool.pop for pool in whole.endpoint_pools]
        assert {gate.identity for pool in ejections.pools.values() for gate in pool.members} == selected
        publisher.collect()
