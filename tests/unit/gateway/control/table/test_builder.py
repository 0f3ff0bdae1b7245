from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.sources.world import Known, Origin, World
from gateway.control.table.affinity import cookie_value
from gateway.control.table.builder import build, fallbacks_of, rules_of
from gateway.control.table.rows import Rows
from gateway.model import Duration, Match, Service
from k8s import State
from routing_core import PRIOR, AffinitySpec, Figures, RuleSpec, Table, explain, match
from tests.unit.gateway.control.helpers import TWO_POPS, config_of, known

FRA, NYC = ("shop", "fra"), ("shop", "nyc")


@pytest.fixture
def rows():
    return Rows(Figures(1))


def test_pops_services_and_routes_keep_their_order_and_the_table_takes_them(rows):
    config = config_of(gateway="{location: {lat: 1, lon: 2}}")
    world = World()
    world.describe(FRA, [known("192.0.2.1"), known("192.0.2.9", State.UNREADY)])
    world.drained.add("nyc")
    built = build(config, world, rows, 7)
    spec = Table(built.spec, rows.figures).spec
    assert spec.generation == 7
    assert [(pop.name, pop.is_drained) for pop in spec.pops] == [("fra", False), ("nyc", True)]
    (service,) = spec.services
    fra, nyc = service.pools
    assert [endpoint.name for endpoint in fra.endpoints] == ["192.0.2.1:80"]
    assert fra.total == 2
    assert (nyc.endpoints, nyc.total) == ((), 0)
    assert (spec.intercept_ms, spec.slope_ms_per_km, spec.abroad_ms, spec.borders) == PRIOR
    assert [pop.country for pop in spec.pops] == ["DE", "US"]
    assert spec.gateway == (1, 2)
    assert [(item.identity.address, service.name) for item, _, service in built.selected] == [("192.0.2.1", "shop")]


def test_paths_and_where_the_gateway_stands_are_numbers_of_pops(rows):
    """In milliseconds, and of PoPs that are there alone: another source may have been refused one."""
    config = config_of(gateway="{pop: nyc}")
    fra, nyc = config.pops
    fra = replace(fra, paths=(("nyc", Duration(0.0845)), ("gone", Duration(0.01))))
    config = replace(config, pops=(fra, nyc))
    built = build(config, World(), rows, 1)
    assert built.spec.paths == ((0, 1, 84.5),)
    assert (built.spec.gateway_pop, built.spec.gateway) == (1, (nyc.lat, nyc.lon))
    world = World()
    world.drained.add("fra")
    assert build(config, world, rows, 2, before=built).spec.paths is built.spec.paths
    assert build(replace(config, gateway=replace(config.gateway, pop="gone")), World(), rows, 3).spec.gateway_pop is None
    assert build(config_of(), World(), rows, 4).spec.paths == ()


def test_used_rows_are_those_of_the_table_and_the_same_next_time(rows):
    config = config_of()
    world = World()
    world.describe(FRA, [known("192.0.2.1"), known("192.0.2.9", State.UNREADY)])
    first, second = build(config, world, rows, 1), build(config, world, rows, 2)
    assert first.used == second.used == set(rows.rows)
    assert first.spec.services == second.spec.services
    assert len(first.used) == 6  # an endpoint, two pools, two PoPs, a service: an unready one has no row
    assert len(set(rows.rows.values())) == 6


ROUTES = TWO_POPS.replace(
    "routes: [{service: shop}]",
    """
routes:
  - service: shop
    match:
      - {hosts: [shop.example.com], path_prefix: /a, method: GET, headers: {x-a: b}, query: {q: "1"}}
      - {path_exact: /b}
    steering: {leg: client-pop, window: 7ms, jurisdiction: JURISDICTION}
""",
)


def test_a_route_becomes_one_for_each_match(rows):
    spec = build(config_of(ROUTES.replace("JURISDICTION", "{}")), World(), rows, 1).spec
    first, second = spec.routes
    assert (first.hosts, first.path_prefix, first.method, first.headers, first.query) == (
        ("shop.example.com",), "/a", "GET", (("x-a", "b"),), (("q", "1"),),
    )  # fmt: skip
    assert (second.hosts, second.path_exact, second.window_ms, second.leg) == ((), "/b", 7.0, "client-pop")
    assert first.rules[0].permitted_pops is second.rules[0].permitted_pops is None
    Table(spec, rows.figures)


