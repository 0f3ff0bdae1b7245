"""The decision against the naive model, over configurations and states; and what holds of it whatever the model says."""

import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from routing_core import Figures, Table, draw, explain
from tests.oracle.naive_model import decide, estimate, is_available, permitted, room, rule_of, usable
from tests.oracle.worlds import CLIENTS, N_WORKERS, NEAR, Client, Place, Rule, Site, World, asked, build, facts, shares_of, spread, worlds

HASHED = ("header", "client")
SEEDS = st.integers(0, 2**40)


def models(world, client, **how):
    """Of each service that the route is split over."""
    return [decide(world, client, service, **how) for service, _ in world.split]


def all_sites(world):
    return list(itertools.chain(*world.services))


def is_murky(world, client):
    """Two estimates nearer to each other than distances are exact: who is first is nobody's claim."""
    ages = range(max(len(site.times) for site in all_sites(world)))
    return any(
        0 < abs(one - other) < 1e-3
        for of_service in world.services
        for age in ages
        for one, other in itertools.combinations([estimate(world, site, client, age) for site in of_service], 2)
    )


def bound_of(world, client):
    """Of the load of those among which a hash chooses; 0: none does."""
    return 1.25 if world.affinity in HASHED and client.key != 0 else 0.0


def of_everybody(world, client):
    """What explain() gives shares of: all clients in this place, whatever the cookie and the key; and whatever is in flight of theirs."""
    return models(world, replace(client, kept=None), bound=math.inf if bound_of(world, client) else 0.0)


def of_this_one(world, client, **how):
    return models(world, client, bound=bound_of(world, client), **how)


def agree(world, client, seed=1):
    """explain() is one of the models' answers, for whichever service of the split the seed led to."""
    explained = asked(build(world), world, client, seed)
    found = [
        (everybody, one)
        for everybody, one in zip(of_everybody(world, client), of_this_one(world, client), strict=True)
        if (f"s{everybody.service}", everybody.error) == (explained.service, explained.error)
    ]
    assert found, (explained.service, explained.error)
    everybody, one = found[0]
    assert shares_of(explained) == pytest.approx(
        {pop: share for pop, share in everybody.shares.items() if share > 1e-14}, rel=2e-3, abs=2e-4
    )
    assert explained.error or (int(explained.pop), explained.reason) in one.outcomes
    return explained


def traffic_agrees(world, client, n=3000, explores=False):
    """One decision after another; without a key, which would make each the same."""
    client = replace(client, key=0)
    total = sum(weight for _, weight in world.split)
    expected = Counter()
    for (_, weight), answer in zip(world.split, of_this_one(world, client, explores=explores), strict=True):
        for pop, share in ((str(pop), share) for pop, share in answer.shares.items()) if not answer.error else [("", 1.0)]:
            expected[pop] += share * weight / total
    counts = draw(build(world), 0, client.place, n, 7, may_explore=explores, **facts(world, client))
    assert sum(counts.values()) == n
    for pop in {*expected, *counts}:
        assert counts.get(pop, 0) == pytest.approx(n * expected[pop], abs=spread(expected[pop], n)), pop


@given(worlds(), CLIENTS, SEEDS)
def test_shares_pick_and_reason_are_the_models(world, client, seed):
    assume(not is_murky(world, client))
    explained = agree(world, client, seed)
    total = sum(weight for _, weight in world.split)
    assert dict(explained.split) == pytest.approx({f"s{service}": weight / total for service, weight in world.split})
    assert explained.rule == rule_of(world, client)


@given(worlds(), CLIENTS, SEEDS)
def test_what_is_said_of_each_pop_is_so(world, client, seed):
    explained = asked(build(world), world, client, seed)
    service = int(explained.service[1:])
    allowed = permitted(world, service, client)
    known = {site.pop: site for site in world.services[service]}
    left = {site.pop for site in usable(world, service, client) if is_available(site)}
    assert {int(one.pop) for one in explained.candidates} == set(known)
    for one in explained.candidates:
        site = known[int(one.pop)]
        place = world.places[site.pop]
        assert (one.permitted and not one.drained) == (site in allowed)
        assert one.drained == place.is_drained
        assert one.available == (site.pop in left if site in allowed else is_available(site))
        assert (one.admit, one.shed, one.ramp) == (site.admit, site.shed, site.ramp)
        assert one.availability == (site.availability if site.endpoints else 0)
        assert one.penalty_ms == pytest.approx(site.penalty)
        assert one.estimate_ms == pytest.approx(estimate(world, site, client, 0), abs=1e-3)
        free = min(1.0, max(0.0, room(world, site)))
        assert one.headroom == (pytest.approx(free) if site.high or place.high else None)
        assert one.share == 0 or one.why_not is None or site.admit < 1


