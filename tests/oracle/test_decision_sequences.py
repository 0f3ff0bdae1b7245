"""Decisions one after another while the world changes: loads kept from the decisions themselves, drains, health, estimates, tables.

The clock is the test's own. What is in flight is counted by the test as workers count it, spread over several of them.
"""

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing_core import Figures, Table, TableSpec, draw, explain
from routing_core._testing import add_to_pool, add_to_pop
from tests.oracle.worlds import N_VERSIONS, N_WORKERS, NEAR, Place, Rule, Site, World, build, shares_of

PACE_PER_S = 0.1
STEP_S = 1 / (7 * PACE_PER_S)  # a version's time: a change takes seven of them to reach every request
CLIENT = (50.0, 8.0, 10.0)


@dataclass
class Gateway:
    """One service in several PoPs, each with a capacity: the live side of a world, changed by events."""

    world: World
    figures: Figures = field(default_factory=lambda: Figures(N_WORKERS))
    flying: list[tuple[int, int]] = field(default_factory=list)  # (worker, PoP), the oldest first
    picks: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.table = build(self.world, self.figures)
        self.sites = list(self.world.services[0])
        self.drained = set()

    def in_flight(self, pop):
        """In the service here, and in the PoP, which other services fill as well."""
        own = sum(1 for _, at in self.flying if at == pop)
        return self.sites[pop].in_flight + own, self.world.places[pop].in_flight + own

    def free(self, pop):
        limits = zip((self.sites[pop].high, self.world.places[pop].high), self.in_flight(pop), strict=True)
        return min(1 - n / high if high else 1.0 for high, n in limits)

    def add(self, worker, pop, n):
        spec = self.table.spec
        add_to_pool(self.figures, spec.services[0].pools[pop].row, worker, in_flight=n)
        add_to_pop(self.figures, spec.pops[pop].row, worker, n)

    def ask(self, seed, worker):
        (picked,) = draw(self.table, 0, CLIENT, 1, seed)
        self.picks.append(picked)
        self.check(picked)
        if picked:
            self.flying.append((worker, int(picked)))
            self.add(worker, int(picked), 1)

    def check(self, picked):
        permitted = self.world.rules[0].pops
        legal = {pop for pop in range(len(self.sites)) if (permitted is None or pop in permitted) and pop not in self.drained}
        available = {pop for pop in legal if self.sites[pop].admit > 0}
        assert (picked == "") == (not legal)
        if not picked:
            return
        assert int(picked) in legal
        is_panic = not available or sum(self.sites[pop].availability for pop in legal) < 0.5
        assert is_panic or int(picked) in available
        if self.free(int(picked)) <= 0:
            assert all(self.free(pop) <= 0 for pop in available), "it is full, and another has room"
            assert is_panic or self.free(int(picked)) == max(self.free(pop) for pop in available)

    def end(self, place):
        if self.flying:
            worker, pop = self.flying.pop(place % len(self.flying))
            self.add(worker, pop, -1)

    def publish(self):
        """As control does ten times a second, with a low watermark of half the high one."""
        for pop in range(len(self.sites)):
            shed = min(1.0, max(0.0, 2 * self.free(pop)))
            self.set_site(pop, shed=round(1024 * shed) / 1024)

    def set_site(self, pop, **changes):
        site = self.sites[pop] = replace(self.sites[pop], **changes)
        row = self.table.spec.services[0].pools[pop].row
        self.figures.set_pool(row, availability=site.availability, shed=site.shed, ramp=site.ramp, admit=site.admit)

    def drain(self, pop):
        """Or take it back: a new table over the same figures."""
        self.drained ^= {pop}
        pops = tuple(replace(one, is_drained=number in self.drained) for number, one in enumerate(self.table.spec.pops))
        self.table = Table(replace(self.table.spec, generation=self.table.spec.generation + 1, pops=pops), self.figures)

    def turn(self, event):
        kind, number, value = event
        pop = number % len(self.sites)
        if kind == "ask":
            self.ask(number, value % N_WORKERS)
        elif kind == "end":
            self.end(number)
        elif kind == "publish":
            self.publish()
        elif kind == "drain":
            self.drain(pop)
        else:
            self.set_site(pop, availability=(0.0, 400 / 1024, 1.0)[value % 3])


