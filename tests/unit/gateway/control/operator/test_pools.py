import json
from dataclasses import replace

import pytest

from gateway.control.health.ejections import Pool
from gateway.control.health.gates import State as GateState
from gateway.control.health.outliers import Ejection
from gateway.control.life.drains import UnknownPop
from gateway.control.operator.pools import (
    ENDPOINT_STATES,
    Source,
    endpoint_states,
    kind_of,
    tally,
)
from gateway.control.sources.endpoints import _Running
from gateway.control.sources.resolver import Answer
from gateway.control.sources.wanted import key_of
from gateway.control.sources.world import Known, Origin
from gateway.parts import pools_of
from k8s import State
from routing_core import explain
from routing_core._testing import add_to_pop
from tests.unit.gateway.control.helpers import TWO_POPS, config_of, identity
from tests.unit.gateway.control.operating import admit, endpoints, fail_connects, gateway_of, pool_row, serve_some

KUBERNETES = TWO_POPS.replace("country: US}", "country: US, kubernetes: {context: nyc}}").replace(
    'endpoints: ["192.0.2.2:80", "192.0.2.3:80"]', "kubernetes: {namespace: shop, service: web, port: http}"
)
NAMES = TWO_POPS.replace("192.0.2.1:80", "web.example.com:80")


class FakeCluster:
    name = "nyc"

    def __init__(self, error=None, problem=None, synced=True, age_s=12.3456):
        self.error, self.synced, self.age = error, synced, age_s
        self._problem = problem

    def is_synced(self, key):
        return self.synced

    def is_of_another(self, key):
        return False

    def endpoints(self, key):
        return ()

    def error_of(self, key):
        return self.error

    def problem(self, key):
        return self._problem

    def age_s(self, now, key=None):
        return self.age


def with_cluster(cluster):
    """Following a cluster takes a loop; what is asked of it does not."""
    gateway = gateway_of()
    gateway.publisher.config = gateway.sources._config = config_of(KUBERNETES)
    way, backend = gateway.config.pops[1].kubernetes, gateway.config.services[0].backends[1]
    gateway.sources.clusters["nyc"] = gateway.sources._running[way] = _Running(cluster, way, None, 0.0)
    gateway.sources._wanted["shop", "nyc"] = source = way, key_of(backend)
    if cluster.is_synced(key_of(backend)):
        gateway.sources._said_by["shop", "nyc"] = source
    return gateway, backend


def test_each_endpoint_is_in_one_state():
    gateway = gateway_of()
    admit(gateway, "192.0.2.2")
    pool = ("shop", "nyc")
    fleet = [
        Known(identity("192.0.2.2", pop="nyc"), State.READY, Origin.STATIC),
        Known(identity("192.0.2.3", pop="nyc"), State.READY, Origin.STATIC),
        Known(identity("192.0.2.4", pop="nyc"), State.READY, Origin.STATIC),
        Known(identity("192.0.2.5", pop="nyc"), State.UNREADY, Origin.STATIC),
        Known(identity("192.0.2.6", pop="nyc"), State.SERVING_TERMINATING, Origin.STATIC),
        Known(identity("192.0.2.7", pop="nyc"), State.TERMINATING, Origin.STATIC),
    ]
    gateway.world.describe(pool, fleet)
    gateway.gates.all[fleet[1].identity].state = GateState.SHUT
    states = endpoint_states(gateway.world, gateway.gates.all, pool)
    assert [state for _, state in states] == ["admitting", "shut", "probing", "unready", "terminating", "terminating"]
    assert tally(states, 3) == {"admitting": 1, "probing": 1, "shut": 1, "ejected": 0, "unready": 1, "terminating": 2, "refused": 3}
    assert tally([], 0) == dict.fromkeys(ENDPOINT_STATES, 0)


def test_what_is_refused_is_shown_and_counts_for_nothing():
    gateway = gateway_of()
    admit(gateway)
    pool = ("shop", "nyc")
    gateway.world.describe(pool, gateway.world.pools[pool], {identity("127.0.0.1", pop="nyc"): "loopback"})
    (said,) = pools_of(gateway).describe_one("nyc")["services"]
    assert said["refused"] == [{"endpoint": "127.0.0.1:80", "cause": "loopback"}]
    assert (said["endpoints"]["admitting"], said["endpoints"]["refused"], said["availability"]) == (2, 1, 1.0)
    assert pools_of(gateway).describe()["pops"][1]["services"][0]["endpoints"]["refused"] == 1


