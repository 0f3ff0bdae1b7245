import importlib.metadata
import math
import random
from collections import defaultdict
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

import maxminddb
import pytest

from geoip.countries import CONTINENTS, COUNTRIES, GROUPS, SUBREGIONS


def great_circle_km(lat, lon, other_lat, other_lon):
    lat, lon, other_lat, other_lon = map(math.radians, (lat, lon, other_lat, other_lon))
    cosine = math.sin(lat) * math.sin(other_lat) + math.cos(lat) * math.cos(other_lat) * math.cos(lon - other_lon)
    return 6371 * math.acos(min(1.0, cosine))


def test_groups_are_of_states_that_are_there():
    union, area = GROUPS["EU27"], GROUPS["EEA"]
    assert (len(union), len(area)) == (27, 30)
    assert set(area) - set(union) == {"IS", "LI", "NO"}
    assert set(area) <= COUNTRIES.keys()
    assert not GROUPS.keys() & COUNTRIES.keys()


def test_internet_users_are_those_of_the_world():
    assert 5_000_000 < sum(country.internet_users for country in COUNTRIES.values()) < 6_000_000  # thousands
    largest = sorted(COUNTRIES, key=lambda code: -COUNTRIES[code].internet_users)[:4]
    assert largest == ["CN", "IN", "US", "ID"]
    assert 75_000 < COUNTRIES["DE"].internet_users < 84_000
    without = {code for code, country in COUNTRIES.items() if not country.internet_users}
    assert len(without) < 20 and not {"GB", "TW", "XK", "HK", "PR"} & without


def test_every_code_is_there_and_sane():
    assert len(COUNTRIES) == 249 + 1  # ISO 3166-1, and Kosovo
    for code, country in COUNTRIES.items():
        assert len(code) == 2
        assert code.isascii()
        assert code.isupper()
        assert country.continent in CONTINENTS
        assert -90 <= country.lat <= 90
        assert -180 <= country.lon <= 180
        assert (country.lat, country.lon) != (0, 0)
        assert 100 <= country.radius_km <= 2500


@pytest.mark.parametrize(
    ("code", "continent"), [("DE", "EU"), ("US", "NA"), ("BR", "SA"), ("JP", "AS"), ("ZA", "AF"), ("NZ", "OC"), ("AQ", "AN")]
)
def test_continents(code, continent):
    assert COUNTRIES[code].continent == continent


def test_each_country_but_antarctica_is_in_a_subregion():
    assert len(SUBREGIONS) == 22
    assert {country.subregion for country in COUNTRIES.values()} == {*SUBREGIONS, ""}
    assert [code for code, country in COUNTRIES.items() if not country.subregion] == ["AQ"]


@pytest.mark.parametrize(
    ("code", "subregion"),
    [("DE", "155"), ("GB", "154"), ("CY", "145"), ("RU", "151"), ("EG", "015"), ("MX", "013"), ("IR", "034"), ("TW", "030"), ("XK", "039")],
)
def test_subregions(code, subregion):
    assert COUNTRIES[code].subregion == subregion


def test_a_subregion_is_of_one_continent_but_for_what_m49_has_otherwise():
    """GeoNames has Cyprus in Europe, and a few islands elsewhere."""
    by_subregion = defaultdict(set)
    for country in COUNTRIES.values():
        by_subregion[country.subregion].add(country.continent)
    assert {name for name, continents in by_subregion.items() if len(continents) > 1} == {"145", "014", "005", "053"}


@pytest.mark.slow
def test_places_are_where_a_city_database_has_the_country():
    """A typing error in a coordinate puts a country elsewhere: the located networks of each must lie around its place."""
    path = Path(importlib.metadata.distribution("maxminddb-geolite2").locate_file("_maxminddb_geolite2/GeoLite2-City.mmdb"))
    places = defaultdict(list)
    continents = defaultdict(set)
    rng = random.Random(5)
    with maxminddb.open_database(path) as reader:
        for _ in range(60_000):
            record = reader.get(IPv4Address(rng.getrandbits(32)))
            if isinstance(record, dict) and "country" in record and "latitude" in record.get("location", {}):
                code = record["country"]["iso_code"]
                places[code].append((record["location"]["latitude"], record["location"]["longitude"]))
                continents[code].add(record["continent"]["code"])
    assert len(places) > 100
    for code, found in places.items():
        country = COUNTRIES[code]
        assert continents[code] == {country.continent}, code
        if len(found) >= 20:
            # The median, and not most of the networks: a few lie in the country's far islands, or are wrong.
            assert median(great_circle_km(country.lat, country.lon, *place) for place in found) <= country.radius_km, code
