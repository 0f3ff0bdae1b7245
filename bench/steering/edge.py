"""Edge: one gateway of the simulation: the product's table, gates, figures and control turns, without sockets and without threads.

Decisions are `draw` of routing_core, endpoints are chosen by its own choice, what control does every 100 ms is done by control's own parts,
on a clock of events. Written down here is only what the data plane does around a decision: count, send, and go on to the next endpoint
or PoP when that failed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.steering.configuration import SERVICE
from bench.steering.data import Place, facts_of, point_of
from bench.steering.events import Events
from bench.steering.servers import Server, Site
from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gate, Gates
from gateway.control.health.networks import N_GROUPS
from gateway.control.sources.world import Identity, Known, World
from gateway.control.steering.refresh import INTERVAL_S, Refresh
from gateway.control.table.publisher import Publisher
from gateway.control.table.rows import Key, Rows
from gateway.model import Config
from geoip import Locator
from routing_core import Figures, draw, explain
from routing_core._testing import add_to_endpoint, add_to_pool, add_to_pop, choose, enter_service, leave_service, observe, spend_retry

WORKER = 0


@dataclass(slots=True)
class Ask:
    """One request, and how it went."""

    client: int
    place: Place
    seed: int
    began: float
    on_end: Callable[[Ask], None]
    pop: str = ""  # where it is, or ended
    first: str = ""  # what was decided; "": nothing could be
    n_attempts: int = 0
    in_flight: int = 0  # this gateway's at its PoP when it joined, itself included
    is_answered: bool = False
    left_over: list[str] | None = None  # fallbacks not tried yet
    tried: list[int] = field(default_factory=list)  # rows of endpoints
    n_tried_before: int = 0  # of these, those in PoPs before this one


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
        self.in_flight: Counter[str] = Counter()  # by PoP
        self.world = World()
        self.rows = Rows(self.figures)
        self.gates = Gates(self.figures, events)
        self.ejections = Ejections(self.figures, self.gates, events, rng)
        self.refresh = Refresh(self.figures, self.rows, self.gates, events)
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
        self._learn()

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
            self.publisher.publish()
            self._learn()

    def configure(self, config: Config) -> None:
        """A reload. The PoPs stay the same."""
        self.config = config
        self.publisher.publish_config(config, self.publisher.locator)
        self._learn()

    def ask(self, ask: Ask) -> None:
        """A request arrives."""
        enter_service(self.figures, self._service_row, int(1000 * self.config.retries.budget_share))
        decided = draw(self.publisher.table, 0, point_of(ask.place), 1, ask.seed, may_explore=True, **facts_of(ask.place))
        ask.first = ask.pop = next(iter(decided))
        if ask.pop:
            self._attempt(ask)
        else:
            self._end(ask)

    # --- What control does ---

    def _turn(self) -> None:
        for gate in self.gates.turn():
            self._plan_probe(gate.identity, 0.0)
        self.ejections.turn(self.config, self.publisher.table.spec)
        self.refresh.turn(self.config, self.publisher.table.spec)
        self.publisher.collect()
        self.events.after(INTERVAL_S, self._turn)

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
        is_good = self.sites[identity.pop].servers[identity.address].is_up
        self.events.after(self.paths_s[identity.pop], self._judge, identity, number, is_good, before)

    def _judge(self, identity: Identity, number: int, is_good: bool, before: int) -> None:
        gate = self.gates.all.get(identity)
        if gate is None:
            return
        if is_good:
            self.refresh.on_connect((SERVICE, identity.pop), self.paths_s[identity.pop])
        self.gates.judge(identity, is_good, before)
        if self._probes.get(identity) == number:
            health = gate.service.health
            usual = health.interval * (1 + health.jitter * self.rng.uniform(-1, 1))
            self._plan_probe(identity, health.confirm_interval if gate.is_confirming else usual)

    # --- What workers do ---

    def _learn(self) -> None:
        """Where rows and numbers of the new table lead."""
        (service,) = self.publisher.table.spec.services
        pops = self.publisher.table.spec.pops
        self._service_row = service.row
        self._pools = {pops[pool.pop].name: (number, pool.row) for number, pool in enumerate(service.pools)}
        self._pop_rows = {pop.name: pop.row for pop in pops}
        self._addresses = {endpoint.row: endpoint.address for pool in service.pools for endpoint in pool.endpoints}

    def _end(self, ask: Ask) -> None:
        leave_service(self.figures, self._service_row)
        ask.on_end(ask)

    def _may_retry(self) -> bool:
        return spend_retry(self.figures, self._service_row, int(self.events.now * 1000), self.config.retries.budget_floor)

    def _attempt(self, ask: Ask) -> None:
        """At an endpoint of its PoP, or of the next fallback that has one."""
        while True:
            number, pool_row = self._pools[ask.pop]
            now_ms = int(self.events.now * 1000)
            found = choose(self.publisher.table, 0, number, now_ms=now_ms, tried=ask.tried, seed=self.rng.getrandbits(62))
            ((_, row),) = found
            if row >= 0:
                break
            if len(ask.tried) > ask.n_tried_before:  # nobody in it could be reached
                add_to_pool(self.figures, pool_row, WORKER, failures=1)
            if not self._go_on(ask):
                self._end(ask)
                return
        ask.n_attempts += 1
        ask.tried.append(row)
        server = self.sites[ask.pop].servers[self._addresses[row]]
        add_to_pool(self.figures, pool_row, WORKER, attempts=1)
        self._count(ask.pop, row, pool_row, 1)
        ask.in_flight = self.in_flight[ask.pop]
        self.events.after(self.paths_s[ask.pop] / 2, self._reach, ask, row, pool_row, server, self.events.now)

    def _go_on(self, ask: Ask) -> bool:
        """To the next PoP. False: there is none."""
        if ask.left_over is None:  # the same draws as decided it
            found = explain(self.publisher.table, 0, point_of(ask.place), ask.seed, may_explore=True, **facts_of(ask.place))
            # What was refused meanwhile may have changed whom they lead to.
            ask.left_over = [pop for pop in (found.pop, *found.fallbacks) if pop not in (None, ask.pop)]
        if not ask.left_over:
            return False
        ask.pop = ask.left_over.pop(0)
        ask.n_tried_before = len(ask.tried)
        return True

    def _reach(self, ask: Ask, row: int, pool_row: int, server: Server, began: float) -> None:
        back_s = self.paths_s[ask.pop] / 2
        if not server.is_up:
            self.events.after(back_s, self._refused, ask, row, pool_row)
            return

        def on_done(is_answered: bool) -> None:
            if is_answered:
                self.events.after(back_s, self._answered, ask, row, pool_row, began)
            else:
                self.events.after(back_s, self._reset, ask, row, pool_row)

        server.submit(on_done)

    def _count(self, pop: str, row: int, pool_row: int, by: int) -> None:
        self.in_flight[pop] += by
        add_to_endpoint(self.figures, row, WORKER, in_flight=by)
        add_to_pool(self.figures, pool_row, WORKER, in_flight=by, waiting=by)
        if (pop_row := self._pop_rows[pop]) is not None:
            add_to_pop(self.figures, pop_row, WORKER, in_flight=by)

    def _answered(self, ask: Ask, row: int, pool_row: int, began: float) -> None:
        took_us = round((self.events.now - began) * 1e6)
        self._count(ask.pop, row, pool_row, -1)
        add_to_pool(
            self.figures, pool_row, WORKER, first_bytes=1, first_byte_us=took_us, served_us=took_us, served_by=ask.client % N_GROUPS
        )
        add_to_endpoint(self.figures, row, WORKER, answers=1, first_bytes=1, first_byte_us=took_us)
        observe(self.figures, row, WORKER, took_us, int(self.events.now * 1000))
        ask.is_answered = True
        self._end(ask)

    def _refused(self, ask: Ask, row: int, pool_row: int) -> None:
        """No byte was sent: goes on whatever the budget."""
        self._count(ask.pop, row, pool_row, -1)
        add_to_endpoint(self.figures, row, WORKER, connect_failures=1)
        if ask.n_attempts == self.config.retries.max:
            add_to_pool(self.figures, pool_row, WORKER, failures=1)
        self._retry(ask, is_free=True)

    def _reset(self, ask: Ask, row: int, pool_row: int) -> None:
        self._count(ask.pop, row, pool_row, -1)
        add_to_pool(self.figures, pool_row, WORKER, failures=1)
        add_to_endpoint(self.figures, row, WORKER, errors=1)
        self._retry(ask, is_free=False)

    def _retry(self, ask: Ask, is_free: bool) -> None:
        most = self.config.retries.max
        if ask.n_attempts > most or not (is_free or self._may_retry()):
            self._end(ask)
            return
        if ask.n_attempts == most:  # the last try is not spent where the others failed
            self._go_on(ask)
        self._attempt(ask)
