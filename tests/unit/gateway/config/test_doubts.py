"""Doubts: what is legal and yet hardly meant is said, and nothing else is."""

import pytest

from gateway.config import parse
from tests.support.unprivileged import unprivileged
from tests.unit.gateway.good_config import GOOD, text

URLS = "[{name: fra, lat: 50, lon: 8, public_url: 'https://fra.b'}, {name: nyc, lat: 40, lon: -74, public_url: 'https://nyc.b'}]"


def doubts_of(**more):
    return [f"{fault.path}: {fault.text}" for fault in parse(text(**more)).warnings]


def steered(text):
    return f"[{{service: shop, steering: {{{text}}}}}]"


def services(capacity="", more="", n_endpoints=1):
    endpoints = ", ".join(f'"a:{port}"' for port in range(1, n_endpoints + 1))
    return f'[{{name: shop, backends: [{{pop: fra, endpoints: [{endpoints}]{capacity}}}, {{pop: nyc, endpoints: ["b:1"]}}]}}{more}]'


API = ', {name: api, backends: [{pop: fra, endpoints: ["c:1"]}]}'
RULED = "jurisdiction: [{clients: {countries: [DE]}, pops: {countries: [DE]}}, {pops: {}}]"
COUNTRIES = "{overrides: [{prefix: 10.0.0.0/8, lat: 1, lon: 1, country: DE}]}"


def pops(capacity):
    return GOOD["pops"].replace("region: eu", f"region: eu, capacity: {{requests_in_flight: {capacity}}}")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"steering": "{pace: 50%}"},
        {"drain": "{lameduck: 5s, deadline: 6s}"},
        {"drain": "{lameduck: 0s, deadline: 0s}"},
        {"drain": "{lameduck: 1h}"},
        {"services": services(API and ", capacity: {requests_in_flight: 2}", n_endpoints=2), "pops": pops(2)},
        {"services": services(more=API), "routes": "[{split: [{service: shop}, {service: api}], split_sticky: true}]"},
        {"services": services(more=API).replace("name: shop,", "name: shop, on_unavailable: [api],")},
        {"routes": steered(RULED), "geoip": COUNTRIES},
        {"routes": steered("mode: redirect, redirect: {status: 308}"), "pops": URLS},
        {"routes": steered("affinity: {cookie: pop, same_site: strict, secure: true, max_age: 1h}"), "state_dir": "/nowhere"},
        {"routes": steered("affinity: {header: x-tenant, within: 10ms}")},
        {"routes": steered("affinity: {client: true}")},
    ],
)
def test_no_doubt(more):
    assert doubts_of(**more) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"drain": "{lameduck: 5s, deadline: 5500ms}"},
            "drain.deadline: within 1 s of lameduck, 5s: each drain cuts requests that run then",
        ),
        ({"geoip": "{city: [/nowhere/a.mmdb], overrides: []}"}, "geoip.city[0]: there is no file /nowhere/a.mmdb now"),
        ({"geoip": "{asn: /nowhere/a.mmdb, city: /dev/null}"}, "geoip.asn: there is no file /nowhere/a.mmdb now"),
        ({"geoip": "{}"}, "geoip: no client's location will be known: PoPs are tried in the order of pops"),
        (
            {"geoip": "{}", "gateway": "{location: {lat: 1, lon: 1}}"},
            "geoip: only private addresses will have a location, gateway.location: for others PoPs are tried in the order of pops",
        ),
        (
            {"geoip": "{}", "gateway": "{pop: fra}"},
            "geoip: only private addresses will have a location, gateway.pop: for others PoPs are tried in the order of pops",
        ),
        ({"geoip": "{overrides: [{asn: 64500, lat: 1, lon: 1}]}"}, "geoip.overrides[0].asn: no database of geoip.asn says which clients"),
        ({"geoip": "{overrides: [{country: DE, lat: 1, lon: 1}]}"}, "geoip.overrides[0].country: no database of geoip.city says which"),
        ({"affinity_key": "/nowhere/key"}, "affinity_key: there is no file /nowhere/key now"),
        ({"state_dir": "/dev/null"}, "state_dir: /dev/null is no folder now"),
        ({"steering": "{pace: 51%}"}, "steering.pace: most of a service's traffic may move within a second"),
        (
            {"services": services(", capacity: {requests_in_flight: 2}", n_endpoints=3)},
            "services.shop.backends.fra.capacity.requests_in_flight: there are 3 endpoints: some of them always idle",
        ),
        (
            {"services": services(", capacity: {requests_in_flight: 9}"), "pops": pops(8)},
            "services.shop.backends.fra.capacity.requests_in_flight: never reached: pops.fra has 8 for all services together",
        ),
        (
            {"services": services(more=API), "pops": pops(1)},
            "pops.fra.capacity.requests_in_flight: there are 2 endpoints: some of them always idle",
        ),
        ({"routes": "[{service: shop, split_sticky: true}]"}, "routes[0].split_sticky: without split there is nothing"),
        ({"routes": steered("redirect: {methods: all}")}, "routes[0].steering.redirect: without mode: redirect nothing is redirected"),
        (
            {"routes": steered("mode: redirect, leg: gateway-pop"), "pops": URLS, "gateway": "{location: {lat: 1, lon: 1}}"},
            "routes[0].steering.leg: redirected clients go to the PoP themselves",
        ),
        (
            {"routes": steered("jurisdiction: [{pops: {}}, {clients: {countries: [DE]}, pops: {}}]"), "geoip": COUNTRIES},
            "routes[0].steering.jurisdiction[1]: the rule before it is for everyone",
        ),
        ({"routes": steered(RULED)}, "routes[0].steering.jurisdiction[0].clients: no client's country will be known"),
        ({"routes": steered("affinity: {cookie: pop}")}, "routes[0].steering.affinity.cookie: cookies end with this process"),
        (
            {"routes": steered("affinity: {cookie: pop, within: 10ms}"), "state_dir": "/nowhere"},
            "routes[0].steering.affinity.within: a cookie holds wherever its PoP lies",
        ),
        ({"routes": steered("affinity: {client: true, same_site: none}")}, "routes[0].steering.affinity.same_site: there is no cookie"),
        ({"routes": steered("affinity: {client: true, secure: false}")}, "routes[0].steering.affinity.secure: there is no cookie"),
        ({"routes": steered("affinity: {header: x-id, max_age: 1h}")}, "routes[0].steering.affinity.max_age: there is no cookie"),
        ({"client_ip": "{trusted_proxies: [0.0.0.0/0]}"}, "client_ip.trusted_proxies[0]: every client may say that it is another"),
        ({"admin": "{token: /nowhere/token}"}, "admin.token: "),
        (
            {"services": GOOD["services"][:-1] + ', {name: api, backends: [{pop: fra, endpoints: ["c:1"]}]}]'},
            "services.api.name: no route leads",
        ),
        ({"services": '[{name: shop, backends: [{pop: fra, endpoints: ["a:1"]}]}]'}, "pops.nyc.name: no service runs in this PoP"),
        (
            {"routes": "[{service: shop, match: {path_prefix: '/api/*'}}]"},
            "routes[0].match.path_prefix: a * stands for itself alone: for all below, write path_prefix: /api",
        ),
        ({"routes": "[{service: shop, match: [{path_exact: '/*'}, {path_exact: /}]}]"}, "for all below, write path_prefix: /"),
        ({"routes": "[{name: a, service: shop}, {name: b, service: shop}]"}, "routes.b.match: route a before it takes the same requests"),
        (
            {
                "routes": "[{name: a, service: shop, match: {hosts: [a.b, c.d]}}, "
                "{name: b, service: shop, match: [{hosts: [x.y]}, {hosts: [C.D]}]}]"
            },
            "routes.b.match[1]: route a before it takes the same requests of c.d",
        ),
        (
            {"pops": GOOD["pops"].replace("region: eu", "kubernetes: {kubeconfig: /nowhere/kc}")},
            "pops.fra.kubernetes.kubeconfig: there is no file",
        ),
    ],
)
def test_doubt(more, words):
    found = doubts_of(**more)
    assert any(words in doubt for doubt in found), found


