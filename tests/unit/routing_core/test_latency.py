import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import PRIOR, Figures, RouteSpec, explain
from routing_core._latency import great_circle_km
from tests.unit.routing_core.tables import pool_rows, table_of

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)
LONDON = (51.5, -0.13, 10.0)


def haversine_km(lat1, lon1, lat2, lon2):
    north1, north2, east = np.radians(lat1), np.radians(lat2), np.radians(lon2 - lon1)
    half = np.sin((north2 - north1) / 2) ** 2 + np.cos(north1) * np.cos(north2) * np.sin(east / 2) ** 2
    return 2 * 6371.0088 * np.arcsin(np.minimum(np.sqrt(half), 1))


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distances_of_any_two_places(lat1, lon1, lat2, lon2):
    assert great_circle_km(lat1, lon1, lat2, lon2) == pytest.approx(haversine_km(lat1, lon1, lat2, lon2), rel=1e-3, abs=0.05)


@given(LATITUDES, LONGITUDES, st.floats(0, 360), st.floats(0, 4.3))
def test_distances_of_neighbours(lat, lon, bearing, size):
    """From 1 km on within a thousandth, also where the cosine is nearly one."""
    step = 0.009 * 10**size / 90
    lat2 = max(-90.0, min(90.0, lat + step * np.cos(np.radians(bearing))))
    lon2 = max(-180.0, min(180.0, lon + step * np.sin(np.radians(bearing))))
    right = haversine_km(lat, lon, lat2, lon2)
    if right >= 1:
        assert great_circle_km(lat, lon, lat2, lon2) == pytest.approx(right, rel=1e-3)


def test_the_ends_of_the_earth():
    assert great_circle_km(0, 0, 0, 0) == 0
    assert great_circle_km(90, 12, 90, -100) == pytest.approx(0, abs=0.001)
    assert great_circle_km(0, 0, 0, 180) == pytest.approx(20015.1, abs=0.1)
    assert great_circle_km(0, 0, 90, 0) == pytest.approx(10007.56, abs=0.02)


def test_the_prior_is_plausible():
    intercept, slope = PRIOR
    assert 0 < intercept < 20
    assert 1 < slope / (2 / 199.86) < 2.5  # times light in fibre, there and back


def by_pop(explained):
    return {candidate.pop: candidate for candidate in explained.candidates}


def test_client_leg_is_the_prior_of_the_distance_and_service_time():
    figures = Figures(1)
    table = table_of(figures)
    figures.set_pool(pool_rows(table)[0], service_ms=7.5, path_ms=1.0, samples=3)
    fra = by_pop(explain(table, 0, LONDON))["fra"]
    km = haversine_km(51.5, -0.13, 50.11, 8.68)
    assert fra.distance_km == pytest.approx(km, rel=1e-3)
    assert fra.path_ms == pytest.approx(10 + 0.02 * km, rel=1e-3)
    assert (fra.service_ms, fra.samples, fra.evidence) == (7.5, 3, "prior")  # the gateway's own path is none of this leg's
    assert fra.estimate_ms == pytest.approx(fra.path_ms + 7.5)


def test_gateway_leg_takes_the_measured_path_else_the_prior_from_the_gateway():
    figures = Figures(1)
    table = table_of(figures, routes=[RouteSpec("r", 0, leg="gateway-pop")], gateway=(40.0, -74.0))
    figures.set_pool(pool_rows(table)[0], path_ms=3.25, service_ms=1)
    for location in (LONDON, None):
        found = by_pop(explain(table, 0, location))
        assert (found["fra"].path_ms, found["fra"].evidence, found["fra"].estimate_ms) == (3.25, "path", 4.25)
        assert found["nyc"].evidence == "prior"
        assert found["nyc"].distance_km == pytest.approx(haversine_km(40.0, -74.0, 40.71, -74.01), rel=1e-3)
        assert found["nyc"].path_ms == pytest.approx(10 + 0.02 * found["nyc"].distance_km)


def test_the_unknown_never_beats_the_known():
    figures = Figures(1)
    table = table_of(figures, routes=[RouteSpec("r", 0, leg="gateway-pop")])
    figures.set_pool(pool_rows(table)[2], path_ms=390)
    explained = explain(table, 0, None)
    assert explained.pop == "sin"
    assert explained.reason == "fastest"
    assert by_pop(explained)["fra"].distance_km is None
    assert by_pop(explained)["fra"].path_ms == pytest.approx(10 + 0.02 * 20015, rel=1e-3)
