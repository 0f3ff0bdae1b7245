"""The sections that hold for the whole gateway: their defaults are the data plane's, a route gets its name."""

import dataclasses

from gateway.config import parse
from gateway.config._limits import Config
from gateway.dataplane.shared.settings import Settings

MINIMUM = """
listeners: [{name: web, bind: "127.0.0.1:8080"}]
pops: [{name: fra, lat: 50, lon: 8}]
services:
  - {name: shop, backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}]}
  - {name: api, backends: [{pop: fra, endpoints: ["192.0.2.2:80"]}]}
"""


def test_defaults_are_those_of_the_data_plane():
    config = Config()
    ours = {f"{key}_ms": value.ms for key, value in config.timeouts}
    ours |= {
        "head_bytes": config.limits.head_bytes,
        "max_fields": config.limits.fields,
        "body_bytes": config.limits.body_bytes,
        "body_rate": config.limits.body_rate,
        "connections_per_listener": config.limits.connections,
        "connections_per_endpoint": config.limits.connections_per_endpoint,
        "queue_per_endpoint": config.limits.queue_per_endpoint,
        "v4_bits": config.limits.per_client.v4,
        "v6_bits": config.limits.per_client.v6,
        "client_connections": config.limits.per_client.connections,
        "client_exchanges": config.limits.per_client.exchanges,
        "max_retries": config.retries.max,
        "budget_share": config.retries.budget_share,
        "budget_floor_per_s": config.retries.budget_floor,
        "underscores": config.requests.underscores,
        "takes_non_ascii": config.requests.non_ascii == "pass",
        "trusted": config.client_ip.trusted_proxies,
        "forwarded_hops": config.client_ip.forwarded_hops,
        "forwarded_header": config.client_ip.header,
        "debug_headers": config.debug_headers,
        "log_share": config.access_log.sample if config.access_log else 0.0,
        "buffer_bytes": Settings().buffer_bytes,  # by machine
        "name": "isochrone",  # the rest is made up at start
    }
    assert ours == dataclasses.asdict(Settings())


def test_every_default_is_legal():
    config = parse(MINIMUM + "routes: [{service: shop}]").config
    assert parse(config.written(False)).config == config


def test_a_route_is_named_after_its_service():
    routes = "routes: [{service: shop}, {name: shop-2, service: shop}, {service: shop, match: {method: GET}}, {service: api}]"
    assert [route.name for route in parse(MINIMUM + routes).config.routes] == ["shop", "shop-2", "shop-3", "api"]
    long = "x" * 63
    assert (
        parse(MINIMUM.replace("api", long) + f"routes: [{{service: {long}}}, {{service: {long}}}]").config.routes[1].name == "x" * 61 + "-2"
    )
    routes = "routes: [{split: [{service: api}, {service: shop}]}, {service: api, match: {method: GET}}]"
    assert [route.name for route in parse(MINIMUM + routes).config.routes] == ["api", "api-2"]


def test_relative_state_starts_from_the_folder_of_the_file(tmp_path):
    config = parse(MINIMUM + "routes: [{service: shop}]\nstate_dir: state\naffinity_key: key", folder=tmp_path).config
    assert (config.state_dir, config.affinity_key) == (tmp_path / "state", tmp_path / "key")


def test_optional_parts_are_off_until_asked_for():
    config = parse(MINIMUM + "routes: [{service: shop}]").config
    assert (config.status, config.access_log, config.debug_headers) == (None, None, False)
    config = parse(MINIMUM + "routes: [{service: shop}]\naccess_log: {}\nstatus: {bind: '0.0.0.0:9902'}").config
    assert (config.access_log.path, config.access_log.sample, str(config.status.bind)) == ("-", 1.0, "0.0.0.0:9902")
