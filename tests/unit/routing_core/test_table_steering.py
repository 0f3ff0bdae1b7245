"""What is wrong in the fields that steer: each said with what came and what is legal; and the most that is legal."""

import dataclasses
import gc
import re

import pytest

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, Table, draw, explain, match
from routing_core._memory import live_blocks
from tests.unit.routing_core.tables import CITIES, LONDON, pool_rows, spec_of, table_of

NAN = float("nan")


@pytest.fixture
def figures():
    return Figures(1)


def refused(what, build):
    """The one ValueError, naming the place, what is legal and what came; nothing is left of the table."""
    gc.collect()  # what other tests left in a circle
    before = live_blocks()["table"]
    with pytest.raises(ValueError, match=re.escape(what)):
        build()
    assert live_blocks()["table"] == before


def with_pops(figures, **changes):
    spec = spec_of(figures)
    return dataclasses.replace(spec, pops=(dataclasses.replace(spec.pops[0], **changes), *spec.pops[1:]))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"high": -1}, "pops[0] (fra) high: must be a whole number from 0 to 1073741824, got -1"),
        ({"high": 1.5}, "pops[0] (fra) high: must be a whole number from 0 to 1073741824, got 1.5"),
        ({"high": True}, "got True"),
        ({"high": 2**31}, "got 2147483648"),
        ({"high": 5, "row": None}, "pops[0] (fra) high: must be 0 without a row to count in, got 5"),
        ({"country": "de"}, "pops[0] (fra): a country must be two capitals, got 'de'"),
        ({"country": ""}, "pops[0] (fra): a country must be two capitals, got ''"),
        ({"country": "D1"}, "got 'D1'"),
        ({"country": "ŁŁ"}, "got 'ŁŁ'"),
        ({"country": 49}, "got 49"),
        ({"row": 99}, "row 99: not in use"),
        ({"row": -1}, "row -1: not in use"),
    ],
)
def test_wrong_pops_are_refused(figures, changes, what):
    spec = with_pops(figures, **changes)
    refused(what, lambda: Table(spec, figures))


def test_a_pop_may_be_uncounted(figures):
    table = Table(with_pops(figures, row=None), figures)
    assert explain(table, 0, None).pop == "fra"


def test_rows_of_pops_are_of_that_kind_and_their_own(figures):
    spec = spec_of(figures)
    row = spec.pops[1].row
    refused(f"pops: must have rows of their own, got [{row}, {row}", lambda: Table(with_pops_of(spec, row), figures))
    service = spec.services[0].row
    refused(f"row {service}: is of kind service, not pop", lambda: Table(with_pops_of(spec, service), figures))


@pytest.mark.parametrize("ms", [-1, 1001, NAN, "5"])
def test_a_wrong_prior_is_refused(figures, ms):
    refused(f"abroad_ms: must be a number from 0 to 1000, got {ms!r}", lambda: table_of(figures, abroad_ms=ms))


