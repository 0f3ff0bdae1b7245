"""The decision against a naive model: every outcome of the admission draws tried one by one, every pair of the window added up."""

import itertools
import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec, draw, explain
from routing_core._testing import add_to_pool

INTERCEPT, SLOPE = 9.66, 0.01776


@dataclass(frozen=True)
class Site:
    lat: float
    lon: float
    endpoints: int = 1
    admit: int = 1024  # of 1024
    service_ms: float = 0.0
    path_ms: float = -1.0
    in_flight: int = 0
    drained: bool = False
    permitted: bool = True


# --- The model: no shared code ---


def kilometres(site, place):
    lat1, lon1, lat2, lon2 = (math.radians(degrees) for degrees in (site.lat, site.lon, place[0], place[1]))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371.0088 * math.asin(min(1.0, math.sqrt(half)))


def expected_ms(site, client, gateway, is_gateway_leg):
    place = gateway if is_gateway_leg else client
    prior = INTERCEPT + SLOPE * (kilometres(site, place) if place else math.pi * 6371.0088)
    return site.service_ms + (site.path_ms if is_gateway_leg and site.path_ms >= 0 else prior)


def shares_in_window(sites, ms, here, window):
    """Two draws, weighted; the lower cost wins, the first one at a tie."""
    best = min(ms[i] for i in here)
    weights = {
        i: sites[i].endpoints * max(0.0, 1 - (ms[i] - best) / window if ms[i] > best and window else float(ms[i] == best)) ** 3
        for i in here
    }
    cost = {i: (ms[i] + 1) * (1 + sites[i].in_flight / sites[i].endpoints) for i in here}
    total = sum(weights.values())
    out = dict.fromkeys(here, 0.0)
    for i, j in itertools.product(here, here):
        out[j if cost[j] < cost[i] else i] += weights[i] * weights[j] / total**2
    return out


def model(sites, client, accuracy, window, *, gateway=None, is_gateway_leg=False):
    """(error or None, {site: share}, is panic)."""
    permitted = [i for i, site in enumerate(sites) if site.permitted and not site.drained]
    if not permitted:
        return "no_permitted_pop", {}, False
    served = [i for i in permitted if sites[i].endpoints]
    if sum(sites[i].admit for i in served) < 512:
        total = sum(sites[i].endpoints for i in served)
        return (None, {i: sites[i].endpoints / total for i in served}, True) if served else ("no_endpoint", {}, True)
    ms = [expected_ms(site, client, gateway, is_gateway_leg) for site in sites]
    if not is_gateway_leg:
        window = max(window, min(SLOPE * accuracy, 4 * window))
    has_order = not client if not is_gateway_leg else not gateway and all(sites[i].path_ms < 0 for i in permitted)
    usable = [i for i in served if sites[i].admit > 0]
    out = dict.fromkeys(usable, 0.0)
    for outcome in itertools.product((True, False), repeat=len(usable)):
        chance = math.prod(
            sites[i].admit / 1024 if let_in else 1 - sites[i].admit / 1024 for i, let_in in zip(usable, outcome, strict=True)
        )
        here = [i for i, let_in in zip(usable, outcome, strict=True) if let_in]
        if chance and not here:
            here = [max(usable, key=lambda i: (sites[i].admit, -i if has_order else -ms[i]))]
        for i, share in (shares_in_window(sites, ms, here[:1] if has_order else here, window) if chance else {}).items():
            out[i] += chance * share
    return None, out, False


# --- Ours ---


def table_of(sites, window=5.0, *, gateway=None, is_gateway_leg=False):
    figures = Figures(2)
    pools = []
    for number, site in enumerate(sites):
        addresses = (f"10.0.{number}.{k + 1}" for k in range(site.endpoints))
        endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), address, 80) for address in addresses)
        pools.append(PoolSpec(number, figures.acquire("pool"), endpoints, site.endpoints))
        figures.set_pool(
            pools[-1].row, admit=site.admit / 1024, availability=site.admit / 1024, service_ms=site.service_ms, path_ms=site.path_ms
        )
        add_to_pool(figures, pools[-1].row, number % 2, in_flight=site.in_flight)
    pops = tuple(PopSpec(str(number), site.lat, site.lon, site.drained) for number, site in enumerate(sites))
    permitted = frozenset(number for number, site in enumerate(sites) if site.permitted)
    route = RouteSpec("r", 0, permitted_pops=permitted, window_ms=window, leg="gateway-pop" if is_gateway_leg else "client-pop")
    service = ServiceSpec("s", figures.acquire("service"), tuple(pools))
    return Table(TableSpec(1, pops, (service,), (route,), INTERCEPT, SLOPE, gateway), figures)


def shares_of(explained):
    return {int(candidate.pop): candidate.share for candidate in explained.candidates if candidate.share}


PLACES = st.tuples(st.floats(-80, 80), st.floats(-180, 180))
SITES = st.builds(
    Site,
    lat=st.floats(40, 55),  # near each other, so that windows hold several
    lon=st.floats(0, 15),
    endpoints=st.integers(0, 4),
    admit=st.sampled_from([0, 1, 300, 800, 1024, 1024, 1024]),
    service_ms=st.sampled_from([0.0, 0.0, 1.5, 20.0]),
    path_ms=st.sampled_from([-1.0, -1.0, 3.0, 4.5]),
    in_flight=st.integers(0, 6),
    drained=st.sampled_from([False, False, False, True]),
    permitted=st.sampled_from([True, True, True, False]),
)
SITE_LISTS = st.lists(SITES, min_size=1, max_size=6)
NEAR = st.tuples(st.floats(40, 55), st.floats(0, 15))
CLIENTS = st.none() | NEAR | PLACES
WINDOWS = st.sampled_from([0.0, 2.0, 5.0, 50.0])
ACCURACIES = st.sampled_from([0.0, 10.0, 500.0, 2000.0])