@given(worlds(), CLIENTS)
def test_traffic_is_split_as_the_model_says(world, client):
    assume(not is_murky(world, client))
    traffic_agrees(world, client)


@given(worlds(), CLIENTS, st.sampled_from([0.03, 1.0]), st.booleans())
def test_where_little_is_known_is_asked_as_the_model_says(world, client, exploration, may_explore):
    world = replace(world, exploration=exploration)
    assume(not is_murky(world, client) and any(site.hope >= 0 for site in all_sites(world)))
    traffic_agrees(world, client, explores=may_explore)


@given(worlds(max_pops=3), CLIENTS, st.sampled_from(HASHED))
def test_many_clients_are_spread_as_the_model_says_and_each_is_kept(world, client, affinity):
    n = 300
    world = replace(world, affinity=affinity, split=world.split[:1])
    assume(not is_murky(world, client))
    (answer,) = of_this_one(world, replace(client, key=1))
    rng = random.Random(5)
    table = build(world)
    counts = Counter()
    for _ in range(n):
        told = facts(world, replace(client, key=rng.getrandbits(64) | 1))
        found = draw(table, 0, client.place, 3, rng.getrandbits(32), **told)
        assert len(found) == 1 or (answer.error is None and "panic" in {reason for _, reason in answer.outcomes})
        counts.update(found.keys() if len(found) == 1 else draw(table, 0, client.place, 1, rng.getrandbits(32), **told))
    for pop in {*map(str, answer.shares), *counts} - {""}:
        share = answer.shares.get(int(pop), 0)
        assert counts[pop] == pytest.approx(n * share, abs=spread(share, n))


@given(worlds(), CLIENTS, SEEDS, st.frozensets(st.integers(0, 4), max_size=3))
def test_who_is_left_out_is_as_good_as_drained(world, client, seed, out):
    """A request that nobody there would take is decided anew, as if the operator had drained these PoPs for it."""
    out = {pop for pop in out if pop < len(world.places)}
    drained = replace(world, places=tuple(replace(p, is_drained=p.is_drained or n in out) for n, p in enumerate(world.places)))
    told = facts(world, client)
    found = explain(build(world), 0, client.place, seed, left_out=[str(pop) for pop in sorted(out)], **told)
    wanted = explain(build(drained), 0, client.place, seed, **told)
    of = ("service", "error", "pop", "endpoint", "reason", "fallbacks", "window_ms")
    assert [getattr(found, name) for name in of] == [getattr(wanted, name) for name in of]
    assert shares_of(found) == shares_of(wanted)
    whys = {int(one.pop): one.why_not for one in found.candidates if one.permitted}
    assert all("left out" in whys[pop] for pop in out & whys.keys() if not world.places[pop].is_drained)


# --- Corners, each of which a run of the above may miss ---


def in_line(*lons, **others):
    """PoPs on the 50th parallel: a degree is 71.5 km, so 1.27 ms."""
    return World(tuple(Place(50.0, lon) for lon in lons), **others)


AT_8 = Client((50.0, 8.0, 0.0))
PINNED = replace(AT_8, is_pinned=True)
FULL = {"high": 1, "in_flight": 1}


