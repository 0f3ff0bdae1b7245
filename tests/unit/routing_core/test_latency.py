import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import PRIOR, BordersSpec, Figures, RouteSpec, explain
from routing_core._latency import great_circle_km
from tests.unit.routing_core.tables import LONDON, METZ, pool_rows, table_of

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


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
    intercept, slope, abroad, _ = PRIOR
    assert 0 < intercept < 20
    assert 0 < abroad < 20
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


def test_a_border_makes_the_path_longer():
    """For a client of known country: by the PoPs in other countries, and by those that say nothing."""
    figures = Figures(1)
    of_pops = {"fra": {"country": "DE"}, "par": {"country": "FR"}, "nyc": {"country": "US"}}
    home = by_pop(explain(table_of(figures, of_pops=of_pops), 0, LONDON))
    table = table_of(figures, of_pops=of_pops, abroad_ms=7.5, routes=[RouteSpec("r", 0), RouteSpec("g", 0, leg="gateway-pop")])
    for country, longer in (("FR", {"fra", "nyc", "sin"}), ("GB", {"fra", "nyc", "sin", "par"}), (None, set())):
        found = by_pop(explain(table, 0, LONDON, country=country))
        added = {name: found[name].path_ms - home[name].path_ms for name in found}
        assert added == pytest.approx({name: 7.5 * (name in longer) for name in found})
        of_gateway = by_pop(explain(table, 1, LONDON, country=country))
        assert len({each.path_ms for each in of_gateway.values()}) == 1  # whose place is not known
    assert explain(table, 0, LONDON, country="DE").pop == "fra"  # 5.9 ms behind Paris else


BORDERS = BordersSpec(("DE FR", "US", "SG"), ((1.5,), (10, 0), (20, 30, 4)))


def test_a_border_costs_what_the_two_subregions_say():
    """Beside what any border costs; nothing within a country. Who is in no subregion, a PoP that says no country among them, pays
    that alone."""
    of_pops = {"fra": {"country": "DE"}, "nyc": {"country": "US"}, "sin": {"country": "SG"}}
    figures = Figures(1)
    home = by_pop(explain(table_of(figures, of_pops=of_pops), 0, LONDON))
    table = table_of(figures, of_pops=of_pops, abroad_ms=7.5, borders=BORDERS)
    for country, more in (
        ("DE", {"fra": 0, "nyc": 17.5, "sin": 27.5, "par": 7.5}),
        ("FR", {"fra": 9, "nyc": 17.5, "sin": 27.5, "par": 7.5}),
        ("US", {"fra": 17.5, "nyc": 0, "sin": 37.5, "par": 7.5}),
        ("JP", {"fra": 7.5, "nyc": 7.5, "sin": 7.5, "par": 7.5}),
        (None, {"fra": 0, "nyc": 0, "sin": 0, "par": 0}),
    ):
        found = by_pop(explain(table, 0, LONDON, country=country))
        assert {name: found[name].path_ms - home[name].path_ms for name in found} == pytest.approx(more)


def test_what_a_border_costs_may_turn_the_order_round():
    """From London to New York as if Frankfurt were behind an ocean."""
    of_pops = {"fra": {"country": "DE"}, "nyc": {"country": "US"}, "sin": {"country": "SG"}, "par": {"country": "DE"}}
    borders = BordersSpec(("DE", "US", "GB"), ((0,), (0, 0), (300, 0, 0)))
    assert explain(table_of(Figures(1), of_pops=of_pops, borders=borders), 0, LONDON, country="GB").pop == "nyc"
    assert explain(table_of(Figures(1), of_pops=of_pops), 0, LONDON, country="GB").pop == "par"


def test_a_border_is_nothing_to_who_has_no_place():
    """The country may be known where no coordinates are: then every path is the longest there is, and the configured order holds."""
    table = table_of(Figures(1), of_pops={"par": {"country": "FR"}}, abroad_ms=7.5)
    explained = explain(table, 0, None, country="FR")
    assert [each.path_ms for each in explained.candidates] == pytest.approx([10 + 0.02 * 20015.1] * 4, abs=0.01)
    assert (explained.pop, explained.reason) == ("fra", "order")


