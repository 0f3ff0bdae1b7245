"""One cluster: the endpoints of the Services wanted from it, kept current, and how far they can be believed.

Owns one reflector per Service for its EndpointSlices, and one for the Service itself where its port is given by number.
Must not know PoPs, pools or tables. All of it runs in the task that awaits `run()`; whatever happens to the cluster stays
inside: faults become `error` and `age_s`, endpoints stay as they last were, and only the API server's own word changes them.

Reflectors are per Service, not per namespace: the server filters, a reload starts and stops single ones without touching
the others, and Role-based access can be as narrow. It costs a connection or two a Service, of which a gateway has few.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from k8s._api import Api
from k8s.access import ClusterAccess
from k8s.objects import SERVICE_NAME_LABEL, EndpointSlice, ObjectT, Service
from k8s.reflector import Reflector, Timing
from k8s.slices import IPV4_FIRST, Candidate, Endpoint, candidates, known_ports, merge, port_name

logger = logging.getLogger("isochrone.k8s")

COALESCE_S = 0.01  # one roll changes many slices in a burst; longer would delay the fence of a terminating endpoint

SliceSource = tuple[str, str]  # namespace, service
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


@dataclass(slots=True)
class _Known:
    """What is known of one key, and what each slice contributed: slices are immutable, so those unchanged are not read again."""

    is_synced: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    problem: str | None = None
    port: str | None = None  # the name that `parts` were read with
    parts: dict[str, tuple[EndpointSlice, list[Candidate]]] = field(default_factory=dict)  # by the slice's name


class Cluster:
    """The endpoints of some Services of one cluster. Everything but `run` answers at once, from any callback of the loop."""

    def __init__(
        self,
        name: str,
        access_loader: Callable[[], ClusterAccess],
        services: Collection[ServiceKey],
        on_change: Callable[[Cluster], None],
        *,
        families: Sequence[str] = IPV4_FIRST,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`access_loader` may block and may raise K8sError: it runs in a thread, and again until it succeeds.

        `on_change(self)` comes at most each 10 ms, in the loop, after endpoints, `synced`, a problem or `error` moved.
        `families`: of a dual-stack pod the first that it has is used. `clock` must be the one whose `now` goes to `age_s`.
        """
        self.name = name
        self._on_change = on_change
        self._families = tuple(families)
        self._timing = timing or Timing()
        self._clock = clock
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._api = Api(access_loader, clock)
        self._slices: dict[SliceSource, Reflector[EndpointSlice]] = {}
        self._services: dict[SliceSource, Reflector[Service]] = {}
        self._keys: dict[ServiceKey, _Known] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[_AnyReflector, asyncio.Task[None]] = {}
        self._publishing: asyncio.TimerHandle | None = None
        self._logged: str | None = None
        self.set_services(services)
        self._published = self._state()  # what on_change was last called for

    # What is known

    def endpoints(self, key: ServiceKey) -> tuple[Endpoint, ...]:
        """The last known, in every state, sorted; the same object until they change. Empty for a key that is not watched."""
        known = self._keys.get(key)
        return known.endpoints if known else ()

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
        contacts = [one.contact_at for one in self._reflectors(key)]
        heard = [at for at in contacts if at is not None]
        return max(now - min(heard), 0.0) if heard and len(heard) == len(contacts) else None

    @property
    def error(self) -> str | None:
        """What is wrong with the way to the API server, as one line; None: it streams."""
        return next((f"{one.path}: {one.error}" for one in self._reflectors() if one.error is not None), None)

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
        self._keys = {key: self._keys.get(key) or _Known() for key in services}
        numbered = {key.source for key in self._keys if isinstance(key.port, int)}
        sources = {key.source for key in self._keys}
        for source in [s for s in self._slices if s not in sources]:
            self._stop(self._slices.pop(source))
        for source in [s for s in self._services if s not in numbered]:
            self._stop(self._services.pop(source))
        for namespace, service in sorted(sources - self._slices.keys()):
            self._slices[namespace, service] = self._reflector(
                f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                EndpointSlice,
                {"labelSelector": f"{SERVICE_NAME_LABEL}={service}"},
            )
        for namespace, service in sorted(numbered - self._services.keys()):
            self._services[namespace, service] = self._reflector(
                f"/api/v1/namespaces/{namespace}/services", Service, {"fieldSelector": f"metadata.name={service}"}
            )
        self._follow()
        self._changed()

    def _reflectors(self, key: ServiceKey | None = None) -> list[_AnyReflector]:
        if key is None:
            return [*self._slices.values(), *self._services.values()]
        found: list[_AnyReflector] = [self._slices[key.source]] if key.source in self._slices else []
        if isinstance(key.port, int) and key.source in self._services:
            found.append(self._services[key.source])
        return found

    def _reflector(self, path: str, kind: type[ObjectT], selector: dict[str, str]) -> Reflector[ObjectT]:
        return Reflector(
            self._api, path, kind, selector, self._changed, timing=self._timing, clock=self._clock, rng=self._rng, sleep=self._sleep
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

    def _changed(self) -> None:
        if self._group is not None and self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_later(COALESCE_S, self._publish)

    def _publish(self) -> None:
        self._publishing = None
        for key, known in self._keys.items():
            self._resolve(key, known)
        error = self.error
        if error != self._logged:
            self._logged = error
            if error is None:
                logger.info("cluster %s: watching", self.name)
            else:
                logger.warning("cluster %s: %s", self.name, error)
        state = self._state()
        if state != self._published:
            self._published = state
            self._on_change(self)

    def _state(self) -> object:
        return self.error, [(key, known.endpoints, known.problem, known.is_synced) for key, known in self._keys.items()]

    def _resolve(self, key: ServiceKey, known: _Known) -> None:
        if not all(one.is_synced for one in self._reflectors(key)):
            return
        known.is_synced = True
        # The selector is the server's to apply; the label is looked at again, for what is taken here gets traffic.
        slices = {
            name: piece
            for name, piece in self._slices[key.source].objects.items()
            if (piece.metadata.labels or {}).get(SERVICE_NAME_LABEL) == key.service
        }
        port, problem = self._port(key, slices.values())
        kept = known.parts if port == known.port else {}
        known.port = port
        known.parts = {
            name: part if (part := kept.get(name)) is not None and part[0] is piece else (piece, candidates(piece, port))
            for name, piece in slices.items()
            if port is not None
        }
        endpoints = merge((one for _, found in known.parts.values() for one in found), self._families)
        known.problem = f"{key.namespace}/{key.service}: {problem}" if problem else None
        if endpoints != known.endpoints:
            known.endpoints = endpoints

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
        return name, None
