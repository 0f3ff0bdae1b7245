"""Agenda: the pools of the table in use, what was learned of each, and which of them the refresh works on next.

Owns the order in which pools are due: the longest waiting first, and all of them in turn. Must not know what is done then, or figures.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from gateway.control.health.networks import N_GROUPS, Unanswered, Window
from gateway.control.sources.others import ends_of
from gateway.control.sources.world import PoolKey
from gateway.control.steering.admission import Admission
from gateway.control.steering.backlog import Backlog
from gateway.control.steering.estimates import Evidence, FirstByte, PathTime, ServiceTime
from gateway.control.steering.headroom import Filling, Usual
from gateway.control.steering.levels import Level
from gateway.control.steering.pacing import Versions
from gateway.control.steering.penalties import Penalty, Terms
from gateway.control.steering.ramps import Ramp
from gateway.control.table.capacity import Capacity, capacity_of
from gateway.model import Config, Service
from routing_core import PoolSpec, TableSpec

_row_of = attrgetter("row")

SWEEP_TURNS = 100  # by then all have been worked on: 10 s
LEAST_SWEPT = 8  # a turn: where there are no more pools than that, all of them


class Published(NamedTuple):
    """By the names of Figures.set_pool."""

    availability: float
    shed: float
    ramp: float
    penalty_ms: float
    answering: int
    spared: int
    spared_in_pop: int
    all_zones: float
    usual: int


@dataclass(slots=True)
class PoolState:
    """What was learned of one pool."""

    service_time: ServiceTime = field(default_factory=ServiceTime)
    evidence: Evidence | None = None  # what that said last
    thick_at: float = -math.inf  # monotonic seconds, when it last had samples enough to say anything
    first_byte: FirstByte = field(default_factory=FirstByte)
    path: PathTime = field(default_factory=PathTime)
    versions: Versions = field(default_factory=Versions)
    penalty: Penalty = field(default_factory=Penalty)
    window: Window = field(default_factory=Window)
    unanswered: Unanswered = field(default_factory=Unanswered)
    backlog: Backlog = field(default_factory=Backlog)
    admission: Admission = field(default_factory=Admission)
    filling: Filling = field(default_factory=Filling)
    usual: Usual = field(default_factory=Usual)
    ramp: Ramp = field(default_factory=Ramp)
    times: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)  # read_pool_times() when it was last worked on
    served: tuple[int, ...] = (0,) * (2 * N_GROUPS + 1)  # read_pool_served()
    known: tuple[int, float, float] = (0, 0.0, -1.0)  # samples, spread_ms, hope_ms of its figures, as they are
    written: tuple[int, float, float] = (0, 0.0, -1.0)  # and as they were last written
    outcomes: tuple[int, ...] = (0, 0, 0, 0, 0)  # read_pool_outcomes()
    worked_at: float = math.inf  # monotonic seconds, when it last was; infinite: never
    ready: int = 0
    answering: int = 0  # endpoints, see Figures.count_answering
    total: int = 0
    all_zones: float = 0.0  # share of requests for which its zones are alike
    availability: float = 1.0
    is_left_out: bool = False  # drained automatically, for requests that may use any PoP
    ramped: float = 1.0  # the ramp's factor, relative to the other PoPs'
    spared: int = 0  # of those in flight, what clients hold beyond their parts of its capacity
    tunnels: int = 0  # of those in flight: nothing of its capacity
    published: Published | None = None  # as it was last written

    @property
    def share(self) -> float:
        """Of its endpoints, those ready."""
        return self.ready / self.total if self.total else 0.0


@dataclass(slots=True, eq=False)
class Group:
    """A service of the table in use."""

    service: Service
    terms: Terms
    level: Level
    keeps: bool  # clients are kept with their PoP, by affinity or as their requests last: a queue moves none of them
    pools: list[Pool] = field(default_factory=list)
    is_whole: bool = True  # a PoP of it does not ramp, or none may take anything: no ramp of it depends on another


@dataclass(slots=True, eq=False)
class Pool:
    """A pool of the table in use, and what of the configuration concerns it."""

    number: int  # among all of the table
    pop: str
    spec: PoolSpec
    state: PoolState
    group: Group
    capacity: Capacity | None
    bounded: Bounded | None  # the PoP, where it has a capacity
    is_drained: bool  # by the operator
    endpoint_rows: array[int]
    since: float = -math.inf  # monotonic seconds: until then, where it was not worked on, all was as it had been

    @property
    def learns_admission(self) -> bool:
        """Whether its queue sheds what it can't do: where a capacity was said, that is what it can."""
        return self.capacity is None and self.bounded is None and not self.group.keeps

    @property
    def may_take(self) -> bool:
        """Whether requests may be sent there at all."""
        return self.state.availability > 0 and not self.state.is_left_out and not self.is_drained


@dataclass(slots=True, eq=False)
class Bounded:
    """A PoP with a capacity, all services together."""

    row: int
    capacity: Capacity
    filling: Filling
    numbers: list[int] = field(default_factory=list)  # of the pools in it
    rows: array[int] = field(default_factory=lambda: array("i"))  # theirs
    shed: float = 1.0
    spared: int = 0  # of those in flight, what clients hold beyond their parts of the capacity