@given(SITE_LISTS, CLIENTS, ACCURACIES, WINDOWS, st.none() | NEAR, st.booleans())
def test_shares_are_the_models(sites, client, accuracy, window, gateway, is_gateway_leg):
    ms = [expected_ms(site, client, gateway, is_gateway_leg) for site in sites]
    edges = [abs(a - b - edge) for a, b in itertools.permutations(ms, 2) for edge in (0, window, SLOPE * accuracy)]
    assume(not any(0 < gap < 1e-3 for gap in edges))  # closer than distances are exact
    table = table_of(sites, window, gateway=gateway, is_gateway_leg=is_gateway_leg)
    explained = explain(table, 0, (*client, accuracy) if client else None)
    error, shares, is_panic = model(sites, client, accuracy, window, gateway=gateway, is_gateway_leg=is_gateway_leg)
    assert explained.error == error
    assert (explained.reason == "panic") == (is_panic and error is None)
    assert shares_of(explained) == pytest.approx({i: share for i, share in shares.items() if share > 1e-14}, rel=2e-3, abs=2e-4)


@given(SITE_LISTS, CLIENTS, WINDOWS, st.booleans(), st.integers(0, 2**40))
def test_jurisdiction_and_drains_hold_whatever_else_happens(sites, client, window, is_gateway_leg, seed):
    table = table_of(sites, window, is_gateway_leg=is_gateway_leg)
    location = (*client, 10.0) if client else None
    explained = explain(table, 0, location, seed)
    legal = {str(i) for i, site in enumerate(sites) if site.permitted and not site.drained and site.endpoints}
    assert {*explained.fallbacks, *(() if explained.pop is None else (explained.pop,))} <= legal
    assert explained.pop not in explained.fallbacks
    assert len(set(explained.fallbacks)) == len(explained.fallbacks)
    assert set(draw(table, 0, location, 50, seed)) <= {*legal, ""}
    assert {candidate.pop for candidate in explained.candidates if candidate.share} <= legal


@given(SITE_LISTS, CLIENTS, ACCURACIES, WINDOWS)
def test_shares_sum_to_one(sites, client, accuracy, window):
    explained = explain(table_of(sites, window), 0, (*client, accuracy) if client else None)
    assert sum(candidate.share for candidate in explained.candidates) == pytest.approx(0 if explained.error else 1, abs=1e-9)
    assert (explained.pop is None) == (explained.error is not None)
    assert all(candidate.share >= 0 for candidate in explained.candidates)


@given(SITE_LISTS, CLIENTS, WINDOWS, st.integers(0, 2**40))
def test_one_seed_one_answer(sites, client, window, seed):
    location = (*client, 10.0) if client else None
    first, second = table_of(sites, window), table_of(sites, window)
    assert explain(first, 0, location, seed) == explain(second, 0, location, seed)
    assert draw(first, 0, location, 30, seed) == draw(second, 0, location, 30, seed)


@given(st.lists(SITES, min_size=2, max_size=6), NEAR, WINDOWS, st.floats(0.01, 20), st.data())
def test_a_faster_pop_never_loses_traffic(sites, client, window, faster, data):
    """With equal load: in flight per endpoint."""
    sites = [replace(site, in_flight=2 * site.endpoints, service_ms=site.service_ms + 20) for site in sites]
    chosen = data.draw(st.integers(0, len(sites) - 1))
    before = explain(table_of(sites, window), 0, (*client, 10.0))
    sites[chosen] = replace(sites[chosen], service_ms=sites[chosen].service_ms - faster)
    after = explain(table_of(sites, window), 0, (*client, 10.0))
    assert shares_of(after).get(chosen, 0) >= shares_of(before).get(chosen, 0) - 1e-9


@given(st.lists(SITES, min_size=2, max_size=6), NEAR, WINDOWS)
def test_of_equals_the_faster_never_gets_less(sites, client, window):
    sites = [replace(site, endpoints=2, in_flight=1, admit=1024) for site in sites]
    candidates = [candidate for candidate in explain(table_of(sites, window), 0, (*client, 10.0)).candidates if candidate.permitted]
    shares = [candidate.share for candidate in candidates if not candidate.drained]  # best first
    assert all(better >= worse - 1e-9 for better, worse in itertools.pairwise(shares))


@given(SITE_LISTS, CLIENTS, WINDOWS)
def test_traffic_is_split_as_explained(sites, client, window):
    n = 4000
    table = table_of(sites, window)
    location = (*client, 10.0) if client else None
    counts = draw(table, 0, location, n, 7)
    explained = explain(table, 0, location)
    if explained.error:
        assert counts == {"": n}
    for candidate in explained.candidates:
        spread = 5 * math.sqrt(n * candidate.share * (1 - min(candidate.share, 1))) + 3
        assert counts.get(candidate.pop, 0) == pytest.approx(n * candidate.share, abs=spread)
