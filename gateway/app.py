"""Gateway: every part of one serving process, wired together. No logic: what a part does is in its module.

    gateway = Gateway(config, load=lambda: read(path), parts=(Admin, AccessLogWriter))
    await gateway.run()         # until drained; StartError when it can't begin

A part beside these (admin API, access log, metrics) is a class that takes the gateway and has `start`, `stop`: see Part.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gates
from gateway.control.health.probes import Probe, Prober, probe
from gateway.control.life import drains
from gateway.control.life.beat import INTERVAL_S, Beat
from gateway.control.life.doors import Doors
from gateway.control.life.hands import WorkerHands
from gateway.control.life.inherited import Inherited
from gateway.control.life.lifecycle import Event, Lifecycle, Phase
from gateway.control.life.listeners import How, Listeners
from gateway.control.life.ready import Ready
from gateway.control.life.reload import Outcome, Reload
from gateway.control.life.start import Start
from gateway.control.life.workers import Workers
from gateway.control.process import reaper
from gateway.control.process.awake import Awake
from gateway.control.process.memory import Memory
from gateway.control.process.tasks import Tasks
from gateway.control.sources import last_words
from gateway.control.sources.clusters import NewCluster, cluster_maker
from gateway.control.sources.endpoints import LOOK_S, Sources
from gateway.control.sources.geo import SOON_S, Geo
from gateway.control.sources.last_words import LastWords
from gateway.control.sources.merge import Merge
from gateway.control.sources.resolver import Lookup, Resolver, lookup
from gateway.control.sources.world import Identity, World
from gateway.control.steering.refresh import Refresh
from gateway.control.table.affinity import load_key
from gateway.control.table.publisher import Publisher
from gateway.control.table.rows import Key, Rows
from gateway.control.table.settings import n_workers
from gateway.dataplane import Counters
from gateway.model import Address, Config, KubernetesAccess, Loaded
from k8s import Cluster, ServiceKey
from routing_core import Figures

logger = logging.getLogger("isochrone.gateway")

WAIT_S = 0.02  # between looks at what the start waits for
STOP_S = 5.0


class Part(Protocol):
    """Something that stands beside the data plane for as long as the gateway runs."""

    async def start(self) -> None:
        """Called first, right after the listeners are bound. StartError when it can't be."""

    async def stop(self) -> None:
        """Called last: workers have ended, and still hold their last log records."""


NewPart = Callable[["Gateway"], Part]


