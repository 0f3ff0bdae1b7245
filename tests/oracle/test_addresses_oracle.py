"""A hundred real addresses in a ten-PoP configuration: the choice is near the best, distances are those of an independent formula."""

import ipaddress
import math
import random
from pathlib import Path

import pytest

from geoip import Database, Locator
from routing_core import PRIOR, EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec, explain

POPS = {
    "fra": (50.11, 8.68), "lon": (51.51, -0.13), "nyc": (40.71, -74.01), "sjc": (37.34, -121.89), "gru": (-23.55, -46.63),
    "sin": (1.35, 103.82), "nrt": (35.68, 139.69), "syd": (-33.87, 151.21), "bom": (19.08, 72.88), "jnb": (-26.20, 28.05),
}  # fmt: skip
N_CLIENTS = 100


def vincenty_km(lat1, lon1, lat2, lon2):
    """Great circle by Vincenty's formula on a sphere: stable at all distances, and no code of ours."""
    f1, f2, d = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    across = math.hypot(math.cos(f2) * math.sin(d), math.cos(f1) * math.sin(f2) - math.sin(f1) * math.cos(f2) * math.cos(d))
    along = math.sin(f1) * math.sin(f2) + math.cos(f1) * math.cos(f2) * math.cos(d)
    return 6371.0088 * math.atan2(across, along)


@pytest.fixture(scope="module")
def locator():
    package = pytest.importorskip("_maxminddb_geolite2", reason="maxminddb-geolite2 is not installed: make build")
    return Locator(cities=[Database(Path(package.geolite2_database()).read_bytes())])


def located(locator):
    rng = random.Random(20261124)
    while True:
        address = str(ipaddress.IPv4Address(rng.randrange(1 << 24, 223 << 24)))
        if ipaddress.ip_address(address).is_global and (found := locator.locate(address)).lat is not None:
            yield found


def test_a_hundred_real_addresses_get_a_near_equal_of_the_best(locator):
    figures = Figures(1)
    pools = tuple(
        PoolSpec(i, figures.acquire("pool"), (EndpointSpec(figures.acquire("endpoint"), "192.0.2.1", 80 + i),), 1) for i in range(len(POPS))
    )
    spec = TableSpec(
        1,
        tuple(PopSpec(name, *place) for name, place in POPS.items()),
        (ServiceSpec("shop", figures.acquire("service"), pools),),
        (RouteSpec("all", 0),),
        *PRIOR,
    )
    table = Table(spec, figures)
    clients = located(locator)
    chosen = set()
    for _ in range(N_CLIENTS):
        found = next(clients)
        answer = explain(table, 0, (found.lat, found.lon, found.accuracy_km or 0.0))
        estimates = {candidate.pop: candidate.estimate_ms for candidate in answer.candidates}
        assert estimates[answer.pop] <= min(estimates.values()) + answer.window_ms
        for candidate in answer.candidates:
            assert candidate.distance_km == pytest.approx(vincenty_km(found.lat, found.lon, *POPS[candidate.pop]), rel=0.01)
        chosen.add(answer.pop)
    assert len(chosen) >= 7, "clients of the whole world"
