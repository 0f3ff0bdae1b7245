"""Worlds for tests of the decision: configuration and state in one value, strategies that draw them, and the table that holds them.

Shares are whole 1024ths and times whole microseconds, as the figures keep them, so that two ways to decide see the same numbers.
Must not know how anything is decided.
"""

import math
from dataclasses import dataclass

from hypothesis import strategies as st

from routing_core import (
    AffinitySpec,
    BordersSpec,
    EndpointSpec,
    Figures,
    PoolSpec,
    PopSpec,
    RouteSpec,
    RuleSpec,
    ServiceSpec,
    Table,
    TableSpec,
    explain,
)
from routing_core._testing import add_to_pool, add_to_pop

INTERCEPT, SLOPE, ABROAD = 5.41, 0.0177, 4.96
BORDERS = BordersSpec(("DE", "FR US"), ((0,), (12, 3)))  # JP is in none
N_WORKERS = 3
N_VERSIONS = 8


@dataclass(frozen=True)
class Place:
    """A PoP."""

    lat: float = 50.0
    lon: float = 8.0
    is_drained: bool = False
    high: int = 0  # of in_flight; 0: no capacity
    in_flight: int = 0
    country: str | None = None

    @property
    def at(self) -> tuple[float, float]:
        return self.lat, self.lon


@dataclass(frozen=True)
class Site:
    """A service in a PoP."""

    pop: int
    endpoints: int = 1
    weight: int = 1
    availability: float = 1.0
    shed: float = 1.0
    ramp: float = 1.0
    high: int = 0
    in_flight: int = 0
    spared: int = 0  # of those
    spared_in_pop: int = 0
    penalty: float = 0.0  # ms
    usual: int = 0  # in flight
    hope: float = -1.0  # ms, the least that its service time may well be; -1: enough is known
    times: tuple[tuple[float, float], ...] = (
        (-1.0, 0.0),
    )  # ms (path, service) of the newest version, the one before, ...; path -1: unknown

    @property
    def admit(self) -> float:
        """As control publishes it: what is full is not dead, so it keeps a thousandth."""
        if self.availability == 0:
            return 0.0
        return max(1, round(1024 * self.availability * self.shed * self.ramp)) / 1024

    def time(self, age: int) -> tuple[float, float]:
        return self.times[min(age, len(self.times) - 1)]


@dataclass(frozen=True)
class Rule:
    pops: frozenset[int] | None = None
    countries: frozenset[str] | None = None
    continents: frozenset[str] | None = None


@dataclass(frozen=True)
class Client:
    place: tuple[float, float, float] | None = None  # lat, lon, accuracy in km
    country: str | None = None
    continent: str | None = None
    is_pinned: bool = False
    kept: int | None = None  # the PoP of its cookie
    key: int = 0  # of its network and header


@dataclass(frozen=True)
class World:
    places: tuple[Place, ...]
    services: tuple[tuple[Site, ...], ...]  # in each service one site a PoP, in the order of the PoPs
    rules: tuple[Rule, ...] = (Rule(),)
    split: tuple[tuple[int, int], ...] = ((0, 1),)  # (service, weight)
    is_split_sticky: bool = False
    on_unavailable: tuple[int, ...] = ()
    pin: tuple[int, ...] = ()  # PoPs in order
    window: float = 5.0  # ms
    affinity: str | None = None
    within: float = 0.0  # ms
    gateway: tuple[float, float] | None = None
    gateway_pop: int | None = None
    paths: tuple[tuple[int, int, float], ...] = ()  # round trips between PoPs, ms
    is_gateway_leg: bool = False
    exploration: float = 0.0  # share of the requests
    begun: int = 1024  # 1024ths of its time that the newest version has been in force


