"""Configuration as a whole: files, writing back, the schema, the page of docs, and trees that no one would write."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import _reading as subject
from gateway.config import load, parse
from gateway.errors import ConfigError
from tests.checks import config_docs

EXAMPLES = sorted(Path("docs/examples").glob("*.yaml"))
FULL = """
gateway: {name: edge-1, location: {lat: 50.11, lon: 8.68}, pop: fra, zone: eu-central-1a, workers: 2}
listeners: [{name: web, bind: "0.0.0.0:8080"}, {name: local, bind: "unix:/run/isochrone.sock"}]
client_ip: {trusted_proxies: [10.0.0.0/8, "2001:db8::/32"], forwarded_hops: 2, header: forwarded}
geoip:
  city: [/a.mmdb, /b.mmdb]
  asn: /c.mmdb
  overrides:
    - {prefix: 10.1.0.0/16, lat: 48.1, lon: 11.6, country: DE}
    - {asn: 64500, lat: 48.1, lon: 11.6}
    - {country: CH, lat: 47.4, lon: 8.5}
  pins: [{prefix: 10.2.0.0/16, pops: [nyc, fra]}]
  check_interval: 1m
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE, region: eu-central, public_url: "https://fra.example.com", kubernetes: {context: fra}}
  - name: nyc
    lat: 40.71
    lon: -74.01
    country: US
    public_url: "https://nyc.example.com/"
    capacity: {requests_in_flight: 2000, low: 70%}
    paths: {fra: 84.5ms}
services:
  - name: shop
    health: {path: /healthz, host: shop, expect: [200, 300-399], interval: 5s, timeout: 500ms, jitter: 20%}
    backends:
      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}
      - {pop: nyc, endpoints: ["192.0.2.10:8080", "[2001:db8::1]:80"], weight: 2, capacity: {requests_in_flight: 500, low: 0.5, high: 90%}}
    max_in_flight: 100
    slow_start: 0s
    pop_ramp: 30s
    prefer_zone: true
    outliers:
      {consecutive_errors: 0, interval: 5s, eject: 10s, eject_max: 1m, max_share: 20%, success_rate: false, latency: false}
    penalties: {failure: 2s, server_errors: true, rate_limited: false}
    on_unavailable: [spare]
    long_lived: true
  - {name: spare, backends: [{pop: nyc, endpoints: ["192.0.2.12:8080"]}]}
routes:
  - name: eu
    match: [{hosts: ["*.example.com"], path_prefix: /a, method: GET, headers: {x-a: "1"}, query: {q: "é"}}, {path_exact: /b}]
    service: shop
    steering:
      {mode: proxy, leg: gateway-pop, window: 7.5ms,
       jurisdiction: {continents: [EU, NA], countries: [DE], regions: [eu-central], pops: [fra]}}
  - {service: shop}
  - name: canary
    match: {hosts: [new.example.com]}
    split: [{service: shop, weight: 95}, {service: spare, weight: 5}]
    split_sticky: true
    steering:
      mode: redirect
      redirect: {status: 308, methods: all}
      jurisdiction:
        - {clients: {countries: [US, CA], continents: [SA]}, pops: {pops: [nyc]}}
        - {pops: {}}
      affinity: {cookie: pop, same_site: none}
  - {name: sticky, match: {hosts: [app.example.com]}, service: shop, steering: {affinity: {header: x-tenant, within: 20ms}}}
  - {name: stuck, match: {hosts: [old.example.com]}, service: shop, steering: {affinity: {client: true}}}
