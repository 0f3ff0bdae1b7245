"""The operator's words: what is legal, and what of it the locator is given."""

import math
from ipaddress import ip_network

import pytest

from geoip.overrides import Override, Pin, Place, plan
from geoip.ranges import NOWHERE, disjoint


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (Override("10.0.0.1/8", 1, 2), "10.0.0.1/8.*host bits"),
        (Override("nowhere", 1, 2), "'nowhere'.*10.1.0.0/16"),
        (Override("10.0.0.0/8", 91, 2), "10.0.0.0/8': lat .*91"),
        (Override("10.0.0.0/8", 1, -181), "lon .*-181"),
        (Override("10.0.0.0/8", math.nan, 2), "lat .*nan"),
        (Override("10.0.0.0/8", "1", 2), "lat .*'1'"),
        (Override("10.0.0.0/8", 1, 2, "Germany"), "country .*'Germany'"),
        (Override("10.0.0.0/8", 1, 2, "de"), "country .*'de'"),
        (Override(None, 1, 2), "a prefix, an asn or a country"),
        (Override("10.0.0.0/8", 1, 2, None, 64500), "10.0.0.0/8': must have a prefix or an asn, not both"),
        (Override(None, 1, 2, None, 0), "asn must be .*from 1 to 4294967295, got 0"),
        (Override(None, 1, 2, None, 2**32), "got 4294967296"),
        (Override(None, 1, 2, None, True), "asn .*True"),
        (Override(None, 1, 2, None, "64500"), "asn .*'64500'"),
        (Override(None, 1, 999, None, 64500), "AS 64500: lon .*999"),
        (Override(None, 1, 2, "XX", 64500), "AS 64500: country .*'XX'"),
        (Override(None, 1, 2, "XX"), "'XX': country .*ISO 3166"),
        (Override(None, -91, 2, "DE"), "override 'DE': lat .*-91"),
    ],
)
def test_a_bad_override_is_named(override, words):
    with pytest.raises(ValueError, match=words):
        plan([Override("11.0.0.0/8", 1, 2), override])


@pytest.mark.parametrize(
    ("twice", "words"),
    [
        (Override("10.0.0.0/8", 1, 2), "10.0.0.0/8 occurs twice"),
        (Override(None, 1, 2, "DE", 64500), "AS 64500 occurs twice"),
        (Override(None, 1, 2, "DE"), "'DE' occurs twice"),
    ],
)
def test_what_occurs_twice_is_named(twice, words):
    with pytest.raises(ValueError, match=words):
        plan([twice, twice])


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        (Pin("10.0.0.1/8", 1), "pin '10.0.0.1/8'.*host bits"),
        (Pin("10.0.0.0/8", 0), "pin '10.0.0.0/8': must be a whole number from 1, got 0"),
        (Pin("10.0.0.0/8", 2**31), "2147483648"),
        (Pin("10.0.0.0/8", True), "True"),
        (Pin(None, 1), "pin None"),
        (Pin("11.0.0.0/8", 2), "11.0.0.0/8 occurs twice"),
    ],
)
def test_a_bad_pin_is_named(pin, words):
    with pytest.raises(ValueError, match=words):
        plan(pins=[Pin("11.0.0.0/8", 1), pin])


def test_a_bad_home_is_named():
    with pytest.raises(ValueError, match="home: lon"):
        plan(home=(0, 181))


def test_nothing_said():
    made = plan()
    assert (made.places, made.asns, made.countries) == ([], [], {})
    assert {place for _, place in made.ranges} == {NOWHERE}


def test_each_kind_leads_to_its_place():
    made = plan(
        [Override(None, 1, 2, "DE"), Override(None, 3, 4, "FR", 70000), Override("10.0.0.0/8", 5, 6), Override(None, 7, 8, None, 9)]
    )
    assert made.places == [Place(1, 2, None, 0), Place(3, 4, "FR", 0), Place(5, 6, None, 0), Place(7, 8, None, 0)]
    assert made.countries == {"DE": 0}
    assert made.asns == [(9, 3), (70000, 1)]
    assert {place for _, place in made.ranges} == {NOWHERE, 2}


def test_the_same_country_by_itself_and_of_an_as_are_two_things():
    made = plan([Override(None, 1, 2, "DE"), Override(None, 3, 4, "DE", 9), Override(None, 5, 6, "DE", 10)])
    assert (made.countries, made.asns) == ({"DE": 0}, [(9, 1), (10, 2)])


def test_a_pin_shares_the_range_of_a_place_and_has_one_without():
    made = plan([Override("10.0.0.0/9", 1, 2, "DE")], (5, 6), [Pin("10.0.0.0/8", 7), Pin("10.64.0.0/10", 9)])
    assert made.places[:2] == [Place(1, 2, "DE", 0), Place(5, 6, None, 0)]
    # 10.0.0.0/10, 10.64.0.0/10, and the rest of 10.0.0.0/8, which is at home.
    assert made.places[2:] == [Place(1, 2, "DE", 7), Place(1, 2, "DE", 9), Place(5, 6, None, 7)]
    made = plan(pins=[Pin("1.0.0.0/8", 7), Pin("1.2.0.0/16", 8), Pin("2.0.0.0/8", 7)])
    assert made.places == [Place(None, None, None, 7), Place(None, None, None, 8)]


def test_without_pins_the_ranges_are_those_of_the_prefixes():
    made = plan([Override("10.0.0.0/8", 1, 2), Override("::ffff:1.2.0.0/112", 3, 4)])
    assert made.ranges == disjoint([(ip_network("10.0.0.0/8"), 0), (ip_network("1.2.0.0/16"), 1)])
