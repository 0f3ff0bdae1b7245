import dataclasses

import pytest

from gateway.control.operator.explanation import explain
from gateway.control.operator.offline import situation_of
from gateway.model import merged
from gateway.pictures.explain_text import ERRORS, PINNED, REASONS, columns, headlines
from routing_core._figures import REASONS as REASONS_OF_CORE
from routing_core._steer import FAILURES
from tests.unit.gateway.control.helpers import config_of

WORLD = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
geoip:
  overrides:
    - {prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0, country: DE}
    - {prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0, country: US}
  pins: [{prefix: 10.1.7.0/24, pops: [nyc]}]
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE, public_url: "https://fra.example.com", capacity: {requests_in_flight: 10}}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US, public_url: "https://nyc.example.com"}
services:
  - {name: shop, on_unavailable: [sorry], backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}, {pop: nyc, endpoints: ["192.0.2.2:80"]}]}
  - {name: next, backends: [{pop: fra, endpoints: ["192.0.2.1:81"]}, {pop: nyc, endpoints: ["192.0.2.2:81"]}]}
  - {name: sorry, backends: [{pop: nyc, endpoints: ["192.0.2.3:80"]}]}
routes:
  - name: canary
    match: {hosts: [canary.example.com]}
    split: [{service: shop, weight: 9}, {service: next}]
    steering:
      mode: redirect
      affinity: {client: true}
      jurisdiction: [{clients: {countries: [DE]}, pops: {countries: [DE]}}, {clients: {continents: [NA]}, pops: {}}]
  - {name: plain, service: next, match: {path_prefix: /}}
