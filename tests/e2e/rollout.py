"""Deployments in test clusters, as tests handle them: there and rolled out, rolled again, their processes. Knows nothing of gateways."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import manifests
from tests.e2e.cluster import ControlPlane
from tests.e2e.kubeapi import Endpoint
from tests.e2e.processes import wait_until


def deploy(plane: ControlPlane, name: str, *, replicas: int = 3, grace_s: int = 5, environment: dict[str, str] | None = None) -> None:
    """A Deployment and its Service, until they are rolled out. They stay until the cluster ends."""
    plane.api.apply(manifests.service(name))
    plane.api.apply(manifests.deployment(name, replicas=replicas, grace_s=grace_s, environment=environment))
    wait_until(lambda: plane.api.is_rolled_out(name), 20, f"{name} rolled out")
    # Slices follow pods, a moment later.
    wait_until(lambda: len(ready_addresses(plane, name)) == replicas, 5, f"{name} in its slices")


@contextmanager
def deployed(
    plane: ControlPlane, name: str, *, replicas: int = 3, grace_s: int = 5, environment: dict[str, str] | None = None
) -> Iterator[None]:
    """A Deployment that is rolled out, and its Service; gone to the last process at the end."""
    try:
        deploy(plane, name, replicas=replicas, grace_s=grace_s, environment=environment)
        yield
    finally:
        for manifest in (manifests.service(name), manifests.deployment(name)):
            plane.api.delete(manifest)
        wait_until(lambda: not plane.api.pods(name), 60, f"pods of {name} gone")


def roll(plane: ControlPlane, name: str, timeout_s: float = 60.0) -> None:
    """A rolling restart, from the command until the last old pod is gone."""
    plane.kubectl("rollout", "restart", f"deployment/{name}")
    wait_until(lambda: plane.api.is_rolled_out(name), timeout_s, f"{name} rolled in {plane.name}")


def pod_names(plane: ControlPlane, name: str) -> set[str]:
    """The pods as they name themselves in answers (backend.py)."""
    return {f"{plane.name}/{pod['metadata']['name']}" for pod in plane.api.pods(name)}


def is_ready(endpoint: Endpoint) -> bool:
    return bool(endpoint.ready)


def ready_addresses(plane: ControlPlane, name: str) -> list[str]:
    return sorted(f"{endpoint.address}:{manifests.PORT}" for endpoint in plane.api.endpoints(name) if is_ready(endpoint))


def pid_of(plane: ControlPlane, pod: str) -> int:
    """The process of a pod, as the kubelet's log has it."""
    lines = [line for line in plane.pods.log.read_text().splitlines() if f" {pod}: started on " in line]
    return int(lines[-1].rsplit(" ", 1)[1])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
