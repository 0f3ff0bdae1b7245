"""Checks between sections, and doubts: each can be met and be broken, also when something else is wrong."""

import pytest

from gateway.config import parse
from gateway.errors import ConfigError

GOOD = {
    "listeners": '[{name: web, bind: "127.0.0.1:8080"}]',
    "pops": "[{name: fra, lat: 50, lon: 8, country: DE, region: eu}, {name: nyc, lat: 40, lon: -74, country: US}]",
    "services": '[{name: shop, backends: [{pop: fra, endpoints: ["a:1"]}, {pop: nyc, endpoints: ["b:1"]}]}]',
    "routes": "[{service: shop}]",
    "geoip": "{overrides: [{prefix: 10.0.0.0/8, lat: 1, lon: 1}]}",
}


def text(**more):
    return "\n".join(f"{key}: {value}" for key, value in {**GOOD, **more}.items())


def faults_of(**more):
    try:
        parse(text(**more))
    except ConfigError as error:
        return [f"{fault.path}: {fault.text}" for fault in error.faults]
    return []


def doubts_of(**more):
    return [f"{fault.path}: {fault.text}" for fault in parse(text(**more)).warnings]


def test_good_has_no_fault_and_no_doubt():
    assert faults_of() == []
    assert doubts_of() == []


K8S = "{service: web, port: http}"
FAULTS = [
    ({"pops": "[]"}, "pops: must have at least one item"),
    ({"routes": ""}, "routes: must have at least one item"),
    (
        {"listeners": '[{name: a, bind: "127.0.0.1:1"}, {name: a, bind: "127.0.0.1:2"}]'},
        "listeners[1].name: must be a name of its own, got 'a', which line 1",
    ),
    (
        {"pops": "[{name: fra, lat: 1, lon: 1}, {name: fra, lat: 2, lon: 2}, {name: nyc, lat: 1, lon: 1}]"},
        "pops[1].name: must be a name of its own",
    ),
    ({"routes": "[{name: x, service: shop}, {name: x, service: shop}]"}, "routes[1].name: must be a name of its own"),
    (
        {"geoip": "{overrides: [{prefix: 10.0.0.1, lat: 1, lon: 1}, {prefix: 10.0.0.1/32, lat: 2, lon: 1}]}"},
        "geoip.overrides[1].prefix: must be a prefix",
    ),
    ({"listeners": '[{name: a, bind: "127.0.0.1:1"}, {name: b, bind: "127.0.0.1:1"}]'}, "listeners.b.bind: must be an address of its own"),
    (
        {"listeners": '[{name: a, bind: "0.0.0.0:1"}, {name: b, bind: "127.0.0.1:1"}]'},
        "which collides with '0.0.0.0:1' of listeners.a.bind",
    ),
    ({"listeners": '[{name: a, bind: "[::1]:1"}, {name: b, bind: "[::]:1"}]'}, "listeners.b.bind: must be an address"),
    ({"listeners": '[{name: a, bind: "unix:/x"}, {name: b, bind: "unix:/x"}]'}, "listeners.b.bind: must be an address"),
    ({"listeners": '[{name: a, bind: "0.0.0.0:9901"}]'}, "listeners.a.bind: must be an address of its own, got '0.0.0.0:9901'"),
    ({"admin": '{bind: "127.0.0.1:8080"}'}, "admin.bind: must be an address of its own"),
    ({"status": '{bind: "0.0.0.0:8080"}'}, "status.bind: must be an address of its own"),
    ({"routes": "[{service: shp}]"}, "routes.0.service: must be one of services: shop, got 'shp', did you mean shop?".replace(".0", "[0]")),
    (
        {"services": '[{name: shop, backends: [{pop: lon, endpoints: ["a:1"]}]}]'},
        "services.shop.backends.lon.pop: must be one of pops: fra, nyc, got 'lon'",
    ),
    (
        {"services": '[{name: shop, backends: [{pop: fra, endpoints: ["a:1"]}, {pop: fra, endpoints: ["b:1"]}]}]'},
        "must be another PoP than the others'",
    ),
    (
        {"services": f"[{{name: shop, backends: [{{pop: fra, kubernetes: {K8S}}}]}}]"},
        "backends.fra.kubernetes: must be endpoints, or pops.fra must have",
    ),
    ({"routes": "[{service: shop, steering: {leg: gateway-pop}}]"}, "steering.leg: must be client-pop, or gateway.location must be given"),
    (
        {"routes": "[{service: shop, steering: {jurisdiction: {pops: [lon]}}}]"},
        "jurisdiction.pops[0]: must be one of pops: fra, nyc, got 'lon'",
    ),
    (
        {"routes": "[{service: shop, steering: {jurisdiction: {regions: [us]}}}]"},
        "jurisdiction.regions[0]: must be one of the regions of pops: eu, got 'us'",
    ),
    (
        {"routes": "[{service: shop, steering: {jurisdiction: {countries: [FR]}}}]"},
        "must permit a PoP of service shop, which runs in fra (country DE), nyc (country US)",
    ),
    ({"routes": "[{service: shop, steering: {jurisdiction: {continents: [EU], pops: [nyc]}}}]"}, "must permit a PoP of service shop"),
    ({"drain": "{deadline: 4s}"}, "drain.deadline: must be at least lameduck, 5s, got '4s'"),
    ({"drain": "{lameduck: 2m}"}, "drain.lameduck: must be at most deadline, 1m, got '2m'"),
]


