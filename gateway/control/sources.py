"""Sources: who says which endpoints there are. Configured addresses and names, and Kubernetes Services, one task a cluster.

Writes the world, and asks for a new table when it changed. Must not know gates or tables. A cluster that is gone or slow costs
the others nothing, and what was last known stays: it is followed until whoever is asked in its place has spoken (make before break). PoPs
that reach the API in the same way share a cluster, its watches and its copies.
A change of a Service is read for the pools that are of it; an endpoint that is the same object as before becomes the same one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from gateway.config import Address, Backend, Config, KubernetesAccess, Service
from gateway.control.last_words import LastWord, LastWords
from gateway.control.others import derived, keys_of, others
from gateway.control.refusals import OWN_LISTENERS, Refusals
from gateway.control.resolver import Resolver
from gateway.control.tasks import Tasks, cancel
from gateway.control.world import Identity, Known, Origin, PoolKey, World
from k8s import Budget, Cluster, ClusterAccess, Endpoint, ServiceKey, State

logger = logging.getLogger("isochrone.sources")

MOST_TOLD = 5  # endpoints in one line of the log
LOCALHOST = ("loopback", OWN_LISTENERS)  # what a name may give that means just that

# Without an answer for so long, and a reason why, what a cluster said to the last process is used. One failure is no outage.
GONE_S = 5.0

Source = tuple[KubernetesAccess, ServiceKey]
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
    """What became of the endpoints of a pool."""

    endpoints: tuple[Endpoint, ...] = ()
    known: tuple[Known | None, ...] = ()  # of each of these; None: refused
    refused: dict[int, tuple[Identity, str]] = field(default_factory=dict)  # and why; by `keys_of` them, which are alive here


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
    last_words: LastWords | None = None  # what clusters said to the last process
    clusters: dict[str, _Running] = field(default_factory=dict)  # by PoP; several may have the same
    _running: dict[KubernetesAccess, _Running] = field(default_factory=dict)  # those of no PoP too that are still followed
    _config: Config | None = None
    _wanted: dict[PoolKey, Source] = field(default_factory=dict)
    _said_by: dict[PoolKey, Source] = field(default_factory=dict)  # whose word a pool's endpoints are
    _others: dict[tuple[str, ServiceKey], Source] = field(default_factory=dict)  # likewise, where that is not who is wanted; by PoP and key
    _readers: dict[Source, list[tuple[Service, Backend]]] = field(default_factory=dict)  # of both
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
        refusals = Refusals(self.own())
        for service, backend, source in sources_of(config):
            if source is not None and (cluster := self._heard(source)) is not None:
                _describe(cluster.endpoints(source[1]), (service.name, backend.pop), backend, world, refusals, _Read())
        return world

    def follow(self, config: Config) -> None:
        """Ask whom this configuration names, no longer those that only the last one did. Once the world is as it was planned."""
        self._config, self._read = config, {}
        self.resolver.want(names_of(config))
        self._follow_clusters(config)
        self._told = {pool: told for pool, told in self._told.items() if pool in self.world.pools}
        self._tell(self.world.refused)

    def on_names(self) -> None:
        """A name has other addresses now."""
        if self._config is None:
            return
        if self._describe_static(self._config, self.world):
            self.on_change(0.010)
        if not self._said_by.keys() <= self._wanted.keys():
            self._follow_clusters(self._config)
        self._tell(self.world.refused)

    def unsynced(self, deadline_s: float) -> list[str]:
        """Clusters that the start still waits for. One silent for longer than the deadline is called stale and not waited for."""
        waiting = []
        for pop, running in self.clusters.items():
            if running.cluster.synced or running.is_stale:
                continue
            age_s, error, waited_s = self._kept_age_s(running), running.cluster.error, self.clock() - running.began
            if waited_s < deadline_s and (age_s is None or error is None or waited_s < GONE_S):
                waiting.append(pop)
                continue
            running.is_stale = True
            if age_s is None:
                logger.warning("cluster stale: no first answer in time", extra={"pop": pop, "error": error})
            else:
                self._recall(running)
                extra = {"pop": pop, "error": error, "age_s": round(age_s, 1)}
                logger.warning("cluster does not answer: its endpoints are those it last named", extra=extra)
        return waiting

    def cluster(self, pop: str) -> Cluster | None:
        """The one in this PoP, for `/pops` and metrics."""
        running = self.clusters.get(pop)
        return running.cluster if running is not None else None

    def age_s(self, pop: str, key: ServiceKey) -> float | None:
        """Seconds since the cluster in a PoP was heard of this Service, by this process or the last one; None: never."""
        running = self.clusters.get(pop)
        if running is None:
            return None
        if (other := self._others.get((pop, key))) is not None:
            return self._running[other[0]].cluster.age_s(self.clock(), other[1])
        kept_s = self._kept_s(running, key)
        return running.cluster.age_s(self.clock(), key) if kept_s is None else kept_s

    def is_kept(self, pop: str, key: ServiceKey) -> bool:
        """Whether its endpoints are those that the cluster named to the last process, or that another one named, or another Service was,
        before a reload."""
        running = self.clusters.get(pop)
        return (pop, key) in self._others or (running is not None and self._kept_s(running, key) is not None)

    def followed(self) -> list[tuple[KubernetesAccess, Cluster, list[ServiceKey]]]:
        """Each cluster once, with the way to it and what is wanted of it."""
        return [(access, running.cluster, [key for at, key in self._readers if at is access]) for access, running in self._running.items()]

    async def stop(self) -> None:
        for running in self._running.values():
            await cancel(running.task)

    def _heard(self, source: Source) -> Cluster | None:
        """The cluster, if it has spoken of this Service."""
        running = self._running.get(source[0])
        return running.cluster if running is not None and running.cluster.is_synced(source[1]) else None

    def _recall(self, running: _Running) -> None:
        """Pools of a cluster that has not spoken, and of which nobody has, as it had them in the last process."""
        refusals = Refusals(self.own())
        for (access, key), readers in self._readers.items():
            if access is not running.access or running.cluster.is_synced(key) or (word := self._last_word(running, key)) is None:
                continue
            for service, backend in readers:
                pool = service.name, backend.pop
                if pool not in self.world.pools:
                    _describe(word.endpoints, pool, backend, self.world, refusals, _Read())
                    self.on_change(0.0)
                    self._tell([pool])

    def _last_word(self, running: _Running, key: ServiceKey) -> LastWord | None:
        """Of the same server, as far as that is known: networks of clusters overlap."""
        word = None if self.last_words is None else self.last_words.of(running.access, key)
        return None if word is None or running.cluster.server not in (None, word.server) else word

    def _kept_s(self, running: _Running, key: ServiceKey) -> float | None:
        """How long ago a cluster that has not spoken yet spoke to the last process; None: it has spoken, or had not."""
        if self.last_words is None or running.cluster.is_synced(key) or self._last_word(running, key) is None:
            return None
        return self.last_words.age_s(running.access, key)

    def _kept_age_s(self, running: _Running) -> float | None:
        """Likewise of all that it has not spoken of; None where it had not spoken of one of these."""
        keys = {key for access, key in self._readers if access is running.access and not running.cluster.is_synced(key)}
        ages = [self._kept_s(running, key) for key in keys]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def _follow_clusters(self, config: Config) -> None:
        """What is wanted, and whoever endpoints came from that stand in its place until that has spoken: they would be unwatched."""
        said_by, self._said_by, self._wanted, self._readers, self._others = self._said_by, {}, {}, {}, {}
        for service, backend, source in sources_of(config):
            pool = service.name, backend.pop
            other = said_by.get(pool)
            if source is None:
                if other is None or self._has_answer(backend):
                    continue
            else:
                self._wanted[pool] = source
                self._readers.setdefault(source, []).append((service, backend))
                if self._heard(source) is not None:
                    other = source
            if other is not None:
                self._said_by[pool] = other
            if other not in (None, source):
                self._readers.setdefault(other, []).append((service, backend))
                if source is not None:
                    self._others[backend.pop, source[1]] = other
        wanted: dict[KubernetesAccess, list[ServiceKey]] = {}
        for access, key in self._readers:
            wanted.setdefault(access, []).append(key)
        pops = {pop.name: pop.kubernetes for pop in config.pops if pop.kubernetes is not None and pop.kubernetes in wanted}
        for access in self._running.keys() - wanted.keys():
            self._running.pop(access).task.cancel()
        for access, services in wanted.items():
            if access in self._running:
                self._running[access].cluster.set_services(services)
            else:
                name = ", ".join(pop for pop, way in pops.items() if way == access)
                cluster = self.make_cluster(name, access, services, self._on_cluster)
                self._running[access] = _Running(cluster, access, self.tasks.start(f"cluster {name}", cluster.run()), self.clock())
        at = {pop for _, pop in self._wanted}
        self.clusters = {pop: self._running[way] for pop, way in pops.items() if pop in at}

    def _has_answer(self, backend: Backend) -> bool:
        return any(one.ip is not None or one.is_unix or self.resolver.addresses(one.host) for one in backend.endpoints or ())

    def _on_cluster(self, cluster: Cluster, keys: Collection[ServiceKey]) -> None:
        is_news, is_first, refusals = False, False, Refusals(self.own())
        read: list[PoolKey] = []
        access = next((one.access for one in self._running.values() if one.cluster is cluster), None)
        if access is None:
            return  # followed no longer
        # What it has not spoken of yet stays as it was (fail static).
        for key in filter(cluster.is_synced, keys):
            for service, backend in self._readers.get((access, key), ()):
                pool, source = (service.name, backend.pop), (access, key)
                before = self._said_by.get(pool)
                if before != source and self._wanted.get(pool) != source:
                    continue  # whose place is taken
                is_first |= before not in (None, source)
                self._said_by[pool] = source
                read.append(pool)
                is_news |= _describe(cluster.endpoints(key), pool, backend, self.world, refusals, self._read.setdefault(pool, _Read()))
        if is_first and self._config is not None:
            self._follow_clusters(self._config)
        # The reflectors have gathered changes for 10 ms: no second wait.
        if is_news:
            self.on_change(0.0)
        self._tell(read)

    def _tell(self, pools: Iterable[PoolKey]) -> None:
        """Log what is refused in these, once: a line a pool, for a slice may have thousands."""
        for pool in pools:
            refused, told = self.world.refused.get(pool, {}), self._told.get(pool, {})
            self._told[pool] = refused
            if new := [f"{one}: {cause}" for one, cause in refused.items() if one not in told]:
                extra = {"service": pool[0], "pop": pool[1], "refused": len(refused), "for_example": sorted(new)[:MOST_TOLD]}
                logger.warning("endpoints refused: not in allow of the backend", extra=extra)

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
                if not found:
                    continue  # no name has an answer yet, which is no word: what was known stays
                # In one order, however a name server shuffles its answer.
                taken = sorted(one for one, cause in found.items() if cause is None)
                known = [Known(one, State.READY, Origin.STATIC) for one in taken]
                is_news |= world.describe(pool, known, {one: cause for one, cause in found.items() if cause is not None})
        return is_news


def _describe(endpoints: tuple[Endpoint, ...], pool: PoolKey, backend: Backend, world: World, refusals: Refusals, read: _Read) -> bool:
    """The last word of a cluster on a pool. `read`: of the last time, with the same configuration; it becomes that of now."""
    before = read.endpoints
    if read.refused:
        for key in keys_of(before[place] for place in others(before, endpoints)[0]):
            read.refused.pop(key, None)
    read.known = derived(endpoints, before, read.known, partial(_take, read, pool, backend, refusals))
    read.endpoints = endpoints
    return world.describe(pool, filter(None, read.known), dict(read.refused.values()))


def _take(read: _Read, pool: PoolKey, backend: Backend, refusals: Refusals, one: Endpoint) -> Known | None:
    known = Known(Identity(*pool, one.uid, one.address, one.port), one.state, Origin.KUBERNETES, one.zone, one.hint_zones)
    cause = refusals.cause(one.address, one.port, backend.allow)
    if cause is None:
        return known
    (key,) = keys_of((one,))
    read.refused[key] = known.identity, cause
    return None


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