def permitted_of(config):
    (rule,) = rules_of(config.routes[0].steering.rules, config.pops, {"fra": 0, "nyc": 1})
    return rule.permitted_pops


@pytest.mark.parametrize(
    ("jurisdiction", "permitted"),
    [
        ("{}", None),
        ("{continents: [EU]}", {0}),
        ("{continents: [EU, NA]}", None),
        ("{countries: [US]}", {1}),
        ("{regions: [eu-central]}", {0}),
        ("{pops: [nyc]}", {1}),
    ],
)
def test_jurisdiction_becomes_the_pops_it_permits(jurisdiction, permitted):
    config = config_of(ROUTES.replace("JURISDICTION", jurisdiction))
    assert permitted_of(config) == permitted


def test_a_pop_that_does_not_say_where_it_is_is_never_permitted():
    config = config_of(ROUTES.replace("JURISDICTION", "{continents: [EU, NA]}").replace(", country: US", ""))
    assert permitted_of(config) == {0}


# Rules


EUROPE = "{clients: {continents: [EU]}, pops: {continents: [EU]}}"
GERMANS = "{clients: {countries: [DE, AT]}, pops: {pops: [fra]}}"
SOME = "{clients: {countries: [US], continents: [SA]}, pops: {}}"
REST = "{pops: {countries: [US]}}"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([EUROPE], [RuleSpec({0}, frozenset(), frozenset({"EU"}))]),
        ([GERMANS, REST], [RuleSpec({0}, frozenset({"DE", "AT"}), frozenset()), RuleSpec({1}, None, None)]),
        ([SOME], [RuleSpec(None, frozenset({"US"}), frozenset({"SA"}))]),  # all PoPs, though not all clients
    ],
)
def test_a_list_of_rules_keeps_its_order_and_whose_they_are(rows, rules, expected):
    config = config_of(ROUTES.replace("JURISDICTION", f"[{', '.join(rules)}]"))
    spec = build(config, World(), rows, 1).spec
    assert [list(route.rules) for route in spec.routes] == [expected] * 2
    Table(spec, rows.figures)


def test_rules_decide_by_client(rows):
    """As the core reads them: the first that fits; without one, or with no PoP that it permits, nothing."""
    config = config_of(ROUTES.replace("JURISDICTION", f"[{GERMANS}, {EUROPE}, {SOME}]"))
    world = World()
    for pool, address in ((FRA, "192.0.2.1"), (NYC, "192.0.2.2")):
        world.describe(pool, [known(address)])
    table = Table(build(config, world, rows, 1).spec, rows.figures)

    def permitted(**place):
        found = explain(table, 1, (40.0, -74.0, 10.0), **place)
        return found.rule, {one.pop for one in found.candidates if one.permitted}, found.error

    assert permitted(country="DE", continent="EU") == (0, {"fra"}, None)
    assert permitted(country="FR", continent="EU") == (1, {"fra"}, None)
    assert permitted(country="US", continent="NA") == (2, {"fra", "nyc"}, None)
    assert permitted(country="JP", continent="AS")[0::2] == (None, "no_permitted_pop")
    assert permitted()[0::2] == (None, "no_permitted_pop")


# Splits and fallbacks


def with_services(*more, route="service: shop"):
    """`more`: (name, what else)."""
    text = TWO_POPS.replace("routes: [{service: shop}]", f"routes: [{{{route}}}]")
    services = "".join(
        f'  - {{name: {name}, backends: [{{pop: fra, endpoints: ["192.0.2.{n}:80"]}}]{", " if rest else ""}{rest}}}\n'
        for n, (name, rest) in enumerate(more, 20)
    )
    return text.replace("routes:", services + "routes:")