@dataclass(slots=True, eq=False)
class Agenda:
    """Of one table. Lists beside one another have the same order."""

    config: Config
    spec: TableSpec
    is_starting: bool
    groups: list[Group] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    rows: array[int] = field(default_factory=lambda: array("i"))  # of the pools
    bounded: dict[int, Bounded] = field(default_factory=dict)  # by PoP's number
    endpoint_rows: array[int] = field(default_factory=lambda: array("i"))
    endpoint_pools: list[Pool] = field(default_factory=list)  # the pool of each endpoint
    numbers: dict[PoolKey, int] = field(default_factory=dict)
    seen: array[int] = field(default_factory=lambda: array("Q"))  # of `rows`, see Figures.moved
    endpoints_seen: array[int] = field(default_factory=lambda: array("Q"))
    due: dict[int, float] = field(default_factory=dict)  # numbers of the pools that wait, the longest waiting first; see Pool.since
    touched: dict[Group, None] = field(default_factory=dict)  # of which anything was learned since their level was looked at
    unsettled: dict[int, None] = field(default_factory=dict)  # of those whose estimate is to change when a version begins, likewise
    _next_swept: int = 0

    def add(self, numbers: Iterable[int], since: float) -> None:
        """Those that wait already keep their place, and since when."""
        for number in numbers:
            self.due.setdefault(number, since)

    def sweep(self, since: float) -> None:
        """The next few are due, whatever happened."""
        n = len(self.pools)
        count = min(n, max(LEAST_SWEPT, -(-n // SWEEP_TURNS)))
        self.add([number % n for number in range(self._next_swept, self._next_swept + count)], since)
        self._next_swept = (self._next_swept + count) % n if n else 0

    def renew(self, spec: TableSpec) -> list[Pool]:
        """The next table, of the same configuration and the same PoPs. Returns the pools that are not as they were."""
        self.spec = spec
        changed = []
        at = 0  # of the pool's first endpoint
        for pool, built in zip(self.pools, (pool for service in spec.services for pool in service.pools), strict=True):
            if pool.spec is not built:
                self._renew(pool, built, at)
                changed.append(pool)
            at += len(pool.endpoint_rows)
        return changed

    def _renew(self, pool: Pool, built: PoolSpec, at: int) -> None:
        """`at`: of the pool's first endpoint. Those at its beginning and its end that are as they were are not looked at."""
        n_before = len(pool.endpoint_rows)
        first, last = ends_of(built.endpoints, pool.spec.endpoints)
        begin, end = at + first, at + n_before - last
        seen = dict(zip(self.endpoint_rows[begin:end], self.endpoints_seen[begin:end], strict=True))
        rows = array("i", map(_row_of, built.endpoints[first : len(built.endpoints) - last]))
        pool.spec = built
        pool.endpoint_rows[first : n_before - last] = self.endpoint_rows[begin:end] = rows
        self.endpoint_pools[begin:end] = [pool] * len(rows)
        self.endpoints_seen[begin:end] = array("Q", [seen.get(row, 0) for row in rows])

    def take(self, most: int | None) -> list[Pool]:
        """The longest waiting; they wait no more."""
        taken = []
        for number in list(islice(self.due, most)):
            pool = self.pools[number]
            pool.since = self.due.pop(number)
            taken.append(pool)
        return taken

    def take_unsettled(self, most: int) -> list[Pool]:
        taken = list(islice(self.unsettled, most))
        for number in taken:
            del self.unsettled[number]
        return [self.pools[number] for number in taken]


def agenda_of(
    config: Config,
    spec: TableSpec,
    is_starting: bool,
    state_of: Callable[[PoolKey], PoolState],
    filling_of: Callable[[str], Filling],
    level_of: Callable[[str], Level],
) -> Agenda:
    """Of a table that was built of `config`; everyone is due."""
    agenda = Agenda(config, spec, is_starting)
    for pop, (configured, of) in enumerate(zip(config.pops, spec.pops, strict=True)):
        capacity = capacity_of(configured.capacity)
        if capacity is not None and of.row is not None:
            agenda.bounded[pop] = Bounded(of.row, capacity, filling_of(of.name))
    kept = {target.service for route in config.routes if route.steering.affinity is not None for target in route.targets}
    for service, built in zip(config.services, spec.services, strict=True):
        penalties = service.penalties
        terms = Terms(penalties.failure * 1000, penalties.server_errors, penalties.rate_limited, penalties.compared)
        group = Group(service, terms, level_of(service.name), service.long_lived or service.name in kept)
        agenda.groups.append(group)
        for backend, pool in zip(service.backends, built.pools, strict=True):
            _add_pool(agenda, group, pool, capacity_of(backend.capacity), state_of)
    agenda.seen.extend([0] * len(agenda.rows))
    agenda.endpoints_seen.extend([0] * len(agenda.endpoint_rows))
    agenda.add(range(len(agenda.pools)), -math.inf)
    agenda.touched.update(dict.fromkeys(agenda.groups))  # there may be pools less
    return agenda


def _add_pool(agenda: Agenda, group: Group, spec: PoolSpec, capacity: Capacity | None, state_of: Callable[[PoolKey], PoolState]) -> None:
    pop = agenda.spec.pops[spec.pop]
    key = group.service.name, pop.name
    rows = array("i", [endpoint.row for endpoint in spec.endpoints])
    bounded = agenda.bounded.get(spec.pop)
    pool = Pool(len(agenda.pools), pop.name, spec, state_of(key), group, capacity, bounded, pop.is_drained, rows)
    agenda.numbers[key] = pool.number
    agenda.pools.append(pool)
    agenda.rows.append(spec.row)
    agenda.endpoint_rows.extend(rows)
    agenda.endpoint_pools += [pool] * len(rows)
    group.pools.append(pool)
    if bounded is not None:
        bounded.numbers.append(pool.number)
        bounded.rows.append(spec.row)
