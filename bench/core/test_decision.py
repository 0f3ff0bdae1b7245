"""Nanoseconds a decision and an endpoint choice: the loops run in C, without the GIL, Python's part is one call.

Goals: 0.15 us a decision among 10 PoPs and 0.3 us among 300 with everything on, along kept shortlists of paths; 1.5 us among 300 where the
shortlist is still to be found. Beside each what looking at all PoPs takes, as explain does. pytest-benchmark shows the time of a round;
`ns_per_decision` is in its extra info.
"""

import itertools
import random
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from routing_core import (
    PRIOR,
    AffinitySpec,
    EndpointSpec,
    Figures,
    PoolSpec,
    PopSpec,
    RouteSpec,
    RuleSpec,
    ServiceSpec,
    Table,
    TableSpec,
)
from routing_core._testing import KeptShortlists, add_to_pool, add_to_pop, choose_many, decide_many

N_WORKERS = 2
N_KEYS = 20
# In turn, so that no branch of the decision can be learned by heart.
CLIENTS = [(random.Random(seed).uniform(-60, 70), random.Random(-seed).uniform(-180, 180), 20.0) for seed in range(1, 65)]


def table_of(n_pops: int, n_endpoints: int, leg: str = "client-pop", admit: float = 1.0, *, has_paths: bool = False) -> Table:
    rng = random.Random(1)
    figures = Figures(N_WORKERS)
    pools = []
    for pop in range(n_pops):
        addresses = (f"10.{pop // 256}.{pop % 256}.{number + 1}" for number in range(n_endpoints))
        endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), address, 80) for address in addresses)
        pools.append(PoolSpec(pop, figures.acquire("pool"), endpoints, n_endpoints))
        figures.set_pool(pools[-1].row, service_ms=rng.uniform(1, 20), path_ms=rng.uniform(1, 200), admit=admit, availability=admit)
    pops = tuple(PopSpec(f"pop-{number}", rng.uniform(-60, 70), rng.uniform(-180, 180)) for number in range(n_pops))
    service = ServiceSpec("shop", figures.acquire("service"), tuple(pools))
    pairs = itertools.combinations(range(n_pops), 2) if has_paths else ()
    paths = tuple((one, other, rng.uniform(5, 300)) for one, other in pairs)
    return Table(TableSpec(1, pops, (service,), (RouteSpec("all", 0, leg=leg),), *PRIOR, gateway=(50.0, 8.0), paths=paths), figures)


def table_with_everything(n_pops: int, n_full: int) -> Table:
    """Every PoP has a capacity, for itself and for its pool, and sheds a tenth; the eight versions of its figures differ; the route has
    affinity by client and two rules of jurisdiction, of which the second holds for Europe. `n_full` of the PoPs have no room."""
    rng = random.Random(1)
    figures = Figures(N_WORKERS)
    pops, pools = [], []
    for number in range(n_pops):
        row = figures.acquire("pop")
        country = rng.choice(("DE", "FR", "US", "JP"))
        pops.append(PopSpec(f"pop-{number}", rng.uniform(-60, 70), rng.uniform(-180, 180), row=row, high=100, country=country))
        endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), f"10.{number // 256}.{number % 256}.{each}", 80) for each in (1, 2))
        pools.append(PoolSpec(number, figures.acquire("pool"), endpoints, 2, high=90))
        figures.set_pool(pools[-1].row, admit=0.9, availability=1.0, shed=0.9)
        for version in range(8):
            figures.set_pool(pools[-1].row, service_ms=rng.uniform(1, 20), path_ms=rng.uniform(1, 200), version=version)
        for worker in range(N_WORKERS):
            in_flight = 50 if number < n_full else rng.randrange(40)
            add_to_pool(figures, pools[-1].row, worker, in_flight=in_flight)
            add_to_pop(figures, row, worker, in_flight)
    figures.set_phase(20_000)
    service = ServiceSpec("shop", figures.acquire("service"), tuple(pools))
    rules = (RuleSpec(frozenset(range(n_pops)), countries=frozenset({"US", "CA"})), RuleSpec(continents=frozenset({"EU"})))
    route = RouteSpec("all", 0, rules=rules, affinity=AffinitySpec("client", within_ms=10))
    return Table(TableSpec(1, tuple(pops), (service,), (route,), *PRIOR, gateway=(50.0, 8.0)), figures)


