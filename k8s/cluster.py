"""One cluster: the endpoints of the Services wanted from it, kept current, and how far they can be believed.

Owns the reflectors for EndpointSlices, and one for the Service itself where its port is given by number. Must not know PoPs, pools or
tables. All of it runs in the task that awaits `run()`; whatever happens to the cluster stays inside: faults become `error` and `age_s`,
endpoints stay as they last were, and only the API server's own word changes them.

Slices are watched Service by Service while a namespace has few: the server filters, and a reload starts and stops single ones without
touching the others. From `MANY` on it is one watch for all slices of the namespace, at the price of those that nobody wanted: a hundred
watches are a hundred connections and lists for each gateway. A Service is always watched by its name, to which its rights may be
bound. What changed is worked on Service by Service; the others cost nothing.

Over 400 lines: which watches there are, and what each of them says, is one state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from k8s._api import Api
from k8s._budget import Budget
from k8s._joined import Joined
from k8s.access import ClusterAccess
from k8s.errors import K8sError
from k8s.objects import SERVICE_NAME_LABEL, EndpointSlice, ObjectT, Service
from k8s.reflector import Reflector, Timing
from k8s.slices import IPV4_FIRST, Endpoint, has_port, known_ports, port_name, port_number

logger = logging.getLogger("isochrone.k8s")

COALESCE_S = 0.01  # one roll changes many slices in a burst; longer would delay the fence of a terminating endpoint

MANY = 8  # Services of a namespace: from here on all its slices come by one watch

SliceSource = tuple[str, str]  # namespace, service
Scope = tuple[str, str | None]  # of a watch: a namespace, and the Service; None: all of them
_AnyReflector = Reflector[EndpointSlice] | Reflector[Service]


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A Service and one of its TCP ports: by name, or by the Service's (not the pods') port number."""

    namespace: str
    service: str
    port: str | int

    @property
    def source(self) -> SliceSource:
        return (self.namespace, self.service)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}"


@dataclass(slots=True)
class _Known:
    """What is known of one key."""

    joined: Joined
    is_synced: bool = False
    heard_at: float | None = None  # by a watch that another one has taken the place of
    said_by: str | None = None  # likewise, of which server
    problem: str | None = None
    port: str | None = None  # the name of the port
    old_port: str | None = None  # before a rename that not all slices have followed

    @property
    def said(self) -> object:
        """What `on_change` is for."""
        return self.joined.endpoints, self.problem, self.is_synced


