"""Sources: who says which endpoints there are. Configured addresses and names, and Kubernetes Services, one task a cluster.

Writes the world, and asks for a new table when it changed. Must not know gates or tables. A cluster that is gone or slow costs
the others nothing, and what was last known stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.config import Address, Backend, Config, KubernetesAccess, Pop
from gateway.control.refusals import OWN_LISTENERS, Refusals
from gateway.control.resolver import Resolver
from gateway.control.tasks import Tasks, cancel
from gateway.control.world import Identity, Known, Origin, PoolKey, World
from k8s import Cluster, ClusterAccess, Endpoint, ServiceKey, State

logger = logging.getLogger("isochrone.sources")

MOST_TOLD = 5  # endpoints in one line of the log
LOCALHOST = ("loopback", OWN_LISTENERS)  # what a name may give that means just that

NewCluster = Callable[[str, KubernetesAccess, list[ServiceKey], Callable[[Cluster], None]], Cluster]


def new_cluster(name: str, access: KubernetesAccess, services: list[ServiceKey], on_change: Callable[[Cluster], None]) -> Cluster:
    def load() -> ClusterAccess:
        kubeconfig = str(access.kubeconfig) if access.kubeconfig is not None else None
        return ClusterAccess.load(context=access.context, kubeconfig=kubeconfig, in_cluster=access.in_cluster)

    return Cluster(name, load, services, on_change)


@dataclass(slots=True)
class _Running:
    cluster: Cluster
    access: KubernetesAccess
    task: asyncio.Task[None]
    began: float
    is_stale: bool = False  # did not sync by its deadline: the start no longer waits for it


def key_of(backend: Backend) -> ServiceKey | None:
    named = backend.kubernetes
    return None if named is None else ServiceKey(named.namespace, named.service, named.port)


@dataclass(slots=True)
class Sources:
    world: World
    resolver: Resolver
    tasks: Tasks
    clock: Callable[[], float]
    on_change: Callable[[float], None]  # with the seconds in which further changes may still be gathered
    make_cluster: NewCluster = new_cluster
    own: Callable[[], Iterable[Address]] = tuple  # where this gateway listens
    clusters: dict[str, _Running] = field(default_factory=dict)  # by PoP
    _config: Config | None = None
    _told: dict[PoolKey, dict[Identity, str]] = field(default_factory=dict)  # what was refused when it was last logged

    def apply(self, config: Config) -> None:
        """Plan and follow at once. Asks for no table: the caller does."""
        self.world.become(self.plan(config))
        self.follow(config)

    def plan(self, config: Config) -> World:
        """The world as this configuration makes it, on a copy: nothing has changed, nobody has been asked."""
        world = self.world.successor((service.name, backend.pop) for service in config.services for backend in service.backends)
        self._describe_static(config, world)
        for pop in config.pops:
            running = self.clusters.get(pop.name)
            if running is not None and running.access == pop.kubernetes:
                self._describe_cluster(running.cluster, config, world)
        return world

    def follow(self, config: Config) -> None:
        """Ask whom this configuration names, no longer those that only the last one did. Once the world is as it was planned."""
        self._config = config
        self.resolver.want(names_of(config))
        self._follow_clusters(config)
        self._tell()

    def on_names(self) -> None:
        """A name has other addresses now."""
        if self._config is not None and self._describe_static(self._config, self.world):
            self.on_change(0.010)
        self._tell()

    def unsynced(self, deadline_s: float) -> list[str]:
        """Clusters that the start still waits for. One silent for longer than the deadline is called stale and not waited for."""
        waiting = []
        for pop, running in self.clusters.items():
            if running.cluster.synced or running.is_stale:
                continue
            if self.clock() - running.began >= deadline_s:
                running.is_stale = True
                logger.warning("cluster stale: no first answer in time", extra={"pop": pop, "error": running.cluster.error})
            else:
                waiting.append(pop)
        return waiting

    def cluster(self, pop: str) -> Cluster | None:
        """The one in this PoP, for `/pops` and metrics."""
        running = self.clusters.get(pop)
        return running.cluster if running is not None else None

    def age_s(self, pool: PoolKey) -> float | None:
        """Seconds since the source of this pool was heard; None: never, or it needs none (addresses in the configuration)."""
        key = self._key(pool)
        running = self.clusters.get(pool[1])
        return running.cluster.age_s(self.clock(), key) if key is not None and running is not None else None

    async def stop(self) -> None:
        for running in self.clusters.values():
            await cancel(running.task)

    def _key(self, pool: PoolKey) -> ServiceKey | None:
        if self._config is None:
            return None
        found = (b for s in self._config.services for b in s.backends if (s.name, b.pop) == pool)
        return next((key for b in found if (key := key_of(b)) is not None), None)

    def _follow_clusters(self, config: Config) -> None:
        wanted = {pop.name: (pop.kubernetes, services_in(config, pop)) for pop in config.pops if pop.kubernetes is not None}
        for pop in list(self.clusters):
            running = self.clusters[pop]
            if pop not in wanted or not wanted[pop][1] or wanted[pop][0] != running.access:
                del self.clusters[pop]
                running.task.cancel()
        for pop, (access, services) in wanted.items():
            if pop in self.clusters:
                self.clusters[pop].cluster.set_services(services)
            elif services and access is not None:
                cluster = self.make_cluster(pop, access, services, self._on_cluster)
                task = self.tasks.start(f"cluster {pop}", cluster.run())
                self.clusters[pop] = _Running(cluster, access, task, self.clock())

    def _on_cluster(self, cluster: Cluster) -> None:
        running = self.clusters.get(cluster.name)
        # The reflectors have gathered changes for 10 ms: no second wait.
        if running is None or running.cluster is not cluster or self._config is None:
            return
        if self._describe_cluster(cluster, self._config, self.world):
            self.on_change(0.0)
        self._tell()

    def _tell(self) -> None:
        """Log what is refused, once: a line a pool, for a slice may have thousands."""
        for pool, refused in self.world.refused.items():
            if new := [f"{one}: {cause}" for one, cause in refused.items() if one not in self._told.get(pool, {})]:
                extra = {"service": pool[0], "pop": pool[1], "refused": len(refused), "for_example": sorted(new)[:MOST_TOLD]}
                logger.warning("endpoints refused: not in allow of the backend", extra=extra)
        self._told = dict(self.world.refused)

    def _describe_static(self, config: Config, world: World) -> bool:
        is_news, refusals = False, Refusals(self.own())
        for service in config.services:
            for backend in service.backends:
                if backend.endpoints is None:
                    continue
                pool = service.name, backend.pop
                found: dict[Identity, str | None] = {}  # with why it is refused
                for one in backend.endpoints:
                    is_name = one.ip is None and not one.is_unix
                    allow = (*backend.allow, *LOCALHOST) if one.host == "localhost" else backend.allow
                    for address in self.resolver.addresses(one.host) if is_name else (one.host,):
                        cause = refusals.cause(address, one.port, allow) if is_name else None
                        identity = Identity(*pool, "", address, one.port)
                        found[identity] = cause and found.get(identity, cause)  # one word for it is enough
                if not found and pool not in world.pools:
                    continue  # no name resolved yet: the first answer is the first word
                known = (Known(one, State.READY, Origin.STATIC) for one, cause in found.items() if cause is None)
                is_news |= world.describe(pool, known, {one: cause for one, cause in found.items() if cause is not None})
        return is_news

    def _describe_cluster(self, cluster: Cluster, config: Config, world: World) -> bool:
        """The last word of a cluster on each of its pools. What it has not spoken of yet stays as it was (fail static)."""
        is_news, refusals = False, Refusals(self.own())
        for service in config.services:
            for backend in service.backends:
                key = key_of(backend)
                if backend.pop != cluster.name or key is None or not cluster.is_synced(key):
                    continue
                found = [_known_of(service.name, cluster.name, one) for one in cluster.endpoints(key)]
                refused = {
                    one.identity: cause
                    for one in found
                    if (cause := refusals.cause(one.identity.address, one.identity.port, backend.allow)) is not None
                }
                known = (one for one in found if one.identity not in refused) if refused else found
                is_news |= world.describe((service.name, cluster.name), known, refused)
        return is_news


def _known_of(service: str, pop: str, one: Endpoint) -> Known:
    identity = Identity(service, pop, one.uid, one.address, one.port)
    return Known(identity, one.state, Origin.KUBERNETES, one.zone, one.hint_zones)


def names_of(config: Config) -> set[str]:
    """Hosts of endpoints that have to be resolved."""
    backends = (backend for service in config.services for backend in service.backends)
    return {one.host for backend in backends for one in backend.endpoints or () if one.ip is None and not one.is_unix}


def services_in(config: Config, pop: Pop) -> list[ServiceKey]:
    """What is wanted of the cluster in a PoP, each once."""
    backends = (backend for service in config.services for backend in service.backends if backend.pop == pop.name)
    return list(dict.fromkeys(key for backend in backends if (key := key_of(backend)) is not None))