def test_a_split_is_by_weight_with_what_stands_in(rows):
    config = config_of(
        with_services(
            ("canary", "on_unavailable: [old]"),
            ("old", "on_unavailable: [sorry]"),
            ("sorry", ""),
            ("other", ""),
            route="split: [{service: shop, weight: 95}, {service: canary, weight: 5}, {service: other, weight: 0}], split_sticky: true",
        )
    )
    spec = build(config, World(), rows, 1).spec
    (route,) = spec.routes
    assert [service.name for service in spec.services] == ["shop", "canary", "old", "sorry", "other"]
    assert (route.service, route.split, route.is_split_sticky) == (0, ((1, 5), (4, 0), (0, 95)), True)  # in the order of names
    assert route.fallback_services == (2, 3)
    Table(spec, rows.figures)


def test_one_service_is_no_split(rows):
    (route,) = build(config_of(with_services(("other", ""))), World(), rows, 1).spec.routes
    assert (route.service, route.split, route.is_split_sticky, route.fallback_services) == (0, (), False, ())


BACKEND = config_of().services[0].backends


def chained(**others):
    return [Service(name=name, backends=BACKEND, on_unavailable=tuple(names)) for name, names in others.items()]


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        ("a", {"a": ""}, ""),
        ("a", {"a": "bc", "b": "", "c": ""}, "bc"),
        ("a", {"a": "b", "b": "c", "c": "d", "d": ""}, "bcd"),
        ("a", {"a": "bc", "b": "d", "c": "e", "d": "", "e": ""}, "bcde"),  # its own in order, then theirs
        ("a", {"a": "bc", "b": "d", "c": "d", "d": ""}, "bcd"),  # each once
        ("ab", {"a": "x", "b": "y", "x": "", "y": ""}, "xy"),
        ("ab", {"a": "xz", "b": "zy", "x": "", "y": "", "z": ""}, "xzy"),
        ("ab", {"a": "", "b": "a"}, "a"),  # a canary falls back on what it is to replace
        ("ab", {"a": "x", "b": "a", "x": ""}, "ax"),  # and on its fallback only after it
        ("ab", {"a": "", "b": "x", "x": "a"}, "xa"),
        ("abc", {"a": "x", "b": "a", "c": "b", "x": ""}, "bax"),
    ],
)
def test_fallbacks(names, others, expected):
    assert "".join(fallbacks_of(names, chained(**others))) == expected


NAMES = "abcdef"
# Each leads to later ones only: none leads back.
GRAPHS = st.tuples(*(st.lists(st.sampled_from(NAMES[n + 1 :] or "f"), unique=True, max_size=3) for n in range(5))).map(
    lambda found: dict(zip(NAMES, (*found, []), strict=True))
)


@settings(max_examples=50)
@given(GRAPHS, st.permutations("abcdef"), st.integers(1, 3))
def test_fallbacks_are_all_that_can_be_reached_each_once_and_a_chain_keeps_its_order(others, order, n):
    names = order[:n]
    found = fallbacks_of(names, chained(**others))
    assert len(set(found)) == len(found)
    reached = {other for name in names for other in others[name]}
    while more := {other for name in reached for other in others[name]} - reached:
        reached |= more
    assert set(found) == reached
    if n == 1:
        assert found[: len(others[names[0]])] == others[names[0]]


# Affinity, redirects, pins


def with_steering(steering, text=TWO_POPS):
    return text.replace("routes: [{service: shop}]", f"routes: [{{service: shop, steering: {steering}}}]")


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        ("{cookie: Pop}", AffinitySpec("cookie", "Pop", 0.0, "; Path=/; HttpOnly; SameSite=Lax", True)),
        ("{cookie: pop, same_site: strict, secure: auto}", AffinitySpec("cookie", "pop", 0.0, "; Path=/; HttpOnly; SameSite=Strict", True)),
        ("{cookie: pop, secure: true, same_site: none}", AffinitySpec("cookie", "pop", 0.0, "; Path=/; HttpOnly; SameSite=None; Secure")),
        ("{cookie: pop, secure: false}", AffinitySpec("cookie", "pop", 0.0, "; Path=/; HttpOnly; SameSite=Lax")),
        ("{cookie: pop, max_age: 2h}", AffinitySpec("cookie", "pop", 0.0, "; Path=/; HttpOnly; SameSite=Lax; Max-Age=7200", True)),
        ("{header: X-Tenant, within: 30ms}", AffinitySpec("header", "x-tenant", 30.0)),
        ("{client: true, within: 1s}", AffinitySpec("client", "", 1000.0)),
    ],
)
def test_affinity(rows, affinity, expected):
    spec = build(config_of(with_steering(f"{{affinity: {affinity}}}")), World(), rows, 1).spec
    assert spec.routes[0].affinity == expected
    Table(spec, rows.figures)


