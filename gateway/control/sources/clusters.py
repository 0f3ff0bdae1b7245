"""Clusters: how one is made of what the configuration says of the way to it. Must not know pools."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from gateway.control.sources.sharing import contexts_of
from gateway.control.sources.ways import has_ipv4, has_ipv6
from gateway.model import KubernetesAccess
from k8s import IPV4_FIRST, IPV6_FIRST, AccessError, Budget, Cluster, ClusterAccess, ServiceKey, entries_of

OnCluster = Callable[[Cluster, Collection[ServiceKey]], None]
NewCluster = Callable[[str, KubernetesAccess, list[ServiceKey], OnCluster], Cluster]


def cluster_maker() -> NewCluster:
    """Of clusters of one thread, which together have one budget for decoding."""
    return partial(new_cluster, budget=Budget())


def new_cluster(
    name: str, access: KubernetesAccess, services: list[ServiceKey], on_change: OnCluster, budget: Budget | None = None
) -> Cluster:
    def load() -> ClusterAccess:
        kubeconfig = str(access.kubeconfig) if access.kubeconfig is not None else None
        contexts = contexts_of(access)
        if len(contexts) > 1 and len(set(entries_of(kubeconfig, contexts).values())) != 1:
            names = ", ".join(map(str, contexts))
            raise AccessError(f"kubeconfig {kubeconfig}: the contexts {names} no longer have the same cluster and user: reload")
        return ClusterAccess.load(context=access.context, kubeconfig=kubeconfig, in_cluster=access.in_cluster)

    return Cluster(name, load, services, on_change, budget=budget, families=families())


def families() -> tuple[str, ...]:
    """Which of a dual-stack pod this machine can reach: IPv4, but where it has IPv6 alone. Where it has neither, now or not yet, nobody
    is reached, and what was taken so far is as good."""
    return IPV4_FIRST if has_ipv4() or not has_ipv6() else IPV6_FIRST