def with_pops_of(spec, row):
    return dataclasses.replace(spec, pops=(dataclasses.replace(spec.pops[0], row=row), *spec.pops[1:]))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"high": -1}, "services[0] (shop) high: must be a whole number from 0 to 1073741824, got -1"),
        ({"weight": 0}, "services[0] (shop) weight: must be a whole number from 1 to 1000, got 0"),
        ({"weight": 1001}, "services[0] (shop) weight: must be a whole number from 1 to 1000, got 1001"),
        ({"weight": 1.0}, "got 1.0"),
        ({"n_preferred": -1}, "services[0] (shop) n_preferred: must be a whole number from 0 to 2, got -1"),
        ({"n_preferred": 3}, "services[0] (shop) n_preferred: must be a whole number from 0 to 2, got 3"),
    ],
)
def test_wrong_pools_are_refused(figures, changes, what):
    refused(what, lambda: table_of(figures, of_pools={"fra": changes}))


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ({"split": ((4, 1),)}, "routes[0] (r) service: must be a whole number from 0 to 1, got 4"),
        ({"split": ((0, 1), (-1, 1))}, "routes[0] (r) service: must be a whole number from 0 to 1, got -1"),
        ({"split": ((0, -1), (1, 2))}, "routes[0] (r) weight: must be a whole number from 0 to 1000000, got -1"),
        ({"split": ((0, 1_000_001),)}, "routes[0] (r) weight: must be a whole number from 0 to 1000000, got 1000001"),
        ({"split": ((0, 0.5), (1, 0.5))}, "got 0.5"),
        ({"split": ((0, 0), (1, 0))}, "routes[0] (r) split: must have weights above 0, got ((0, 0), (1, 0))"),
        ({"split": ((0, 1),) * 65}, "routes[0] (r) services: must be a whole number from 1 to 64, got 65"),
        ({"fallback_services": (2,)}, "routes[0] (r) service: must be a whole number from 0 to 1, got 2"),
        ({"fallback_services": (1,) * 64}, "routes[0] (r) services: must be a whole number from 1 to 64, got 65"),
        ({"redirect_status": 302}, "routes[0] (r) redirect_status: must be one of 0, 307, 308, got 302"),
        ({"rules": (RuleSpec(),) * 1001}, "routes[0] (r) rules: must be a whole number from 0 to 1000, got 1001"),
        ({"rules": (RuleSpec(frozenset({4})),)}, "routes[0] (r) permitted_pops: must be a whole number from 0 to 3, got 4"),
        ({"affinity": AffinitySpec("ip")}, "routes[0] (r) affinity: must be by cookie, header, client, got 'ip'"),
        ({"affinity": AffinitySpec("")}, "got ''"),
        ({"affinity": AffinitySpec("cookie")}, "routes[0] (r) affinity: must have a name when by cookie or header, and only then, got ''"),
        ({"affinity": AffinitySpec("header")}, "and only then, got ''"),
        ({"affinity": AffinitySpec("client", "x")}, "and only then, got 'x'"),
        ({"affinity": AffinitySpec("client", within_ms=-1)}, "routes[0] (r) within_ms: must be a number from 0 to 60000, got -1"),
        ({"affinity": AffinitySpec("client", within_ms=60001)}, "got 60001"),
        ({"affinity": AffinitySpec("client", within_ms=NAN)}, "got nan"),
    ],
)
def test_wrong_routes_are_refused(figures, route, what):
    refused(what, lambda: table_of(figures, services=["shop", "other"], routes=[RouteSpec("r", 0, **route)]))


@pytest.mark.parametrize("code", ["de", "D", "DEU", "", "D1", "1D", "ÄÖ", "ŁŁ", None, 49])
def test_countries_are_two_capitals(figures, code):
    rule = RuleSpec(None, frozenset({code}))
    refused(
        f"routes[0] (r): a country must be two capitals, got {code!r}", lambda: table_of(figures, routes=[RouteSpec("r", 0, rules=(rule,))])
    )


@pytest.mark.parametrize("code", ["eu", "XX", "EUR", "", None])
def test_continents_are_the_seven(figures, code):
    rule = RuleSpec(None, None, frozenset({code}))
    what = f"routes[0] (r): a continent must be one of AF, AN, AS, EU, NA, OC, SA, got {code!r}"
    refused(what, lambda: table_of(figures, routes=[RouteSpec("r", 0, rules=(rule,))]))


@pytest.mark.parametrize(
    ("pins", "what"),
    [
        ([(0,), (1, 4)], "pins[1]: must be a whole number from 0 to 3, got 4"),
        ([(-1,)], "pins[0]: must be a whole number from 0 to 3, got -1"),
        ([(2, 1, 2)], "pins[0]: must name each PoP once, got (2, 1, 2)"),
        ([(True,)], "pins[0]: must be a whole number from 0 to 3, got True"),
    ],
)
def test_wrong_pins_are_refused(figures, pins, what):
    refused(what, lambda: table_of(figures, pins=pins))


