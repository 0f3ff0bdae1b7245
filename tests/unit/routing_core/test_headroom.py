"""Headroom: what is in flight in all workers, of a pool and of its PoP, against what they may have."""

import pytest

from routing_core import Figures, RouteSpec, draw, explain
from tests.unit.routing_core.tables import LONDON, candidate_of, high, load, table_of

OTHERS = {"fra", "nyc", "sin"}  # than Paris, which is the fastest


@pytest.fixture
def figures():
    return Figures(3)


@pytest.mark.parametrize("of", ["of_pops", "of_pools"])
def test_a_full_pop_is_never_picked_while_another_has_room(figures, of):
    table = table_of(figures, **{of: high(par=10)})
    load(figures, table, "par", 9)
    assert draw(table, 0, LONDON, 1000) == {"par": 1000}
    load(figures, table, "par", 1)
    assert set(draw(table, 0, LONDON, 1000)) <= OTHERS
    assert explain(table, 0, LONDON)[6:10:2] == ("fra", "spill")
    load(figures, table, "par", 500)
    assert set(draw(table, 0, LONDON, 1000)) <= OTHERS
    load(figures, table, "par", -501)
    assert draw(table, 0, LONDON, 1000) == {"par": 1000}


@pytest.mark.parametrize("of", ["of_pops", "of_pools"])
def test_what_all_workers_have_in_flight_counts(figures, of):
    table = table_of(figures, **{of: high(par=10)})
    for worker, n in enumerate((4, 3, 2)):
        load(figures, table, "par", n, worker=worker)
    assert set(draw(table, 0, LONDON, 1000)) == {"par"}
    load(figures, table, "par", 1, worker=2)
    assert set(draw(table, 0, LONDON, 1000)) <= OTHERS


def test_a_pop_counts_all_services_and_a_pool_its_own(figures):
    routes = [RouteSpec("r", 0), RouteSpec("m", 1)]
    of_pop = table_of(figures, services=["shop", "mirror"], routes=routes, of_pops=high(par=10))
    of_pool = table_of(figures, services=["shop", "mirror"], routes=routes, of_pools=high(par=10))
    for table in (of_pop, of_pool):
        load(figures, table, "par", 6, service=1)
        load(figures, table, "par", 4, service=0)
    assert all(set(draw(of_pop, route, LONDON, 100)) <= OTHERS for route in (0, 1))
    assert [set(draw(of_pool, route, LONDON, 100)) for route in (0, 1)] == [{"par"}, {"par"}]
    load(figures, of_pool, "par", 4, service=1)
    assert set(draw(of_pool, 0, LONDON, 100)) == {"par"}
    assert set(draw(of_pool, 1, LONDON, 100)) <= OTHERS


def test_the_tighter_of_pop_and_pool_holds(figures):
    table = table_of(figures, of_pops=high(par=10), of_pools=high(par=20, fra=5))
    load(figures, table, "par", 10)
    assert "par" not in draw(table, 0, LONDON, 1000)
    load(figures, table, "fra", 5)
    assert set(draw(table, 0, LONDON, 1000)) <= {"nyc", "sin"}


def test_those_without_a_capacity_always_have_room(figures):
    table = table_of(figures, of_pools=high(fra=1, par=1))
    for name in ("fra", "par"):
        load(figures, table, name, 50)
    load(figures, table, "nyc", 10**6)
    load(figures, table, "sin", 10**6)
    assert set(draw(table, 0, LONDON, 500)) == {"nyc", "sin"}


def test_headroom_is_explained(figures):
    table = table_of(figures, of_pools=high(par=10, fra=4), of_pops=high(par=4))
    load(figures, table, "par", 1)
    load(figures, table, "fra", 6)
    explained = explain(table, 0, LONDON)
    found = {each.pop: each.headroom for each in explained.candidates}
    assert found == {"par": 0.75, "fra": 0.0, "nyc": None, "sin": None}
    load(figures, table, "par", 3)
    full = candidate_of(explain(table, 0, LONDON), "par")
    assert (full.headroom, full.available, full.share, full.why_not) == (0.0, True, 0.0, "full: as much in flight as it may have")
