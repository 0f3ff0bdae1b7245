"""Faults in words: line, path, what is legal, what came; all of them at once."""

import pytest

from gateway.config import parse
from gateway.config._faults import all_sections, came, place, section_at
from gateway.config._places import Capacity
from gateway.config._routes import Clients, Jurisdiction, Match, Rule, Target
from gateway.config._services import Backend, KubernetesBackend
from gateway.config._tree import read_tree
from gateway.errors import ConfigError

BAD = """\
gateway: {name: "a b", workers: 0, location: {lat: 91}}
listeners: [{name: web, bind: ":8080", tls: {cert: x}}]
client_ip: {trusted_proxies: [10.0.0.1/8, nonsense]}
pops:
  - {name: fra, lat: 50, lon: 8.68, country: DE}
  - {name: osl, lat: 59, lon: x, country: NO, capacity: {requests_in_flight: 0, low: 2}}
  - {lat: 1, lon: 1}
services:
  - name: shop
    helth: {}
    health: {type: tcp, path: /x}
    backends:
      - {pop: frra, endpoints: ["192.0.2.10:8080", "300.1.1.1:80"]}
      - {pop: fra, kubernetes: {service: web, port: http}}
      - {pop: osl}
routes:
  - match: {hosts: ["a b"], path_prefix: x}
    service: sop
    steering: {mode: rewrite, affinity: {cookie: x, client: true},
      jurisdiction: {pops: [nyc], continents: [XX]}}
  - {service: shop, service: shop}
  - {match: []}
  - 5
  - {name: nowhere}
  - {split: [{service: shop}, {service: sop, weight: -1}]}
  - {service: shop, steering: {jurisdiction: [{clients: {countries: [EU]}, pops: {}}, {clients: {continents: [EU]}}]}}
timeouts: {connect: 5}
limits: [64KiB]
retries:
  budget_floor:
    - 1
<<: {}
drain: {lameduck: 2m, deadline: 1m}
state_dir: 5
debug_headers: yes
statos: {bind: "[::]:1"}
"""
EXPECTED = [
    (1, "gateway.location.lat: must be a number from -90 to 90 degrees, got 91"),
    (1, "gateway.location.lon: must be given: longitude, degrees east"),
    (1, "gateway.name: must be a name of at most 63 letters, digits, dots, dashes and underscores, got 'a b'"),
    (1, "gateway.workers: must be auto or a whole number from 1 to 64, got 0"),
    (2, "listeners.web.bind: must be an IP address and port or a unix socket"),
    (2, "listeners.web.tls: is not in this version"),
    (3, "client_ip.trusted_proxies[0]: must have no bits beyond its length, such as 10.0.0.0/8, got '10.0.0.1/8'"),
    (3, "client_ip.trusted_proxies[1]: must be an address prefix"),
    (6, "pops.osl.capacity.low: must be a share such as 20% or 0.2, at most 1, got 2"),
    (6, "pops.osl.capacity.requests_in_flight: must be a whole number from 1 to 10000000, got 0"),
    (6, "pops.osl.lon: must be a number from -180 to 180 degrees, got 'x'"),
    (7, "pops[2].name: must be given: its name in backends"),
    (10, "services.shop.helth: is no key here, did you mean health? Legal: name, health"),
    (11, "services.shop.health: must have no path when the type is tcp"),
    (13, "services.shop.backends.frra.endpoints[1]: must be host and port or a unix socket"),
    (13, "services.shop.backends.frra.pop: must be one of pops: fra, osl, got 'frra', did you mean fra?"),
    (14, "services.shop.backends.fra.kubernetes: must be endpoints, or pops.fra must have kubernetes"),
    (15, "services.shop.backends.osl: must have either endpoints or kubernetes, got neither"),
    (17, "routes[0].match.hosts[0]: must be a host without a port"),
    (17, "routes[0].match.path_prefix: must be a path of at most 8192 bytes that begins with /"),
    (18, "routes[0].service: must be one of services: shop, got 'sop', did you mean shop?"),
    (19, "routes[0].steering.affinity: must have exactly one of cookie, header and client: true, got cookie and client"),
    (19, "routes[0].steering.mode: must be proxy or redirect, got 'rewrite'"),
    (20, "routes[0].steering.jurisdiction.continents[0]: must be AF, AN, AS, EU, NA, OC or SA, got 'XX'"),
    (20, "routes[0].steering.jurisdiction.pops[0]: must be one of pops: fra, osl, got 'nyc'"),
    (21, "routes[1].service: must be given once, was given in line 21"),
    (22, "routes[2].match: must have at least one item, got an empty list"),
    (23, "routes[3]: must be a mapping with keys among name, match, service, split, split_sticky, steering, got 5"),
    (24, "routes.nowhere: must have either service or split, got neither"),
    (25, "routes[5].split[1].service: must be one of services: shop, got 'sop', did you mean shop?"),
    (25, "routes[5].split[1].weight: must be a whole number from 0 to 1000000, got -1"),
    (26, "routes[6].steering.jurisdiction[0].clients.countries[0]: must be an ISO 3166 code of two capitals, such as DE, or EU27 or"),
    (26, "routes[6].steering.jurisdiction[1].pops: must be given: which PoPs may see them; `{}` for all"),
    (27, "timeouts.connect: must be a duration from 10ms to 1m, such as 250ms, 10s, 2m or 1h, got 5"),
    (28, "limits: must be a mapping with keys among head_bytes, fields"),
    (30, "retries.budget_floor: must be a whole number from 0 to 100000 a second, got a list"),
    (32, "<<: must not be merged into"),
    (33, "drain.deadline: must be at least lameduck, 2m, got '1m'"),
    (34, "state_dir: must be the path of a folder, relative to the folder of the configuration, got 5"),
    (35, "debug_headers: must be true or false, got 'yes'"),
    (36, "statos: is no key here, did you mean status?"),
]


