"""Edge: one gateway of the simulation: the product's table, gates, figures and control turns, without sockets and without threads.

What control does every 100 ms is done by control's own parts, on a clock of events; what a worker does is `worker`. Written down here is
how probes meet a server.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from bench.steering.configuration import SERVICE
from bench.steering.counting import Watched
from bench.steering.events import Events
from bench.steering.servers import Hole, Site
from bench.steering.worker import Ask, Worker
from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gate, Gates
from gateway.control.sources.world import Identity, Known, World
from gateway.control.steering.refresh import INTERVAL_S, Refresh
from gateway.control.table.publisher import Publisher
from gateway.control.table.rows import Key, Rows
from gateway.model import Config
from geoip import Locator
from routing_core import Figures


class Edge:
    """One gateway. `paths_s`: its round trip to each PoP; `sites`: the PoPs. Both by name."""

    def __init__(
        self,
        events: Events,
        config: Config,
        known: Mapping[str, Sequence[Known]],
        paths_s: Mapping[str, float],
        sites: Mapping[str, Site],
        rng: random.Random,
    ) -> None:
        self.events = events
        self.config = config
        self.paths_s = paths_s
        self.sites = sites
        self.rng = rng
        self.figures = Figures(1)
        self.worker = Worker(events, self.figures, paths_s, sites, rng)
        self.world = World()
        self.rows = Rows(self.figures)
        self.gates = Gates(self.figures, events, self._on_open)
        self.ejections = Ejections(self.figures, self.gates, events, rng)
        watched = cast(Figures, Watched(self.worker.counting))
        self.refresh = Refresh(watched, self.rows, self.gates, events)
        self._probes: dict[Identity, int] = {}  # number of the probe that is planned
        self._n_probes = 0
        for pop, endpoints in known.items():
            self.world.describe((SERVICE, pop), endpoints)
        self.publisher = Publisher(
            config=config,
            world=self.world,
            rows=self.rows,
            figures=self.figures,
            gates=self.gates,
            locator=Locator(),
            clock=events,
            on_select=self._probe_all,
            on_collect=self._forget,
            on_newcomers=self.refresh.turn,
        )
        self.worker.learn(self.config, self.publisher.table)

    def start(self, phase_s: float) -> None:
        """Everything was found well, the paths are known, serving begins; control's turns start after `phase_s`."""
        for gate in list(self.gates.all.values()):
            self.refresh.on_connect((SERVICE, gate.identity.pop), self.paths_s[gate.identity.pop])
            self.gates.judge(gate.identity, True, 0)
            self._plan_probe(gate.identity, self.rng.uniform(0, gate.service.health.interval))
        self.refresh.turn(self.config, self.publisher.table.spec)
        self.gates.begin()
        self.events.after(phase_s, self._turn)

    def describe(self, pop: str, endpoints: Iterable[Known]) -> None:
        """A source's news of a PoP."""
        if self.world.describe((SERVICE, pop), endpoints):
            self._publish()

    def configure(self, config: Config) -> None:
        """A reload. The PoPs stay the same."""
        self.config = config
        self.publisher.publish_config(config, self.publisher.locator)
        self.worker.learn(self.config, self.publisher.table)

    def ask(self, ask: Ask) -> None:
        """A request arrives."""
        self.worker.ask(ask)

    # --- What control does ---

    def _turn(self) -> None:
        for gate in self.gates.turn():
            self._plan_probe(gate.identity, 0.0)
        self.ejections.turn(self.config, self.publisher.table.spec)
        self.refresh.turn(self.config, self.publisher.table.spec)
        self.publisher.collect()
        self.worker.tick()
        self.events.after(INTERVAL_S, self._turn)

    def _publish(self) -> None:
        self.publisher.publish()
        self.worker.learn(self.config, self.publisher.table)

    def _on_open(self, identity: Identity) -> None:
        """A static endpoint that came later counts from its first admission."""
        if self.world.count(identity):
            self.events.after(0.0, self._publish)

    def _forget(self, gone: list[Key]) -> None:
        for kind, identity in gone:
            if kind == "endpoint" and isinstance(identity, Identity):
                self.gates.forget(identity)
                self._probes.pop(identity, None)

    def _probe_all(self, gates: Iterable[Gate]) -> None:
        for gate in gates:
            self._plan_probe(gate.identity, 0.0)

    def _plan_probe(self, identity: Identity, wait_s: float) -> None:
        self._n_probes += 1
        self._probes[identity] = self._n_probes
        self.events.after(wait_s, self._probe, identity, self._n_probes)

    def _probe(self, identity: Identity, number: int) -> None:
        gate = self.gates.all.get(identity)
        if gate is None or gate.is_parked or self._probes.get(identity) != number:
            return
        before = self.figures.read_endpoint(gate.row)["connect_failures"]
        server, health = self.sites[identity.pop].servers[identity.address], gate.service.health
        path_s = self.paths_s[identity.pop]
        if server.is_up and (server.hole is Hole.DEAF or (server.hole is Hole.MUTE and health.type == "http")):
            self.events.after(health.timeout, self._judge, identity, number, before, False, False, True)
        else:
            is_good = server.is_up and (health.type == "tcp" or not server.is_unwell)
            self.events.after(path_s, self._judge, identity, number, before, is_good, server.is_up, False)

    def _judge(self, identity: Identity, number: int, before: int, is_good: bool, has_answered: bool, is_silent: bool) -> None:
        gate = self.gates.all.get(identity)
        if gate is None:
            return
        if has_answered:
            self.refresh.on_connect((SERVICE, identity.pop), self.paths_s[identity.pop])
        self.gates.judge(identity, is_good, before, has_answered=has_answered, is_silent=is_silent)
        if gate.is_silent:
            self.worker.leave(gate.row)
        if self._probes.get(identity) == number:
            health = gate.service.health
            usual = health.interval * (1 + health.jitter * self.rng.uniform(-1, 1))
            self._plan_probe(identity, health.confirm_interval if gate.is_confirming else usual)