@pytest.mark.parametrize(
    ("world", "client"),
    [
        # Full, and for half of the requests passed over by health as well: what follows is the same for both halves.
        (in_line(8.0, 8.2, 9.2, services=((Site(0, availability=0.5, **FULL), Site(1), Site(2)),), window=1.5), AT_8),
        # What is shed or finds no room goes where room is, however far.
        (in_line(8.0, 40.0, 80.0, 120.0, window=1.5, services=(
            (Site(0, **FULL), Site(1, high=8, in_flight=4), Site(2, in_flight=1), Site(3, endpoints=2, high=4, in_flight=2)),
        )), AT_8),
        (in_line(8.0, 40.0, 41.0, services=((Site(0, shed=0.5), Site(1), Site(2)),), affinity="header"), replace(AT_8, key=1)),
        (in_line(8.0, 8.2, 9.0, 10.0, window=1.5, services=(
            (Site(0, **FULL), Site(1, high=8, in_flight=4), Site(2, high=4, in_flight=1), Site(3, endpoints=2, high=4, in_flight=2)),
        )), AT_8),
        (in_line(8.0, 8.2, 9.0, window=1.5, services=((Site(0, shed=0.5), Site(1, in_flight=4), Site(2)),)), AT_8),
        # A vague location widens the window, to four times as far.
        (in_line(8.0, 16.0, services=((Site(0, in_flight=9), Site(1)),)), replace(AT_8, place=(50.0, 8.0, 500.0))),
        (in_line(8.0, 16.0, services=((Site(0, in_flight=9), Site(1)),)), replace(AT_8, place=(50.0, 8.0, 2000.0))),
        # Panic is below one half.
        (in_line(8.0, 8.2, services=((Site(0, availability=0.25), Site(1, availability=0.21875)),)), AT_8),
        (in_line(8.0, 8.2, services=((Site(0, availability=0.25), Site(1, availability=0.25)),)), AT_8),
        # The fastest is dead, and the next one has no room.
        (in_line(8.0, 8.2, 8.4, 9.5, services=((Site(0, availability=0.0), Site(1, **FULL), Site(2), Site(3)),), window=1.0), AT_8),
        # Too little is ready: the poorest are left out, at most half of those that are permitted and not drained, and none where the others
        # could not do without it.
        (in_line(8.0, 8.2, 12.0, services=((Site(0, availability=0.25), Site(1, availability=0.1875), Site(2)),)), AT_8),
        (in_line(8.0, 8.2, 9.0, 12.0, services=((Site(0, availability=0.25), Site(1, availability=0.25), Site(2), Site(3)),)), AT_8),
        (in_line(8.0, 8.2, 9.0, 12.0, services=((Site(0, availability=0.25), Site(1, availability=0.25), Site(2), Site(3)),),
                 rules=(Rule(frozenset({0, 1, 2})),)), AT_8),
        (World((Place(50.0, 8.0), Place(50.0, 8.2), Place(50.0, 9.0, is_drained=True), Place(50.0, 12.0, is_drained=True)),
               ((Site(0, availability=0.25), Site(1, availability=0.3125), Site(2), Site(3)),)), AT_8),
        (in_line(8.0, 8.2, 9.0, services=((Site(0, availability=0.3125), Site(1, availability=0.0), Site(2, availability=0.75)),)), AT_8),
        # Panic ignores health, not capacity.
        (in_line(8.0, 8.2, services=((Site(0, availability=0.0, **FULL), Site(1, availability=0.125)),)), AT_8),
        # A pin that is full, or that admits half: the others as for anyone else.
        (in_line(9.0, 12.0, 8.2, services=((Site(0, **FULL), Site(1), Site(2)),), pin=(0,)), PINNED),
        (in_line(9.0, 12.0, 8.2, services=((Site(0, availability=0.5), Site(1), Site(2)),), pin=(0,)), PINNED),
        (in_line(9.0, 12.0, services=((Site(0), Site(1, availability=0.5)),), pin=(1,), is_gateway_leg=True), PINNED),
        # A fallback service in panic says so, or gates would not be ignored.
        (in_line(8.0, 8.2, on_unavailable=(1,), services=(
            (Site(0, availability=0.0),), (Site(0, availability=0.0), Site(1, availability=0.25)),
        )), AT_8),
        # In panic nobody knows whether the pinned one can serve; a cookie holds.
        (in_line(8.0, 9.0, services=((Site(0, availability=0.25), Site(1, availability=0.125)),), pin=(0,), affinity="cookie"),
         replace(PINNED, kept=1)),
        # Who is not kept by header or network has the window as it is.
        (in_line(8.0, 14.0, services=((Site(0), Site(1)),), affinity="header", within=50.0), AT_8),
        (in_line(8.0, 14.0, services=((Site(0), Site(1)),), affinity="cookie", within=50.0), replace(AT_8, key=1)),
        # By hash, and one of them has far more than its share.
        (in_line(8.0, 8.0, services=((Site(0, in_flight=100), Site(1)),), affinity="client"), replace(AT_8, key=1)),
        # All that is left is as good as full: the least filled, which the pin breaks a tie of.
        (in_line(8.0, 9.0, services=((Site(0, shed=0.0, high=2, in_flight=3), Site(1, shed=0.0, high=4, in_flight=5)),)), AT_8),
        (in_line(8.0, 9.0, services=((Site(0, shed=0.0), Site(1, shed=0.0)),), pin=(1,)), PINNED),
    ],
)  # fmt: skip
def test_corners(world, client):
    agree(world, client)
    traffic_agrees(world, client)


