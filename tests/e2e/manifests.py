"""What tests deploy: Kubernetes objects as plain dicts, ready for ControlPlane.api.apply. Knows nothing of clusters."""

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]

PORT = 8080


def deployment(
    name: str = "web",
    *,
    namespace: str = "default",
    replicas: int = 3,
    grace_s: int = 5,
    environment: Mapping[str, str] | None = None,
) -> Manifest:
    """A Deployment that rolls without loss when all goes well: one pod more, never one less, and time for what is in flight.

    `environment` reaches the pods' program (backend.py says what it reads); changing it is a new revision, so it rolls.
    """
    container = {
        "name": "backend",
        "image": "backend",  # no images here: pods.py runs its own program
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1, "failureThreshold": 2},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container]},
            },
        },
    }


def service(name: str = "web", *, namespace: str = "default") -> Manifest:
    """The Service before `deployment(name)`: port `http`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def namespace(name: str) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
