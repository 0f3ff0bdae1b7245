"""Two contexts of one real API server: as one user they have one watch, and the server says so itself."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Clusters, ControlPlane
from tests.e2e.gateway import Gateway, two_pops
from tests.e2e.processes import wait_until
from tests.e2e.rollout import deployed, ready_addresses

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HOST = "10.244.240.10"
WATCHES = re.compile(
    r'^apiserver_longrunning_requests\{.*resource="endpointslices".*scope="namespace".*verb="WATCH".*\} (\d+)$', re.MULTILINE
)


def watches(plane: ControlPlane) -> int:
    """Of the slices of a namespace: nobody else's here, for controllers watch those of all."""
    return sum(map(int, WATCHES.findall(plane.kubectl("get", "--raw", "/metrics"))))


def known(gateway: Gateway, pop: str) -> list[str]:
    return sorted(one["endpoint"] for one in gateway.command("GET", f"/pops/{pop}")["services"][0]["each"])


@pytest.mark.heavy
def test_one_user_has_one_watch_and_two_users_have_two(clusters: Clusters, tmp_path: Path) -> None:
    (plane,) = clusters.start("fra")
    described: dict[str, Any] = plane.describe()
    (context,), (user,) = described["contexts"], described["users"]
    file = tmp_path / "kubeconfig"

    def write(nyc: str) -> None:
        contexts = [context, {"name": "nyc", "context": {**context["context"], "namespace": "store", "user": nyc}}]
        file.write_text(yaml.safe_dump({**described, "contexts": contexts, "users": [user, {**user, "name": "another"}]}))

    write(user["name"])
    with deployed(plane, "twins"):
        pods = ready_addresses(plane, "twins")
        with Gateway("twins", HOST, tmp_path, two_pops(file, "twins")) as gateway:
            gateway.start()
            wait_until(lambda: (known(gateway, "fra"), known(gateway, "nyc")) == (pods, pods), 30, "both PoPs know the pods")
            wait_until(lambda: watches(plane) > 0, 30, "a watch")
            assert watches(plane) == 1
            write("another")
            gateway.command("POST", "/reload")
            wait_until(lambda: watches(plane) == 2, 30, "each user has a watch of its own")
            assert (known(gateway, "fra"), known(gateway, "nyc")) == (pods, pods)
