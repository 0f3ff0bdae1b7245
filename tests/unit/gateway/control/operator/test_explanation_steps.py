"""What an explanation says of each step of the decision: rules, capacity, pins, affinity, splits, stand-ins, redirects."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gateway.control.operator import offline
from gateway.control.operator.admin import situation_of
from gateway.control.operator.explanation import MAX_HEADERS, BadQuestion, Situation, explain, read_headers
from gateway.control.sources.geo import home_of, overrides_of, pins_of
from gateway.control.table.affinity import FILE, cookie_value
from gateway.dataplane import client_key, header_key
from gateway.parts import pools_of
from gateway.simulation.shares import unmeasured
from geoip import Database, Locator
from routing_core import Table, draw
from routing_core import explain as decide
from routing_core._testing import add_to_pop
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.operating import admit, gateway_of
from tests.unit.geoip.mmdb import city, write

KEY = b"k" * 32
WORLD = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
gateway: {location: {lat: 48.0, lon: 2.0}}
geoip:
  overrides:
    - {prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0, country: DE}
    - {prefix: 10.1.2.0/24, lat: 49.5, lon: 5.4, country: LU}
    - {prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0, country: US}
    - {prefix: "2001:db8::/32", lat: 49.5, lon: 5.4, country: LU}
    - {asn: 64500, lat: 1.0, lon: 103.0, country: SG}
    - {country: BR, lat: -23.0, lon: -46.0}
  pins: [{prefix: 10.2.7.0/24, pops: [par, fra]}]
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE, public_url: "https://fra.example.com", capacity: {requests_in_flight: 10, low: 50%}}
  - {name: par, lat: 48.86, lon: 2.35, country: FR, public_url: "https://par.example.com:8443"}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US, public_url: "https://nyc.example.com"}
services:
  - name: shop
    on_unavailable: [sorry]
    backends:
      - {pop: fra, endpoints: ["192.0.2.1:80"]}
      - {pop: par, endpoints: ["192.0.2.2:80"]}
      - {pop: nyc, endpoints: ["192.0.2.3:80"]}
  - {name: next, backends: [{pop: fra, endpoints: ["192.0.2.1:81"]}]}
  - {name: sorry, backends: [{pop: nyc, endpoints: ["192.0.2.3:82"]}]}
routes:
  - name: law
    match: {hosts: [law.example.com]}
    service: shop
    steering:
      jurisdiction:
        - {clients: {countries: [DE, LU]}, pops: {countries: [DE, FR]}}
        - {clients: {continents: [NA], countries: [SG]}, pops: {}}
        - {pops: {countries: [DE]}}
  - {name: none, match: {hosts: [none.example.com]}, service: next, steering: {jurisdiction: [{clients: {countries: [DE]}, pops: {}}]}}
  - {name: split, match: {hosts: [split.example.com]}, split: [{service: shop, weight: 3}, {service: next}], split_sticky: true}
  - {name: cookie, match: {hosts: [cookie.example.com]}, service: shop, steering: {affinity: {cookie: pop}}}
  - {name: header, match: {hosts: [header.example.com]}, service: shop, steering: {affinity: {header: X-Tenant, within: 1s}}}
  - {name: client, match: {hosts: [client.example.com]}, service: shop, steering: {affinity: {client: true, within: 1s}}}
  - {name: away, match: {hosts: [away.example.com]}, service: shop, steering: {mode: redirect, redirect: {status: 308}}}
  - {name: beta, match: {hosts: [law.example.com], headers: {x-beta: "1"}}, service: next}
"""


@pytest.fixture
def situation(tmp_path):
    (tmp_path / FILE).write_bytes(KEY)
    return offline.situation_of(config_of(WORLD, state_dir=str(tmp_path)))[0]


def route_of(situation, name):
    return next(number for number, route in enumerate(situation.table.spec.routes) if route.name == name)


def candidates(said):
    return {one["pop"]: one for one in said["candidates"]}


