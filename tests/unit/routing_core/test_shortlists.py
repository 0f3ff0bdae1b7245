"""Which PoPs a decision looks at, and that it is the one that looks at all; worlds and comparison as in tests/oracle."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, Table
from routing_core._memory import live_blocks
from routing_core._testing import KeptShortlists
from tests.oracle.test_shortlists_oracle import QUIET, agree, decisions
from tests.oracle.worlds import ANYWHERE, N_WORKERS, Client, Place, Site, World, build


@given(ANYWHERE, st.integers(0, 2**40))
def test_where_nothing_is_amiss_few_are_looked_at(at, seed):
    rng = random.Random(3)
    places = tuple(Place(rng.uniform(-60, 70), rng.uniform(-180, 180)) for _ in range(200))
    world = World(places, (tuple(Site(pop, times=QUIET, in_flight=pop % 3, usual=1) for pop in range(200)),))
    shortlists, table = KeptShortlists(), build(world)
    looked = [agree(table, world, Client((*at, 20.0)), seed + k, shortlists) for k in range(3)]
    assert max(looked) < 24
    assert decisions(table, world, Client((*at, 20.0)), seed)[-1] == 200


def test_where_many_are_near_all_are_looked_at():
    """More near-equals than a shortlist keeps."""
    world = World((Place(50.0, 8.0),) * 60, (tuple(Site(pop, times=QUIET) for pop in range(60)),), affinity="client")
    table, shortlists = build(world), KeptShortlists()
    clients = [Client((50.0, 8.0, 20.0), key=mark << 32 | mark) for mark in range(1, 1000)]
    assert {agree(table, world, client, 1, shortlists) for client in clients} == {60}
    assert {decisions(table, world, client, 1, shortlists)[0] for client in clients} == {*range(60)}


def test_shortlists_are_kept_for_more_places_than_there_is_room_for():
    world = World(tuple(Place(50.0, lon) for lon in range(0, 80, 8)), (tuple(Site(pop, times=QUIET) for pop in range(10)),))
    table, shortlists = build(world), KeptShortlists()
    for _ in range(2):
        for k in range(3000):
            agree(table, world, Client((40.0, k * 0.01, 0.0)), k, shortlists)


def test_the_quickest_service_is_seen_from_afar():
    """Its work takes 300 ms less than where the path is shortest: what is least anywhere says how far to look."""
    places = tuple(Place(50.0, 8.0 + k) for k in range(20))
    world = World(places, (tuple(Site(pop, times=((-1.0, 300.0 if pop < 19 else 1.0),)) for pop in range(20)),))
    table, shortlists, client = build(world), KeptShortlists(), Client((50.0, 8.0, 0.0))
    agree(table, world, client, 1, shortlists)
    assert decisions(table, world, client, 1, shortlists)[0] == 19


def test_nobody_who_was_drained_is_in_a_kept_order():
    world = World(tuple(Place(50.0, 8.0 + k) for k in range(6)), (tuple(Site(pop) for pop in range(6)),))
    figures, shortlists, client = Figures(N_WORKERS), KeptShortlists(), Client((50.0, 8.0, 0.0))
    table = build(world, figures)
    assert decisions(table, world, client, 1, shortlists)[0] == 0
    pops = tuple(replace(pop, is_drained=number == 0) for number, pop in enumerate(table.spec.pops))
    drained = Table(replace(table.spec, pops=pops), figures, table)
    for seed in range(50):
        assert decisions(drained, world, client, seed, shortlists)[0] != 0
        agree(drained, world, client, seed, shortlists)


def test_what_is_kept_is_given_back():
    before = live_blocks()["worker"]
    world = World(tuple(Place(50.0, 8.0 + k) for k in range(6)), (tuple(Site(pop) for pop in range(6)),))
    table, shortlists = build(world), KeptShortlists()
    for k in range(10):
        agree(table, world, Client((40.0 + k, 8.0, 0.0)), k, shortlists)
    assert live_blocks()["worker"] == before + 10
    del shortlists
    assert live_blocks()["worker"] == before
