import math

import pytest

from gateway.control.sources.world import Known, Origin, World
from gateway.control.steering.agenda import LEAST_SWEPT, SWEEP_TURNS, PoolState, agenda_of
from gateway.control.steering.headroom import Filling
from gateway.control.steering.levels import Level
from gateway.control.table.builder import build
from gateway.control.table.capacity import Capacity
from gateway.control.table.rows import Rows
from k8s import State
from routing_core import Figures
from tests.unit.gateway.control.helpers import TWO_POPS, config_of, identity


def agenda(text=TWO_POPS, drained=(), **more):
    config = config_of(text, **more)
    world = World()
    for pop, addresses in (("fra", ["192.0.2.1"]), ("nyc", ["192.0.2.2", "192.0.2.3"])):
        known = [Known(identity(address, pop=pop), State.READY, Origin.STATIC) for address in addresses]
        world.describe(("shop", pop), known)
    world.drained.update(drained)
    spec = build(config, world, Rows(Figures(1)), 1).spec
    return agenda_of(config, spec, False, lambda key: PoolState(), lambda pop: Filling(), lambda service: Level())


def many(n):
    """A service in so many PoPs."""
    pops = "\n".join(f"  - {{name: p{number}, lat: 0, lon: 0}}" for number in range(n))
    backends = "\n".join(f"      - {{pop: p{number}, endpoints: ['192.0.2.1:80']}}" for number in range(n))
    listeners = "listeners: [{name: web, bind: '127.0.0.1:0'}]"
    return agenda(f"{listeners}\npops:\n{pops}\nservices:\n  - name: shop\n    backends:\n{backends}\nroutes: [{{service: shop}}]\n")


def numbers(pools):
    return [pool.number for pool in pools]


def test_it_is_of_the_table():
    text = TWO_POPS.replace("region: eu-central}", "region: eu-central, capacity: {requests_in_flight: 10}}")
    text = text.replace('"192.0.2.3:80"]', '"192.0.2.3:80"], capacity: {requests_in_flight: 20, low: 50%}')
    found = agenda(text.replace("- name: shop", "- name: shop\n    penalties: {failure: 2s}"), drained=["nyc"])
    fra, nyc = found.pools
    assert [(pool.pop, pool.number, pool.is_drained, len(pool.endpoint_rows)) for pool in found.pools] == [
        ("fra", 0, False, 1),
        ("nyc", 1, True, 2),
    ]
    assert found.endpoint_pools == [fra, nyc, nyc]
    assert list(found.endpoint_rows) == [endpoint.row for pool in found.spec.services[0].pools for endpoint in pool.endpoints]
    assert list(found.rows) == [fra.spec.row, nyc.spec.row]
    assert (fra.capacity, nyc.capacity) == (None, Capacity(20, 10))
    assert nyc.bounded is None and fra.bounded is found.bounded[0]
    assert (fra.bounded.capacity, fra.bounded.numbers) == (Capacity(10, 8), [0])
    assert fra.group.terms.failure_ms == 2000
    assert len(found.seen) == 2 and len(found.endpoints_seen) == 3


def test_requests_may_be_sent_where_something_is_available_and_nobody_drained_it():
    fra, nyc = agenda(drained=["nyc"]).pools
    assert fra.may_take and not nyc.may_take
    fra.state.is_left_out = True
    assert not fra.may_take
    fra.state.is_left_out, fra.state.availability = False, 0.0
    assert not fra.may_take


def test_a_new_one_has_everybody_due():
    assert numbers(agenda().take(None)) == [0, 1]


def test_the_longest_waiting_come_first_and_wait_no_more():
    found = many(10)
    found.due.clear()
    found.add([7, 3], 1.0)
    found.add([5, 7, 2], 2.0)
    taken = found.take(3)
    assert [(pool.number, pool.since) for pool in taken] == [(7, 1.0), (3, 1.0), (5, 2.0)]
    found.add([7], 3.0)
    assert [(pool.number, pool.since) for pool in found.take(None)] == [(2, 2.0), (7, 3.0)]
    assert found.take(None) == []


def test_those_that_are_to_settle_likewise():
    found = many(5)
    found.unsettled.update(dict.fromkeys([4, 0, 2]))
    assert numbers(found.take_unsettled(2)) == [4, 0]
    assert numbers(found.take_unsettled(2)) == [2]


@pytest.mark.parametrize("n", [0, 1, LEAST_SWEPT, LEAST_SWEPT + 1, 100 * LEAST_SWEPT, 6000])
def test_all_are_due_in_turn(n):
    found = many(1)
    found.pools *= n
    seen = []
    for _ in range(SWEEP_TURNS):
        found.due.clear()
        found.sweep(0.0)
        seen.append(list(found.due))
    assert {number for turn in seen for number in turn} == set(range(n))
    assert {len(turn) for turn in seen} == {min(n, max(LEAST_SWEPT, n // SWEEP_TURNS))}


def test_a_pool_that_was_never_worked_on_has_no_time_to_make_up_for():
    assert PoolState().worked_at == math.inf
    assert PoolState().share == 0


def test_with_the_next_table_only_the_pools_that_changed_are_others():
    config, world, rows = config_of(), World(), Rows(Figures(1))
    one, two, three, four = (
        Known(identity(f"192.0.2.{n}", pop=pop), State.READY, Origin.STATIC) for n, pop in enumerate(["fra", *["nyc"] * 3])
    )
    world.describe(("shop", "fra"), [one])
    world.describe(("shop", "nyc"), [two, three])
    built = build(config, world, rows, 1)
    found = agenda_of(config, built.spec, False, lambda key: PoolState(), lambda pop: Filling(), lambda service: Level())
    fra, nyc = found.pools
    found.endpoints_seen[:] = type(found.endpoints_seen)("Q", [7, 8, 9])
    world.describe(("shop", "nyc"), [two, four, three])
    again = build(config, world, rows, 2, before=built)
    assert found.renew(again.spec) == [nyc]
    assert found.pools == [fra, nyc] and found.spec is again.spec
    assert list(found.endpoint_rows) == [rows.endpoint(each.identity) for each in (one, two, four, three)]
    assert list(found.endpoints_seen) == [7, 8, 0, 9]
    assert found.endpoint_pools == [fra, nyc, nyc, nyc]
    assert list(nyc.endpoint_rows) == list(found.endpoint_rows[1:])
    world.describe(("shop", "fra"), [])
    assert found.renew(build(config, world, rows, 3, before=again).spec) == [fra]
    assert found.endpoint_pools == [nyc] * 3 and list(found.endpoints_seen) == [8, 0, 9]