"""


def asked(client="10.1.0.1", host="www.example.com"):
    return explain(situation_of(config_of(WORLD))[0], client, host)


def lines(said):
    return dict(headlines(said))


def cells(said, pop):
    one = next(one for one in said["candidates"] if one["pop"] == pop)
    return {column.head: column.text(one) for column in columns(said)}


def test_every_word_of_the_core_has_a_text():
    assert REASONS.keys() == set(REASONS_OF_CORE) - {"none"}
    assert ERRORS.keys() - {"no_route", "route_refused"} == set(FAILURES) - {None}


def test_a_plain_decision_has_few_lines():
    assert list(lines(asked())) == ["client", "request", "route", "decision"]
    assert lines(asked())["client"] == "10.1.0.1, DE (50.00, 8.00), by override prefix 10.1.0.0/16"


def test_a_route_that_is_refused_says_why():
    config = config_of(WORLD)
    broken = dataclasses.replace(config, services=config.services[1:])
    assert lines(explain(situation_of(merged(broken, []))[0], "10.1.0.1", "canary.example.com")) == {
        "client": "10.1.0.1, DE (50.00, 8.00), by override prefix 10.1.0.0/16",
        "request": "GET http://canary.example.com/",
        "route": "canary",
        "refused": "there is no service shop",
        "decision": "none: the route is refused, and its requests are nobody else's: 500",
    }


def test_every_step_of_a_route_has_its_line_in_the_order_of_the_decision():
    said = asked(host="canary.example.com")
    found = lines(said)
    assert list(found) == ["client", "request", "route", "split", "otherwise", "rule", "affinity", "decision", "redirect"]
    assert found["split"] == f"next 10.0%, shop 90.0%; drawn here: {said['service']}"
    assert found["otherwise"] == "sorry"
    assert found["rule"] == "1 of 2: clients in country DE: fra"
    assert found["affinity"] == "by client: nothing to choose: fra alone is near enough"
    assert found["redirect"] == "307 to https://fra.example.com/"


def test_a_service_that_stands_in_for_another():
    said = {**asked(host="canary.example.com"), "service": "sorry"}
    assert lines(said)["otherwise"] == "sorry, for next and shop has no PoP that can serve"


def test_the_rule_is_told_where_it_matters():
    assert lines(asked("10.2.0.1", "canary.example.com"))["rule"] == "2 of 2: clients in continent NA: every PoP"
    none = asked("8.8.8.8", "canary.example.com")
    assert lines(none)["rule"] == "none is for this client: nothing is permitted"
    assert lines(none)["decision"] == "none: no PoP that the route's jurisdiction permits can serve: 503"
    assert "rule" not in lines(asked())


def test_a_pin_and_whether_it_holds():
    said = asked("10.1.7.1")
    assert lines(said)["pin"] == "10.1.7.0/24 to nyc"
    assert lines(said)["decision"].startswith(f"nyc at 192.0.2.2:81: {PINNED}")
    said = asked("10.1.7.1", "canary.example.com")  # whose rule permits fra alone
    assert lines(said)["pin"] == "10.1.7.0/24 to nyc; none of them takes it: as for anyone else"
    assert PINNED not in lines(said)["decision"]
    assert lines({**said, "pin": {**said["pin"], "prefix": None}})["pin"].startswith("nyc;")


def test_an_unknown_place_is_no_estimate():
    said = asked("8.8.8.8")
    assert lines(said)["client"] == "8.8.8.8, place unknown"
    assert (cells(said, "fra")["path"], cells(said, "fra")["= estimate"]) == ("unknown", "unknown")
    assert lines(said)["decision"].startswith("fra at 192.0.2.1:81: the first in the configured order")


def test_a_place_by_a_database():
    place = {"lat": 51.5, "lon": -0.13, "country": "GB", "continent": "EU", "asn": 20712, "accuracy_km": 10.0, "source": "database"}
    assert lines({**asked(), "location": place})["client"] == "10.1.0.1, GB (51.50, -0.13) within 10 km, AS20712, by database"
    assert lines({**asked(), "location": {**place, "lat": None}})["client"] == "10.1.0.1, place unknown, GB"


def test_age_and_sources():
    sources = {"fra": {"kind": "kubernetes", "age_s": 61.0, "error": "gone"}, "nyc": {"kind": "names", "age_s": None, "error": None}}
    found = lines({**asked(), "table": {"generation": 17, "age_s": 3.21}, "sources": sources})
    assert found["table"] == "generation 17, 3.2 s old"
    assert found["source"] == "fra, kubernetes: gone, last heard 61 s ago"
    sources["fra"]["age_s"] = None
    assert lines({**asked(), "sources": sources})["source"] == "fra, kubernetes: gone"


ALWAYS = ["PoP", "availability", "= admit", "km", "path", "+ service", "= estimate", "evidence", "window", "share", "why not"]


def test_the_columns_are_the_steps_and_those_that_change_nothing_are_left_out():
    said = asked()
    for one in said["candidates"]:
        one["headroom"] = None
    assert [column.head for column in columns(said)] == ALWAYS


@pytest.mark.parametrize(
    ("change", "heads", "texts"),
    [
        ({"permitted": False}, ["permitted"], ["no"]),
        ({"drained": True}, ["permitted"], ["drained"]),
        ({"headroom": 0.25, "shed": 0.5}, ["x shed", "free"], ["0.50", "25%"]),
        ({"headroom": 1.0}, ["x shed", "free"], ["1.00", "100%"]),
        ({"ramp": 0.1}, ["x ramp"], ["0.10"]),
        ({"penalty_ms": 12.34}, ["+ penalty"], ["12.3"]),
    ],
)
def test_a_step_shows_as_soon_as_it_concerns_one(change, heads, texts):
    said = asked()
    for one in said["candidates"]:
        one["headroom"] = None
    said["candidates"][1].update(change)
    shown = columns(said)
    assert [column.head for column in shown if column.head not in ALWAYS] == heads
    assert [column.text(said["candidates"][1]) for column in shown if column.head in heads] == texts
    assert all(column.text(one) is not None for column in shown for one in said["candidates"])


def test_a_service_time_is_told_with_what_it_may_be_off_by():
    said = asked()
    said["candidates"][0].update(service_ms=20.04, spread_ms=1.25)
    assert cells(said, "fra")["+ service"] == "20.0 ±1.2"
    del said["candidates"][0]["spread_ms"]  # as an older gateway has it
    assert cells(said, "fra")["+ service"] == "20.0"


def test_cells():
    said = asked()
    said["candidates"][0].update(samples=3, evidence="path", service_ms=1.25, availability=0.7, admit=0.7)
    assert cells(said, "fra") | {"path": "", "= estimate": ""} == {
        "PoP": "fra", "availability": "0.70", "x shed": "1.00", "= admit": "0.70", "free": "100%", "km": "50", "path": "",
        "+ service": "1.2", "= estimate": "", "evidence": "path, 3 samples", "window": "in", "share": "100.0%", "why not": "",
    }  # fmt: skip
    assert (cells(said, "nyc")["free"], cells(said, "nyc")["window"]) == ("", "")