def test_the_most_that_is_legal_is_taken(nothing_left):
    figures = Figures(1)
    rules = (*(RuleSpec(frozenset({number % 4}), frozenset({"DE"})) for number in range(999)), RuleSpec())
    split = tuple((number % 2, 1_000_000) for number in range(63))
    route = RouteSpec("r", 0, rules=rules, split=split, fallback_services=(1,), redirect_status=308, affinity=AffinitySpec("client"))
    most = {"high": 1 << 30, "weight": 1000, "n_preferred": 2}
    table = table_of(
        figures,
        services=["shop", "other"],
        routes=[route],
        pins=[(0, 1, 2, 3), ()],
        of_pools=dict.fromkeys(["fra", "nyc"], most),
        of_pops={"fra": {"high": 1 << 30, "cookie": "fra.mac", "public_url": "https://fra.example.com"}},
    )
    explained = explain(table, 0, LONDON)
    assert (explained.rule, len(explained.split)) == (999, 63)
    assert sum(share for _, share in explained.split) == pytest.approx(1)
    assert explain(table, 0, LONDON, country="DE").rule == 0
    del table, figures


def test_routes_share_what_is_the_same_and_only_that(nothing_left):
    figures = Figures(1)
    rules = [(RuleSpec(frozenset({number})),) for number in range(3)]
    routes = [RouteSpec(f"r{number}", number % 2, rules=rules[number % 3]) for number in range(12)]
    routes.append(RouteSpec("split", 0, split=((0, 1), (1, 1)), rules=rules[0]))
    routes.append(RouteSpec("fallback", 1, fallback_services=(0,), rules=rules[1]))
    table = table_of(figures, services=["shop", "other"], routes=routes)
    for number, route in enumerate(routes[:12]):
        explained = explain(table, number, LONDON)
        assert (explained.service, explained.pop) == (("shop", "other")[route.service], CITIES[number % 3][0])
    assert draw(table, 12, LONDON, 100) == {"fra": 100}
    assert {explain(table, 12, LONDON, seed).service for seed in range(20)} == {"shop", "other"}
    for row in pool_rows(table, 1):
        figures.set_pool(row, admit=0, availability=0)
    assert explain(table, 13, LONDON).service == "shop"
    del table, figures


def test_a_route_that_is_refused_matches_and_leads_nowhere(nothing_left):
    figures = Figures(1)
    routes = [
        RouteSpec("wide", 0),
        RouteSpec("refused", None, path_prefix="/a", rules=(RuleSpec(),) * 3),
        RouteSpec("narrow", 1, path_exact="/a/b"),
    ]
    table = table_of(figures, services=["shop", "other"], routes=routes)
    assert [match(table, "x", path) for path in ("/", "/a", "/a/b", "/a/c")] == [0, 1, 2, 1]
    assert explain(table, 2, LONDON).service == "other"
    for ask in (explain, draw):
        with pytest.raises(ValueError, match="route 1: must lead to a service, got one that is refused") as wrong:
            ask(table, 1, LONDON, 9)
    del table, figures, wrong


def test_so_may_all_routes_be_where_no_service_is_left(nothing_left):
    figures = Figures(1)
    table = Table(dataclasses.replace(spec_of(figures), services=(), routes=(RouteSpec("refused", None),)), figures)
    assert match(table, "x", "/") == 0
    del table, figures


def test_affinity_of_one_route_is_not_anothers(figures):
    routes = [RouteSpec("a", 0, affinity=AffinitySpec("cookie", "c")), RouteSpec("b", 0)]
    table = table_of(figures, routes=routes)
    assert explain(table, 0, LONDON, kept="sin").pop == "sin"
    assert explain(table, 1, LONDON, kept="sin").pop == "par"
