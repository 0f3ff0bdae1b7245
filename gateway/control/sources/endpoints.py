"""Sources: who says which endpoints there are. Configured addresses and names, and Kubernetes Services, one task a cluster.

Writes the world, and asks for a new table when it changed. Must not know gates or tables. A cluster that is gone or slow costs
the others nothing, and what was last known stays: it is followed until whoever is asked in its place has spoken (make before break). PoPs
that reach the API in the same way share a cluster, its watches and its copies.
A change of a Service is read for the pools that are of it; an endpoint that is the same object as before becomes the same one.

Over 400 lines: a reload, a Service and a name change the same pools, and in which order is what makes it safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial

from gateway.control.process.tasks import Tasks, cancel
from gateway.control.sources.clusters import NewCluster, cluster_maker, families
from gateway.control.sources.last_words import LastWord, LastWords
from gateway.control.sources.others import derived, keys_of, others
from gateway.control.sources.refusals import OWN_LISTENERS, Refusals
from gateway.control.sources.resolver import Resolver
from gateway.control.sources.wanted import Source, names_of, sources_of
from gateway.control.sources.world import Identity, Known, Origin, PoolKey, World
from gateway.model import Address, Backend, Config, KubernetesAccess, Service
from k8s import Cluster, Endpoint, ServiceKey, State

logger = logging.getLogger("isochrone.sources")

MOST_TOLD = 5  # endpoints in one line of the log
LOCALHOST = ("loopback", OWN_LISTENERS)  # what a name may give that means just that

LOOK_S = 5.0  # between looks at the network of this machine
# Without an answer for so long, and a reason why, what a cluster said to the last process is used. One failure is no outage.
GONE_S = 5.0


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


@dataclass(slots=True, kw_only=True)
class Sources:
    world: World
    resolver: Resolver
    tasks: Tasks
    clock: Callable[[], float]
    on_change: Callable[[float], None]  # with the seconds in which further changes may still be gathered
    make_cluster: NewCluster = field(default_factory=cluster_maker)
    own: Callable[[], Iterable[Address]] = tuple  # where this gateway listens
    last_words: LastWords | None = None  # what clusters said to the last process, or are asked for no longer
    clusters: dict[str, _Running] = field(default_factory=dict)  # by PoP; several may have the same
    _running: dict[KubernetesAccess, _Running] = field(default_factory=dict)  # those of no PoP too that are still followed
    _config: Config | None = None
    _wanted: dict[PoolKey, Source] = field(default_factory=dict)
    _said_by: dict[PoolKey, Source] = field(default_factory=dict)  # whose word a pool's endpoints are
    _readers: dict[Source, list[tuple[Service, Backend]]] = field(default_factory=dict)  # of both
    _expected: dict[Source, str] = field(default_factory=dict)  # of a configuration that is not in use yet, with the PoP
    _vouched: set[Source] = field(default_factory=set)  # whose last word holds: who has waited for a new one, or has heard it itself
    _read: dict[PoolKey, _Read] = field(default_factory=dict)  # with the configuration in use
    _told: dict[PoolKey, dict[Identity, str]] = field(default_factory=dict)  # what was refused when it was last logged

    def apply(self, config: Config) -> None:
        """Plan and follow at once. Asks for no table: the caller does."""
        self.world.become(self.plan(config))
        self.follow(config)

    def plan(self, config: Config) -> World:
        """The world as this configuration makes it, on a copy: nothing has changed, nobody has been asked."""
        new = self._of_others(config)
        kept = (service for service in config.services if service.name not in new)
        world = self.world.successor((service.name, backend.pop) for service in kept for backend in service.backends)
        self._describe_static(config, world)
        refusals = Refusals(self.own())
        for service, backend, source in sources_of(config):
            pool = service.name, backend.pop
            if source is None and self._has_answer(backend):
                continue
            # Also what stays for want of a newer word: `allow` may be another one now.
            if (said := self._said(pool, source, is_new=pool not in world.pools)) is not None:
                _describe(said, pool, backend, world, refusals, _Read())
        return world

    def follow(self, config: Config) -> None:
        """Ask whom this configuration names, no longer those that only the last one did. Once the world is as it was planned."""
        new = self._of_others(config)
        self._said_by = {pool: source for pool, source in self._said_by.items() if pool[0] not in new}
        self._config, self._read, self._expected = config, {}, {}
        self.resolver.want(names_of(config))
        self._follow_clusters(config)
        self._told = {pool: told for pool, told in self._told.items() if pool in self.world.pools}
        self._tell(self.world.refused)

    async def turn(self) -> None:
        """The network of this machine may have come, or changed, since a cluster was begun with."""
        for running in self._running.values():
            running.cluster.prefer(families())

    async def first(self, config: Config, deadline_s: float) -> None:
        """Ask those too of whom a configuration is new, and wait until each has spoken, not longer than the deadline: a swap would
        find nobody there. Who has not is taken at its last word. Until `follow` of whichever configuration is in use then."""
        those = {source: backend.pop for _, backend, source in sources_of(config) if source is not None}
        self._expected = {source: pop for source, pop in those.items() if source not in self._readers}
        if not self._expected or self._config is None:
            return
        self._follow_clusters(self._config)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not all(map(self._heard, self._expected)):
                    await asyncio.sleep(0.01)
        self._vouched |= {source for source in self._expected if self._heard(source) is None}

    def expect_none(self) -> None:
        """The configuration of `first` is not used after all."""
        if self._expected and self._config is not None:
            self._expected = {}
            self._follow_clusters(self._config)

    def unheard(self, config: Config, world: World) -> list[str]:
        """Services that have not been heard of, a line each, with what that means once this is in use."""
        lines = []
        for service, backend, source in sources_of(config):
            if source is None or self._heard(source) is not None:
                continue
            pool = service.name, backend.pop
            if pool in self.world.pools and pool in world.pools:
                then = "its endpoints stay those that were last known"
            elif pool in world.pools and self.last_words is not None and (age_s := self.last_words.age_s(*source)) is not None:
                then = f"its endpoints are those it named {age_s:.0f} s ago"
            else:
                then = "it has no endpoints until then"
            running = self._running.get(source[0])
            error = (running and running.cluster.error_of(source[1])) or "no answer in time"
            lines.append(f"services.{service.name}, {backend.pop}: {source[1]} not heard of yet ({error}); {then}")
        return lines

    async def renewed(self, deadline_s: float) -> list[str]:
        """After `follow`: load the way to each cluster again, and wait until whoever it leads to has spoken, not longer than the deadline.
        What is still as it was before, a line each."""
        for running in self._running.values():
            running.cluster.renew()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while any(running.cluster.is_renewing for running in self._running.values()) or self._left():
                    await asyncio.sleep(0.01)
        lines = []
        for cluster in (running.cluster for running in self._running.values()):
            if cluster.is_renewing:
                lines.append(f"cluster {cluster.name}: the way to it takes longer to load; until then it is asked as before")
            elif cluster.fault is not None:
                lines.append(f"cluster {cluster.name}: the way to it could not be loaded again ({cluster.fault}); it is asked as before")
        for (service, pop), (access, key) in self._left().items():
            error = self._running[access].cluster.error_of(key) or "no answer in time"
            lines.append(
                f"services.{service}, {pop}: {key} not heard of yet where the way to its cluster leads now ({error}); its endpoints stay "
                "those that the API server before named, which is asked no longer"
            )
        return lines

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
            self._recall(running)
            if age_s is None:
                logger.warning("cluster stale: no first answer in time", extra={"pop": pop, "error": error})
            else:
                extra = {"pop": pop, "error": error, "age_s": round(age_s, 1), "without": self._unknown(running)}
                logger.warning("cluster does not answer: its endpoints are those it last named", extra=extra)
        return waiting

    def cluster(self, pop: str) -> Cluster | None:
        """The one in this PoP, for `/pops` and metrics."""
        running = self.clusters.get(pop)
        return running.cluster if running is not None else None

    def age_s(self, pool: PoolKey) -> float | None:
        """Seconds since whoever a pool's endpoints are of, or else who is asked for them, was heard of them, by this process or the last
        one; None: never."""
        source = self._said_by.get(pool) or self._wanted.get(pool)
        if source is None:
            return None
        running, key = self._running[source[0]], source[1]
        kept_s = self._kept_s(running, key)
        return running.cluster.age_s(self.clock(), key) if kept_s is None else kept_s

    def is_kept(self, pool: PoolKey) -> bool:
        """Whether its endpoints are those that the cluster named to the last process, or that another one named, another Service or the
        configuration, before a reload, or before the way to the cluster led to another server."""
        said_by, wanted = self._said_by.get(pool), self._wanted.get(pool)
        if wanted is None:
            return False
        running, key = self._running[wanted[0]], wanted[1]
        if said_by is None:
            return bool(self.world.pools.get(pool))
        return said_by != wanted or running.cluster.is_of_another(key) or self._kept_s(running, key) is not None

    def followed(self) -> list[tuple[KubernetesAccess, Cluster, list[ServiceKey]]]:
        """Each cluster once, with the way to it and what is wanted of it."""
        return [(access, running.cluster, [key for at, key in self._readers if at == access]) for access, running in self._running.items()]

    async def stop(self) -> None:
        for running in self._running.values():
            await cancel(running.task)

    def _of_others(self, config: Config) -> set[str]:
        """Services that are said by another source, or in another namespace, than those of their names are so far: of whose endpoints
        none is theirs."""
        before = {service.name: service.identity for service in ([] if self._config is None else self._config.services)}
        return {service.name for service in config.services if before.get(service.name, service.identity) != service.identity}

    def _said(self, pool: PoolKey, source: Source | None, is_new: bool) -> tuple[Endpoint, ...] | None:
        """What clusters say of a pool that is to be of this source. None: nothing, or nothing else than what it has."""
        if source is not None and (cluster := self._heard(source)) is not None:
            return cluster.endpoints(source[1])
        if is_new:
            word = None if source is None else self._kept_word(source)
        elif (before := self._said_by.get(pool)) is None:
            return None
        elif (cluster := self._heard(before)) is not None:
            return cluster.endpoints(before[1])
        else:
            word = self._word(before)
        return None if word is None else word.endpoints

    def _word(self, source: Source) -> LastWord | None:
        """Of whoever was the server then."""
        return None if self.last_words is None else self.last_words.of(*source)

    def _heard(self, source: Source) -> Cluster | None:
        """The cluster, if it has spoken of this Service."""
        running = self._running.get(source[0])
        return running.cluster if running is not None and running.cluster.is_synced(source[1]) else None

    def _left(self) -> dict[PoolKey, Source]:
        """Pools with the word of a server that is asked no longer."""
        return {pool: source for pool, source in self._wanted.items() if self._running[source[0]].cluster.is_of_another(source[1])}

    def _recall(self, running: _Running) -> None:
        """Pools of a cluster that has not spoken, and of which nobody has, as it had them in the last process."""
        refusals = Refusals(self.own())
        for (access, key), readers in self._readers.items():
            if access != running.access or running.cluster.is_synced(key) or (word := self._last_word(running, key)) is None:
                continue
            self._vouched.add((access, key))
            for service, backend in readers:
                pool = service.name, backend.pop
                if pool not in self.world.pools:
                    self._said_by[pool] = access, key
                    _describe(word.endpoints, pool, backend, self.world, refusals, _Read())
                    self.on_change(0.0)
                    self._tell([pool])

    def _kept_word(self, source: Source) -> LastWord | None:
        """For a pool that is new, or is back, while nobody has spoken of it: not at a start, which waits for the cluster first."""
        running = self._running.get(source[0])
        if source not in self._vouched and (running is None or not running.is_stale):
            return None
        if running is not None:
            return self._last_word(running, source[1])
        return self._word(source)

    def _last_word(self, running: _Running, key: ServiceKey) -> LastWord | None:
        """Of the same server, as far as that is known: networks of clusters overlap."""
        word = self._word((running.access, key))
        return None if word is None or running.cluster.server not in (None, word.server) else word

    def _kept_s(self, running: _Running, key: ServiceKey) -> float | None:
        """How long ago a cluster that has not spoken yet spoke to the last process; None: it has spoken, or had not."""
        if self.last_words is None or running.cluster.is_synced(key) or self._last_word(running, key) is None:
            return None
        return self.last_words.age_s(running.access, key)

    def _kept_age_s(self, running: _Running) -> float | None:
        """The oldest of these; None: there is none. A Service of which nothing was said then, which is new or may not be read, is no
        reason to do without the others."""
        ages = [self._kept_s(running, key) for access, key in self._readers if access == running.access]
        return max((age for age in ages if age is not None), default=None)

    def _unknown(self, running: _Running) -> list[str]:
        """Services of which neither this process nor the last one has heard."""
        keys = {key for access, key in self._readers if access == running.access and not running.cluster.is_synced(key)}
        return sorted({str(key) for key in keys if self._last_word(running, key) is None})

    def _follow_clusters(self, config: Config) -> None:
        """What is wanted, and whoever endpoints came from that stand in its place until that has spoken: they would be unwatched."""
        said_by, before, self._said_by, self._wanted, self._readers = self._said_by, self._readers, {}, {}, {}
        for service, backend, source in sources_of(config):
            pool = service.name, backend.pop
            other = said_by.get(pool)
            if source is None:
                if other is None or self._has_answer(backend):
                    continue
            else:
                self._wanted[pool] = source
                self._readers.setdefault(source, []).append((service, backend))
                if self._heard(source) is not None or (other is None and self._kept_word(source) is not None):
                    other = source
            if other is not None:
                self._said_by[pool] = other
            if other not in (None, source):
                self._readers.setdefault(other, []).append((service, backend))
        self._remember(before.keys() - self._readers.keys())
        wanted: dict[KubernetesAccess, list[ServiceKey]] = {}
        for access, key in dict.fromkeys((*self._readers, *self._expected)):
            wanted.setdefault(access, []).append(key)
        pops = {pop.name: pop.kubernetes for pop in config.pops if pop.kubernetes is not None and pop.kubernetes in wanted}
        for access in self._running.keys() - wanted.keys():
            self._running.pop(access).task.cancel()
        for access, services in wanted.items():
            if access in self._running:
                self._running[access].cluster.set_services(services)
            else:
                expected = [pop for (way, _), pop in self._expected.items() if way == access]
                name = ", ".join(dict.fromkeys([*(pop for pop, way in pops.items() if way == access), *expected]))
                cluster = self.make_cluster(name, access, services, self._on_cluster)
                self._running[access] = _Running(cluster, access, self.tasks.start(f"cluster {name}", cluster.run()), self.clock())
        at = {pop for _, pop in self._wanted}
        self.clusters = {pop: self._running[way] for pop, way in pops.items() if pop in at}

    def _remember(self, sources: Iterable[Source]) -> None:
        """The last word of who is asked no longer, for a reload that takes this back."""
        for source in sources:
            if self.last_words is not None and (cluster := self._heard(source)) is not None:
                self.last_words.remember(*source, cluster)
                self._vouched.add(source)

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
                doubtful: set[Identity] = set()
                written: set[Identity] = set()
                for one in backend.endpoints:
                    is_name = one.ip is None and not one.is_unix
                    allow = (*backend.allow, *LOCALHOST) if one.host == "localhost" else backend.allow
                    addresses = self.resolver.addresses(one.host) if is_name else (one.host,)
                    # As localhost has: where a server listens on one family alone, that is no outage of half of it.
                    has_both_families = is_name and len({":" in address for address in addresses}) == 2
                    for address in addresses:
                        cause = refusals.cause(address, one.port, allow) if is_name else None
                        identity = Identity(*pool, "", address, one.port)
                        found[identity] = cause and found.get(identity, cause)  # one word for it is enough
                        (doubtful if has_both_families else written).add(identity)
                if not found:
                    continue  # no name has an answer yet, which is no word: what was known stays
                # In one order, however a name server shuffles its answer.
                taken = sorted(one for one, cause in found.items() if cause is None)
                known = [Known(one, State.READY, Origin.STATIC) for one in taken]
                is_news |= world.describe(
                    pool, known, {one: cause for one, cause in found.items() if cause is not None}, doubtful - written
                )
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
