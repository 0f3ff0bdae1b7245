"""Checks between sections: each can be met and be broken, also when something else is wrong."""

import pytest

from gateway.config import parse
from gateway.errors import ConfigError
from tests.unit.gateway.good_config import text


def faults_of(**more):
    try:
        parse(text(**more))
    except ConfigError as error:
        return [f"{fault.path}: {fault.text}" for fault in error.faults]
    return []


def test_good_has_no_fault():
    assert faults_of() == []


def two(*, shop="", api="", apis_pop="fra"):
    """Two services; what else is said of each."""
    return (
        f'[{{name: shop, backends: [{{pop: fra, endpoints: ["a:1"]}}, {{pop: nyc, endpoints: ["b:1"]}}]{shop}}}, '
        f'{{name: api, backends: [{{pop: {apis_pop}, endpoints: ["c:1"]}}]{api}}}]'
    )


def steered(text, service="service: shop"):
    return f"[{{{service}, steering: {{{text}}}}}]"


def pathed(text, instead=""):
    """Both PoPs, and the paths of the first."""
    return f"[{{name: fra, lat: 50, lon: 8, country: DE, paths: {instead or f'{{{text}}}'}}}, {{name: nyc, lat: 40, lon: -74}}]"


FRA_URL = "[{name: fra, lat: 50, lon: 8, country: DE, public_url: 'https://fra.b'}, {name: nyc, lat: 40, lon: -74, country: US}]"
SPLIT = "split: [{service: shop}, {service: api, weight: 0}]"
RING = ", ".join(f'{{name: s{n}, backends: [{{pop: fra, endpoints: ["a:1"]}}], on_unavailable: [s{n + 1}]}}' for n in range(65))
K8S = "{service: web, port: http}"
FAULTS = [
    ({"gateway": "{pop: frra}"}, "gateway.pop: must be one of pops: fra, nyc, got 'frra', did you mean fra?"),
    ({"pops": pathed("lon: 84ms")}, "pops.fra.paths.lon: must be one of pops: fra, nyc, got 'lon'"),
    ({"pops": pathed("fra: 84ms")}, "pops.fra.paths.fra: must be a path to another PoP, got one to itself"),
    ({"pops": pathed("nyc: 30ms")}, "pops.fra.paths.nyc: must be at least 41.5ms, which is what light takes, got '30ms'"),
    ({"pops": pathed("nyc: 84")}, "pops.fra.paths: must have a duration from 0.1ms to 10s, such as 250ms, 10s, 2m or 1h at 'nyc', got 84"),
    ({"pops": pathed("", "[nyc]")}, "pops.fra.paths: must be a mapping of names of PoPs to round trips, such as {nyc: 84ms}, got a list"),
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
    (
        {"listeners": '[{name: a, bind: "[::]:8080", dual: true}, {name: b, bind: "192.0.2.1:8080"}]'},
        "listeners.b.bind: must be an address of its own",
    ),
    ({"admin": '{bind: "0.0.0.0:9901"}'}, "admin.bind: must be on loopback or a unix socket: elsewhere it needs admin.token and TLS"),
    ({"admin": '{bind: "[::]:9901", token: /t}'}, "admin.bind: must be on loopback or a unix socket"),
    ({"admin": '{bind: "192.0.2.1:9901"}'}, "admin.bind: must be on loopback or a unix socket"),
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
    ({"routes": steered("jurisdiction: ~")}, "routes[0].steering: must have a value at 'jurisdiction': empty it would permit every PoP"),
    (
        {"routes": steered("jurisdiction: {countries: [DE], regions: ~}")},
        "routes[0].steering.jurisdiction: must have a value at 'regions': empty it would permit every PoP",
    ),
    (
        {"routes": steered("jurisdiction: [{pops: {countries: ~}}]")},
        "routes[0].steering.jurisdiction[0].pops: must have a value at 'countries': empty it would permit every PoP",
    ),
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
    (
        {"geoip": "{overrides: [{asn: 64500, lat: 1, lon: 1}, {country: DE, lat: 1, lon: 1}, {asn: 64500, lat: 2, lon: 1, country: DE}]}"},
        "geoip.overrides[2].asn: must be a system of its own, got '64500', which line 5 has too",
    ),
    (
        {"geoip": "{overrides: [{country: DE, lat: 1, lon: 1}, {asn: 1, country: DE, lat: 1, lon: 1}, {country: DE, lat: 2, lon: 1}]}"},
        "geoip.overrides[2].country: must be a country of its own, got 'DE'",
    ),
    (
        {"geoip": "{pins: [{prefix: 10.0.0.1, pops: [fra]}, {prefix: 10.0.0.1/32, pops: [nyc]}]}"},
        "geoip.pins[1].prefix: must be a prefix of its own",
    ),
    ({"geoip": "{pins: [{prefix: 10.0.0.0/8, pops: [nyc, frra]}]}"}, "geoip.pins[0].pops[1]: must be one of pops: fra, nyc, got 'frra'"),
    ({"services": two(shop=", prefer_zone: true")}, "services.shop.prefer_zone: must be false, or gateway.zone must be given, got true"),
    (
        {"services": two(shop=", on_unavailable: [apy]")},
        "services.shop.on_unavailable[0]: must be one of services: api, shop, got 'apy', did",
    ),
    (
        {"services": two(shop=", on_unavailable: [api]", api=", on_unavailable: [shop]")},
        "services.shop.on_unavailable[0]: must not lead back: shop -> api -> shop, got 'api'",
    ),
    ({"services": two(shop=", on_unavailable: [shop]")}, "services.shop: must have other services in on_unavailable, got shop itself"),
    ({"routes": "[{split: [{service: shop}, {service: aip}]}]"}, "routes[0].split[1].service: must be one of services: shop, got 'aip'"),
    (
        {"routes": "[{service: s0}]", "services": f"[{RING.replace('[s65]', '[]')}]"},
        "routes[0]: must lead to at most 64 services, those of",
    ),
    (
        {"routes": steered("jurisdiction: [{clients: {countries: [DE]}, pops: {pops: [lon]}}, {pops: {}}]")},
        "routes[0].steering.jurisdiction[0].pops.pops[0]: must be one of pops: fra, nyc, got 'lon'",
    ),
    (
        {"routes": steered("jurisdiction: [{clients: {countries: [DE]}, pops: {}}, {pops: {countries: [FR]}}]")},
        "routes[0].steering.jurisdiction[1].pops: must permit a PoP of service shop, which runs in fra (country DE), nyc (country US)",
    ),
    (
        {"services": two(), "routes": steered("jurisdiction: {countries: [US]}", SPLIT)},
        "routes[0].steering.jurisdiction: must permit a PoP of service api, which runs in fra (country DE)",
    ),
    (
        {"routes": steered("mode: redirect"), "pops": FRA_URL},
        "routes[0].steering.mode: must be proxy, or each PoP it may lead to must have a public_url, got 'redirect' and none for nyc",
    ),
    (
        {"routes": steered("mode: redirect", "service: api"), "services": two(api=", on_unavailable: [shop]"), "pops": FRA_URL},
        "routes[0].steering.mode: must be proxy",
    ),
    ({"drain": "{lameduck: 2m, deadline: 1m}"}, "drain.deadline: must be at least lameduck, 2m, got '1m'"),
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
        {"routes": "[{service: shop, steering: {leg: gateway-pop}}]", "gateway": "{pop: nyc}"},
        {"pops": pathed("nyc: 42ms"), "gateway": "{pop: nyc}"},
        {
            "pops": "[{name: fra, lat: 50, lon: 8, kubernetes: {context: x}}, {name: nyc, lat: 1, lon: 1}]",
            "services": f"[{{name: shop, backends: [{{pop: fra, kubernetes: {K8S}}}, {{pop: nyc, endpoints: ['a:1']}}]}}]",
        },
        {"drain": "{lameduck: 1h}"},
        {"drain": "{deadline: 0s}"},
        {"services": two(shop=", prefer_zone: true"), "gateway": "{zone: eu-central-1a}"},
        {"services": two(shop=", on_unavailable: [api]")},
        {"services": two(shop=", on_unavailable: [api]"), "routes": steered("jurisdiction: {countries: [US]}")},
        {"services": two(), "routes": steered("jurisdiction: {countries: [DE]}", SPLIT)},
        {"routes": steered("mode: redirect", "service: api"), "services": two(), "pops": FRA_URL},
        {"routes": steered("mode: redirect, jurisdiction: [{clients: {countries: [US]}, pops: {pops: [fra]}}]"), "pops": FRA_URL},
        {"geoip": "{pins: [{prefix: 10.0.0.0/8, pops: [nyc, fra]}, {prefix: 10.0.0.0/9, pops: [fra]}]}"},
        {"geoip": "{overrides: [{asn: 1, lat: 1, lon: 1}, {asn: 2, country: DE, lat: 1, lon: 1}, {country: DE, lat: 1, lon: 1}]}"},
        {"services": f"[{RING.replace('[s65]', '[]')}]", "routes": "[{service: s1}]"},
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
        {"gateway": "{zone: 'a b'}", "services": two(shop=", prefer_zone: true")},
        {"services": two(shop=", on_unavailable: [api]", api=", helth: {}")},
        {"pops": FRA_URL.replace("lat: 40", "public_url: x, lat: 40"), "routes": steered("mode: redirect")},
        {"routes": "[{split: [{service: shop, weight: x}, {service: api}]}]", "services": two()},
        {"routes": "[{split: [{service: a b}]}]"},
        {"routes": "[{service: a b}]"},
        {"routes": steered("jurisdiction: [{clients: {}, pops: {pops: [fra]}}]")},
        {"routes": steered("jurisdiction: [{pops: {pops: [fra]}, client: {}}]")},
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


def test_each_circle_of_services_is_said_once():
    services = ", ".join(
        f'{{name: {name}, backends: [{{pop: fra, endpoints: ["a:1"]}}, {{pop: nyc, endpoints: ["b:1"]}}], on_unavailable: [{to}]}}'
        for name, to in (("shop", "b"), ("b", "c, x"), ("c", "shop"), ("x", "y"), ("y", "x"))
    )
    assert faults_of(services=f"[{services}]") == [
        "services.shop.on_unavailable[0]: must not lead back: shop -> b -> c -> shop, got 'b'",
        "services.x.on_unavailable[0]: must not lead back: x -> y -> x, got 'y'",
    ]
