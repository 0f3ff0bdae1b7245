from dataclasses import replace

import pytest

from gateway.control.sources.world import Identity, Origin, World
from k8s import State
from tests.unit.gateway.control.helpers import known

POOL = ("shop", "fra")


def test_identity_is_written_as_it_is_reached():
    assert str(Identity("s", "p", "", "192.0.2.1", 80)) == "192.0.2.1:80"
    assert str(Identity("s", "p", "", "2001:db8::1", 80)) == "[2001:db8::1]:80"
    assert str(Identity("s", "p", "", "/run/x", 0)) == "unix:/run/x"


def test_news_is_told_from_the_same():
    world = World()
    assert world.describe(POOL, [known("192.0.2.1"), known("192.0.2.2")])
    mark = world.marks[POOL]
    assert not world.describe(POOL, [known("192.0.2.1"), known("192.0.2.2")])
    assert world.marks[POOL] is mark
    assert world.describe(POOL, [known("192.0.2.1")])
    assert world.describe(POOL, [])
    assert not world.describe(POOL, [])


def test_a_zone_or_a_hint_alone_is_news_but_no_other_endpoint():
    world = World()
    first, late = known("192.0.2.1"), known("192.0.2.2", State.UNREADY)
    world.describe(POOL, [first])
    world.describe(POOL, [first, late])
    for change in ({"zone": "z1"}, {"zone": "z1", "hint_zones": ("z1",)}, {"zone": "z1", "hint_zones": ("z2",)}):
        said = [replace(first, **change), late]
        assert world.describe(POOL, said)
        assert not world.describe(POOL, said)
        assert world.selectable(POOL) == (said[0],)
        assert [one.identity for one in world.pools[POOL]] == [first.identity, late.identity]
        assert world.total(POOL) == 1  # what was known of it still holds: neither is new


def test_ready_ones_are_selectable_and_terminating_ones_only_when_none_is_ready():
    world = World()
    old, new = known("192.0.2.1", State.SERVING_TERMINATING), known("192.0.2.2")
    dead = known("192.0.2.3", State.TERMINATING)
    world.describe(POOL, [old, new, dead])
    assert world.selectable(POOL) == (new,)
    world.describe(POOL, [old, known("192.0.2.2", State.UNREADY), dead])
    assert world.selectable(POOL) == (old,)
    world.describe(POOL, [dead])
    assert world.selectable(POOL) == ()
    assert world.selectable(("shop", "nowhere")) == ()


def test_who_is_doubtful_counts_once_it_was_ready():
    world = World()
    v4, v6 = (replace(known(address), origin=Origin.STATIC) for address in ("127.0.0.1", "::1"))
    world.describe(POOL, [v4, v6], doubtful={v4.identity, v6.identity})
    assert world.total(POOL) == 0
    assert world.selectable(POOL) == (v4, v6)  # a panic may ask either
    assert world.count(v4.identity)
    assert world.total(POOL) == 1


def test_total_counts_unready_ones_but_neither_terminating_ones_nor_newcomers():
    world = World()
    world.describe(POOL, [known("192.0.2.1"), known("192.0.2.2", State.UNREADY), known("192.0.2.3", State.TERMINATING)])
    assert world.total(POOL) == 2  # there at the first sync, ready or not
    both = [known("192.0.2.1"), known("192.0.2.2", State.UNREADY)]
    world.describe(POOL, [*both, known("192.0.2.4", State.UNREADY)])
    assert world.total(POOL) == 2  # a scale-up is no outage
    world.describe(POOL, [*both, known("192.0.2.4")])
    assert world.total(POOL) == 3
    world.describe(POOL, [*both, known("192.0.2.4", State.UNREADY)])
    assert world.total(POOL) == 3  # it has been ready: now it is missing
    world.describe(POOL, both)
    world.describe(POOL, [*both, known("192.0.2.4", State.UNREADY)])
    assert world.total(POOL) == 2  # another life


def test_a_static_newcomer_counts_once_our_own_probe_found_it_good():
    world = World()
    first = known("192.0.2.1", origin=Origin.STATIC)
    world.describe(POOL, [first])
    late = known("192.0.2.2", origin=Origin.STATIC)
    world.describe(POOL, [first, late])
    assert world.total(POOL) == 1
    assert world.count(late.identity)
    assert not world.count(late.identity)
    assert world.total(POOL) == 2


def test_a_new_configuration_is_tried_on_a_copy_that_forgets_what_it_does_not_have():
    world = World()
    world.describe(POOL, [known()])
    world.describe(("shop", "nyc"), [replace(known("192.0.2.2"), identity=Identity("shop", "nyc", "", "192.0.2.2", 80))])
    world.drained |= {"fra", "nyc"}
    before = replace(world, pools=dict(world.pools), drained=set(world.drained), counted=set(world.counted))
    tried = world.successor([("shop", "nyc"), ("shop", "new")])
    assert tried.pools == {("shop", "nyc"): before.pools["shop", "nyc"]}
    assert tried.counted == {one.identity for one in before.pools["shop", "nyc"]}
    tried.describe(("shop", "nyc"), [])
    tried.drained.add("sin")
    assert world == before
    world.become(tried)
    assert world.pools == {("shop", "nyc"): ()}
    assert world.counted == set()
    assert world.drained == {"fra", "nyc", "sin"}  # a PoP that is gone may come back


def test_tally_names_every_state():
    world = World()
    world.describe(POOL, [known("192.0.2.1"), known("192.0.2.2", State.UNREADY)])
    assert world.tally(POOL) == {"ready": 1, "unready": 1, "serving-terminating": 0, "terminating": 0}


@pytest.mark.parametrize("state", [State.SERVING_TERMINATING, State.TERMINATING])
def test_terminating_is_both_kinds(state):
    assert known(state=state).is_terminating
    assert not known().is_terminating


def test_whatever_a_table_has_of_a_pool_has_another_mark_when_it_changes():
    world, other = World(), ("shop", "nyc")
    one = known("192.0.2.1", State.UNREADY)
    world.describe(other, [])
    world.describe(POOL, [one])
    marks = [world.marks[POOL]]
    late = known("192.0.2.2", State.UNREADY)
    world.describe(POOL, [one, late])
    marks.append(world.marks[POOL])
    world.count(late.identity)
    marks.append(world.marks[POOL])
    assert len(set(map(id, marks))) == 3
    before = world.marks[other]
    copied = world.successor([POOL, other])
    assert (copied.marks[POOL], copied.marks[other]) == (marks[-1], before)
    copied.describe(POOL, [])
    assert world.marks[POOL] is marks[-1]
