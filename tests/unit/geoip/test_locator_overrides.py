"""Overrides by prefix, AS and country, and pins, as they work together; and against a model that asks them one after the other."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoip import Database, Found, Locator, Override, Pin
from geoip._locator import packed_address
from geoip._testing import CacheHandle, locate_one
from geoip.countries import COUNTRIES
from geoip.ranges import PRIVATE
from tests.unit.geoip.mmdb import Raw, city, write

pytestmark = pytest.mark.usefixtures("nothing_left")


def by_asn(asn, lat, lon, country=None):
    return Override(None, lat, lon, country, asn)


def by_country(country, lat, lon):
    return Override(None, lat, lon, country)


def database(networks):
    return Database(write(networks))


CITIES = {"1.0.0.0/8": city(50.0, 8.0), "2.0.0.0/8": city(48.0, 2.0, "FR"), "3.0.0.0/8": {"country_code": "DE"}, "4.0.0.0/8": {"asn": 77}}
ASNS = {"1.2.0.0/16": {"asn": 64500}, "9.0.0.0/8": {"asn": 64501}, "2.2.0.0/16": {"asn": 64501}}


def locator_of(*overrides, home=None, pins=()):
    return Locator([database(CITIES)], [database(ASNS)], overrides, home, pins)


def test_an_as_is_where_the_operator_says():
    locator = locator_of(by_asn(64500, 10, 20, "US"), by_asn(64501, 30, 40))
    assert locator.locate("1.2.3.4") == Found(10, 20, "US", "NA", 64500, None, "override")
    assert locate_one(locator, packed_address("1.2.3.4"))[0][0] == "overridden"
    assert locator.locate("1.3.3.4") == Found(50, 8, "DE", "EU", None, 20, "database")
    # No database knows the place, and it is placed all the same.
    assert locator.locate("9.1.1.1") == Found(30, 40, None, None, 64501, None, "override")


def test_the_country_of_a_database_stays_when_an_override_by_as_has_none():
    assert locator_of(by_asn(64501, 30, 40)).locate("2.2.1.1") == Found(30, 40, "FR", "EU", 64501, None, "override")


def test_an_as_number_of_the_city_file_counts_when_no_other_has_one():
    assert locator_of(by_asn(77, 1, 2)).locate("4.1.1.1") == Found(1, 2, None, None, 77, None, "override")
    one = Locator([database({"1.0.0.0/8": city(1.0, 2.0, asn=1)})], [database({"1.2.0.0/16": {"asn": 2}})], [by_asn(1, 5, 5)])
    assert [one.locate(text).lat for text in ("1.2.3.4", "1.3.3.4")] == [1, 5]


def test_a_country_moves_and_stays_what_it_is():
    locator = locator_of(by_country("DE", 52.5, 13.4))
    assert locator.locate("1.2.3.4") == Found(52.5, 13.4, "DE", "EU", 64500, None, "override")
    assert locator.locate("3.1.1.1") == Found(52.5, 13.4, "DE", "EU", None, None, "override")  # the middle of the country is moved as well
    assert locator.locate("2.1.1.1").source == "database"
    assert locator.locate("9.1.1.1").source == "unknown"


def test_the_continent_of_a_database_stays_with_a_country_that_was_looked_for():
    turkey = database({"1.0.0.0/8": city(41.0, 29.0, "TR", "EU")})
    assert Locator([turkey], overrides=[by_country("TR", 39, 35)]).locate("1.1.1.1") == Found(39, 35, "TR", "EU", None, None, "override")
    with_as = Locator([turkey], [database({"1.0.0.0/8": {"asn": 5}})], [by_asn(5, 39, 35, "TR")])
    assert with_as.locate("1.1.1.1").continent == COUNTRIES["TR"].continent == "AS"  # the operator's word on the country


def test_prefix_then_as_then_country_then_databases():
    words = [Override("1.2.3.0/24", 1, 0, "GB"), Override("1.2.3.128/25", 2, 0), by_asn(64500, 3, 0), by_country("DE", 4, 0)]
    addresses = ["1.2.3.4", "1.2.3.200", "1.2.4.4", "1.3.3.4", "2.1.1.1"]
    assert [locator_of(*words).locate(text).lat for text in addresses] == [1, 2, 3, 4, 48]
    assert [locator_of(*words[::-1]).locate(text).lat for text in addresses] == [1, 2, 3, 4, 48]
    assert [locator_of(*words[2:]).locate(text).lat for text in addresses] == [3, 3, 3, 4, 48]


def test_the_country_an_override_sets_is_not_looked_for():
    assert locator_of(by_asn(64500, 1, 2, "FR"), by_country("FR", 5, 5)).locate("1.2.3.4").lat == 1
    assert locator_of(Override("9.0.0.0/8", 1, 2, "FR"), by_country("FR", 5, 5)).locate("9.1.1.1").lat == 1


def test_a_better_place_of_a_prefix_is_no_other_country():
    """A rule by country holds for its clients as before."""
    better = Override("1.2.3.0/24", 1, 2)
    assert locator_of(better).locate("1.2.3.4")[2:4] == ("DE", "EU")
    assert locator_of(better, by_asn(64500, 3, 0, "FR")).locate("1.2.3.4")[:3] == (1, 2, "FR")
    assert locator_of(better, Override("1.2.0.0/16", 5, 5, "GB"), Override("1.0.0.0/8", 5, 5, "US")).locate("1.2.3.4")[:3] == (1, 2, "GB")


def test_a_private_client_stands_at_home_whatever_its_as():
    locator = Locator(asns=[database({"10.0.0.0/8": {"asn": 5}, "11.0.0.0/8": {"asn": 5}})], overrides=[by_asn(5, 1, 2)], home=(50, 8))
    assert locator.locate("10.0.0.1") == Found(50, 8, None, None, 5, None, "override")
    assert locator.locate("11.0.0.1").lat == 1


def test_an_as_is_placed_where_the_city_file_is_broken():
    bad = {f"{1 + i // 256}.{i % 256}.0.0/16": {"country_code": "DE"} for i in range(6000)}
    bad["12.185.0.0/16"] = Raw(b"\x00\x00")  # not in the sample, see test_reader
    locator = Locator([database(bad)], [database({"12.0.0.0/8": {"asn": 5}})], [by_asn(5, 1, 2)])
    assert locate_one(locator, packed_address("12.185.1.1"))[0][0] == "overridden"
    assert locator.locate("12.185.1.1") == Found(1, 2, None, None, 5, None, "override")


def test_zero_zero_may_be_meant_here_as_well():
    assert locator_of(by_asn(64500, 0, 0)).locate("1.2.3.4") == Found(0, 0, "DE", "EU", 64500, None, "override")


def test_the_outermost_codes_and_numbers():
    asns = [database({"1.0.0.0/8": {"asn": 1}, "2.0.0.0/8": {"asn": 2**32 - 1}, "3.0.0.0/8": {"asn": 2**31}})]
    locator = Locator(asns=asns, overrides=[by_asn(2**32 - 1, 2, 0), by_asn(1, 1, 0), by_asn(2**31, 3, 0)])
    assert [locator.locate(f"{n}.1.1.1").lat for n in (1, 2, 3)] == [1, 2, 3]
    names = sorted(COUNTRIES)
    locator = Locator(
        [
            database(
                {"1.0.0.0/8": {"country_code": names[0]}, "2.0.0.0/8": {"country_code": names[-1]}, "3.0.0.0/8": {"country_code": "ZZ"}}
            )
        ],
        overrides=[by_country(names[0], 1, 0), by_country(names[-1], 2, 0)],
    )
    assert [locator.locate(f"{n}.1.1.1").lat for n in (1, 2, 3)] == [1, 2, None]


def test_ten_thousand_ases():
    asns = [database({f"{20 + i // 256}.{i % 256}.0.0/16": {"asn": 100 + 3 * i} for i in range(0, 10_000, 97)})]
    locator = Locator(asns=asns, overrides=[by_asn(100 + 3 * i, i % 90, i % 180) for i in range(10_000)])
    gaps = Locator(asns=asns, overrides=[by_asn(101 + 3 * i, i % 90, i % 180) for i in range(10_000)])
    for i in range(0, 10_000, 97):
        assert locator.locate(f"{20 + i // 256}.{i % 256}.0.9")[:2] == (i % 90, i % 180)
        assert gaps.locate(f"{20 + i // 256}.{i % 256}.0.9").source == "unknown"


def test_a_pin_needs_no_location_and_a_location_no_pin():
    locator = locator_of(Override("9.1.0.0/16", 1, 2), pins=[Pin("1.0.0.0/8", 3), Pin("9.1.2.0/24", 4), Pin("8.0.0.0/8", 5)])
    assert locator.locate("1.2.3.4") == Found(50, 8, "DE", "EU", 64500, 20, "database", 3)
    assert locate_one(locator, packed_address("1.2.3.4"))[0][0] == "found"
    assert locator.locate("9.1.2.3") == Found(1, 2, None, None, 64501, None, "override", 4)
    assert locator.locate("9.1.3.3") == Found(1, 2, None, None, 64501, None, "override", 0)
    assert locator.locate("8.1.1.1") == Found(None, None, None, None, None, None, "unknown", 5)
    assert locate_one(locator, packed_address("8.1.1.1"))[0][0] == "not found"


def test_the_longest_pinned_prefix_of_the_own_family():
    locator = Locator(pins=[Pin("0.0.0.0/0", 1), Pin("10.0.0.0/8", 2), Pin("10.1.2.3/32", 3), Pin("::/0", 4), Pin("2001:db8::/32", 5)])
    addresses = ["8.8.8.8", "10.9.9.9", "10.1.2.3", "::ffff:10.1.2.3", "fe80::1", "2001:db8::1"]
    assert [locator.locate(text).pin for text in addresses] == [1, 2, 3, 3, 4, 5]


def test_a_mapped_pin_is_one_of_ipv4():
    assert Locator(pins=[Pin("::ffff:1.2.0.0/112", 6)]).locate("1.2.3.4").pin == 6


def test_a_pin_stays_where_an_as_or_a_country_moves_the_place():
    locator = locator_of(by_asn(64500, 10, 20), by_country("DE", 11, 21), pins=[Pin("1.0.0.0/8", 3)])
    assert [locator.locate(text)[::7] for text in ("1.2.3.4", "1.3.3.4")] == [(10, 3), (11, 3)]


def test_a_private_client_at_home_may_be_pinned():
    locator = locator_of(home=(50, 8), pins=[Pin("10.1.0.0/16", 3)])
    assert [locator.locate(text)[::7] for text in ("10.1.0.1", "10.2.0.1")] == [(50, 3), (50, 0)]


def test_the_words_hold_for_the_databases_that_come_after():
    """A new file, the same words: the address is of another AS and country now, through a worker's cache as well."""
    words = [by_asn(5, 1, 0), by_country("FR", 2, 0)]
    cache = CacheHandle()
    for asn, country, expected in ((5, "DE", 1), (6, "FR", 2), (6, "DE", 50), (5, "FR", 1)):
        cities, asns = database({"1.0.0.0/8": city(50.0, 8.0, country)}), database({"1.0.0.0/8": {"asn": asn}})
        locator = Locator([cities], [asns], words, pins=[Pin("1.0.0.0/8", asn)])
        for _ in range(2):
            fields = cache.locate_one(locator, packed_address("1.2.3.4"))
            assert (fields[4], fields[-1]) == (expected, asn)
        del cities, asns, locator