def build(world: World, figures: Figures | None = None) -> Table:
    """The world as the core has it, the loads spread over the workers."""
    figures = figures or Figures(N_WORKERS)
    pops = []
    for number, place in enumerate(world.places):
        row = figures.acquire("pop")
        add_spread(lambda worker, n, row=row: add_to_pop(figures, row, worker, n), place.in_flight)
        pops.append(PopSpec(str(number), place.lat, place.lon, place.is_drained, row, place.high, country=place.country))
    services = tuple(
        ServiceSpec(f"s{number}", figures.acquire("service"), tuple(pool_of(figures, site) for site in sites))
        for number, sites in enumerate(world.services)
    )
    figures.set_phase(N_VERSIONS * 1024 + world.begun)
    route = RouteSpec(
        "r",
        world.split[0][0],
        leg="gateway-pop" if world.is_gateway_leg else "client-pop",
        window_ms=world.window,
        rules=tuple(RuleSpec(rule.pops, rule.countries, rule.continents) for rule in world.rules),
        split=world.split if len(world.split) > 1 else (),
        is_split_sticky=world.is_split_sticky,
        fallback_services=world.on_unavailable,
        affinity=AffinitySpec(world.affinity, "" if world.affinity == "client" else "who", world.within) if world.affinity else None,
    )
    pins = (world.pin,) if world.pin else ()
    spec = TableSpec(
        1,
        tuple(pops),
        services,
        (route,),
        INTERCEPT,
        SLOPE,
        ABROAD,
        BORDERS,
        exploration=world.exploration,
        gateway=world.gateway,
        gateway_pop=world.gateway_pop,
        paths=world.paths,
        pins=pins,
    )
    return Table(spec, figures)


def pool_of(figures: Figures, site: Site) -> PoolSpec:
    endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), f"10.0.{site.pop}.{k + 1}", 80) for k in range(site.endpoints))
    row = figures.acquire("pool")
    figures.set_pool(row, admit=site.admit, availability=site.availability, shed=site.shed, ramp=site.ramp, penalty_ms=site.penalty)
    figures.set_pool(row, spared=site.spared, spared_in_pop=site.spared_in_pop, usual=site.usual, hope_ms=site.hope)
    for age in range(N_VERSIONS):
        path, service = site.time(age)
        figures.set_pool(row, path_ms=path, service_ms=service, version=N_VERSIONS - age)
    add_spread(lambda worker, n: add_to_pool(figures, row, worker, in_flight=n), site.in_flight)
    return PoolSpec(site.pop, row, endpoints, site.endpoints, high=site.high, weight=site.weight)


def add_spread(add, n):
    """Over the workers, unevenly."""
    for worker, part in enumerate((n // 2, n // 3, n - n // 2 - n // 3)):
        if part:
            add(worker, part)


def facts(world: World, client: Client) -> dict:
    """What explain() and draw() are told of a client beside its place."""
    told = {"country": client.country, "continent": client.continent, "pin": int(client.is_pinned and bool(world.pin))}
    kept = None if client.kept is None or client.kept >= len(world.places) else str(client.kept)
    return {**told, "client_key": client.key, "header_key": client.key, "kept": kept}


def asked(table: Table, world: World, client: Client, seed: int = 1):
    return explain(table, 0, client.place, seed, **facts(world, client))


def shares_of(explained) -> dict[int, float]:
    return {int(candidate.pop): candidate.share for candidate in explained.candidates if candidate.share}


# --- Strategies ---
# Each world has some of the features and lacks the others (swarm testing: Groce et al., ISSTA 2012): with all of them at once a drain or
# a dead PoP hides nearly everything else.

FEATURES = (
    "paths",
    "capacity",
    "weights",
    "health",
    "drains",
    "shed",
    "times",
    "leg",
    "affinity",
    "pin",
    "rules",
    "services",
    "usual",
    "hope",
)
NEAR = st.tuples(st.floats(48, 52), st.floats(4, 12))  # near each other, so that windows hold several
ANYWHERE = st.tuples(st.floats(-80, 80), st.floats(-180, 180))
WINDOWS = st.sampled_from([0.0, 2.0, 5.0, 5.0, 20.0])
IN_FLIGHT = st.sampled_from([0, 0, 1, 2, 5, 9])
HIGHS = st.sampled_from([0, 1, 3, 6, 20])
HEALTH = st.sampled_from([0, 240, 300, 357, 358, 800, 1024, 1024])  # availability; below 358 less than a quarter is ready
SHEDS = st.sampled_from([0, 1, 512, 1000, 1024, 1024])
TIMES = st.lists(st.tuples(st.sampled_from([-1.0, 3.0, 4.5]), st.sampled_from([0.0, 1.5, 3.25, 20.0])), min_size=1, max_size=3).map(tuple)


@st.composite
def sites(draw, pop: int, on: frozenset[str]):
    availability = draw(HEALTH) if "health" in on else 1024
    return Site(
        pop,
        endpoints=draw(st.sampled_from([0, 1, 2, 4] if "health" in on else [1, 2, 4])),
        weight=draw(st.sampled_from([1, 1, 3])) if "weights" in on else 1,
        availability=availability / 1024,
        shed=(draw(SHEDS) if "shed" in on else 1024) / 1024,
        ramp=draw(st.sampled_from([0.125, 1.0, 1.0])) if "health" in on else 1.0,
        high=draw(HIGHS) if "capacity" in on else 0,
        in_flight=draw(IN_FLIGHT),
        spared=draw(st.sampled_from([0, 0, 1])) if "capacity" in on else 0,
        spared_in_pop=draw(st.sampled_from([0, 0, 2])) if "capacity" in on else 0,
        penalty=draw(st.sampled_from([0.0, 0.0, 2.5])) if "times" in on else 0.0,
        usual=draw(st.sampled_from([0, 1, 4])) if "usual" in on else 0,
        hope=draw(st.sampled_from([-1.0, 0.0, 1.25, 10.0])) if "hope" in on else -1.0,
        times=draw(TIMES) if "times" in on else ((-1.0, 0.0),),
    )


@st.composite
def places(draw, on: frozenset[str]):
    lat, lon = draw(NEAR)
    high = draw(HIGHS) if "capacity" in on else 0
    country = draw(st.sampled_from([None, "DE", "FR"])) if on & {"rules", "paths"} else None
    return Place(lat, lon, "drains" in on and draw(st.integers(0, 3)) == 0, high, draw(IN_FLIGHT), country)


@st.composite
def rules(draw, n: int):
    found = []
    for _ in range(draw(st.integers(0, 2))):
        countries = draw(st.sampled_from([None, {"DE"}, {"DE", "FR"}, {"US"}]))
        continents = draw(st.sampled_from([None, {"EU"}, {"NA", "AS"}]))
        pops = draw(st.frozensets(st.integers(0, n - 1)))
        found.append(Rule(pops, countries and frozenset(countries), continents and frozenset(continents)))
    return (*found, *draw(st.sampled_from([(Rule(),), (Rule(),), ()]))) or (Rule(),)


@st.composite
def paths(draw, n: int):
    """Some with a word on the way back, some without."""
    ends = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] != pair[1])
    return tuple((*pair, draw(st.sampled_from([0.5, 8.0, 30.0, 250.0]))) for pair in draw(st.lists(ends, unique=True, max_size=2 * n)))