def test_all_pops_with_the_words_of_the_contract():
    gateway = gateway_of()
    admit(gateway)
    gateway.refresh.on_connect(("shop", "nyc"), 0.080)
    gateway.refresh.turn(gateway.config, gateway.publisher.table.spec)
    serve_some(gateway, "nyc", in_flight=3)
    gateway.clock.advance(2.5)
    said = pools_of(gateway).describe()
    assert said["table"] == {"generation": 2, "age_s": 2.5}
    fra, nyc = said["pops"]
    assert (fra["pop"], fra["state"], fra["availability"], fra["headroom"], fra["estimate_ms"], fra["age_s"]) == (
        "fra",
        "active",
        1,
        None,
        None,
        None,
    )
    assert (nyc["state"], nyc["estimate_ms"], nyc["in_flight"]) == ("active", 80.0, 3)
    assert nyc["services"][0]["endpoints"]["admitting"] == 2
    assert nyc["services"][0]["source"] == {"kind": "addresses", "age_s": None, "error": None, "kept": False}
    assert json.loads(json.dumps(said)) == said


def test_a_pop_is_down_degraded_drained():
    gateway = gateway_of()
    admit(gateway, "192.0.2.2")
    states = {pop["pop"]: pop["state"] for pop in pools_of(gateway).describe()["pops"]}
    assert states == {"fra": "down", "nyc": "degraded"}
    gateway.drains.drain("nyc")
    serve_some(gateway, "nyc", in_flight=1)
    gateway.clock.advance(4)
    nyc = pools_of(gateway).describe_one("nyc")
    assert (nyc["state"], nyc["drained"], nyc["since_s"], nyc["in_flight"]) == ("draining", True, 4.0, 1)
    serve_some(gateway, "nyc", in_flight=-1)
    assert pools_of(gateway).describe_one("nyc")["state"] == "drained"


CAPACITIES = TWO_POPS.replace("country: US}", "country: US, capacity: {requests_in_flight: 40, low: 50%, high: 100%}}").replace(
    '"192.0.2.3:80"]}', '"192.0.2.3:80"], capacity: {requests_in_flight: 20, high: 50%, low: 25%}}'
)


def test_capacity_and_what_is_left_of_it():
    gateway = gateway_of(CAPACITIES)
    admit(gateway)
    fra, nyc = pools_of(gateway).describe()["pops"]
    assert (fra["capacity"], fra["headroom"], fra["services"][0]["capacity"], fra["services"][0]["headroom"]) == (None,) * 4
    assert nyc["capacity"] == {"requests_in_flight": 40, "low": 0.5, "high": 1.0}
    assert nyc["services"][0]["capacity"] == {"requests_in_flight": 20, "low": 0.25, "high": 0.5}
    assert (nyc["headroom"], nyc["services"][0]["headroom"]) == (1.0, 1.0)
    serve_some(gateway, "nyc", in_flight=4)
    nyc = pools_of(gateway).describe_one("nyc")
    assert (nyc["in_flight"], nyc["headroom"], nyc["services"][0]["headroom"]) == (4, 0.9, 0.6)  # 4 of 40, 4 of 10
    # Other services fill the PoP as well: the tighter one holds.
    add_to_pop(gateway.figures, gateway.publisher.table.spec.pops[1].row, 0, 30)
    nyc = pools_of(gateway).describe_one("nyc")
    assert (nyc["in_flight"], nyc["headroom"]) == (34, 0.15)
    assert (nyc["services"][0]["in_flight"], nyc["services"][0]["headroom"]) == (4, 0.15)
    serve_some(gateway, "nyc", in_flight=90)
    assert pools_of(gateway).describe_one("nyc")["headroom"] == 0


def test_headroom_is_what_the_decision_sees():
    gateway = gateway_of(CAPACITIES)
    admit(gateway)
    serve_some(gateway, "nyc", in_flight=7)
    explained = {one.pop: one.headroom for one in explain(gateway.publisher.table, 0, None).candidates}
    said = {pop["pop"]: pop["services"][0]["headroom"] for pop in pools_of(gateway).describe()["pops"]}
    assert said["nyc"] == pytest.approx(explained["nyc"])
    assert said["fra"] is explained["fra"] is None


def test_what_is_shed_ramped_and_penalised_is_told():
    gateway = gateway_of()
    admit(gateway)
    gateway.figures.set_pool(pool_row(gateway, "nyc"), admit=0.35, availability=0.7, shed=0.5, ramp=1.0, penalty_ms=12.3456)
    pool = pools_of(gateway).describe_one("nyc")["services"][0]
    assert [pool[key] for key in ("availability", "shed", "ramp", "admit")] == pytest.approx([0.7, 0.5, 1.0, 0.35], abs=1e-3)
    assert pool["penalty_ms"] == pytest.approx(12.3456, abs=1e-3)


