"""Sharing: contexts of one kubeconfig that name the same cluster and the same user are one way to it, with one set of watches.

They may differ in their namespace, which nobody here goes by. What differs in more is not shared: another user may read what this one
may not, and has rate limits and a line in the server's audit of his own; of two kubeconfigs each is renewed on its own, alike or not.
Where contexts part in an edited kubeconfig the way stays the last one for all of them, until a reload looks anew. Must not know clusters.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway.model import Config, KubernetesAccess
from k8s import AccessError, entries_of

Context = str | None  # None: the current one


def contexts_of(access: KubernetesAccess) -> tuple[Context, ...]:
    return access.context, *access.also


def shared(config: Config) -> Config:
    """Where PoPs' contexts lead the same way the PoPs have the same `kubernetes`. Blocking: it reads kubeconfigs."""
    contexts: dict[Path | None, set[Context]] = {}
    for pop in config.pops:
        if pop.kubernetes is not None and not pop.kubernetes.in_cluster:
            contexts.setdefault(pop.kubernetes.kubeconfig, set()).add(pop.kubernetes.context)
    ways = {(file, one): way for file, some in contexts.items() if len(some) > 1 for one, way in _ways(file, some).items()}

    def way_of(access: KubernetesAccess | None) -> KubernetesAccess | None:
        return None if access is None else ways.get((access.kubeconfig, access.context), access)

    pops = tuple(replace(pop, kubernetes=way_of(pop.kubernetes)) for pop in config.pops)
    return replace(config, pops=pops) if ways else config


def _ways(file: Path | None, contexts: set[Context]) -> dict[Context, KubernetesAccess]:
    try:
        entries = entries_of(None if file is None else str(file), contexts)
    except AccessError:
        return {}  # said when it is loaded
    alike: dict[tuple[str, str], list[Context]] = {}
    for context in sorted(entries, key=lambda one: (one is None, one or "")):
        alike.setdefault(entries[context], []).append(context)
    ways: dict[Context, KubernetesAccess] = {}
    for first, *also in alike.values():
        if also:
            way = KubernetesAccess(context=first, kubeconfig=file, also=tuple(also))  # the first by name; nobody can say `also` in a file
            ways |= dict.fromkeys((first, *also), way)
    return ways