LONG_WORK = ((-1.0, 200.0),)
LITTLE_KNOWN = Site(1, times=LONG_WORK, hope=140.0)


@pytest.mark.parametrize(
    "sites",
    [
        (Site(0, times=LONG_WORK), LITTLE_KNOWN),
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, in_flight=3, usual=9), Site(2, times=LONG_WORK, hope=0.0)),
        (Site(0, times=((-1.0, 600.0),)), replace(LITTLE_KNOWN, hope=0.0), Site(2, times=LONG_WORK)),  # better than the one that serves
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, hope=199.0)),  # too far for that
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, penalty=500.0)),
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, high=1, in_flight=1)),
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, shed=0.5)),
        (Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, availability=0.0)),
        (Site(0, times=((-1.0, 200.0), (-1.0, 10.0))), LITTLE_KNOWN),  # one of the versions is far better
        (Site(0, hope=0.0, times=LONG_WORK), LITTLE_KNOWN),
    ],
)
@pytest.mark.parametrize("exploration", [0.0, 0.03, 1.0])
@pytest.mark.parametrize("affinity", [None, "cookie"])
def test_corners_of_exploration(sites, exploration, affinity):
    world = in_line(8.0, 30.0, 50.0, services=(sites,), exploration=exploration, affinity=affinity)
    world = replace(world, places=world.places[: len(sites)])
    agree(world, AT_8)
    for explores in (False, True):
        traffic_agrees(world, AT_8, n=10_000, explores=explores)


def test_exploring_costs_no_more_than_it_may_however_far_it_is():
    world = in_line(8.0, 100.0, services=((Site(0, times=LONG_WORK), replace(LITTLE_KNOWN, hope=0.0)),), exploration=1.0)
    far = estimate(world, LITTLE_KNOWN, AT_8, 0) - estimate(world, world.services[0][0], AT_8, 0)
    n = 100_000
    explored = draw(build(world), 0, AT_8.place, n, 3, may_explore=True, **facts(world, AT_8))["1"]
    assert explored * far / n == pytest.approx(0.15, rel=0.3)


@pytest.mark.parametrize("kind", ["redirected", "long_lived", "placeless"])
def test_who_would_teach_nothing_is_not_sent_to_find_out(kind):
    """Who is redirected is answered elsewhere; how long an event stream takes says nothing; and without a place no PoP is far."""
    world = in_line(8.0, 30.0, services=((Site(0, times=LONG_WORK), LITTLE_KNOWN),), exploration=1.0)
    figures = Figures(N_WORKERS)
    table = build(world, figures)
    (route,), (service,) = table.spec.routes, table.spec.services
    if kind == "redirected":
        route = replace(route, redirect_status=307)
    if kind == "long_lived":
        service = replace(service, is_long_lived=True)
    spec = replace(table.spec, routes=(route,), services=(service,))
    place = None if kind == "placeless" else AT_8.place
    assert set(draw(Table(spec, figures), 0, place, 1000, 1, may_explore=True)) == {"0"}
    assert set(draw(table, 0, AT_8.place, 1000, 1, may_explore=True)) == {"0", "1"}