class Cluster:
    """The endpoints of some Services of one cluster. Everything but `run` answers at once, from any callback of the loop."""

    def __init__(
        self,
        name: str,
        access_loader: Callable[[], ClusterAccess],
        services: Collection[ServiceKey],
        on_change: Callable[[Cluster, Collection[ServiceKey]], None],
        *,
        budget: Budget | None = None,
        families: Sequence[str] = IPV4_FIRST,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`access_loader` may block and may raise K8sError: it runs in a thread, and again until it succeeds.

        `on_change(self, keys)` comes at most each 10 ms, in the loop, after endpoints, `synced` or a problem (of these keys) or `error`
        moved. `budget`: for decoding, of the thread: one for all its clusters.
        `families`: of a dual-stack pod the first that it has is used. `clock` must be the one whose `now` goes to `age_s`.
        """
        self.name = name
        self._on_change = on_change
        self._families = tuple(families)
        self._timing = timing or Timing()
        self._clock = clock
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._budget = budget or Budget()
        self._api = Api(access_loader, clock)
        self._slices: dict[Scope, Reflector[EndpointSlice]] = {}
        self._services: dict[SliceSource, Reflector[Service]] = {}
        self._pieces: dict[SliceSource, dict[str, EndpointSlice]] = {}  # by name; of the Services that are wanted
        self._owners: dict[tuple[Scope, str], SliceSource] = {}  # whose each of these is
        self._keys: dict[ServiceKey, _Known] = {}
        self._by_source: dict[SliceSource, list[ServiceKey]] = {}
        self._moved: set[SliceSource] = set()  # since the last look
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[_AnyReflector, asyncio.Task[None]] = {}
        self._publishing: asyncio.TimerHandle | None = None
        self._n_renewing = 0
        self._logged: str | None = None
        self._told: str | None = None  # the error that on_change was last called for
        self.set_services(services)

    # What is known

    def endpoints(self, key: ServiceKey) -> tuple[Endpoint, ...]:
        """The last known, in every state, sorted; the same object until they change. Empty for a key that is not watched."""
        known = self._keys.get(key)
        return known.joined.endpoints if known else ()

    def is_synced(self, key: ServiceKey) -> bool:
        """Whether the API server has said once what belongs to this key. Stays true, however long the server is gone.

        Until then `endpoints` is empty for want of knowledge: not a word on the Service.
        """
        known = self._keys.get(key)
        return known is not None and known.is_synced

    @property
    def synced(self) -> bool:
        return all(known.is_synced for known in self._keys.values())

    def age_s(self, now: float, key: ServiceKey | None = None) -> float | None:
        """Seconds since the last list, event or bookmark: of `key`'s Service, else of the one silent longest; None: never heard.

        A bookmark comes about each minute, so that up to 60 s is no sign of trouble.
        """
        heard_at = self._heard_at(key)
        if heard_at is None and key in self._keys:
            heard_at = self._keys[key].heard_at
        return None if heard_at is None else max(now - heard_at, 0.0)

    def _heard_at(self, key: ServiceKey | None) -> float | None:
        contacts = [one.contact_at for one in self._reflectors(key)]
        heard = [at for at in contacts if at is not None]
        return min(heard) if heard and len(heard) == len(contacts) else None

    @property
    def error(self) -> str | None:
        """What is wrong with the way to the API server, as one line; None: it streams."""
        return self.error_of(None)

    def error_of(self, key: ServiceKey | None) -> str | None:
        """Likewise, of what this key goes by: another Service's may be one that may not be read. None: of any."""
        return next((f"{one.path}: {one.error}" for one in self._reflectors(key) if one.error is not None), None)

    @property
    def server(self) -> str | None:
        """Which API server this is, the same text in every process; None: not known yet."""
        return self._api.server

    def said_by(self, key: ServiceKey) -> str | None:
        """Which API server has named the endpoints of this key. Not `server` where that is another since, which has not answered, or not
        all that is asked of it."""
        known, found = self._keys.get(key), [one.listed_from for one in self._reflectors(key) if one.listed_from is not None]
        return next((one for one in found if one != self.server), found[0] if found else (known and known.said_by) or None)

    def is_of_another(self, key: ServiceKey) -> bool:
        """Whether the endpoints of this key are what another server named than the one that is asked now, which has not answered: nobody
        watches them."""
        return self.server is not None and self.said_by(key) not in (None, self.server)

    @property
    def fault(self) -> str | None:
        """Why the way to the server could not be loaded again when that was last tried: the one before is used. None: it could, or there
        is none before."""
        return str(self._api.fault) if self._api.fault is not None and self.server is not None else None

    def problem(self, key: ServiceKey) -> str | None:
        """Why a Service that is known has no endpoints, where a wrong configuration is the likely cause; None else."""
        known = self._keys.get(key)
        return known.problem if known else None

    # Life

    async def run(self) -> None:
        """Until cancelled. What is known stays known afterwards."""
        async with self._api, asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._follow()
                self._changed()
                await asyncio.Event().wait()
            finally:
                self._group = None
                for task in self._tasks.values():
                    task.cancel()
                self._tasks.clear()
                if self._publishing is not None:
                    self._publishing.cancel()
                    self._publishing = None

    def set_services(self, services: Collection[ServiceKey]) -> None:
        """What is watched from now on. Keys that stay keep what is known, Services that stay keep their watch."""
        for key, known in self._keys.items():
            known.heard_at = self._heard_at(key) or known.heard_at
            known.said_by = self.said_by(key)
        self._keys = {key: self._keys.get(key) or _Known(Joined(self._families)) for key in services}
        self._by_source = {}
        for key in self._keys:
            self._by_source.setdefault(key.source, []).append(key)
        numbered = {key.source for key in self._keys if isinstance(key.port, int)}
        n_wanted = Counter(namespace for namespace, _ in self._by_source)
        scopes: set[Scope] = {(namespace, None if n_wanted[namespace] >= MANY else service) for namespace, service in self._by_source}
        for scope in self._slices.keys() - scopes:
            self._stop(self._slices.pop(scope))
        for source in self._services.keys() - numbered:
            self._stop(self._services.pop(source))
        for scope in sorted(scopes - self._slices.keys(), key=str):
            self._slices[scope] = self._slice_reflector(scope)
        for source in sorted(numbered - self._services.keys()):
            self._services[source] = self._service_reflector(source)
        self._pieces, self._owners = {}, {}
        for scope, one in self._slices.items():
            self._sort(scope, one.objects)
        self._moved = set(self._by_source)
        self._follow()
        self._changed()

    def prefer(self, families: Sequence[str]) -> None:
        """Of a dual-stack pod the first of these that it has is used from now on."""
        if self._families != tuple(families):
            self._families = tuple(families)
            self._moved |= self._by_source.keys()
            self._changed()

    def renew(self) -> None:
        """Load the way to the server again: what it is loaded from may lead elsewhere now, while the old server is well and gives no
        reason to look. Another server is then asked at once; what the old one said stays until that has spoken."""
        if self._group is not None:
            self._n_renewing += 1
            self._group.create_task(self._renew(), name=f"k8s {self.name} access")

    @property
    def is_renewing(self) -> bool:
        """Whether what `renew` was called for is still to come of it."""
        return self._n_renewing > 0

    async def _renew(self) -> None:
        before = self._api.server
        self._api.expire()
        try:
            with contextlib.suppress(K8sError):
                await self._api.access()
        finally:
            self._n_renewing -= 1
        if self._api.fault is not None:
            logger.warning("cluster %s: the access could not be loaded again: %s", self.name, self._api.fault)
            return
        has_moved = before not in (None, self._api.server)
        if has_moved:
            logger.info("cluster %s: another API server from now on", self.name)
        # Another watch may have loaded it before, for a failure of its own: those that are well know nothing of that.
        for one in self._reflectors():
            if has_moved or one.listed_from not in (None, self._api.server):
                self._stop(one)
        self._follow()

    def _scope(self, source: SliceSource) -> Scope:
        return source if source in self._slices else (source[0], None)

    def _reflectors(self, key: ServiceKey | None = None) -> list[_AnyReflector]:
        if key is None:
            return [*self._slices.values(), *self._services.values()]
        scope = self._scope(key.source)
        found: list[_AnyReflector] = [self._slices[scope]] if scope in self._slices else []
        if isinstance(key.port, int) and key.source in self._services:
            found.append(self._services[key.source])
        return found

    def _slice_reflector(self, scope: Scope) -> Reflector[EndpointSlice]:
        namespace, service = scope
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        selector = {"labelSelector": SERVICE_NAME_LABEL if service is None else f"{SERVICE_NAME_LABEL}={service}"}

        def changed(names: Collection[str]) -> None:
            if scope in self._slices:
                self._sort(scope, names)
            self._changed()

        return self._reflector(path, EndpointSlice, selector, changed)

    def _service_reflector(self, source: SliceSource) -> Reflector[Service]:
        def changed(_: Collection[str]) -> None:
            self._moved.add(source)
            self._changed()

        namespace, service = source
        return self._reflector(f"/api/v1/namespaces/{namespace}/services", Service, {"fieldSelector": f"metadata.name={service}"}, changed)

    def _reflector(
        self, path: str, kind: type[ObjectT], selector: dict[str, str], on_change: Callable[[Collection[str]], None]
    ) -> Reflector[ObjectT]:
        return Reflector(
            self._api,
            path,
            kind,
            selector,
            on_change,
            budget=self._budget,
            timing=self._timing,
            clock=self._clock,
            rng=self._rng,
            sleep=self._sleep,
        )

    def _follow(self) -> None:
        """Gives each reflector its task. The one place here that starts tasks: the group keeps them, and names say what they are."""
        if self._group is None:
            return
        for one in self._reflectors():
            if one not in self._tasks:
                self._tasks[one] = self._group.create_task(one.run(), name=f"k8s {self.name} {one.path}")

    def _stop(self, one: _AnyReflector) -> None:
        if (task := self._tasks.pop(one, None)) is not None:
            task.cancel()

    def _sort(self, scope: Scope, names: Iterable[str]) -> None:
        """Slices of these names have changed: whose they are. By their label, which the server's selector has not looked at where the
        watch is of all, and which is looked at again where it has: what is taken here gets traffic."""
        reflector = self._slices[scope]
        for name in names:
            piece = reflector.objects.get(name)
            before = self._owners.pop((scope, name), None)
            if before is not None:
                del self._pieces[before][name]
                self._moved.add(before)
            owner = (scope[0], (piece.metadata.labels or {}).get(SERVICE_NAME_LABEL, "")) if piece is not None else None
            if piece is not None and owner in self._by_source and self._scope(owner) == scope:
                self._owners[scope, name] = owner
                self._pieces.setdefault(owner, {})[name] = piece
                self._moved.add(owner)

    def _changed(self) -> None:
        if self._group is not None and self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_later(COALESCE_S, self._publish)

    def _publish(self) -> None:
        self._publishing = None
        changed = []
        unheard: set[SliceSource] = set()  # moved to another watch, whose first list may say nothing of them
        for key, known in self._to_resolve():
            before = known.said
            if not self._resolve(key, known):
                unheard.add(key.source)
            if known.said != before:
                changed.append(key)
        self._moved = unheard
        error = self.error
        if error != self._logged:
            self._logged = error
            if error is None:
                logger.info("cluster %s: watching", self.name)
            else:
                logger.warning("cluster %s: %s", self.name, error)
        if changed or error != self._told:
            self._told = error
            self._on_change(self, changed)

    def _to_resolve(self) -> list[tuple[ServiceKey, _Known]]:
        moved = [key for source in self._moved for key in self._by_source.get(source, ())]
        # An empty list moves no Service and is a word on each of them all the same.
        waiting = [key for key, known in self._keys.items() if not known.is_synced and key.source not in self._moved]
        return [(key, self._keys[key]) for key in (*moved, *waiting)]

    def _resolve(self, key: ServiceKey, known: _Known) -> bool:
        """False: what it would go by has not come yet, or is of two servers: the slices of one are not read by the Service of another."""
        reflectors = self._reflectors(key)
        if not all(one.is_synced for one in reflectors) or len({one.listed_from for one in reflectors}) > 1:
            return False
        known.is_synced = True
        slices = self._pieces.get(key.source, {})
        port, problem = self._port(key, slices.values())
        known.joined.prefer(self._families)
        known.joined.follow(slices, self._ports(known, port, slices))
        known.problem = f"{key}: {problem}" if problem else None
        return True

    @staticmethod
    def _ports(known: _Known, port: str | None, slices: Mapping[str, EndpointSlice]) -> dict[str, str]:
        """The name by which each slice is read. A Service whose port was renamed is ahead of its slices, which the controller writes one
        after the other: each is read by the old name until it has the new one."""
        if port is None:
            known.port = known.old_port = None
            return {}
        if known.port not in (None, port):
            known.old_port = known.port
        known.port = port
        ports = {name: port for name, piece in slices.items() if known.old_port is None or has_port(piece, port)}
        old = known.old_port
        if old is not None:
            behind = {name: old for name, piece in slices.items() if name not in ports and has_port(piece, old)}
            ports |= behind
            if not behind:
                known.old_port = None
        return ports

    def _port(self, key: ServiceKey, slices: Collection[EndpointSlice]) -> tuple[str | None, str | None]:
        """The name of the key's port, if there is one, and what an operator should look at, if anything."""
        if isinstance(key.port, int):
            name, problem = port_name(self._services[key.source].objects.get(key.service), key.port)
            if name is None:
                return None, problem
        else:
            name = key.port
        if not slices:
            return name, "it has no EndpointSlices: no such Service, or one of type ExternalName?"
        if (ports := known_ports(slices)) and name not in ports:
            return name, f"no TCP port named {name!r} in its EndpointSlices; they have: {', '.join(map(repr, ports))}"
        filled = [piece for piece in slices if piece.endpoints]
        if filled and all(port_number(piece, name) is None for piece in filled):
            return (
                name,
                f"its EndpointSlices have endpoints, but no number for the TCP port {name!r}: does its targetPort name one that pods have?",
            )
        return name, None