def test_an_ejected_endpoint_says_why_and_for_how_much_longer():
    gateway = gateway_of()
    admit(gateway)
    gate = gateway.gates.all[identity("192.0.2.3", pop="nyc")]
    gateway.gates.eject(gate, "6 errors in a row", 30.0)
    gateway.ejections.pools["shop", "nyc"] = Pool(
        ejections={gate.identity: Ejection(gate.identity, gateway.clock() + 30, "6 errors in a row")}
    )
    gateway.clock.advance(10)
    pool = pools_of(gateway).describe_one("nyc")["services"][0]
    assert (pool["endpoints"]["ejected"], pool["endpoints"]["shut"]) == (1, 0)
    assert [(one["state"], one["ejected"]) for one in pool["each"]] == [
        ("admitting", None),
        ("ejected", {"cause": "6 errors in a row", "left_s": 20.0}),
    ]
    assert pools_of(gateway).describe_one("fra")["services"][0]["each"][0]["ejected"] is None


def test_one_pop_tells_each_endpoint():
    gateway = gateway_of()
    admit(gateway)
    fail_connects(gateway, "192.0.2.3", 2)
    gateway.gates.turn()
    each = {one["endpoint"]: one for one in pools_of(gateway).describe_one("nyc")["services"][0]["each"]}
    assert list(each) == ["192.0.2.2:80", "192.0.2.3:80"]
    assert (each["192.0.2.2:80"]["state"], each["192.0.2.2:80"]["gate"]) == ("admitting", "admitting")
    assert (each["192.0.2.3:80"]["state"], each["192.0.2.3:80"]["gate"], each["192.0.2.3:80"]["connect_failures"]) == (
        "probing",
        "doubted",
        2,
    )
    assert len(endpoints(gateway)) == 3


def test_no_such_pop_names_those_there_are():
    with pytest.raises(UnknownPop, match="there is no PoP 'x'; there is: fra, nyc"):
        pools_of(gateway_of()).describe_one("x")


@pytest.mark.parametrize(
    ("cluster", "source"),
    [
        (FakeCluster(), Source("kubernetes", 12.346, None)),
        (FakeCluster(error="/apis/x: 403"), Source("kubernetes", 12.346, "/apis/x: 403")),
        (FakeCluster(problem="shop/web: no port"), Source("kubernetes", 12.346, "shop/web: no port")),
        (FakeCluster(synced=False, age_s=None), Source("kubernetes", None, "no answer yet", kept=True)),  # those of the file stand in
    ],
)
def test_a_clusters_age_and_error(cluster, source):
    gateway, backend = with_cluster(cluster)
    assert pools_of(gateway).source_of(gateway.config.services[0], backend) == source


def test_a_cluster_that_is_not_followed():
    gateway, backend = with_cluster(FakeCluster())
    del gateway.sources.clusters["nyc"]
    assert pools_of(gateway).source_of(gateway.config.services[0], backend) == Source("kubernetes", None, "not followed yet")


def test_a_pop_of_which_all_that_is_left_is_going_away_is_degraded_while_that_serves():
    gateway = gateway_of()
    admit(gateway)
    pool = ("shop", "fra")
    leaving = [replace(one, state=State.SERVING_TERMINATING) for one in gateway.world.pools[pool]]
    gateway.world.describe(pool, leaving)
    gateway.publisher.publish()
    gateway.refresh.turn(gateway.config, gateway.publisher.table.spec)
    (fra, _) = pools_of(gateway).describe()["pops"]
    assert (fra["availability"], fra["state"]) == (0, "degraded")
    for _ in range(3):
        gateway.gates.judge(leaving[0].identity, False, 0)
    assert pools_of(gateway).describe()["pops"][0]["state"] == "down"
    gateway.world.describe(pool, [replace(leaving[0], state=State.TERMINATING)])
    gateway.publisher.publish()
    gateway.refresh.turn(gateway.config, gateway.publisher.table.spec)
    assert pools_of(gateway).describe()["pops"][0]["state"] == "down"


def test_names_are_as_old_as_their_oldest_answer():
    gateway = gateway_of(NAMES)
    backend = gateway.config.services[0].backends[0]
    assert kind_of(backend) == "names"
    assert pools_of(gateway).source_of(gateway.config.services[0], backend) == Source("names", None, None)
    gateway.resolver.answers["web.example.com"] = Answer(("192.0.2.1",), answered_at=990.0, error="no answer in time")
    assert pools_of(gateway).source_of(gateway.config.services[0], backend) == Source("names", 10.0, "web.example.com: no answer in time")