def test_the_whole_answer_is_json(situation):
    for host in ("law", "none", "split", "cookie", "header", "client", "away"):
        said = explain(situation, "10.2.7.1", f"{host}.example.com")
        assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize(
    ("client", "number", "text", "pops"),
    [
        ("10.1.0.1", 1, "clients in country DE, LU: fra, par", ["fra", "par"]),
        ("10.2.0.1", 2, "clients in country SG or continent NA: every PoP", ["fra", "par", "nyc"]),
        ("8.8.8.8", 3, "every client: fra", ["fra"]),
    ],
)
def test_the_rule_that_holds_is_named_as_it_is_counted_in_the_file(situation, client, number, text, pops):
    said = explain(situation, client, "law.example.com")
    assert said["rule"] == {"number": number, "of": 3, "text": text, "pops": pops}
    assert [one["pop"] for one in said["candidates"] if one["permitted"]] == sorted(pops, key=[*candidates(said)].index)
    assert said["decision"]["pop"] in pops


def test_no_rule_fails_closed(situation):
    said = explain(situation, "10.2.0.1", "none.example.com")
    assert (said["rule"], said["decision"], said["error"]) == (None, None, "no_permitted_pop")
    assert candidates(said)["fra"]["why_not"] == "outside the jurisdiction: no rule for this client"
    assert explain(situation, "10.1.0.1", "none.example.com")["rule"]["text"] == "clients in country DE: every PoP"


CITIES = Database(write({"8.0.0.0/8": city(-10.0, -50.0, "BR", "SA"), "9.0.0.0/8": city(50.0, 8.0, "BR", "SA")}), "city.mmdb")
ASNS = Database(write({"9.1.0.0/16": {"asn": 64500}, "10.1.0.0/16": {"asn": 64500}}), "asn.mmdb")


def located(config):
    return Locator((CITIES,), (ASNS,), overrides_of(config), home_of(config), pins_of(config))


@pytest.mark.parametrize(
    ("client", "override"),
    [
        ("10.1.0.1", "prefix 10.1.0.0/16"),
        ("10.1.2.1", "prefix 10.1.2.0/24"),
        ("2001:db8::7", "prefix 2001:db8::/32"),
        ("9.1.0.1", "AS 64500"),
        ("9.2.0.1", "country BR"),
        ("8.1.1.1", "country BR"),
        ("192.168.0.1", "gateway.location"),
        ("7.0.0.1", None),
    ],
)
def test_the_override_that_places_a_client_is_named(situation, client, override):
    placed = Situation(situation.table, located(situation.config), config=situation.config)
    said = explain(placed, client, "law.example.com")["location"]
    assert said["override"] == override
    assert (said["source"] == "override") is (override is not None)


def test_headroom_the_three_factors_of_admit_and_the_parts_of_the_estimate():
    gateway = gateway_of(WORLD)
    admit(gateway)
    spec = gateway.publisher.table.spec
    row = spec.services[0].pools[0].row
    add_to_pop(gateway.figures, spec.pops[0].row, 0, 7)
    gateway.figures.set_pool(
        row, availability=0.5, shed=0.5, ramp=0.5, admit=0.125, penalty_ms=20.0, service_ms=2.0, path_ms=9.0, samples=4
    )
    said = candidates(explain(situation_of(pools_of(gateway)), "10.1.0.1", "law.example.com"))
    fra = said["fra"]
    assert [fra[key] for key in ("availability", "shed", "ramp", "admit", "headroom", "penalty_ms")] == [0.5, 0.5, 0.5, 0.125, 0.3, 20.0]
    assert fra["estimate_ms"] == pytest.approx(fra["path_ms"] + 2.0 + 20.0, abs=0.011)
    assert (said["par"]["headroom"], said["par"]["penalty_ms"]) == (None, 0.0)


def test_a_pin_its_pops_and_whether_it_holds(situation):
    said = explain(situation, "10.2.7.1", "cookie.example.com")
    assert said["pin"] == {"prefix": "10.2.7.0/24", "pops": ["par", "fra"], "holds": True}
    assert (said["decision"]["pop"], said["decision"]["reason"]) == ("par", "order")
    assert explain(situation, "10.2.8.1", "cookie.example.com")["pin"] is None
    unnamed = Situation(situation.table, situation.locator)
    assert explain(unnamed, "10.2.7.1", "cookie.example.com")["pin"]["prefix"] is None