def faults_of(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.faults


def test_every_fault_comes_at_once_with_line_path_legal_and_came():
    found = [(fault.line, f"{fault.path}: {fault.text}") for fault in faults_of(BAD)]
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    for line, text in EXPECTED:
        assert any(at == line and said.startswith(text) for at, said in found), f"{line}: {text} is not in\n{found}"
    assert len(found) == len(EXPECTED), [said for said in found if not any(said[1].startswith(text) for _, text in EXPECTED)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("5", 1, "must be a mapping with keys among gateway, listeners"),
        ("- a", 1, "affinity_key, got a list"),
        ("\n\npops: {}", 3, "pops: must be a list of mappings, each with a dash and keys among name, lat, lon, country"),
        ("\n\npops: {}", 3, "kubernetes, got a mapping"),
        (
            "routes:\n  - split: {shop: 90, canary: 10}",
            2,
            "split: must be a list of mappings, each with a dash and keys among service, weight, got a",
        ),
        (
            "routes:\n  - match: {headers: {x-beta: true}}",
            2,
            "must have a text at 'x-beta', got true; what looks like something else wants",
        ),
        ("routes:\n  - match: {headers: {x-beta: 1.5}}", 2, "must have a text at 'x-beta', got 1.5; what looks like something else wants"),
        ("routes:\n  - match: {headers: {x-beta: [a]}}", 2, "must have a text at 'x-beta', got no text; what looks like something else"),
        ("routes:\n  - match: {headers: {a b: c}}", 2, "must have header names as keys, got 'a b'"),
        ("gateway: {workers: '4'}", 1, "must be auto or a whole number from 1 to 64, got '4'; in quotes it is a text"),
        ("limits: {fields: '50'}", 1, "must be a whole number from 1 to 128, got '50'; in quotes it is a text"),
        ("pops: [{name: ldn, country: UK}]", 1, "pops.ldn.country: must be an ISO 3166 code, which is GB for UK, got 'UK'"),
        ("pops:\n  fra:\n    lat: 1", 1, "pops: must be a list"),
        ("client_ip:\n  trusted_proxies: [" + ", ".join(f"10.{n}.0.0/16" for n in range(65)) + "]", 2, "at most 64 items, got 65"),
        ("\npops: [" + ", ".join(f"{{name: p{n}, lat: 1, lon: 1}}" for n in range(513)) + "]", 2, "at most 512 items, got 513"),
        ("\nlisteners: [" + ", ".join(f"{{name: l{n}, bind: '127.0.0.1:0'}}" for n in range(17)) + "]", 2, "at most 16 items, got 17"),
        ("gateway:\n  name: " + "x" * 200, 2, "x..."),
        ("gateway:\n  name: true", 2, "got true"),
        (
            "routes:\n  - match: {hosts: shop.example.com}",
            2,
            "hosts: must be a list, got 'shop.example.com'; write hosts: [shop.example.com]",
        ),
        ("services:\n  - backends: [{endpoints: 192.0.2.1:80}]", 2, '; write endpoints: ["192.0.2.1:80"]'),
        ("services:\n  - on_unavailable: true", 2, "must be a list, got true; write on_unavailable: [true]"),
        ("pop:\n  - {name: fra}", 1, "pop: is no key here, did you mean pops?"),
        ("gateway:\n  zzz: 1", 2, "gateway.zzz: is no key here. Legal: name, "),
        ("services: [{name: x, health: 5}]", 1, "services.x.health: must be a mapping"),
        ("gateway: &g\n  name: 5\nlog: *g", 2, "gateway.name: must be a name"),
    ],
)
def test_fault_of_shape(text, line, words):
    assert any(fault.line == line and words in f"{fault.path}: {fault.text}" for fault in faults_of(text))