class Gateway:
    """One object that holds everything. All of it belongs to the thread of the event loop."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Loaded],
        *,
        parts: Sequence[NewPart] = (),
        listeners: Listeners | None = None,
        inherited: Inherited | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        ask: Probe = probe,
        resolve: Lookup = lookup,
        make_cluster: NewCluster | None = None,
    ) -> None:
        """`load` reads the configuration again, for a reload. `listeners`: sockets that are open already; absent, run() opens them: those
        of `inherited` by their names, the others by their addresses."""
        self.clock = clock
        self.awake = awake = Awake(clock)
        self.started_at = clock()
        self.listeners = listeners or Listeners()
        self.inherited = inherited or Inherited()
        self.own: list[Address] = []  # where parts listen
        self.tasks = Tasks()
        self.figures = Figures(n_workers(config))
        self.counters = Counters(self.figures.n_workers)
        self.world = World(drained=drains.load(drains.path_of(config), drains.name_in(config)))
        self.rows = Rows(self.figures)
        self.workers = Workers(self.counters)
        self.geo = Geo(config, clock)
        self.merge = Merge(config)
        self.gates = Gates(self.figures, awake, self._on_open)
        self.ejections = Ejections(self.figures, self.gates, awake, rng or random.Random())
        self.refresh = Refresh(self.figures, self.rows, self.gates, awake, lambda: awake.resumed_at)
        self.prober = Prober(
            gates=self.gates,
            figures=self.figures,
            tasks=self.tasks,
            clock=awake,
            rng=rng or random.Random(),
            on_connect=self.refresh.on_connect,
            ask=ask,
        )
        self.publisher = Publisher(
            config=config,
            world=self.world,
            rows=self.rows,
            figures=self.figures,
            gates=self.gates,
            locator=self.geo.locator,
            clock=clock,
            on_select=self.prober.ask_all,
            on_collect=self._on_collect,
            wake=self.workers.wake,
            on_newcomers=self.refresh.turn,
            affinity_key=load_key(config),
        )
        self.snapshots = self.publisher.snapshots
        self.geo.on_locator = self.publisher.publish_locator
        self.resolver = Resolver(self.tasks, clock, self._on_names, resolve)
        self.last_words = LastWords(last_words.path_of(config), clock, self._followed)
        self.sources = Sources(
            world=self.world,
            resolver=self.resolver,
            tasks=self.tasks,
            clock=clock,
            on_change=self.publisher.request,
            make_cluster=make_cluster or cluster_maker(),
            own=self._own,
            last_words=self.last_words,
        )
        self.drains = drains.PopDrains(self.publisher, self.figures, clock, drains.path_of(config))
        self.doors = Doors(self.snapshots, self.workers, self.listeners)
        self.lifecycle = Lifecycle(config.drain, WorkerHands(self.doors), clock)
        self.start = Start(
            merge=self.merge,
            geo=self.geo,
            sources=self.sources,
            publisher=self.publisher,
            prober=self.prober,
            sync_deadline_s=lambda: self.config.kubernetes.sync_deadline,
            clock=clock,
        )
        self.ready = Ready(lifecycle=self.lifecycle, workers=self.workers, start=self.start)
        self.reloader = Reload(
            load=load,
            merge=self.merge,
            publisher=self.publisher,
            sources=self.sources,
            resolver=self.resolver,
            geo=self.geo,
            on_config=[self._on_config],
        )
        self.beat = Beat(
            awake,
            {
                "gates": lambda: self.prober.ask_all(self.gates.turn()),
                "ejections": lambda: self.ejections.turn(self.config, self.publisher.table.spec),
                "resolver": self.resolver.turn,
                "prober": self.prober.turn,
                "refresh": lambda: self.refresh.turn(self.config, self.publisher.table.spec),
                "publisher": self.publisher.collect,
                "memory": Memory().turn,
                "drains": self.drains.turn,
                "workers": lambda: self.workers.turn(awake()),
                "doors": self.doors.turn,
                "lifecycle": self.lifecycle.turn,
            },
        )
        self.parts = [new(self) for new in parts]

    @property
    def config(self) -> Config:
        """The one in use."""
        return self.publisher.config

    async def run(self) -> None:
        """Serve until drained. StartError when it can't begin; nothing is left open then."""
        begun: list[Part] = []
        try:
            if not self.listeners.all:
                wanted = ((one.name, one.bind) for one in self.config.listeners)
                others = ("admin",) if self.config.status is None else ("admin", "status")
                opener = partial(self.inherited.open_listener, others=others)
                self.listeners.all += Listeners.open(wanted, How.of(self.config.listeners), opener).all
            for part in self.parts:
                await part.start()
                begun.append(part)
            self.inherited.check_all_taken()
            await self._begin()
            await self.lifecycle.done.wait()
        finally:
            await self._end(begun)

    def terminate(self) -> None:
        """SIGTERM: drain. A second one: end now."""
        if self.lifecycle.phase is not Phase.EXIT:
            self.lifecycle.handle(Event.TERMINATE)

    async def reload(self) -> Outcome:
        return await self.reloader.run()

    async def _begin(self) -> None:
        self.sources.apply(self.config)
        self.publisher.publish()
        names = [pop.name for pop in self.config.pops]
        for line in drains.absent(self.world.drained, [*names, *sorted(self.world.drained)], names):
            logger.warning("%s", line)
        self.tasks.repeat("beat", self.beat.turn, INTERVAL_S)
        self.tasks.repeat("sources", self.sources.turn, LOOK_S)
        for source in self.merge.news:
            self.tasks.repeat(f"source {source}", partial(self.reloader.follow, source), 0.0)
        self.tasks.repeat("last words", self.last_words.turn, last_words.LOOK_S)
        self.tasks.repeat("drains", self.drains.keep_on, drains.AGAIN_S)
        if reaper.is_needed():
            self.tasks.repeat("reaper", reaper.Reaper().turn, reaper.LOOK_S)
        self.tasks.repeat("geoip", self._watch_databases, 0.0)
        while self.start.obstacles() and not self.lifecycle.done.is_set():
            await asyncio.sleep(WAIT_S)
        if self.lifecycle.done.is_set():
            return
        self.refresh.turn(self.config, self.publisher.table.spec)
        self.gates.begin()
        self.listeners.listen()
        for number in self.doors.numbers:
            self.doors.open(number)
        self.workers.start(self.snapshots, self.figures, self.clock())
        self.lifecycle.handle(Event.STARTED)
        logger.info("started", extra={"workers": self.counters.n_workers, "not_ready": self.ready.reasons()})

    async def _end(self, begun: list[Part]) -> None:
        has_ended = await self.workers.stop(STOP_S)
        for number in self.doors.numbers:
            self.doors.close(number)
        self.inherited.close()
        for part in reversed(begun):
            try:
                await part.stop()
            except Exception:  # the others have something to put away too
                logger.exception("part does not stop", extra={"part": type(part).__name__})
        self.publisher.stop()
        await self.last_words.end()
        await self.drains.keep_on()
        await self.tasks.stop(STOP_S)
        if has_ended:
            self.workers.close()

    async def _watch_databases(self) -> None:
        began = self.clock()
        await self.geo.turn()
        while self.clock() - began < self.geo.pause_s:  # a reload may shorten it
            await asyncio.sleep(SOON_S)

    def _on_open(self, identity: Identity) -> None:
        if self.world.count(identity):
            self.publisher.request()

    def _on_collect(self, gone: list[Key]) -> None:
        for kind, identity in gone:
            if kind == "endpoint" and isinstance(identity, Identity):
                self.gates.forget(identity)
            elif kind == "pool" and isinstance(identity, tuple):
                self.refresh.forget(identity)
            elif kind == "pop" and isinstance(identity, str):
                self.refresh.forget_pop(identity)

    def _own(self) -> list[Address]:
        return [*self.own, *(address for one in self.listeners.all for address in one.addresses)]

    def _followed(self) -> list[tuple[KubernetesAccess, Cluster, list[ServiceKey]]]:
        return self.sources.followed()

    def _on_names(self) -> None:
        self.sources.on_names()

    def _on_config(self, config: Config) -> None:
        self.lifecycle.drain = config.drain
        self.prober.replan()