def test_a_pin_of_which_none_can_serve(situation):
    said = explain(situation, "10.2.7.1", "away.example.com")
    assert said["pin"]["holds"]
    assert said["redirect"] == {"status": 308, "location": "https://par.example.com:8443/"}


def test_split_and_stand_ins(situation):
    said = explain(situation, "10.1.0.1", "split.example.com")
    assert said["split"] == {"shop": 0.75, "next": 0.25}
    assert said["service"] in said["split"]
    assert said["on_unavailable"] == ["sorry"]
    assert explain(situation, "10.1.0.1", "none.example.com")["split"] == {"next": 1.0}


def test_a_sticky_client_is_drawn_as_the_data_plane_draws_it(situation):
    """By its /24: the same service as any other address of it."""
    services = {}
    for number in range(40):
        seen = {explain(situation, f"10.1.{number}.{last}", "split.example.com")["service"] for last in (1, 99, 254)}
        assert len(seen) == 1
        services[number] = seen.pop()
    assert set(services.values()) == {"shop", "next"}


def test_affinity_by_client_goes_by_the_data_planes_own_hash(situation):
    chosen = set()
    for number in range(3, 40):
        client = f"10.1.{number}.7"
        said = explain(situation, client, "client.example.com")
        packed = bytes(10) + b"\xff\xff" + ip_address(client).packed
        place = (said["location"]["lat"], said["location"]["lon"], 0.0)
        drawn = draw(situation.table, route_of(situation, "client"), place, 50, country="DE", continent="EU", client_key=client_key(packed))
        assert drawn == {said["decision"]["pop"]: 50}
        assert said["affinity"] == {
            "by": "client", "name": None, "within_ms": 1000.0, "kept": said["decision"]["pop"], "holds": True,
            "text": f"its network goes to {said['decision']['pop']} each time",
        }  # fmt: skip
        chosen.add(said["decision"]["pop"])
    assert chosen == {"fra", "par", "nyc"}


def test_affinity_by_header(situation):
    name = "header.example.com"
    said = explain(situation, "10.1.0.1", name, headers=[("x-tenant", "acme")])
    route = route_of(situation, "header")
    place = (50.0, 8.0, 0.0)
    explained = decide(situation.table, route, place, country="DE", continent="EU", client_key=1, header_key=header_key(b"acme"))
    assert (said["decision"]["pop"], said["affinity"]["kept"]) == (explained.pop, explained.pop)
    assert said["affinity"]["text"] == f"its value of x-tenant goes to {explained.pop} each time"
    without = explain(situation, "10.1.0.1", name, headers=[("x-other", "acme")])
    assert (without["affinity"]["text"], without["affinity"]["kept"]) == ("no header x-tenant: as without affinity", None)
    assert without["decision"]["reason"] != "affinity"


def test_affinity_that_has_nothing_to_choose(situation):
    said = explain(situation, "10.2.7.1", "client.example.com")
    assert (said["affinity"]["holds"], said["affinity"]["text"]) == (False, "nothing to choose: the order decides")


@pytest.mark.parametrize(
    ("cookie", "pop", "text"),
    [
        (None, "fra", "no cookie pop; the answer sets one that names fra"),
        (f"a=b; pop={cookie_value(KEY, 'nyc')}", "nyc", "cookie pop names nyc"),
        (f"pop={cookie_value(KEY, 'nyc')}; pop={cookie_value(KEY, 'par')}", "nyc", "cookie pop names nyc"),
        (
            f"pop={cookie_value(b'x' * 32, 'nyc')}",
            "fra",
            "cookie pop is stale or forged, as good as none; the answer sets one that names fra",
        ),
        ("pop=nyc", "fra", "cookie pop is stale or forged, as good as none; the answer sets one that names fra"),
        ("Pop=x; popp=y", "fra", "no cookie pop; the answer sets one that names fra"),
    ],
)
def test_affinity_by_cookie(situation, cookie, pop, text):
    said = explain(situation, "10.1.0.1", "cookie.example.com", headers=[("Cookie", cookie)] if cookie else [])
    assert (said["decision"]["pop"], said["affinity"]["text"]) == (pop, text)
    assert said["affinity"]["holds"] is (pop == "nyc")
    assert said["decision"]["reason"] == ("affinity" if pop == "nyc" else "fastest")