def test_without_affinity_there_is_none(rows):
    assert build(config_of(), World(), rows, 1).spec.routes[0].affinity is None


def test_a_key_makes_the_cookies_that_name_pops(rows):
    config = config_of()
    assert [pop.cookie for pop in build(config, World(), rows, 1).spec.pops] == ["", ""]
    spec = build(config, World(), rows, 1, b"k" * 16).spec
    assert [pop.cookie for pop in spec.pops] == [cookie_value(b"k" * 16, "fra"), cookie_value(b"k" * 16, "nyc")]


PUBLIC = TWO_POPS.replace("country: DE", 'country: DE, public_url: "https://fra.example.com"').replace(
    "country: US", 'country: US, public_url: "http://nyc.example.com:8080/"'
)


def test_a_refused_route_leads_nowhere_and_matches_where_it_did(rows):
    config = config_of(TWO_POPS)
    (whole,) = config.routes
    refused = replace(whole, name="refused", match=(Match(path_prefix="/a"), Match(path_exact="/b")), targets=())
    spec = build(replace(config, routes=(whole, refused)), World(), rows, 1).spec
    assert [(one.name, one.service, one.path_prefix, one.path_exact) for one in spec.routes[1:]] == [
        ("refused", None, "/a", None),
        ("refused", None, None, "/b"),
    ]
    table = Table(spec, rows.figures)
    assert [match(table, "x", path) for path in ("/", "/a/b", "/b")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("steering", "status", "is_all"),
    [
        ("{mode: redirect}", 307, False),
        ("{mode: redirect, redirect: {status: 308, methods: all}}", 308, True),
        ("{redirect: {status: 308}}", 0, False),  # without the mode nothing is redirected
    ],
)
def test_redirects(rows, steering, status, is_all):
    spec = build(config_of(with_steering(steering, PUBLIC)), World(), rows, 1).spec
    assert [pop.public_url for pop in spec.pops] == ["https://fra.example.com", "http://nyc.example.com:8080"]
    assert (spec.routes[0].redirect_status, spec.routes[0].redirects_all) == (status, is_all)
    Table(spec, rows.figures)


def test_a_pop_without_an_address_of_its_own_says_so(rows):
    assert [pop.public_url for pop in build(config_of(), World(), rows, 1).spec.pops] == ["", ""]


def test_pins_are_numbers_of_pops_in_order(rows):
    config = config_of(geoip="{pins: [{prefix: 10.1.0.0/16, pops: [nyc, fra]}, {prefix: 10.2.0.0/16, pops: [fra]}]}")
    spec = build(config, World(), rows, 1).spec
    assert spec.pins == ((1, 0), (0,))
    Table(spec, rows.figures)


# Capacity, weights, zones


def test_capacities_and_weights(rows):
    text = TWO_POPS.replace("region: eu-central}", "region: eu-central, capacity: {requests_in_flight: 1000, low: 50%, high: 90%}}")
    text = text.replace('"192.0.2.1:80"]}', '"192.0.2.1:80"], weight: 7, capacity: {requests_in_flight: 29, low: 10%, high: 29%}}')
    text = text.replace("- name: shop", "- name: shop\n    max_in_flight: 5\n    long_lived: true")
    spec = build(config_of(text), World(), rows, 1).spec
    assert [pop.high for pop in spec.pops] == [900, 0]
    fra, nyc = spec.services[0].pools
    assert [(pool.high, pool.weight, pool.max_in_flight) for pool in (fra, nyc)] == [(8, 7, 5), (0, 1, 5)]
    assert spec.services[0].is_long_lived
    assert [rows.find("pop", pop.name) for pop in spec.pops] == [pop.row for pop in spec.pops]
    Table(spec, rows.figures)


def zoned(*zones, state=State.READY):
    return [replace(known(f"192.0.2.{n}", state), zone=zone) for n, zone in enumerate(zones, 1)]


