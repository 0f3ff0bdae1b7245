"""Zone preference, from zones and hints as a real API server keeps them, to where requests go.

The test clusters have one node, so slices with several zones are written by hand: a Service without a selector is nobody else's.
"""

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests
from tests.e2e.cluster import Clusters, ControlPlane
from tests.e2e.gateway import DRAIN, NEAR_FRA, PORT, Gateway
from tests.e2e.processes import wait_until
from tests.e2e.rollout import deployed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PODS, NAME = "behind-zones", "zoned"
HOST = "10.244.240.4"
REQUESTS = 60


@pytest.fixture(scope="module")
def fra(clusters: Clusters) -> ControlPlane:
    (plane,) = clusters.start("fra")
    return plane


@pytest.fixture
def pods(fra: ControlPlane) -> Iterator[dict[str, str]]:
    """Four of them: address by name, as they name themselves in answers."""
    with deployed(fra, PODS, replicas=4, environment={"SLOW_STOP_S": "0"}):
        yield {f"{fra.name}/{pod['metadata']['name']}": pod["status"]["podIP"] for pod in fra.api.pods(PODS)}


def zoned(pods: dict[str, str], **of_zone_a: Any) -> manifests.Manifest:
    """A slice with the first two pods in zone a and the others in zone b. `of_zone_a`: what else is said of those."""
    endpoints = [
        {"addresses": [address], "zone": "a" if number < 2 else "b", "conditions": {"ready": True}, **(of_zone_a if number < 2 else {})}
        for number, address in enumerate(pods.values())
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": manifests.PORT, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


def hinted(pods: dict[str, str], zone: str) -> manifests.Manifest:
    """All endpoints are meant for one zone."""
    manifest = zoned(pods)
    for endpoint in manifest["endpoints"]:
        endpoint["hints"] = {"forZones": [{"name": zone}]}
    return manifest


@pytest.fixture
def gateway(fra: ControlPlane, kubeconfig: Path, pods: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """In zone a, before the Service."""
    service = manifests.service(NAME)
    del service["spec"]["selector"]
    fra.api.apply(service)
    fra.api.apply(zoned(pods))
    access = {"kubeconfig": str(kubeconfig), "context": "fra"}
    config = {
        "gateway": {"location": NEAR_FRA, "zone": "a"},
        "pops": [{"name": "fra", "lat": 50.11, "lon": 8.68, "kubernetes": access}],
        "services": [
            {
                "name": "web",
                "health": {"path": "/healthz"},
                "prefer_zone": True,
                "slow_start": "0s",
                "backends": [{"pop": "fra", "kubernetes": {"service": NAME, "port": "http"}}],
            }
        ],
        "routes": [{"service": "web"}],
        "drain": DRAIN,
    }
    try:
        with Gateway("zones", HOST, tmp_path, config) as one:
            yield one.start()
    finally:
        fra.api.delete(zoned(pods))
        fra.api.delete(service)


def who_serves() -> set[str]:
    """Over so many requests that a pod which is among them is hardly ever missed: (3/4)^60 is 3e-8."""
    seen = set()
    for _ in range(REQUESTS):
        connection = http.client.HTTPConnection(HOST, PORT, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200
            seen.add(answer.headers["x-pod"])
            answer.read()
        finally:
            connection.close()
    return seen


def test_the_own_zone_serves_then_the_other_then_whom_hints_name(fra: ControlPlane, pods: dict[str, str], gateway: Gateway) -> None:
    names = list(pods)
    near, far = set(names[:2]), set(names[2:])
    wait_until(lambda: who_serves() == near, 10, "the own zone alone")
    fra.api.apply(zoned(pods, conditions={"ready": False}))
    wait_until(lambda: who_serves() == far, 10, "the other zone, nobody else is ready")
    fra.api.apply(zoned(pods))
    wait_until(lambda: who_serves() == near, 10, "the own zone again")
    fra.api.apply(hinted(pods, "b"))
    wait_until(lambda: who_serves() == near | far, 10, "hints for another zone only: everybody")
    fra.api.apply(hinted(pods, "a"))
    wait_until(lambda: who_serves() == near | far, 10, "all are meant for this zone")