def test_a_pin_beats_a_cookie(situation):
    said = explain(situation, "10.2.7.1", "cookie.example.com", headers=[("cookie", f"pop={cookie_value(KEY, 'nyc')}")])
    assert said["decision"]["pop"] == "par"
    assert said["affinity"]["text"] == "cookie pop names nyc, which does not take this request; the answer sets one that names par"


def test_a_key_that_is_not_known_here():
    situation, _ = offline.situation_of(config_of(WORLD))
    said = explain(situation, "10.1.0.1", "cookie.example.com", headers=[("cookie", "pop=x")])
    assert said["affinity"]["text"] == "the key of cookie pop is not known here"


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("away.example.com", "https://fra.example.com/a?b"),
        ("away.example.com:8080", "https://fra.example.com/a?b"),
        ("fra.example.com", None),
        ("NYC.example.com.", None),
        ("nyc.example.com:443", None),
        ("nyc.example.com:444", "https://fra.example.com/a?b"),
        ("par.example.com", None),
        ("par.example.com:8443", None),
        ("par.example.com:443", "https://fra.example.com/a?b"),
        ("", None),
        ("[::1", None),
        ("[0:0:0:0:0:0:0:5]", None),
    ],
)
def test_nobody_is_redirected_twice(situation, host, location):
    text = WORLD.replace("- {name: away, match: {hosts: [away.example.com]},", "- {name: away,")
    text = text.replace("https://nyc.example.com", "http://[::5]") if host.startswith("[0") else text
    anywhere, _ = offline.situation_of(config_of(text))
    said = explain(anywhere, "10.1.0.1", host, "/a?b")
    assert said["route"] == "away"
    assert said["redirect"] == (None if location is None else {"status": 308, "location": location})


def test_a_method_that_is_not_redirected_is_passed_on(situation):
    for method, is_sent in (("GET", True), ("HEAD", True), ("POST", False)):
        said = explain(situation, "10.1.0.1", "away.example.com", method=method)
        assert (said["redirect"] is not None, said["decision"] is not None) == (is_sent, True)


def test_a_pop_without_a_public_url_is_no_place_to_send_anyone(situation):
    spec = situation.table.spec
    table = Table(*unmeasured(replace(spec, pops=(replace(spec.pops[0], public_url=""), *spec.pops[1:]))))
    bare = replace(situation, table=table)
    assert explain(situation, "10.1.0.1", "away.example.com")["redirect"] is not None
    said = explain(bare, "10.1.0.1", "away.example.com")
    assert (said["decision"]["pop"], said["redirect"]) == ("fra", None)


def test_routes_are_matched_by_headers_too(situation):
    assert explain(situation, "10.1.0.1", "law.example.com")["route"] == "law"
    assert explain(situation, "10.1.0.1", "law.example.com", headers=[("X-Beta", "1")])["route"] == "beta"


def test_headers_are_read_as_lines():
    assert read_headers(["A: b:c", "x:", "y: \t z "]) == [("A", "b:c"), ("x", ""), ("y", "z")]
    with pytest.raises(BadQuestion, match="header: must be NAME: VALUE, as in a request, got 'x'"):
        read_headers(["x"])


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([("a b", "c")], "header: must be NAME: VALUE, as in a request, got the name 'a b'"),
        ([("", "c")], "header: must be NAME"),
        ([("a", "b\r\nc: d")], "header a: must be at most 8192 characters without control characters"),
        ([("a", "x" * 9000)], "header a: must be at most 8192"),
        ([("a", "b")] * (MAX_HEADERS + 1), f"header: must be at most {MAX_HEADERS}, got {MAX_HEADERS + 1}"),
    ],
)
def test_headers_that_are_none(situation, headers, words):
    with pytest.raises(BadQuestion) as caught:
        explain(situation, "10.1.0.1", "law.example.com", headers=headers)
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 300