def test_doubts_are_sorted_by_line():
    lines = [doubt.line for doubt in parse(text(geoip="{}", admin="{token: /nowhere}", client_ip="{trusted_proxies: ['::/0']}")).warnings]
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_a_key_for_cookies_must_be_long_enough(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"x" * 15)
    assert doubts_of(affinity_key=key) == [f"affinity_key: {key} has fewer than 16 bytes now"]
    key.write_bytes(b"x" * 16)
    assert doubts_of(affinity_key=key) == []


@pytest.mark.parametrize("key", ["affinity_key", "state_dir", "geoip.city[0]", "admin.token", "pops.fra.kubernetes.kubeconfig"])
def test_who_may_not_look_is_told_that_and_goes_on(tmp_path, key):
    """Whoever asks `check` need not be who serves."""
    folder = tmp_path / "closed"
    folder.mkdir()
    path = folder / "file"
    path.write_bytes(b"x" * 16)
    more = {
        "geoip.city[0]": {"geoip": f"{{city: [{path}], overrides: []}}"},
        "admin.token": {"admin": f"{{token: {path}}}"},
        "pops.fra.kubernetes.kubeconfig": {
            "pops": GOOD["pops"].replace("region: eu", f"region: eu, kubernetes: {{kubeconfig: {path}}}"),
        },
    }.get(key, {key: path})
    folder.chmod(0)
    try:
        with unprivileged():
            found = doubts_of(**more)
    finally:
        folder.chmod(0o700)
    assert f"{key}: this user can't look at {path} now: Permission denied" in found


def test_cookies_that_end_with_the_process_are_said_once():
    routes = ", ".join(
        f"{{name: r{n}, match: {{path_prefix: /{n}}}, service: shop, steering: {{affinity: {{cookie: pop}}}}}}" for n in (1, 2)
    )
    assert len(doubts_of(routes=f"[{routes}]")) == 1
