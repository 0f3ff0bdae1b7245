"""Sources: who says which endpoints there are. Configured addresses and names, and Kubernetes Services, one task a cluster.

Writes the world, and asks for a new table when it changed. Must not know gates or tables. A cluster that is gone or slow costs
the others nothing, and what was last known stays. PoPs that reach the API in the same way share a cluster, its watches and its copies.
A change of a Service is read for the pools that are of it; an endpoint that is the same object as before becomes the same one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial

from gateway.config import Address, Backend, Config, KubernetesAccess, Pop, Service
from gateway.control.others import keys_of, places_of_others
from gateway.control.refusals import OWN_LISTENERS, Refusals
from gateway.control.resolver import Resolver
from gateway.control.tasks import Tasks, cancel
from gateway.control.world import Identity, Known, Origin, PoolKey, World
from k8s import Budget, Cluster, ClusterAccess, Endpoint, ServiceKey, State

logger = logging.getLogger("isochrone.sources")

MOST_TOLD = 5  # endpoints in one line of the log
LOCALHOST = ("loopback", OWN_LISTENERS)  # what a name may give that means just that

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
        return ClusterAccess.load(context=access.context, kubeconfig=kubeconfig, in_cluster=access.in_cluster)

    return Cluster(name, load, services, on_change, budget=budget)


@dataclass(slots=True)
class _Read:
    """What became of the endpoints of a pool; by `keys_of` them, which are alive here."""

    endpoints: tuple[Endpoint, ...] = ()
    known: dict[int, Known | None] = field(default_factory=dict)  # None: refused
    refused: dict[int, tuple[Identity, str]] = field(default_factory=dict)  # and why


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
    make_cluster: NewCluster = field(default_factory=cluster_maker)
    own: Callable[[], Iterable[Address]] = tuple  # where this gateway listens
    clusters: dict[str, _Running] = field(default_factory=dict)  # by PoP; several may have the same
    _config: Config | None = None
    _backends: dict[tuple[str, ServiceKey], list[tuple[Service, Backend]]] = field(default_factory=dict)  # by PoP and key
    _read: dict[PoolKey, _Read] = field(default_factory=dict)  # with the configuration in use
    _told: dict[PoolKey, dict[Identity, str]] = field(default_factory=dict)  # what was refused when it was last logged

    def apply(self, config: Config) -> None:
        """Plan and follow at once. Asks for no table: the caller does."""
        self.world.become(self.plan(config))
        self.follow(config)

    def plan(self, config: Config) -> World:
        """The world as this configuration makes it, on a copy: nothing has changed, nobody has been asked."""
        world = self.world.successor((service.name, backend.pop) for service in config.services for backend in service.backends)
        self._describe_static(config, world)
        by_access = {one.access: one for one in self.clusters.values()}
        for pop in config.pops:
            running = by_access.get(pop.kubernetes) if pop.kubernetes is not None else None
            if running is not None:
                for service in config.services:
                    for backend in service.backends:
                        if backend.pop == pop.name:
                            self._describe_pool(running.cluster, service, backend, world, Refusals(self.own()), _Read())
        return world

    def follow(self, config: Config) -> None:
        """Ask whom this configuration names, no longer those that only the last one did. Once the world is as it was planned."""
        self._config = config
        self._backends, self._read = {}, {}
        for service in config.services:
            for backend in service.backends:
                if (key := key_of(backend)) is not None:
                    self._backends.setdefault((backend.pop, key), []).append((service, backend))
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
        for running in self.clusters.values():  # one that several have is cancelled once
            await cancel(running.task)

    def _key(self, pool: PoolKey) -> ServiceKey | None:
        if self._config is None:
            return None
        found = (b for s in self._config.services for b in s.backends if (s.name, b.pop) == pool)
        return next((key for b in found if (key := key_of(b)) is not None), None)

    def _follow_clusters(self, config: Config) -> None:
        pops: dict[KubernetesAccess, list[str]] = {}
        wanted: dict[KubernetesAccess, list[ServiceKey]] = {}
        for pop in config.pops:
            if pop.kubernetes is not None and (services := services_in(config, pop)):
                pops.setdefault(pop.kubernetes, []).append(pop.name)
                wanted.setdefault(pop.kubernetes, []).extend(services)
        running = {one.access: one for one in self.clusters.values()}
        for access in running.keys() - wanted.keys():
            running.pop(access).task.cancel()
        for access, services in wanted.items():
            services = list(dict.fromkeys(services))
            if access in running:
                running[access].cluster.set_services(services)
            else:
                name = ", ".join(pops[access])
                cluster = self.make_cluster(name, access, services, self._on_cluster)
                running[access] = _Running(cluster, access, self.tasks.start(f"cluster {name}", cluster.run()), self.clock())
        self.clusters = {pop: running[access] for access, named in pops.items() for pop in named}

    def _on_cluster(self, cluster: Cluster, keys: Collection[ServiceKey]) -> None:
        is_news, refusals = False, Refusals(self.own())
        for pop, running in self.clusters.items():
            if running.cluster is not cluster:
                continue
            for key in keys:
                for service, backend in self._backends.get((pop, key), ()):
                    read = self._read.setdefault((service.name, pop), _Read())
                    is_news |= self._describe_pool(cluster, service, backend, self.world, refusals, read)
        # The reflectors have gathered changes for 10 ms: no second wait.
        if is_news:
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
                # In one order, however a name server shuffles its answer.
                taken = sorted(one for one, cause in found.items() if cause is None)
                known = [Known(one, State.READY, Origin.STATIC) for one in taken]
                is_news |= world.describe(pool, known, {one: cause for one, cause in found.items() if cause is not None})
        return is_news

    @staticmethod
    def _describe_pool(cluster: Cluster, service: Service, backend: Backend, world: World, refusals: Refusals, read: _Read) -> bool:
        """The last word of a cluster on a pool. What it has not spoken of yet stays as it was (fail static). `read`: of the last time, with
        the same configuration; it becomes that of now."""
        wanted = key_of(backend)
        if wanted is None or not cluster.is_synced(wanted):
            return False
        pool = service.name, backend.pop
        before, now = read.endpoints, cluster.endpoints(wanted)
        came = [now[place] for place in places_of_others(now, before)]
        for key, one in zip(keys_of(came), came, strict=True):
            _take(read, pool, key, one, backend, refusals)
        for key in keys_of(before[place] for place in places_of_others(before, now)):
            del read.known[key]
            read.refused.pop(key, None)
        read.endpoints = now
        known = filter(None, map(read.known.__getitem__, keys_of(now)))
        return world.describe(pool, known, dict(read.refused.values()))


def _take(read: _Read, pool: PoolKey, key: int, one: Endpoint, backend: Backend, refusals: Refusals) -> None:
    known = Known(Identity(*pool, one.uid, one.address, one.port), one.state, Origin.KUBERNETES, one.zone, one.hint_zones)
    cause = refusals.cause(one.address, one.port, backend.allow)
    read.known[key] = known if cause is None else None
    if cause is not None:
        read.refused[key] = known.identity, cause


def names_of(config: Config) -> set[str]:
    """Hosts of endpoints that have to be resolved."""
    backends = (backend for service in config.services for backend in service.backends)
    return {one.host for backend in backends for one in backend.endpoints or () if one.ip is None and not one.is_unix}


def services_in(config: Config, pop: Pop) -> list[ServiceKey]:
    """What is wanted of the cluster in a PoP, each once."""
    backends = (backend for service in config.services for backend in service.backends if backend.pop == pop.name)
    return list(dict.fromkeys(key for backend in backends if (key := key_of(backend)) is not None))
