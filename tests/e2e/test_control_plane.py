"""The test clusters themselves: real controllers, pods as processes. What drain scenarios rely on is shown before a gateway is blamed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import manifests
from tests.e2e.cluster import Clusters, ControlPlane
from tests.e2e.kubeapi import EndpointRecorder
from tests.e2e.load import Load
from tests.e2e.processes import wait_until
from tests.e2e.rollout import deployed, is_alive, is_ready, pid_of, ready_addresses

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

QUICK = {"SLOW_STOP_S": "0"}


@pytest.fixture(scope="module")
def fra(clusters: Clusters) -> ControlPlane:
    (plane,) = clusters.start("fra")
    return plane


@pytest.mark.heavy
def test_two_clusters_start_within_20_s(clusters: Clusters, kubeconfig: Path) -> None:
    begin = time.monotonic()
    fra, nyc = clusters.start("fra", "nyc")
    assert time.monotonic() - begin < 20

    fra.api.apply(manifests.namespace("only-here"))
    assert "only-here" in fra.kubectl("get", "namespaces", "-o", "name")
    assert "only-here" not in nyc.kubectl("get", "namespaces", "-o", "name")
    assert "v1.37" in fra.kubectl("version")


def test_one_kubeconfig_has_a_context_for_each(clusters: Clusters, fra: ControlPlane, kubeconfig: Path) -> None:
    for name in clusters.running:
        nodes = fra.kubectl("--kubeconfig", str(kubeconfig), "--context", name, "get", "nodes", "-o", "name")
        assert nodes == f"node/node-{name}\n"


def test_deployment_of_three_is_three_ready_endpoints(fra: ControlPlane) -> None:
    with deployed(fra, "three", environment=QUICK):
        found = fra.api.endpoints("three")
        pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in fra.api.pods("three")}
        assert {endpoint.pod: endpoint.address for endpoint in found} == pods
        assert all((endpoint.ready, endpoint.serving, endpoint.terminating) == (True, True, False) for endpoint in found)
        (endpoint_slice,) = fra.api.list_slices("three")["items"]
        assert [(port["name"], port["port"]) for port in endpoint_slice["ports"]] == [("http", 8080)]


def test_rolling_restart_surges_then_terminates_and_never_lacks_a_pod(fra: ControlPlane) -> None:
    with deployed(fra, "rolling", environment={"SLOW_STOP_S": "0.5"}):
        before = set(fra.api.endpoints("rolling"))
        recorder = EndpointRecorder(fra.api, "rolling")
        fra.kubectl("rollout", "restart", "deployment/rolling")
        fra.kubectl("rollout", "status", "deployment/rolling", "--timeout=30s")
        wait_until(lambda: fra.api.is_rolled_out("rolling"), 20, "old pods gone")
        states = recorder.close()

    assert not before & states[-1]
    assert min(sum(map(is_ready, state)) for state in states) == 3, states
    every = {endpoint for state in states for endpoint in state}
    ended = {endpoint.pod for endpoint in every if (endpoint.ready, endpoint.serving, endpoint.terminating) == (False, True, True)}
    assert ended >= {endpoint.pod for endpoint in before}, "each old pod was seen terminating and still serving"


def test_scale_to_zero_and_back(fra: ControlPlane) -> None:
    with deployed(fra, "scaled", replicas=2, environment=QUICK):
        processes = [pid_of(fra, pod["metadata"]["name"]) for pod in fra.api.pods("scaled")]
        fra.api.scale("scaled", 0)
        wait_until(lambda: fra.api.is_rolled_out("scaled") and not fra.api.endpoints("scaled"), 20, "scaled to none")
        assert not any(map(is_alive, processes))
        fra.api.scale("scaled", 2)
        wait_until(lambda: len(ready_addresses(fra, "scaled")) == 2, 20, "scaled back")


def test_a_slow_start_is_not_ready_before_its_time(fra: ControlPlane) -> None:
    begin = time.monotonic()
    with deployed(fra, "slow-start", replicas=1, environment=QUICK | {"START_DELAY_S": "1.5"}):
        assert time.monotonic() - begin >= 1.5


def test_a_pod_that_overstays_its_grace_is_killed(fra: ControlPlane) -> None:
    with deployed(fra, "overstay", replicas=1, grace_s=1, environment={"SLOW_STOP_S": "60"}):
        (pod,) = fra.api.pods("overstay")
        name = pod["metadata"]["name"]
        process = pid_of(fra, name)
    assert not is_alive(process)
    assert f"{name}: ended with -9" in fra.pods.log.read_text()


def test_a_dead_process_makes_its_endpoint_unready_and_is_started_again(fra: ControlPlane) -> None:
    with deployed(fra, "dying", replicas=2, environment=QUICK):
        victim = fra.api.pods("dying")[0]["metadata"]["name"]
        recorder = EndpointRecorder(fra.api, "dying")
        first = pid_of(fra, victim)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: pid_of(fra, victim) != first, 10, "a process in its place")
        wait_until(lambda: len(ready_addresses(fra, "dying")) == 2, 10, "ready again")
        assert any(endpoint.pod == victim and not endpoint.ready for state in recorder.close() for endpoint in state)


@pytest.mark.heavy
def test_pods_serve_on_while_the_api_server_is_stopped(fra: ControlPlane, tmp_path: Path) -> None:
    with deployed(fra, "orphans", replicas=2, environment=QUICK):
        load = Load(tmp_path, keepalive=2, fresh=1)
        load.point_at(*ready_addresses(fra, "orphans"))
        load.start()
        fra.stop_api()
        assert not fra.api.is_well("/readyz")
        asked = sum(load.report().done.values())
        wait_until(lambda: sum(load.report().done.values()) > asked + 50, 10, "answers without an API server")
        fra.start_api()
        assert load.stop().problems() == {}
        fra.kubectl("rollout", "restart", "deployment/orphans")
        # Controllers come back by their own backoff, up to a minute after a long outage.
        wait_until(lambda: fra.api.is_rolled_out("orphans"), 60, "a rollout after the outage")


def test_a_paused_api_server_answers_nothing_and_resumes(fra: ControlPlane) -> None:
    fra.pause_api()
    try:
        with pytest.raises(TimeoutError):
            fra.api.call("GET", "/version", timeout_s=0.5)
    finally:
        fra.resume_api()
    assert fra.api.call("GET", "/version")["major"] == "1"


@pytest.mark.heavy
def test_load_straight_at_pods_sees_nothing_wrong(fra: ControlPlane, posts: Path, tmp_path: Path) -> None:
    with deployed(fra, "loaded"):
        load = Load(tmp_path, posts=posts)
        load.point_at(*ready_addresses(fra, "loaded"))
        load.start()
        wait_until(lambda: min(load.report().done.values()) >= 2, 30, "two exchanges of each kind, both framings with that")
        report = load.stop()
    assert report.problems() == {}, report.details
    assert len(report.by_pod()) == 3
    assert set(report.by_cluster()) == {"fra"}


def test_load_sees_a_killed_pod(fra: ControlPlane, posts: Path, tmp_path: Path) -> None:
    with deployed(fra, "killed", replicas=1):
        load = Load(tmp_path, posts=posts)
        load.point_at(*ready_addresses(fra, "killed"))
        load.start()
        os.kill(pid_of(fra, fra.api.pods("killed")[0]["metadata"]["name"]), signal.SIGKILL)
        wait_until(lambda: load.report().faults.get("refused"), 10, "refused connections")
        report = load.stop()
    assert report.problems().keys() & {"reset", "no_answer", "truncated"}, "the downloads were cut"


def test_kubectl_complaints_reach_the_test(fra: ControlPlane) -> None:
    with pytest.raises(AssertionError, match="not found"):
        fra.kubectl("get", "deployment/nowhere")
    with pytest.raises(subprocess.TimeoutExpired):
        fra.kubectl("get", "pods", "--watch", timeout_s=0.3)