NETWORKS = ["1.0.0.0/8", "1.2.0.0/16", "1.2.3.0/24", "1.2.3.4/32", "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32", "fc00::/8"]
ADDRESSES = ["1.2.3.4", "1.2.3.5", "1.2.4.1", "1.3.0.0", "2.0.0.0", "10.0.0.1", "10.1.0.1", "2001:db8::1", "fc00::1", "fd00::1", "9999::"]
NUMBERS, CODES = st.integers(1, 4), st.sampled_from(["DE", "FR", "US"])
PLACES = st.tuples(st.integers(-80, 80), st.integers(-170, 170))


def keyed(keys, values, most=4):
    return st.dictionaries(keys, values, max_size=most)


def longest(table, address):
    """The value of the longest prefix in `table` that holds the address."""
    holding = [name for name in table if ipaddress.ip_address(address) in ipaddress.ip_network(name)]
    return table[max(holding, key=lambda name: ipaddress.ip_network(name).prefixlen)] if holding else None


def naive(address, cities, asns, words, home, pins):
    """(lat, lon, country, asn, source, pin)"""
    prefixes, by_number, by_code = words
    asn, pin = longest(asns, address), longest(pins, address) or 0
    place, country = longest(cities, address) or (None, None)
    by_other = by_number[asn][1] or country if asn in by_number else country
    if said := longest(prefixes, address):
        by_prefix = longest({name: word for name, (_, word) in prefixes.items() if word}, address)
        return (*said[0], by_prefix or by_other, asn, "override", pin)
    if home is not None and any(ipaddress.ip_address(address) in network for network in PRIVATE):
        return (*home, by_other, asn, "override", pin)
    if asn in by_number:
        return (*by_number[asn][0], by_number[asn][1] or country, asn, "override", pin)
    if country in by_code:
        return (*by_code[country], country, asn, "override", pin)
    return (*(place or (None, None)), country, asn, "database" if place else "unknown", pin)