def measure(benchmark: BenchmarkFixture, run: Callable[[], None], n: int) -> None:
    benchmark.pedantic(run, rounds=15, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it carries no types
    times = sorted(benchmark.stats.stats.data) if benchmark.stats else []  # none when benchmarks are switched off
    names = {"min": times[:1], "median": times[len(times) // 2 :][:1], "max": times[-1:]}
    benchmark.extra_info["ns_per_decision"] = {name: round(time * 1e9 / n, 1) for name, of in names.items() for time in of}


LOOKS = pytest.mark.parametrize("shortlists", [KeptShortlists(), None], ids=["along shortlists", "at all"])


@LOOKS
@pytest.mark.parametrize("n_pops", [3, 10, 100, 300])
@pytest.mark.parametrize("leg", ["client-pop", "gateway-pop"])
def test_decision(benchmark: BenchmarkFixture, n_pops: int, leg: str, shortlists: KeptShortlists | None) -> None:
    table, n = table_of(n_pops, 2, leg), 1_000_000 // n_pops
    measure(benchmark, lambda: decide_many(table, 0, CLIENTS, n, shortlists), n)


@LOOKS
@pytest.mark.parametrize("n_pops", [10, 300])
def test_decision_by_paths_between_pops(benchmark: BenchmarkFixture, n_pops: int, shortlists: KeptShortlists | None) -> None:
    """Each two know their round trip."""
    table, n = table_of(n_pops, 2, has_paths=True), 1_000_000 // n_pops
    measure(benchmark, lambda: decide_many(table, 0, CLIENTS, n, shortlists), n)


@pytest.mark.parametrize("n_pops", [10, 300])
@pytest.mark.parametrize("has_paths", [False, True], ids=["", "by paths between PoPs"])
def test_first_decision_of_a_place(benchmark: BenchmarkFixture, n_pops: int, has_paths: bool) -> None:
    """Its shortlist is still to be found."""
    table = table_of(n_pops, 2, has_paths=has_paths)
    measure(benchmark, lambda: decide_many(table, 0, CLIENTS, len(CLIENTS), KeptShortlists()), len(CLIENTS))


@LOOKS
def test_decision_where_every_pop_sheds(benchmark: BenchmarkFixture, shortlists: KeptShortlists | None) -> None:
    """100 PoPs, each admits half: a hash for each, and the window moves with every draw."""
    table, n = table_of(100, 2, admit=0.5), 10_000
    measure(benchmark, lambda: decide_many(table, 0, CLIENTS, n, shortlists), n)


@LOOKS
@pytest.mark.parametrize("n_pops", [10, 300])
@pytest.mark.parametrize("full", ["none full", "a tenth full"])
def test_decision_with_everything(benchmark: BenchmarkFixture, n_pops: int, full: str, shortlists: KeptShortlists | None) -> None:
    """The clients' keys change from call to call: each says anew what is shed and which version decides."""
    table, n = table_with_everything(n_pops, n_pops // 10 if full == "a tenth full" else 0), 60_000 // n_pops

    def run() -> None:
        for key in range(1, N_KEYS + 1):
            decide_many(table, 0, CLIENTS, n, shortlists, country="DE", continent="EU", client_key=key << 32 | key)

    measure(benchmark, run, n * N_KEYS)


@pytest.mark.parametrize("n_endpoints", [3, 200])
def test_endpoint(benchmark: BenchmarkFixture, n_endpoints: int) -> None:
    table, n = table_of(1, n_endpoints), 200_000
    measure(benchmark, lambda: choose_many(table, 0, 0, n), n)