@pytest.mark.parametrize(("more", "words"), FAULTS, ids=[words[:40] for _, words in FAULTS])
def test_fault(more, words):
    found = faults_of(**more)
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize(
    "more",
    [
        {"listeners": '[{name: a, bind: "127.0.0.1:0"}, {name: b, bind: "127.0.0.1:0"}]'},
        {"listeners": '[{name: a, bind: "127.0.0.1:1"}, {name: b, bind: "127.0.0.2:1"}]'},
        {"listeners": '[{name: a, bind: "0.0.0.0:1"}, {name: b, bind: "[::]:1"}]'},
        {"routes": "[{service: shop, steering: {jurisdiction: {continents: [EU, NA], countries: [US]}}}]"},
        {"routes": "[{service: shop, steering: {leg: gateway-pop}}]", "gateway": "{location: {lat: 1, lon: 1}}"},
        {
            "pops": "[{name: fra, lat: 50, lon: 8, kubernetes: {context: x}}, {name: nyc, lat: 1, lon: 1}]",
            "services": f"[{{name: shop, backends: [{{pop: fra, kubernetes: {K8S}}}, {{pop: nyc, endpoints: ['a:1']}}]}}]",
        },
        {"drain": "{lameduck: 1m}"},
    ],
)
def test_no_fault(more):
    assert faults_of(**more) == []


@pytest.mark.parametrize(
    "more",
    [
        {"pops": "[{name: fra, lat: x, lon: 8}, {name: nyc, lat: 40, lon: -74}]"},
        {
            "pops": "[{name: fra, lat: 50, lon: 8, kubernetes: {}}, {name: nyc, lat: 1, lon: 1}]",
            "services": f"[{{name: shop, backends: [{{pop: fra, kubernetes: {K8S}}}]}}]",
        },
        {"services": "[{name: shop, backends: [{pop: fra}]}]"},
        {"gateway": "{location: {lat: 100, lon: 1}}", "routes": "[{service: shop, steering: {leg: gateway-pop}}]"},
        {"routes": "[{service: shop, steering: {jurisdiction: {pops: ['a b']}}}]"},
        {
            "pops": "[{name: fra, lat: 50, lon: 8, country: X}, {name: nyc, lat: 1, lon: 1}]",
            "routes": "[{service: shop, steering: {jurisdiction: {countries: [DE]}}}]",
        },
        {"drain": "{lameduck: 2m, deadline: 5}"},
        {"listeners": "[{name: web}]"},
        {"listeners": "5"},
    ],
)
def test_a_fault_brings_no_echo(more):
    """What is lost to a fault does not look as if it had not been written."""
    assert len(faults_of(**more)) == 1


def test_faults_of_all_kinds_come_together():
    found = faults_of(
        timeouts="{connect: 1}", routes="[{service: shp, steering: {window: 5}}]", status='{bind: "127.0.0.1:8080"}', nonsense="1"
    )
    assert [fault.partition(":")[0] for fault in found] == [
        "routes[0].steering.window",
        "routes[0].service",
        "timeouts.connect",
        "status.bind",
        "nonsense",
    ]


def test_long_lists_are_cut():
    pops = ", ".join(f"{{name: p{n:02}, lat: 1, lon: 1}}" for n in range(20))
    (fault,) = faults_of(pops=f"[{pops}]", services='[{name: shop, backends: [{pop: zzz, endpoints: ["a:1"]}]}]')
    assert "p11 and 8 more, got 'zzz'" in fault


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"geoip": "{city: [/nowhere/a.mmdb], overrides: []}"}, "geoip.city[0]: there is no file /nowhere/a.mmdb now"),
        ({"geoip": "{asn: /nowhere/a.mmdb, city: /dev/null}"}, "geoip.asn: there is no file /nowhere/a.mmdb now"),
        ({"geoip": "{}"}, "geoip: no client's location will be known"),
        ({"client_ip": "{trusted_proxies: [0.0.0.0/0]}"}, "client_ip.trusted_proxies[0]: every client may say that it is another"),
        ({"admin": '{bind: "0.0.0.0:9901"}'}, "admin.bind: whoever reaches this address"),
        (
            {"services": GOOD["services"][:-1] + ', {name: api, backends: [{pop: fra, endpoints: ["c:1"]}]}]'},
            "services.api.name: no route leads",
        ),
        ({"services": '[{name: shop, backends: [{pop: fra, endpoints: ["a:1"]}]}]'}, "pops.nyc.name: no service runs in this PoP"),
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
    lines = [doubt.line for doubt in parse(text(geoip="{}", admin='{bind: "0.0.0.0:1"}', client_ip="{trusted_proxies: ['::/0']}")).warnings]
    assert len(lines) == 3
    assert lines == sorted(lines)
