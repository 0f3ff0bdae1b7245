"""Jurisdiction by where the client is: the first rule that fits holds, and none that fits is nothing permitted."""

import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import LONDON, set_admits, shares_of, table_of

FRA, NYC, SIN, PAR = range(4)
CODES = ["".join(pair) for pair in itertools.product(string.ascii_uppercase, repeat=2)]
CONTINENTS = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"]


def permit(*pops, countries=None, continents=None):
    return RuleSpec(frozenset(pops), countries and frozenset(countries), continents and frozenset(continents))


def table_with(figures, *rules, **options):
    return table_of(figures, routes=[RouteSpec("r", 0, rules=rules)], **options)


@pytest.fixture
def figures():
    return Figures(1)


def asked(table, country=None, continent=None, location=LONDON):
    explained = explain(table, 0, location, country=country, continent=continent)
    assert set(draw(table, 0, location, 50, country=country, continent=continent)) == {explained.pop or ""}
    return explained.pop, explained.rule


def test_the_first_rule_that_fits_holds(figures):
    france, europe, anyone = permit(PAR, countries=["FR"]), permit(FRA, continents=["EU"]), permit(NYC)
    table = table_with(figures, france, europe, anyone)
    assert asked(table, "FR", "EU") == ("par", 0)
    assert asked(table, "DE", "EU") == ("fra", 1)
    assert asked(table, "US", "NA") == ("nyc", 2)
    assert asked(table_with(figures, europe, france, anyone), "FR", "EU") == ("fra", 0)
    assert asked(table_with(figures, anyone, france, europe), "FR", "EU") == ("nyc", 0)


def test_any_of_the_lists_may_name_the_client(figures):
    table = table_with(figures, permit(SIN, countries=["US", "CA"], continents=["AS", "OC"]), permit(NYC))
    for country, continent in (("US", "NA"), ("CA", "NA"), ("JP", "AS"), ("AU", "OC"), ("US", None), (None, "OC")):
        assert asked(table, country, continent) == ("sin", 0)
    for country, continent in (("MX", "NA"), ("DE", "EU"), ("MX", None), (None, "NA")):
        assert asked(table, country, continent) == ("nyc", 1)


def test_two_letters_that_are_no_continent_are_in_none(figures):
    """A database may have anything there: an "FR" was as good as Europe."""
    for continent in CONTINENTS:
        table = table_with(figures, permit(FRA, continents=[continent]))
        assert [code for code in CODES if asked(table, None, code) != (None, None)] == [continent]


@pytest.mark.parametrize("location", [LONDON, None])
def test_a_client_of_unknown_place_fits_only_rules_for_everyone(figures, location):
    everywhere = permit(FRA, countries=CODES, continents=CONTINENTS)
    assert asked(table_with(figures, everywhere), location=location) == (None, None)
    assert asked(table_with(figures, everywhere, permit(SIN)), location=location) == ("sin", 1)
    # Databases have codes that are no country's.
    assert asked(table_with(figures, everywhere, permit(SIN)), "A1", location=location) == ("sin", 1)


def test_every_code_is_its_own(figures):
    table = table_with(figures, *(permit(number % 4, countries=[code]) for number, code in enumerate(CODES)))
    assert [explain(table, 0, None, country=code).rule for code in CODES] == list(range(len(CODES)))
    table = table_with(figures, *(permit(number % 4, continents=[code]) for number, code in enumerate(CONTINENTS)))
    assert [explain(table, 0, None, continent=code).rule for code in CONTINENTS] == list(range(len(CONTINENTS)))


def test_a_country_is_no_continent_of_the_same_letters(figures):
    """NA is Namibia and North America, AS American Samoa and Asia."""
    table = table_with(figures, permit(SIN, countries=["NA", "AS"]), permit(NYC, continents=["NA", "AS"]))
    assert asked(table, "NA", "AF") == ("sin", 0)
    assert asked(table, "US", "NA") == ("nyc", 1)
    assert asked(table, "JP", "AS") == ("nyc", 1)


