from gateway.control.operator.explanation import explain
from gateway.control.operator.offline import NOT_ASKED, situation_of
from gateway.control.table.affinity import FILE, cookie_value
from tests.unit.gateway.control.helpers import config_of

MIXED = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
geoip: {city: none.mmdb, overrides: [{prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0}, {prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0}]}
pops:
  - {name: fra, lat: 50.11, lon: 8.68, kubernetes: {context: fra}}
  - {name: nyc, lat: 40.71, lon: -74.01}
  - {name: sin, lat: 1.35, lon: 103.8}
services:
  - name: shop
    backends:
      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}
      - {pop: nyc, endpoints: ["web.nyc.example.com:80", "other.nyc.example.com:80"]}
      - {pop: sin, endpoints: ["192.0.2.1:80", "web.sin.example.com:80"]}
routes: [{service: shop}]
"""


def test_what_nobody_asked_counts_as_there_and_is_not_named():
    situation, faults = situation_of(config_of(MIXED))
    fra = explain(situation, "10.1.0.1")
    assert fra["decision"] == {"pop": "fra", "endpoint": None, "reason": "fastest", "fallbacks": ["nyc", "sin"]}
    assert all(one["available"] and one["availability"] == 1.0 for one in fra["candidates"])
    assert explain(situation, "10.2.0.1")["decision"]["endpoint"] is None
    assert fra["sources"] == {
        "fra": {"kind": "kubernetes", "age_s": None, "error": NOT_ASKED, "kept": False},
        "nyc": {"kind": "names", "age_s": None, "error": NOT_ASKED, "kept": False},
        "sin": {"kind": "names", "age_s": None, "error": NOT_ASKED, "kept": False},
    }
    assert len(faults) == 1
    assert "none.mmdb" in faults[0]


def test_addresses_are_in_the_table():
    situation, faults = situation_of(config_of())
    pools = situation.table.spec.services[0].pools
    assert [[endpoint.name for endpoint in pool.endpoints] for pool in pools] == [["192.0.2.1:80"], ["192.0.2.2:80", "192.0.2.3:80"]]
    assert situation.placeholders == frozenset()
    assert faults == []


def test_each_name_weighs_as_an_endpoint():
    situation, _ = situation_of(config_of(MIXED))
    assert [len(pool.endpoints) for pool in situation.table.spec.services[0].pools] == [1, 2, 2]


COOKIE = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
pops: [{name: fra, lat: 50.11, lon: 8.68}, {name: nyc, lat: 40.71, lon: -74.01}]
services: [{name: shop, backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}, {pop: nyc, endpoints: ["192.0.2.2:80"]}]}]
routes: [{service: shop, steering: {affinity: {cookie: pop}}}]
"""


def cookies(**more):
    return [pop.cookie for pop in situation_of(config_of(COOKIE, **more))[0].table.spec.pops]


def test_cookies_are_judged_by_the_gateways_own_key_where_it_may_be_read(tmp_path):
    (tmp_path / FILE).write_bytes(b"k" * 32)
    expected = [cookie_value(b"k" * 32, "fra"), cookie_value(b"k" * 32, "nyc")]
    assert cookies(state_dir=str(tmp_path)) == expected
    assert cookies(affinity_key=str(tmp_path / FILE)) == expected
    assert cookies() == ["", ""]


def test_nothing_is_made_for_a_key(tmp_path):
    assert cookies(state_dir=str(tmp_path / "none")) == ["", ""]
    assert cookies(affinity_key=str(tmp_path / "none")) == ["", ""]
    (tmp_path / FILE).write_bytes(b"short")
    assert cookies(state_dir=str(tmp_path)) == ["", ""]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
