"""By a kept shortlist the decision is the one that looks at all PoPs: each pick, reason, fallback and figure, by the same seed."""

import array
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, Table
from routing_core._testing import KeptShortlists, add_to_pool, decide_one
from tests.oracle.worlds import CLIENTS, N_WORKERS, Client, Place, Rule, Site, World, build, facts, worlds

COUNTRIES = (None, "DE", "FR", "US", "JP")
QUIET = ((-1.0, 20.0),)


def decisions(table, world, client, seed, shortlists=None):
    return decide_one(table, 0, client.place, seed, shortlists, may_explore=seed % 2 == 0, **facts(world, client))


def agree(table, world, client, seed, shortlists):
    """How many PoPs were looked at."""
    *found, n = decisions(table, world, client, seed, shortlists)
    assert found == list(decisions(table, world, client, seed)[:-1]), (world, client, seed)
    return n


@given(worlds(max_pops=8), st.lists(CLIENTS, min_size=1, max_size=3), st.integers(0, 2**40))
def test_decisions_are_the_same_in_small_worlds(world, clients, seed):
    shortlists, table = KeptShortlists(), build(world)
    for k in range(4):
        for client in clients:
            agree(table, world, client, seed + k, shortlists)


# --- Larger worlds, drawn by hand: by hypothesis each would take a tenth of a second ---


def some_times(rng, on):
    if "times" not in on:
        return QUIET
    return tuple((rng.choice([-1.0, 3.0, 40.0]), rng.choice([0.0, 1.5, 20.0, 20.0, 300.0])) for _ in range(rng.randint(1, 3)))


def some_site(rng, pop, on):
    high = rng.choice([0, 3, 20]) if "capacity" in on else 0
    return Site(
        pop,
        endpoints=rng.choice([0, 1, 2, 2, 4]) if "health" in on else rng.choice([1, 2]),
        weight=rng.choice([1, 3]) if "weights" in on else 1,
        availability=rng.choice([0, 300, 358, 1024, 1024, 1024, 1024]) / 1024 if "health" in on else 1.0,
        shed=rng.choice([0, 512, 1000, 1024, 1024]) / 1024 if "shed" in on else 1.0,
        ramp=rng.choice([0.125, 1.0, 1.0]) if "health" in on else 1.0,
        high=high,
        in_flight=rng.choice([0, 0, 1, 2, 5]),
        spared=rng.choice([0, 0, 1]) if high else 0,
        penalty=rng.choice([0.0, 0.0, 2.5, 80.0]) if "times" in on else 0.0,
        usual=rng.choice([0, 1, 4]),
        hope=rng.choice([-1.0, 0.0, 10.0]) if "hope" in on else -1.0,
        times=some_times(rng, on),
    )


def some_place(rng, on, all_at):
    lat, lon = all_at or (rng.uniform(-60, 70), rng.uniform(-180, 180))
    high = rng.choice([0, 6, 20]) if "capacity" in on else 0
    return Place(lat, lon, "drains" in on and rng.random() < 0.2, high, rng.choice([0, 1, 5]), rng.choice(COUNTRIES))


def some_rules(rng, n):
    some = Rule(frozenset(rng.sample(range(n), rng.randint(1, n))), continents=frozenset({"EU"}))
    return (some, Rule()) if rng.random() < 0.5 else (some,)


def some_world(rng):
    """Each has some of the features, and lacks the others."""
    features = ("times", "capacity", "health", "weights", "shed", "hope", "drains", "rules", "paths", "leg", "affinity", "services", "same")
    on = {name for name in features if rng.random() < 0.25}
    n = rng.choice([2, 3, 4, 5, 8, 12, 30, 60])
    services = tuple(tuple(some_site(rng, pop, on) for pop in range(n)) for _ in range(2 if "services" in on else 1))
    pairs = {(rng.randrange(n), rng.randrange(n)) for _ in range(2 * n)} if "paths" in on else set()
    return World(
        places=tuple(some_place(rng, on, (50.0, 8.0) if "same" in on and rng.random() < 0.5 else None) for _ in range(n)),
        services=services,
        rules=some_rules(rng, n) if "rules" in on else (Rule(),),
        on_unavailable=(1,) if "services" in on else (),
        window=rng.choice([0.0, 5.0, 5.0, 20.0]),
        affinity=rng.choice(["cookie", "header", "client"]) if "affinity" in on else None,
        within=rng.choice([0.0, 20.0]),
        gateway=rng.choice([None, (50.0, 8.0)]) if "leg" in on else None,
        gateway_pop=rng.choice([None, rng.randrange(n)]) if "paths" in on else None,
        paths=tuple((one, other, rng.choice([8.0, 30.0, 250.0])) for one, other in pairs if one != other),
        is_gateway_leg="leg" in on,
        exploration=rng.choice([0.0, 0.01, 1.0]) if "hope" in on else 0.0,
        begun=rng.randint(0, 1023),
    )


