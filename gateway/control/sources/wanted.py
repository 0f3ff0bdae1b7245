"""Wanted: whom a configuration asks for endpoints. Pure; must not know what they answer."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.model import Backend, Config, KubernetesAccess, Service
from k8s import ServiceKey

Source = tuple[KubernetesAccess, ServiceKey]


def key_of(backend: Backend) -> ServiceKey | None:
    named = backend.kubernetes
    return None if named is None else ServiceKey(named.namespace, named.service, named.port)


def names_of(config: Config) -> set[str]:
    """Hosts of endpoints that have to be resolved."""
    backends = (backend for service in config.services for backend in service.backends)
    return {one.host for backend in backends for one in backend.endpoints or () if one.ip is None and not one.is_unix}


def sources_of(config: Config) -> Iterator[tuple[Service, Backend, Source | None]]:
    """Each pool with the cluster's Service that it is of; None: it is of none."""
    ways = {pop.name: pop.kubernetes for pop in config.pops}
    for service in config.services:
        for backend in service.backends:
            key, way = key_of(backend), ways.get(backend.pop)
            yield service, backend, None if key is None or way is None else (way, key)