def test_no_border_is_on_the_way_of_a_gateway():
    """Whose own country nobody says."""
    routes = [RouteSpec("r", 0, leg="gateway-pop")]
    table = table_of(Figures(1), of_pops={"fra": {"country": "DE"}}, abroad_ms=7.5, routes=routes, gateway=LONDON[:2])
    for each in explain(table, 0, LONDON, country="DE").candidates:
        assert each.path_ms == pytest.approx(10 + 0.02 * each.distance_km)


def test_a_border_counts_for_a_pop_that_takes_nothing():
    """An operator sees what a drained one would be."""
    options = {"of_pops": {"fra": {"country": "DE"}}, "abroad_ms": 7.5, "drained": ["fra", "par"]}
    found = by_pop(explain(table_of(Figures(1), **options), 0, LONDON, country="DE"))
    for name, border in (("fra", 0), ("par", 7.5)):
        assert found[name].path_ms == pytest.approx(10 + 0.02 * found[name].distance_km + border)


def test_a_border_takes_a_pop_out_of_the_window():
    """From Metz Paris is 1.4 ms behind Frankfurt."""
    of_pops = {"fra": {"country": "DE"}, "par": {"country": "FR"}}
    for country, share, window in ((None, {"fra"}, {"fra", "par"}), ("DE", {"fra"}, {"fra"}), ("FR", {"par"}, {"par"})):
        explained = explain(table_of(Figures(1), of_pops=of_pops, abroad_ms=7.5), 0, METZ, country=country)
        assert {each.pop for each in explained.candidates if each.share > 0} == share
        assert {each.pop for each in explained.candidates if each.in_window} == window


@pytest.mark.parametrize("leg", ["client-pop", "gateway-pop"])
def test_a_penalty_adds_to_whatever_the_estimate_stands_on(leg):
    figures = Figures(1)
    table = table_of(figures, routes=[RouteSpec("r", 0, leg=leg)], gateway=(51.5, -0.13))
    paris = pool_rows(table)[3]
    before = by_pop(explain(table, 0, LONDON))["par"]
    assert before.penalty_ms == 0
    figures.set_pool(paris, penalty_ms=4.5, service_ms=2, path_ms=6)
    after = by_pop(explain(table, 0, LONDON))["par"]
    assert (after.penalty_ms, after.service_ms) == (4.5, 2)
    assert after.path_ms == (6 if leg == "gateway-pop" else before.path_ms)
    assert after.estimate_ms == pytest.approx(after.path_ms + 2 + 4.5)
    figures.set_pool(paris, penalty_ms=5000)
    assert explain(table, 0, LONDON).pop == "fra"
    figures.set_pool(paris, penalty_ms=0)
    assert by_pop(explain(table, 0, LONDON))["par"].estimate_ms == pytest.approx(after.path_ms + 2)


def test_a_penalty_moves_nobody_who_has_nowhere_to_go():
    """It makes a PoP slow, not unavailable: alone, it serves."""
    figures = Figures(1)
    table = table_of(figures)
    for row in pool_rows(table):
        figures.set_pool(row, penalty_ms=60_000)
    assert explain(table, 0, LONDON)[6:9:2] == ("par", "fastest")


def test_the_unknown_never_beats_the_known():
    figures = Figures(1)
    table = table_of(figures, routes=[RouteSpec("r", 0, leg="gateway-pop")])
    figures.set_pool(pool_rows(table)[2], path_ms=390)
    explained = explain(table, 0, None)
    assert explained.pop == "sin"
    assert explained.reason == "fastest"
    assert by_pop(explained)["fra"].distance_km is None
    assert by_pop(explained)["fra"].path_ms == pytest.approx(10 + 0.02 * 20015, rel=1e-3)
