"""Simulator: clients that ask, gateways that decide, PoPs that serve, in the order of time; and what became of every request.

A request is decided by one call of the core, with what is in flight at that moment; no decision is modelled here. What is modelled: clients
are the places of a measured set and ask at random times (Poisson), each at the gateway next to it; an endpoint is a queue (servers.py);
what a client waits for is the measured round trip between it and the PoP that answered, the time at the endpoint, and what was
lost at others before. The gateways stand at places of clients; their paths to the PoPs, by which they time probes and answers, are those
places' measured ones.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.steering.configuration import SERVICE, address_of, name_of
from bench.steering.data import Floats, Setting, distances_km
from bench.steering.edge import Edge
from bench.steering.events import Events
from bench.steering.servers import Site, Work
from bench.steering.worker import Ask
from gateway.control.sources.world import Identity, Known, Origin
from gateway.control.steering.refresh import INTERVAL_S
from gateway.model import Config
from k8s import State

WATCH_S = 0.1  # longest from a change of a Service to a gateway that watches it


def known_of(pop: str, addresses: Iterable[str], *, state: State = State.READY, origin: Origin = Origin.KUBERNETES) -> list[Known]:
    """Endpoints as a source describes them."""
    return [Known(Identity(SERVICE, pop, "", address, 80), state, origin) for address in addresses]


def middle_of(setting: Setting) -> int:
    """The client where a single gateway stands: that with the shortest paths to all PoPs."""
    return int(setting.rtt_ms.mean(axis=1).argmin())


@dataclass(frozen=True, slots=True)
class Records:
    """Every request that ended, in the order in which they began. PoPs are numbers in the setting; -1: none."""

    at_s: Floats  # when it began
    client: NDArray[np.int64]
    decided: NDArray[np.int64]
    served: NDArray[np.int64]
    latency_ms: Floats  # NaN: not answered
    attempts: NDArray[np.int64]
    in_flight: NDArray[np.int64]  # its gateway's at the PoP that served when it joined, itself included

    def between(self, begin_s: float, end_s: float) -> Records:
        """Those that began then."""
        low, high = np.searchsorted(self.at_s, (begin_s, end_s))
        return Records(*(getattr(self, name)[low:high] for name in self.__slots__))

    def share_of(self, pop: int) -> float:
        """Of the requests, decided for a PoP; 0 where there are none."""
        return float((self.decided == pop).mean()) if len(self.decided) else 0.0

    @property
    def n_failed(self) -> int:
        return int(np.isnan(self.latency_ms).sum())

    @property
    def mean_ms(self) -> float:
        return float(np.nanmean(self.latency_ms))

    def quantile_ms(self, percent: float) -> float:
        return float(np.nanpercentile(self.latency_ms, percent))


class Simulation:
    """One run. What happens meanwhile is planned by `events.at` before it."""

    def __init__(
        self,
        setting: Setting,
        config: Config,
        *,
        per_s: float,  # requests of all clients together
        n_endpoints: int | Sequence[int] = 4,  # of every PoP, or of each
        n_slots: int = 8,  # of an endpoint
        work: Work | None = None,
        n_gateways: int = 1,
        path_ms: float | None = None,  # between every gateway and every PoP, instead of what was measured
        origin: Origin = Origin.STATIC,
        seed: int = 1,
    ) -> None:
        self.setting = setting
        self.events = Events()
        self.rng = random.Random(seed)
        self.names = [name_of(pop) for pop in setting.pops]
        self.numbers = {name: number for number, name in enumerate(self.names)}
        work = work or Work()
        self.sites = [Site(self.events, self.rng, work, n_slots) for _ in self.names]
        counts = [n_endpoints] * len(self.names) if isinstance(n_endpoints, int) else n_endpoints
        for number, (site, count) in enumerate(zip(self.sites, counts, strict=True)):
            for endpoint in range(count):
                site.add(address_of(number, endpoint))
        self.weights = [per_s / len(setting.clients)] * len(setting.clients)  # requests a second of each client
        known = {name: known_of(name, site.servers, origin=origin) for name, site in zip(self.names, self.sites, strict=True)}
        by_name = dict(zip(self.names, self.sites, strict=True))
        self.edges = []
        places = self._places(n_gateways)
        for place in places:
            paths_ms = setting.rtt_ms[place] if path_ms is None else [path_ms] * len(self.names)
            paths_s = {name: float(ms) / 1000 for name, ms in zip(self.names, paths_ms, strict=True)}
            self.edges.append(Edge(self.events, config, known, paths_s, by_name, random.Random(self.rng.random())))
        self.edge_of = self._nearest_edges(places)
        self._ended: list[tuple[float, int, int, int, float, int, int]] = []
        self._weigh()

    def describe(self, pop: int, known: Sequence[Known]) -> None:
        """What is said of a PoP's endpoints from now on; each gateway hears it when it does, within WATCH_S."""
        for edge in self.edges:
            self.events.after(self.rng.uniform(0, WATCH_S), edge.describe, self.names[pop], known)

    def configure(self, config: Config) -> None:
        """Every gateway reloads."""
        for edge in self.edges:
            edge.configure(config)

    def set_rates(self, factor: Callable[[int], float]) -> None:
        """Each client asks `factor` times as often from now on; by its number."""
        self.weights = [weight * factor(client) for client, weight in enumerate(self.weights)]
        self._weigh()

    def run(self, seconds: float) -> Records:
        """From the start. Requests under way at the end are not recorded."""
        for edge in self.edges:
            edge.start(self.rng.uniform(0, INTERVAL_S))
        self._plan_next()
        self.events.run(seconds)
        self._ended.sort(key=lambda one: one[0])
        at_s, client, decided, served, latency_ms, attempts, in_flight = (np.array(column) for column in zip(*self._ended, strict=True))
        return Records(at_s, client, decided, served, latency_ms, attempts, in_flight)

    def _places(self, n: int) -> Sequence[int]:
        """One stands where the PoPs are nearest on the whole, more stand at random places."""
        if n == 1:
            return [middle_of(self.setting)]
        return self.rng.sample(range(len(self.setting.clients)), n)

    def _nearest_edges(self, places: Sequence[int]) -> list[Edge]:
        here = [(place.lat, place.lon) for place in self.setting.clients]
        nearest = distances_km(here, [here[place] for place in places]).argmin(axis=1)
        return [self.edges[number] for number in nearest]

    def _weigh(self) -> None:
        self._reached = list(itertools.accumulate(self.weights))

    def _plan_next(self) -> None:
        self.events.after(self.rng.expovariate(self._reached[-1]), self._arrive)

    def _arrive(self) -> None:
        client = bisect.bisect_right(self._reached, self.rng.random() * self._reached[-1])
        ask = Ask(client, self.setting.clients[client], self.rng.getrandbits(62), self.events.now, self._end)
        self.edge_of[client].ask(ask)
        self._plan_next()

    def _end(self, ask: Ask) -> None:
        served, latency_ms = -1, float("nan")
        if ask.is_answered:
            served = self.numbers[ask.pop]
            path_ms = self.edge_of[ask.client].paths_s[ask.pop] * 1000
            latency_ms = (self.events.now - ask.began) * 1000 - path_ms + float(self.setting.rtt_ms[ask.client, served])
        decided = self.numbers[ask.first] if ask.first else -1
        self._ended.append((ask.began, ask.client, decided, served, latency_ms, ask.n_attempts, ask.in_flight))