@st.composite
def worlds(draw, max_pops: int = 5, features=FEATURES):
    on = draw(st.frozensets(st.sampled_from(features), min_size=3))
    n = draw(st.integers(2, max_pops))
    n_services = draw(st.integers(1, 3)) if "services" in on else 1
    order = draw(st.permutations(range(n_services)))
    n_split = draw(st.integers(1, n_services))
    return World(
        places=tuple(draw(places(on)) for _ in range(n)),
        services=tuple(
            tuple(draw(sites(pop, on)) for pop in range(n) if number == 0 or draw(st.booleans())) for number in range(n_services)
        ),
        rules=draw(rules(n)) if "rules" in on else (Rule(),),
        split=tuple((service, draw(st.sampled_from([1, 3]))) for service in order[:n_split]),
        on_unavailable=tuple(order[n_split:]),
        pin=tuple(draw(st.permutations(range(n)))[: draw(st.integers(1, n))]) if "pin" in on else (),
        window=draw(WINDOWS),
        affinity=draw(st.sampled_from(["cookie", "header", "client"])) if "affinity" in on else None,
        within=draw(st.sampled_from([0.0, 20.0])) if "affinity" in on else 0.0,
        gateway=draw(st.none() | NEAR) if "leg" in on else None,
        gateway_pop=draw(st.none() | st.integers(0, n - 1)) if "paths" in on else None,
        paths=draw(paths(n)) if "paths" in on else (),
        is_gateway_leg="leg" in on,
        begun=draw(st.integers(0, 1023)),
    )


CLIENTS = st.builds(
    lambda at, accuracy, **others: Client(at and (*at, accuracy), **others),
    at=NEAR | NEAR | NEAR | ANYWHERE | st.none(),
    accuracy=st.sampled_from([0.0, 10.0, 500.0, 2000.0]),
    country=st.sampled_from([None, "DE", "FR", "US", "JP"]),
    continent=st.sampled_from([None, "EU", "NA", "AS"]),
    is_pinned=st.sampled_from([True, True, False]),  # where there is a pin
    kept=st.sampled_from([None, 0, 1]),
    key=st.sampled_from([0, 1, 2**63 + 12345, 987654321]),
)


def spread(share: float, n: int) -> float:
    """How far a count of n draws may be from the share: five deviations."""
    return 5 * math.sqrt(n * share * max(0.0, 1 - share)) + 3