@pytest.mark.parametrize("service_ms", [0.0, 20.0, 1000.0])
def test_who_takes_what_another_has_no_room_for_is_a_matter_of_paths(service_ms):
    """However long the work takes: it takes that anywhere."""
    times = ((-1.0, service_ms),)
    sites = (Site(0, shed=0.25, times=times), Site(1, times=times), Site(2, times=times))
    world = in_line(8.0, 20.0, 60.0, services=(sites,))
    agree(world, AT_8)
    shares = shares_of(asked(build(world), world, AT_8))
    assert shares[2] == pytest.approx(shares_of(asked(build(in_line(8.0, 20.0, 60.0, services=(NO_WORK,))), world, AT_8))[2], rel=1e-3)


NO_WORK = (Site(0, shed=0.25), Site(1), Site(2))


@pytest.mark.parametrize(("in_flight", "usual", "share"), [(6, 6, 0.0), (6, 0, 0.5), (7, 5, 0.5), (6, 9, 0.0)])
def test_what_is_usual_is_no_load(in_flight, usual, share):
    """Of two PoPs that are as near; of the two that are looked at the other one is drawn as often as the first."""
    world = in_line(8.0, 8.0, services=((Site(0, in_flight=in_flight, usual=usual), Site(1)),))
    assert agree(world, AT_8)
    assert shares_of(asked(build(world), world, AT_8)).get(1, 0.0) == pytest.approx(share, abs=0.01)


# --- What holds whatever the model says ---


@given(worlds(), CLIENTS, SEEDS)
def test_jurisdiction_and_the_operators_drain_are_absolute(world, client, seed):
    legal = {str(site.pop) for service in range(len(world.services)) for site in permitted(world, service, client) if site.endpoints}
    table = build(world)
    explained = asked(table, world, client, seed)
    assert {*explained.fallbacks, *(() if explained.pop is None else (explained.pop,))} <= legal
    assert len({explained.pop, *explained.fallbacks}) == 1 + len(explained.fallbacks)
    assert set(draw(table, 0, client.place, 50, seed, **facts(world, client))) <= {*legal, ""}
    assert {one.pop for one in explained.candidates if one.share} <= legal


@given(worlds(features=("capacity", "health", "drains", "pin", "services", "shed", "weights")), CLIENTS, SEEDS)
def test_a_retry_goes_where_room_is(world, client, seed):
    explained = asked(build(world), world, client, seed)
    sites_here = usable(world, int(explained.service[1:]), client)
    is_panic = explained.reason == "panic"
    others = {str(site.pop) for site in sites_here if (site.endpoints if is_panic else is_available(site))} - {explained.pop}
    roomy = {str(site.pop) for site in sites_here if room(world, site) > 0} & others
    assert len(explained.fallbacks) == min(2, len(others)) or explained.error
    assert set(explained.fallbacks[: len(roomy)]) <= roomy


@given(worlds(max_pops=8), CLIENTS, SEEDS)
def test_shares_sum_to_one(world, client, seed):
    explained = asked(build(world), world, client, seed)
    assert sum(one.share for one in explained.candidates) == pytest.approx(0 if explained.error else 1, abs=1e-9)
    assert (explained.pop is None) == (explained.error is not None)
    assert all(one.share >= 0 for one in explained.candidates)


@given(worlds(), CLIENTS, SEEDS)
def test_one_seed_one_answer(world, client, seed):
    first, second = build(world), build(world)
    assert asked(first, world, client, seed) == asked(second, world, client, seed)
    told = facts(world, client)
    assert draw(first, 0, client.place, 30, seed, **told) == draw(second, 0, client.place, 30, seed, **told)


def changed(world, number, **changes):
    """World with another first service's site."""
    first = tuple(replace(site, **changes) if k == number else site for k, site in enumerate(world.services[0]))
    return replace(world, services=(first, *world.services[1:]))


@st.composite
def one_service(draw_one):
    """(world, client, number of one of the sites); no cookie, no pin."""
    world = draw_one(worlds(features=("capacity", "weights", "health", "drains", "shed", "times", "affinity")))
    return world, Client((*draw_one(NEAR), 10.0)), draw_one(st.integers(0, len(world.places) - 1))


def share_of(world, client, number):
    return shares_of(asked(build(world), world, client)).get(world.services[0][number].pop, 0.0)