@pytest.mark.parametrize(
    ("prefers", "zones", "order", "n_preferred"),
    [
        (True, "baba", "aabb", 2),
        (True, "abcabc", "aabcbc", 2),  # each zone's share
        (True, "bbbba", "bbbba", 0),  # one of five would have to bear half
        (True, "bb", "bb", 0),
        (False, "baba", "baba", 0),
    ],
)
def test_endpoints_of_the_own_zone_come_first(rows, prefers, zones, order, n_preferred):
    text = TWO_POPS.replace("- name: shop", f"- name: shop\n    prefer_zone: {str(prefers).lower()}")
    world = World()
    endpoints = zoned(*zones)
    world.describe(FRA, endpoints)
    built = build(config_of(text, gateway="{zone: a}"), world, rows, 1)
    pool = built.spec.services[0].pools[0]
    zone_of = {one.identity.address: one.zone for one in endpoints}
    assert "".join(zone_of[one.address] for one in pool.endpoints) == order
    assert pool.n_preferred == n_preferred
    assert [row for _, row, _ in built.selected] == [one.row for one in pool.endpoints]
    for zone in "abc":  # in the order they came, within a zone
        assert [one.address for one in pool.endpoints if zone_of[one.address] == zone] == [
            one.identity.address for one in endpoints if one.zone == zone
        ]
    Table(built.spec, rows.figures)


def test_who_terminates_is_never_preferred(rows):
    text = TWO_POPS.replace("- name: shop", "- name: shop\n    prefer_zone: true")
    world = World()
    world.describe(FRA, zoned("b", "a", state=State.SERVING_TERMINATING))
    pool = build(config_of(text, gateway="{zone: a}"), world, rows, 1).spec.services[0].pools[0]
    assert (len(pool.endpoints), pool.n_preferred, pool.is_last_resort) == (2, 0, True)


# One build after another


def test_what_did_not_change_is_the_same_object_and_what_did_is_told(rows):
    config, world = config_of(), World()
    one, two, three = known("192.0.2.1"), known("192.0.2.2"), known("192.0.2.3")
    world.describe(FRA, [one])
    world.describe(NYC, [replace(each, identity=each.identity._replace(pop="nyc")) for each in (two, three)])
    first = build(config, world, rows, 1)
    nyc = world.pools[NYC]
    four = Known(nyc[0].identity._replace(address="192.0.2.4"), State.READY, Origin.STATIC)
    world.describe(NYC, [nyc[0], four])
    second = build(config, world, rows, 2, before=first)
    assert second.spec.generation == 2
    assert second.parts[FRA] is first.parts[FRA]
    assert second.spec.pops is first.spec.pops and second.spec.routes is first.spec.routes
    assert second.parts[NYC].spec.endpoints[0] is first.parts[NYC].spec.endpoints[0]
    (change,) = second.since(first)
    assert (change.pool, [each[0] for each in change.came], change.went) == (NYC, [four], [nyc[1].identity])
    assert second.used == build(config, world, rows, 2).used
    assert second.spec == build(config, world, rows, 2).spec
    third = build(config, world, rows, 3, before=second)
    assert third.spec.services[0] is second.spec.services[0] and third.since(second) == []


@pytest.mark.parametrize("what", ["drain", "configuration"])
def test_a_drain_or_another_configuration_builds_all(rows, what):
    config, world = config_of(), World()
    world.describe(FRA, [known("192.0.2.1")])
    first = build(config, world, rows, 1)
    if what == "drain":
        world.drained = {"fra"}
    else:
        config = config_of()
    second = build(config, world, rows, 2, before=first)
    assert second.parts[FRA] is not first.parts[FRA]
    assert second.spec.pops[0].is_drained is (what == "drain")
    assert (second.spec.routes is first.spec.routes) is (what == "drain"), "its rules are the same"


def test_who_is_only_known_otherwise_came_and_did_not_go(rows):
    config, world = config_of(), World()
    one = known("192.0.2.1")
    world.describe(FRA, [one])
    first = build(config, world, rows, 1)
    world.describe(FRA, [replace(one, zone="z")])
    second = build(config, world, rows, 2, before=first)
    (change,) = second.since(first)
    assert ([each[0].zone for each in change.came], change.went) == (["z"], [])
    assert second.parts[FRA].spec.endpoints is first.parts[FRA].spec.endpoints