def test_a_rule_for_nobody_is_passed(figures):
    rule = RuleSpec(frozenset({SIN}), frozenset(), frozenset())
    assert asked(table_with(figures, rule, permit(NYC)), "US", "NA") == ("nyc", 1)
    assert asked(table_with(figures, rule, permit(NYC))) == ("nyc", 1)


def test_without_a_rule_that_fits_nothing_is_permitted(figures):
    explained = explain(table_with(figures, permit(FRA, continents=["EU"])), 0, LONDON, country="US", continent="NA")
    assert (explained.error, explained.pop, explained.reason, explained.rule) == ("no_permitted_pop", None, "none", None)
    assert explained.fallbacks == ()
    assert {each.pop for each in explained.candidates} == {"fra", "nyc", "sin", "par"}
    for each in explained.candidates:
        assert (each.permitted, each.share, each.why_not) == (False, 0.0, "outside the jurisdiction: no rule for this client")
        assert each.estimate_ms > 0


def test_a_route_without_rules_permits_nothing(figures):
    explained = explain(table_with(figures), 0, LONDON, country="US")
    assert (explained.error, explained.rule) == ("no_permitted_pop", None)


def test_a_rule_that_permits_nothing_is_named(figures):
    explained = explain(table_with(figures, permit(countries=["US"]), permit(FRA)), 0, LONDON, country="US")
    assert (explained.error, explained.rule) == ("no_permitted_pop", 0)
    assert {each.why_not for each in explained.candidates} == {"outside the jurisdiction"}


def test_the_rule_holds_against_health_order_pins_and_cookies(figures):
    europe = permit(FRA, PAR, continents=["EU"])
    routes = [RouteSpec("r", 0, rules=(europe,), affinity=AffinitySpec("cookie", "pop"), fallback_services=(1,))]
    table = table_of(figures, routes=routes, services=["shop", "other"], pins=[(NYC, PAR)])
    in_europe = {"country": "DE", "continent": "EU", "pin": 1, "kept": "nyc"}
    for admits in ({}, {"par": 0}, {"fra": 0, "par": 0}):
        set_admits(figures, table, **admits)
        for location in (LONDON, None):
            explained = explain(table, 0, location, **in_europe)
            assert {explained.pop, *explained.fallbacks} <= {"fra", "par"}
            assert set(shares_of(explained)) | set(draw(table, 0, location, 200, **in_europe)) <= {"fra", "par"}
            in_america = {**in_europe, "country": "US", "continent": "NA"}
            assert explain(table, 0, location, **in_america).error == "no_permitted_pop"
            assert draw(table, 0, location, 50, **in_america) == {"": 50}


PLACES = st.none() | st.sampled_from(["DE", "FR", "US", "NA"])
LANDS = st.none() | st.sampled_from(["EU", "NA", "AS"])
RULES = st.builds(
    RuleSpec,
    st.none() | st.frozensets(st.integers(0, 3)),
    st.none() | st.frozensets(st.sampled_from(["DE", "FR", "US", "NA"])),
    st.none() | st.frozensets(st.sampled_from(["EU", "NA", "AS"])),
)


def fits(rule, country, continent):
    if rule.countries is None and rule.continents is None:
        return True
    return country in (rule.countries or ()) or continent in (rule.continents or ())


@given(st.lists(RULES, max_size=4), PLACES, LANDS)
def test_rules_are_read_as_they_are_written(rules, country, continent):
    explained = explain(table_with(Figures(1), *rules), 0, LONDON, country=country, continent=continent)
    fitting = [number for number, rule in enumerate(rules) if fits(rule, country, continent)]
    assert explained.rule == (fitting[0] if fitting else None)
    permitted = rules[fitting[0]].permitted_pops if fitting else frozenset()
    names = {"fra", "nyc", "sin", "par"} if permitted is None else {("fra", "nyc", "sin", "par")[pop] for pop in permitted}
    assert {each.pop for each in explained.candidates if each.permitted} == names
    assert explained.error == (None if names else "no_permitted_pop")