@given(one_service(), st.sampled_from([0.05, 1.0, 7.5, 20.0]))
def test_a_faster_pop_never_loses_traffic(found, faster):
    """With equal load: in flight per endpoint; and without capacities, which weigh the rest by their room."""
    world, client, number = found
    even = tuple(replace(site, high=0, shed=1.0, in_flight=2 * site.endpoints, times=((-1.0, 20.0),)) for site in world.services[0])
    world = replace(world, services=(even,), places=tuple(replace(place, high=0) for place in world.places))
    before = share_of(world, client, number)
    assert share_of(changed(world, number, times=((-1.0, 20.0 - faster),)), client, number) >= before - 1e-9


@given(one_service())
def test_of_equals_the_faster_never_gets_less(found):
    world, client, _ = found
    even = tuple(
        replace(site, endpoints=2, weight=1, high=0, availability=1.0, shed=1.0, ramp=1.0, in_flight=1) for site in world.services[0]
    )
    world = replace(world, services=(even,), places=tuple(replace(place, high=0) for place in world.places), begun=0)
    even = tuple(replace(site, times=site.times[:1]) for site in even)
    explained = asked(build(replace(world, services=(even,))), world, client)
    shares = [one.share for one in explained.candidates if one.permitted and not one.drained]  # best first
    assert all(better >= worse - 1e-9 for better, worse in itertools.pairwise(shares))


@given(one_service(), st.sampled_from([1, 2, 9]), st.booleans())
def test_who_has_more_room_never_loses_traffic(found, fewer, is_of_pop):
    """Fewer requests in flight there, in the service or in its PoP; and then as control publishes it, less shed."""
    world, client, number = found
    site = world.services[0][number]
    before = share_of(world, client, number)
    if is_of_pop:
        place = world.places[site.pop]
        places = tuple(replace(one, in_flight=max(0, one.in_flight - fewer)) if one is place else one for one in world.places)
        world = replace(world, places=places)
    else:
        world = changed(world, number, in_flight=max(0, site.in_flight - fewer))
    after = share_of(world, client, number)
    assert after >= before - 1e-9
    assert share_of(changed(world, number, shed=1.0), client, number) >= after - 1e-9


@given(st.sampled_from(["cookie", *HASHED]), st.floats(0, 1), st.floats(0, 1))
def test_the_same_clients_are_shed_first(affinity, one, other):
    """Who is taken while a PoP admits little is taken as well while it admits more."""
    places, client = (Place(50.0, 8.0), Place(50.0, 60.0)), Client((50.0, 8.0, 10.0))
    taken = []
    for shed in sorted((one, other)):
        world = World(places, ((Site(0, shed=shed), Site(1)),), affinity=affinity)
        table, rng = build(world), random.Random(9)
        keys = [rng.getrandbits(64) for _ in range(100)]
        taken.append(
            {key for key in keys if "0" in draw(table, 0, client.place, 1, key & 0xFFFF, **facts(world, replace(client, key=key)))}
        )
        assert len(taken[-1]) == pytest.approx(100 * world.services[0][0].admit, abs=spread(world.services[0][0].admit, 100))
    assert taken[0] <= taken[1]


@given(st.sampled_from([(9, 1), (1, 1), (1000, 1)]), st.integers(1, 50))
def test_a_sticky_split_keeps_each_client_and_grows_by_new_ones_alone(weights, more):
    """Two services, each in a PoP of its own: who has met the canary stays with it while its weight grows."""
    rng = random.Random(11)
    keys = [rng.getrandbits(64) | 1 for _ in range(200)]
    served = []
    for canary in (weights[1], weights[1] + more):
        world = in_line(8.0, 9.0, services=((Site(0),), (Site(1),)), split=((0, weights[0]), (1, canary)), is_split_sticky=True)
        table = build(world)
        found = {key: draw(table, 0, AT_8.place, 3, key & 0xFFFF, **facts(world, replace(AT_8, key=key))) for key in keys}
        assert all(len(pops) == 1 for pops in found.values())
        served.append({key for key, pops in found.items() if "1" in pops})
        share = canary / (weights[0] + canary)
        assert len(served[-1]) == pytest.approx(200 * share, abs=spread(share, 200))
    assert served[0] <= served[1]
    assert set(draw(table, 0, AT_8.place, 20_000, 1)) == {"0", "1"}  # who has no key is drawn anew each time
