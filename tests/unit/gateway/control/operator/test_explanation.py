import json
from dataclasses import replace

import pytest

from gateway.control.operator import offline
from gateway.control.operator.admin import situation_of
from gateway.control.operator.explanation import BadQuestion, Situation, explain, first_host, without_port
from gateway.control.operator.pools import Source
from gateway.model import Route, Target, merged
from gateway.parts import pools_of
from routing_core import draw
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.operating import admit, gateway_of

WORLD = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
geoip:
  overrides:
    - {prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0, country: DE}
    - {prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0}
    - {prefix: "2001:db8::/32", lat: 40.0, lon: -74.0}
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US}
services:
  - {name: shop, backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}, {pop: nyc, endpoints: ["192.0.2.2:80", "[2001:db8::2]:80"]}]}
  - {name: eu, backends: [{pop: fra, endpoints: ["unix:/run/app"]}, {pop: nyc, endpoints: ["192.0.2.2:81"]}]}
routes:
  - {name: eu, service: eu, match: {hosts: [eu.example.com]}, steering: {jurisdiction: {countries: [DE]}}}
  - {name: shop, service: shop, match: {hosts: ["*.example.com"], path_prefix: /shop}}
"""
# DESIGN section 5, in its order: fields may be added, not renamed.
FIELDS = ["client", "host", "path", "route", "service", "location", "leg", "decision"]
CANDIDATE = ["pop", "permitted", "available", "availability", "headroom", "distance_km", "estimate_ms", "evidence", "samples", "in_window"]


@pytest.fixture
def situation():
    return offline.situation_of(config_of(WORLD))[0]


def test_the_object_has_the_fields_of_the_contract(situation):
    said = explain(situation, "10.2.0.1", "www.example.com", "/shop/1?q=2")
    assert list(said)[: len(FIELDS)] == FIELDS
    assert list(said["candidates"][0])[: len(CANDIDATE) + 2] == [*CANDIDATE, "share", "why_not"]
    assert said["table"].keys() == {"generation", "age_s"}
    assert said["location"] == {
        "lat": 40.0, "lon": -74.0, "country": None, "continent": None, "asn": None, "accuracy_km": None, "source": "override",
        "override": "prefix 10.2.0.0/16",
    }  # fmt: skip
    assert said["decision"]["pop"] == "nyc"
    assert said["decision"]["endpoint"] in ("192.0.2.2:80", "[2001:db8::2]:80")
    assert said["decision"]["reason"] == "fastest"
    assert said["decision"]["fallbacks"] == ["fra"]
    assert said["error"] is None
    assert json.loads(json.dumps(said)) == said


def test_file_and_running_gateway_say_the_same_word_for_word(situation):
    """As alike as can be: good probes and no traffic. Only the table's number and age, and what was measured, are a gateway's own."""
    gateway = gateway_of(WORLD)
    admit(gateway)
    live = replace(situation_of(pools_of(gateway)), config=gateway.config)
    for client in ("10.1.2.3", "10.2.0.1", "2001:db8::1", "8.8.8.8"):
        for host in (None, "eu.example.com", "www.example.com", "other.org"):
            ours, theirs = explain(situation, client, host, "/shop"), explain(live, client, host, "/shop")
            assert (ours.pop("table"), theirs.pop("table")) == ({"generation": 0, "age_s": 0.0}, {"generation": 2, "age_s": 0.0})
            assert ours == theirs


def test_the_same_table_gives_the_same_text(situation):
    same = Situation(situation.table, situation.locator, 0.0, situation.sources, config=situation.config)
    assert json.dumps(explain(situation, "10.1.0.1", "a.example.com", "/shop")) == json.dumps(
        explain(same, "10.1.0.1", "a.example.com", "/shop")
    )


def test_an_explanation_agrees_with_traffic(situation):
    for client in ("10.1.0.1", "10.2.0.1", "8.8.8.8"):
        said = explain(situation, client, "a.example.com", "/shop")
        location = said["location"]
        point = None if location["lat"] is None else (location["lat"], location["lon"], location["accuracy_km"] or 0.0)
        drawn = draw(situation.table, 1, point, 2000)
        for one in said["candidates"]:
            assert drawn.get(one["pop"], 0) / 2000 == pytest.approx(one["share"], abs=0.05)


def test_jurisdiction_fails_closed_and_says_why(situation):
    said = explain(situation, "10.2.0.1", "eu.example.com")
    assert said["decision"]["pop"] == "fra"
    assert said["decision"]["endpoint"] == "unix:/run/app"
    assert {one["pop"]: (one["permitted"], one["why_not"]) for one in said["candidates"]} == {
        "fra": (True, None),
        "nyc": (False, "outside the jurisdiction"),
    }
    gateway = gateway_of(WORLD)
    admit(gateway)
    gateway.drains.drain("fra")
    said = explain(situation_of(pools_of(gateway)), "10.2.0.1", "eu.example.com")
    assert (said["decision"], said["error"], said["route"]) == (None, "no_permitted_pop", "eu")
    assert [(one["pop"], one["drained"], one["why_not"]) for one in said["candidates"]] == [
        ("fra", True, "drained by the operator"),
        ("nyc", False, "outside the jurisdiction"),
    ]


def test_no_route_is_an_answer(situation):
    said = explain(situation, "10.2.0.1", "www.example.com", "/other")
    assert (said["route"], said["service"], said["decision"], said["error"], said["candidates"]) == (None, None, None, "no_route", [])


def test_what_a_refused_route_matches_is_explained_by_no_wider_one():
    config = config_of(WORLD)
    wide = Route(name="wide", targets=(Target("shop", 1),))
    broken = merged(replace(config, services=config.services[:1], routes=(wide, *config.routes)), [])
    situation, _ = offline.situation_of(broken)
    said = explain(situation, "10.1.0.1", "eu.example.com", "/a")
    assert (said["route"], said["service"], said["decision"], said["error"]) == ("eu", None, None, "route_refused")
    assert (said["candidates"], said["refused"]) == ([], ["there is no service eu"])
    said = explain(situation, "10.1.0.1", "www.example.com", "/a")
    assert (said["route"], said["error"], said["refused"]) == ("wide", None, [])


def test_an_unknown_place_goes_by_the_configured_order(situation):
    said = explain(situation, "8.8.8.8", "www.example.com", "/shop")
    assert said["location"]["source"] == "unknown"
    assert said["location"]["lat"] is None
    assert (said["decision"]["pop"], said["decision"]["reason"]) == ("fra", "order")
    assert {one["distance_km"] for one in said["candidates"]} == {None}


@pytest.mark.parametrize("client", ["10.2.0.1", "::ffff:10.2.0.1", " 10.2.0.1 "])
def test_a_client_is_told_as_the_data_plane_sees_it(situation, client):
    assert explain(situation, client, "www.example.com", "/shop")["client"] == "10.2.0.1"


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("a.b", "a.b"),
        ("a.b:80", "a.b"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("a.b:x", "a.b:x"),
        ("a.b:", "a.b"),
        ("", ""),
        (":", ":"),
    ],
)
def test_a_hosts_port_does_not_count(host, bare):
    assert without_port(host) == bare


def test_host_is_matched_as_requests_are(situation):
    for host in ("EU.example.com", "eu.example.com:8080", "eu.example.com."):
        assert explain(situation, "10.1.0.1", host)["route"] == "eu"


@pytest.mark.parametrize(("underscores", "route"), [("drop", None), ("pass", "eu")])
def test_a_field_that_requests_lose_is_none(underscores, route):
    text = WORLD.replace("hosts: [eu.example.com]", 'headers: {x_eu: "1"}') + f"requests: {{underscores: {underscores}}}\n"
    asked, _ = offline.situation_of(config_of(text))
    assert explain(asked, "10.1.0.1", "www.example.com", "/", [("X_EU", "1")])["route"] == route


def test_without_a_host_the_first_that_a_route_names(situation):
    assert explain(situation, "10.1.0.1")["host"] == "eu.example.com"
    assert first_host(offline.situation_of(config_of())[0].table) == ""


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (("x",), "client: must be an IP address, got 'x'"),
        (("10.1.0.1:80",), "client: must be an IP address"),
        (("10.1.0.1", "a b"), "host: must be at most 8192 visible ASCII characters"),
        (("10.1.0.1", "a", "x"), "path: must begin with '/', got 'x'"),
        (("10.1.0.1", "a", "/\n"), "path: must be"),
        (("10.1.0.1", "a", "/" + "x" * 9000), "path: must be at most"),
    ],
)
def test_a_question_that_is_none_is_refused_with_what_is_legal(situation, question, words):
    with pytest.raises(BadQuestion) as caught:
        explain(situation, *question)
    assert str(caught.value).startswith(words)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 300


def test_sources_and_age_are_told_of_the_service_alone(situation):
    aged = Situation(
        situation.table, situation.locator, 3.2049, {("eu", "nyc"): Source("kubernetes", 12.0, "403"), ("shop", "fra"): Source("names")}
    )
    said = explain(aged, "10.1.0.1", "eu.example.com")
    assert said["table"]["age_s"] == 3.205
    assert said["sources"] == {"nyc": {"kind": "kubernetes", "age_s": 12.0, "error": "403", "kept": False}}