@given(
    keyed(st.sampled_from(NETWORKS), st.tuples(PLACES.filter(any), CODES)),
    keyed(st.sampled_from(NETWORKS), NUMBERS),
    st.tuples(
        keyed(st.sampled_from(NETWORKS), st.tuples(PLACES, st.one_of(st.none(), CODES)), 2),
        keyed(NUMBERS, st.tuples(PLACES, st.one_of(st.none(), CODES)), 2),
        keyed(CODES, PLACES, 2),
    ),
    st.one_of(st.none(), PLACES),
    keyed(st.sampled_from(NETWORKS), st.integers(1, 5)),
)
def test_against_a_naive_model(cities, asns, words, home, pins):
    prefixes, by_number, by_code = words
    overrides = [Override(name, *place, country) for name, (place, country) in prefixes.items()]
    overrides += [by_asn(asn, *place, country) for asn, (place, country) in by_number.items()]
    overrides += [by_country(code, *place) for code, place in by_code.items()]
    city_files = [database({name: city(float(lat), float(lon), code) for name, ((lat, lon), code) in cities.items()})] if cities else []
    asn_files = [database({name: {"asn": asn} for name, asn in asns.items()})] if asns else []
    locator = Locator(city_files, asn_files, overrides, home, [Pin(name, pin) for name, pin in pins.items()])
    for address in ADDRESSES:
        found = locator.locate(address)
        got = (found.lat, found.lon, found.country, found.asn, found.source, found.pin)
        assert got == naive(address, cities, asns, words, home, pins), address
    assert CacheHandle().differences(locator, b"".join(map(packed_address, ADDRESSES * 2))) == 0