def test_one_value_for_a_list_has_a_path_without_a_position():
    assert any(fault.path == "routes.x.match.hosts" for fault in faults_of("routes: [{name: x, service: y, match: {hosts: a}}]"))
    assert any(fault.path == "geoip.city" for fault in faults_of("geoip: {city: 5}"))


def test_items_are_called_by_name_only_when_it_is_theirs_alone():
    root, _ = read_tree("pops: [{name: a}, {name: b}, {name: b}, {name: ''}, 5]\nservices: [{backends: [{pop: a}]}]")
    paths = [place(root, ("pops", n, "lat"))[1] for n in range(5)]
    assert paths == ["pops.a.lat", "pops[1].lat", "pops[2].lat", "pops[3].lat", "pops[4].lat"]
    assert place(root, ("services", 0, "backends", 0, "pop"))[1] == "services[0].backends.a.pop"


def test_what_came_is_said_short():
    root, _ = read_tree("a: {}\nb: []\nc: true\nd: ~\ne: 5\nf: x")
    assert [came(root.at(key)) for key in "abcdefg"] == ["a mapping", "a list", "true", "nothing", "5", "'x'", "nothing"]


def test_sections_are_found_by_place():
    assert section_at(("routes", 0, "match", 1)) is Match
    assert section_at(("services", 0, "backends", 0, "kubernetes")) is KubernetesBackend
    assert section_at(("services", 0, "name")) is None
    assert section_at(("nowhere", "x")) is None
    assert section_at(("routes", 0, "split", 1)) is Target
    assert all_sections().count(Backend) == 1
    assert all_sections().count(Capacity) == 1


def test_a_mapping_and_a_list_at_one_key_are_told_apart():
    at = ("routes", 0, "steering", "jurisdiction")
    assert section_at(at) is Jurisdiction
    assert section_at((*at, 1)) is Rule
    assert section_at((*at, 1, "clients")) is Clients
    assert section_at((*at, 1, "pops")) is Jurisdiction
    assert section_at((*at, "countries")) is None