def some_client(rng):
    at = rng.choice([(50.0, 8.0), (rng.uniform(-60, 70), rng.uniform(-180, 180)), None])
    return Client(
        at and (*at, rng.choice([0.0, 20.0, 900.0])),
        rng.choice(COUNTRIES),
        rng.choice([None, "EU", "NA"]),
        kept=rng.choice([None, 0, 1]),
        key=rng.choice([0, rng.getrandbits(63) | 1]),
    )


def change(rng, table, figures, world):
    """Something of a pool becomes another; or an endpoint comes, a PoP is drained, this gateway is elsewhere: then by another table."""
    pool = rng.choice(table.spec.services[0].pools)
    kind = rng.randrange(7)
    if kind == 0:
        figures.set_pool(
            pool.row, path_ms=rng.choice([-1.0, 1.0, 90.0]), service_ms=rng.choice([0.5, 20.0, 90.0]), version=rng.randrange(8)
        )
    elif kind == 1:
        figures.set_pool(pool.row, path_ms=rng.choice([-1.0, 1.0, 90.0]), service_ms=rng.choice([0.5, 20.0, 90.0]))
    elif kind == 2:
        rows = [pool.row for pool in table.spec.services[0].pools]
        figures.begin_version(array.array("i", rows), rng.randrange(1, 16))
    elif kind == 3:
        admit = rng.choice([0.0, 0.001, 0.5, 1.0])
        figures.set_pool(pool.row, admit=admit, availability=rng.choice([admit, 1.0]), penalty_ms=rng.choice([0.0, 0.0, 30.0]))
    elif kind == 4:
        add_to_pool(figures, pool.row, rng.randrange(N_WORKERS), in_flight=rng.choice([1, 5]))
    elif kind == 5:
        renewed = replace(pool, endpoints=pool.endpoints[:1], total=1)
        service = table.spec.services[0]
        service = replace(service, pools=tuple(renewed if one is pool else one for one in service.pools))
        return Table(
            replace(table.spec, generation=table.spec.generation + 1, services=(service, *table.spec.services[1:])), figures, table
        )
    else:
        pops = rng.choice([table.spec.pops, tuple(replace(pop, is_drained=rng.random() < 0.2) for pop in table.spec.pops)])
        gateway = rng.choice([None, (0.0, 0.0), (50.0, 8.0)])
        return Table(replace(table.spec, generation=table.spec.generation + 1, pops=pops, gateway=gateway), figures, table)
    return table


def compare(seed, n_worlds, n_changes=4):
    """(decisions made, PoPs looked at a decision)."""
    rng = random.Random(seed)
    shortlists, n, looked = KeptShortlists(), 0, 0
    for _ in range(n_worlds):
        world, figures = some_world(rng), Figures(N_WORKERS)
        table = build(world, figures)
        clients = [some_client(rng) for _ in range(3)]
        for _ in range(1 + n_changes):
            for client in clients:
                looked += agree(table, world, client, rng.getrandbits(40), shortlists)
                n += 1
            table = change(rng, table, figures, world)
    return n, looked / n


@pytest.mark.parametrize("seed", range(4))
def test_decisions_are_the_same_whatever_changes(seed):
    assert compare(seed, 100)[0] == 1500


@pytest.mark.heavy
def test_decisions_are_the_same_in_100_000_worlds():
    """Each change of one makes another."""
    assert compare(100, 20_000)[0] == 300_000