EVENTS = st.lists(
    st.tuples(st.sampled_from(["ask"] * 8 + ["end"] * 4 + ["publish"] * 2 + ["drain", "health"]), st.integers(0, 2**20), st.integers(0, 5)),
    min_size=20,
    max_size=60,
)
CROWDED = st.builds(
    lambda number, at, high, in_pop, pool_high, in_pool, endpoints: (
        Place(*at, high=high, in_flight=in_pop),
        Site(number, endpoints=endpoints, high=pool_high, in_flight=in_pool),
    ),
    st.just(0),
    NEAR,
    st.sampled_from([0, 2, 4, 8]),
    st.sampled_from([0, 0, 1, 5]),
    st.sampled_from([0, 2, 4]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([1, 2]),
)


@st.composite
def crowds(draw_one):
    both = draw_one(st.lists(CROWDED, min_size=2, max_size=5))
    permitted = draw_one(st.none() | st.frozensets(st.integers(0, len(both) - 1), min_size=1))
    return World(
        tuple(place for place, _ in both),
        (tuple(replace(site, pop=number) for number, (_, site) in enumerate(both)),),
        rules=(Rule(permitted),),
        window=draw_one(st.sampled_from([0.0, 5.0, 20.0])),
    )


@given(crowds(), EVENTS)
def test_no_pop_is_overfilled_while_another_has_room_whatever_happens(world, events):
    """And jurisdiction and the operator's drain are absolute: see Gateway.check."""
    gateway = Gateway(world)
    for event in events:
        gateway.turn(event)


@given(crowds(), EVENTS)
def test_the_same_events_are_decided_the_same(world, events):
    one, other = Gateway(world), Gateway(world)
    for event in events:
        one.turn(event)
    for event in events:
        other.turn(event)
    assert one.picks == other.picks


@given(crowds(), st.integers(1, 40))
def test_all_room_is_used_before_anything_is_overfilled(world, seed):
    """One request after another, none of which ends, with and without figures published in between."""
    world = replace(world, places=tuple(replace(place, high=place.high or 6) for place in world.places), rules=(Rule(),))
    gateway = Gateway(world)
    left = 0
    for pop, site in enumerate(gateway.sites):
        in_service, in_pop = gateway.in_flight(pop)
        left += max(0, min(site.high - in_service if site.high else 99, world.places[pop].high - in_pop))
    for number in range(left):
        gateway.ask(seed * 1000 + number, number % N_WORKERS)
        assert gateway.free(int(gateway.picks[-1])) >= 0
        if number % 3 == seed % 3:
            gateway.publish()
    assert all(gateway.free(pop) <= 0 for pop in range(len(gateway.sites)))
    gateway.ask(seed, 0)
    assert gateway.picks[-1] != ""


def test_of_those_that_are_full_the_least_filled_takes_it_and_room_that_comes_back_is_found():
    gateway = Gateway(World((Place(50.0, 8.0, high=2), Place(50.0, 30.0, high=4)), ((Site(0), Site(1)),)))
    for number in range(9):
        gateway.ask(number, number % N_WORKERS)
    assert gateway.picks == ["0", "0", "1", "1", "1", "1", "0", "1", "1"]  # 3 of 2 is as full as 6 of 4
    for pop in (0, 0):
        gateway.end(pop)
    gateway.ask(9, 0)
    assert gateway.picks[-1] == "0"


# --- Estimates, version by version ---

TIMES = st.lists(st.sampled_from([0.0, 2.0, 5.0, 60.0]), min_size=3, max_size=3)
HERE = World(
    (Place(50.0, 8.0), Place(50.0, 8.3), Place(50.3, 8.0)), (tuple(Site(pop, endpoints=1 + pop % 2, in_flight=pop) for pop in range(3)),)
)


class Paced:
    """Figures whose estimates begin a version each STEP_S, by a clock of the test's own."""

    def __init__(self, world):
        self.figures = Figures(N_WORKERS)
        self.table = build(replace(world, begun=0), self.figures)
        self.number = N_VERSIONS

    def publish(self, times):
        """A version begins, written before anyone draws it."""
        self.number += 1
        for pool, service in zip(self.table.spec.services[0].pools, times, strict=True):
            self.figures.set_pool(pool.row, path_ms=-1.0, service_ms=service, version=self.number)
        self.figures.set_phase(self.number * 1024)

    def shares_after(self, elapsed_s):
        """Since the newest version began."""
        self.figures.set_phase(self.number * 1024 + round(1023 * min(1.0, elapsed_s / STEP_S)))
        shares = shares_of(explain(self.table, 0, CLIENT))
        return [shares.get(pop, 0.0) for pop in range(3)]


def moved(one, other):
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


@given(st.lists(TIMES, min_size=3, max_size=12), st.sampled_from([None, "header", "client"]))
@example([[0.0, 60.0, 60.0], [60.0, 0.0, 60.0]] * 5, None)
@example([[0.0, 60.0, 60.0]] * 2 + [[60.0, 0.0, 60.0]] * 8, None)
def test_estimates_move_no_more_of_the_traffic_a_second_than_the_pace(published, affinity):
    paced = Paced(replace(HERE, affinity=affinity))
    n = 7  # instants a second
    seen, instants = [], [k / n for k in range(int(len(published) * STEP_S * n))]
    for number, times in enumerate(published):
        paced.publish(times)
        seen += [paced.shares_after(at - number * STEP_S) for at in instants if number * STEP_S <= at < (number + 1) * STEP_S]
    for one, other in zip(seen, seen[n:], strict=False):
        assert moved(one, other) <= PACE_PER_S + 1e-3


@given(TIMES, TIMES)
def test_after_seven_versions_the_old_estimate_is_forgotten_and_half_way_it_decides_half(before, after):
    old, new = (Paced(HERE) for _ in range(2))
    for _ in range(9):
        old.publish(before)
        new.publish(after)
    end_old, end_new = old.shares_after(0), new.shares_after(0)
    for number in range(1, 8):
        old.publish(after)
        now = old.shares_after(STEP_S / 2)
        expected = [a + (b - a) * (number - 0.5) / 7 for a, b in zip(end_old, end_new, strict=True)]
        assert now == pytest.approx(expected, abs=1e-3)
    old.publish(after)
    assert old.shares_after(0) == pytest.approx(end_new)


@given(st.lists(TIMES, min_size=1, max_size=9), st.integers(0, 2), st.sampled_from([0.0, 0.125, 0.5]))
def test_health_drains_and_penalties_are_not_held_up_by_the_pace(published, pop, admit):
    paced = Paced(HERE)
    for times in published:
        paced.publish(times)
    before = paced.shares_after(STEP_S / 3)
    row = paced.table.spec.services[0].pools[pop].row
    paced.figures.set_pool(row, admit=admit, availability=admit)
    assert paced.shares_after(STEP_S / 3)[pop] <= before[pop] * admit + 1e-9
    paced.figures.set_pool(row, admit=1.0, availability=1.0, penalty_ms=1000.0)
    assert paced.shares_after(STEP_S / 3)[pop] == 0
    paced.figures.set_pool(row, penalty_ms=0.0)
    assert paced.shares_after(STEP_S / 3) == pytest.approx(before)
    spec = paced.table.spec
    pops = tuple(replace(one, is_drained=number == pop) for number, one in enumerate(spec.pops))
    paced.table = Table(replace(spec, pops=pops), paced.figures)
    assert paced.shares_after(STEP_S / 3)[pop] == 0


# --- Tables that come and go ---


def other_table(spec: TableSpec, figures: Figures, kept: list[int]) -> Table:
    """Of some of the PoPs, in another order, under other names; the same rows."""
    old = {pool.pop: pool for pool in spec.services[0].pools}
    pools = tuple(replace(old[number], pop=place) for place, number in enumerate(kept))
    pops = tuple(replace(spec.pops[number], name=f"new-{number}") for number in kept)
    return Table(replace(spec, generation=2, pops=pops, services=(replace(spec.services[0], pools=pools),)), figures)


@given(crowds(), st.data())
def test_a_decision_is_of_one_table_alone(world, data):
    """Two tables over the same figures, asked in turns: each answers as it does alone, in its own names."""
    figures = Figures(N_WORKERS)
    world = replace(world, rules=(Rule(),))
    old = build(world, figures)
    kept = data.draw(st.lists(st.integers(0, len(world.places) - 1), min_size=1, unique=True))
    new = other_table(old.spec, figures, kept)
    names = {table: {pop.name for pop in table.spec.pops} for table in (old, new)}
    seeds = data.draw(st.lists(st.integers(0, 2**20), min_size=1, max_size=15))
    alone = {table: [explain(table, 0, CLIENT, seed) for seed in seeds] for table in (old, new)}
    for number, seed in enumerate(seeds):
        for table in (old, new):
            found = explain(table, 0, CLIENT, seed)
            assert found == alone[table][number]
            assert {found.pop, *found.fallbacks} <= names[table]
            assert {candidate.pop for candidate in found.candidates} == names[table]
            assert {*draw(table, 0, CLIENT, 5, seed)} <= names[table]


@given(crowds(), st.lists(st.integers(0, 2**20), min_size=1, max_size=10))
def test_a_table_that_is_gone_leaves_its_figures_to_the_next(world, seeds):
    """What is in flight counts in the table that follows, also where the old one has been freed."""
    gateway = Gateway(world)
    for number, seed in enumerate(seeds):
        gateway.ask(seed, number % N_WORKERS)
        before = [figure.headroom for figure in explain(gateway.table, 0, CLIENT).candidates]
        gateway.drain(0)
        gateway.drain(0)
        assert gateway.table.spec.generation == 1 + 2 * (number + 1)
        assert [figure.headroom for figure in explain(gateway.table, 0, CLIENT).candidates] == before
    total = sum(gateway.figures.read_pop(pop.row) for pop in gateway.table.spec.pops)
    assert total == len(gateway.flying) + sum(place.in_flight for place in world.places)
    for pop in itertools.islice(itertools.cycle(range(3)), len(gateway.flying)):
        gateway.end(pop)
    assert [gateway.figures.read_pop(pop.row) for pop in gateway.table.spec.pops] == [place.in_flight for place in world.places]
