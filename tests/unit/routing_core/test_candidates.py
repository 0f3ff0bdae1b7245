"""How far the first pass looks along a shortlist, and where it has to look at all; that the decision is the same is the oracle's claim."""

from dataclasses import replace

import pytest

from routing_core._testing import KeptShortlists, decide_one
from tests.oracle.test_shortlists_oracle import agree
from tests.oracle.worlds import Client, Place, Site, World, build

N = 20
AT_8 = Client((50.0, 8.0, 0.0))
WORK = ((-1.0, 20.0),)
FULL = {"high": 1, "in_flight": 1}


def in_line(first=None, **others):
    """N PoPs on the 50th parallel, 1.3 ms apart; the first otherwise than the rest."""
    sites = (Site(0, **{"times": WORK, **(first or {})}), *(Site(pop, times=WORK) for pop in range(1, N)))
    return World(tuple(Place(50.0, 8.0 + pop) for pop in range(N)), (sites,), **others)


@pytest.mark.parametrize(
    ("world", "client", "looked_at"),
    [
        (in_line(), AT_8, 4),  # within 5 ms
        (in_line(window=0.0), AT_8, 3),  # the best, and two that are tried next
        (in_line(window=20.0), AT_8, 16),
        (in_line({"penalty": 8.0}), AT_8, 5),  # the next one is the best
        (in_line({"availability": 0.0}), AT_8, 5),
        (in_line({"times": ((-1.0, 10.0),)}, window=0.0), AT_8, 10),  # any other might be as quick
        (in_line(FULL, affinity="header", window=1.0), replace(AT_8, key=1), 4),  # who is full is asked, and three windows count
        (in_line({"availability": 0.3}), AT_8, N),  # whether it is left out is a matter of all
        (in_line({"shed": 0.0}), AT_8, N),  # what it has no room for knows no window
        (in_line(FULL), AT_8, N),
        (in_line(pin=(3,)), replace(AT_8, is_pinned=True), N),
        (in_line(affinity="cookie"), replace(AT_8, kept=19), N),
        (in_line(affinity="cookie"), replace(AT_8, kept=1), 4),
        (in_line(), Client(), N),  # nothing is known of any path
    ],
)
def test_how_many_are_looked_at(world, client, looked_at):
    assert agree(build(world), world, client, 1, KeptShortlists()) == looked_at


@pytest.mark.parametrize("affinity", ["header", "client"])
def test_three_windows_count_where_a_faster_one_sheds(affinity):
    world = in_line({"shed": 0.5}, affinity=affinity, window=2.0)
    table, shortlists = build(world), KeptShortlists()
    looked = [agree(table, world, replace(AT_8, key=key << 32 | key), key, shortlists) for key in range(1, 200)]
    assert {*looked} == {3, 6}  # the best and two more; or up to 6 ms behind the second


def test_of_two_that_are_alike_the_first_is_tried_next_however_long_its_path():
    times = [((13.0, 10.0),), ((8.0, 15.0),), ((3.0, 20.0),), ((3.0, 20.0),), ((1.0, 22.0),)]
    sites = tuple(Site(pop, times=each) for pop, each in enumerate(times))
    world = World((Place(50.0, 8.0),) * 5, (sites,), gateway=(50.0, 8.0), is_gateway_leg=True, window=0.0)
    table = build(world)
    agree(table, world, AT_8, 1, KeptShortlists())
    assert decide_one(table, 0, AT_8.place, 1, KeptShortlists())[2] == (1, 2)