steering: {pace: 20%, margin: 10%}
timeouts: {connect: 1500ms, first_byte: 2m}
limits: {head_bytes: 16KiB, body_bytes: 10MiB, connections: 1000}
retries: {max: 1, budget_share: 10%, budget_floor: 5}
kubernetes: {sync_deadline: 10s}
drain: {lameduck: 10s, deadline: 90s}
admin: {bind: "[::1]:9901"}
status: {bind: "0.0.0.0:9902"}
access_log: {path: /var/log/isochrone.json, sample: 0.5}
log: {format: json, level: warning}
debug_headers: true
state_dir: /var/lib/isochrone
affinity_key: /etc/isochrone/affinity.key
"""


def test_values_are_types():
    config = parse(FULL).config
    assert config.timeouts.connect == 1.5
    assert config.timeouts.connect.ms == 1500
    assert config.limits.body_bytes == 10 << 20
    assert config.routes[0].steering.window == 0.0075
    assert config.services[0].backends[1].endpoints[1].host == "2001:db8::1"
    assert config.client_ip.trusted_proxies[0].prefixlen == 8
    assert 302 in config.services[0].health.expect[1]
    assert config.routes[0].match[0].headers == (("x-a", "1"),)
    assert config.pops[1].public_url == "https://nyc.example.com"
    assert (config.pops[1].capacity.low, config.services[0].backends[1].capacity.high) == (0.7, 0.9)
    assert config.services[0].outliers.eject == 10
    assert config.routes[2].targets == (("shop", 95), ("spare", 5))
    assert [rule.pops.pops for rule in config.routes[2].steering.rules] == [("nyc",), None]
    assert config.steering.pace == 0.2


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "my.yaml").write_text(FULL.replace("/a.mmdb", "a.mmdb").replace("/c.mmdb", "../c.mmdb"))
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/my.yaml")).config
    assert config.geoip.city[0] == folder / "a.mmdb"
    assert config.geoip.asn[0] == folder / "../c.mmdb"


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    assert load(tmp_path / "x.yaml").config == parse(FULL).config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "x.yaml: can't be read: No such file or directory"),
        (b"a: 1\nb: \xff", "x.yaml:2: must be UTF-8, got the byte 0xff"),
        (b"a: [", "x.yaml:"),
        (b"#" * 2000, "x.yaml: must be at most 1KiB"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_fault(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(subject, "MAX_BYTES", 1024)
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert words in str(caught.value)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].file == str(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load(tmp_path)


def test_examples_have_no_doubts_but_files_to_be_put_there():
    for path in EXAMPLES:
        assert [doubt for doubt in load(path).warnings if "there is no file" not in doubt.text] == []


def test_ten_thousand_hosts_are_read():
    hosts = ", ".join(f"h{n}.example.com" for n in range(10_000))
    text = FULL.replace('hosts: ["*.example.com"]', f"hosts: [{hosts}]")
    assert len(parse(text).config.routes[0].match[0].hosts) == 10_000


def test_page_of_docs_is_that_of_the_models():
    assert config_docs.PAGE.read_text() == config_docs.page(), "run: python -m tests.checks.config_docs"


def test_page_of_docs_links_to_its_own_headings():
    page = config_docs.page()
    headings = {config_docs.anchor(found.replace(" ", "-")) for found in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links
    assert links <= headings


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "5s",
            "64KiB",
            "fra",
            "127.0.0.1:80",
            "unix:/x",
            "10.0.0.0/8",
            "DE",
            "EU",
            "proxy",
            "redirect",
            "*",
            "*.a.b",
            "/",
            "-",
            "20%",
            "auto",
        ]
    ),
)
KEYS = st.sampled_from(sorted({str(step) for path in places(yaml.safe_load(FULL)) for step in path if isinstance(step, str)})) | st.text(
    max_size=4
)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10)


def never_crashes(text):
    faults = ()
    try:
        loaded = parse(text)
    except ConfigError as error:
        faults = error.faults
    assert all(fault.line and fault.text and "\n" not in str(fault) for fault in faults)
    if not faults:
        assert parse(loaded.config.written(False)).config == loaded.config


@given(TREES)
def test_random_trees_never_crash(tree):
    never_crashes(yaml.safe_dump(tree, allow_unicode=True))


@given(st.data())
def test_a_configuration_with_anything_put_anywhere_never_crashes(data):
    document = copy.deepcopy(yaml.safe_load(FULL))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        node = document
        for step in way:
            node = node[step]
        if data.draw(st.booleans()):
            node[last] = data.draw(TREES)
        else:
            del node[last]
    never_crashes(yaml.safe_dump(document, allow_unicode=True))


@given(st.text(max_size=80))
def test_any_text_never_crashes(text):
    never_crashes(text)
