"""Helpers of the control plane's tests: a clock that is moved by hand, short configurations, workers' figures as tests want them."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import parse
from gateway.control.health.gates import Gates
from gateway.control.sources.geo import overrides_of, pins_of
from gateway.control.sources.world import Identity, Known, Origin, World
from gateway.control.table.publisher import Publisher
from gateway.control.table.rows import Rows
from gateway.model import Config, Service
from geoip import Locator
from k8s import State
from routing_core import Figures

TWO_POPS = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE, region: eu-central}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US}
services:
  - name: shop
    backends:
      - {pop: fra, endpoints: ["192.0.2.1:80"]}
      - {pop: nyc, endpoints: ["192.0.2.2:80", "192.0.2.3:80"]}
routes: [{service: shop}]
"""


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers go by a clock that is moved by hand."""

    now = 0.0

    def time(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Move the clock and let everything that is due run."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


def play(scenario: Callable[[SteppedLoop], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a stepped loop."""
    loop = SteppedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario(loop))


def config_of(text: str = TWO_POPS, **more: str) -> Config:
    """`more`: further top-level keys, as YAML text."""
    return parse(text + "".join(f"\n{key}: {value}" for key, value in more.items()), folder=Path("/nonexistent")).config


def identity(address: str = "192.0.2.1", port: int = 80, uid: str = "", pop: str = "fra", service: str = "shop") -> Identity:
    return Identity(service, pop, uid, address, port)


def known(address: str = "192.0.2.1", state: State = State.READY, origin: Origin = Origin.KUBERNETES, uid: str = "u") -> Known:
    return Known(identity(address, uid=uid), state, origin)


class FailingConnects:
    """Real figures but for what only a worker's C code counts: failed connects, what pools and PoPs have seen. Keeps what was written."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.failures: dict[int, int] = {}
        self.pools: dict[int, dict[str, int]] = {}
        self.pops: dict[int, int] = {}  # in flight
        self.groups: dict[int, tuple[int, int, int]] = {}  # of client networks
        self.busy: dict[int, dict[str, int]] = {}
        self.written: list[tuple[int, dict[str, Any]]] = []  # set_pool(): row and what was given
        self.phases: list[tuple[int, int]] = []  # set_phase(): the phase, and how many writes went before it

    def __getattr__(self, name: str) -> object:
        return getattr(self.figures, name)

    def read_endpoint(self, row: int) -> dict[str, object]:
        return {**self.figures.read_endpoint(row), "connect_failures": self.failures.get(row, 0), **self.busy.get(row, {})}

    def failed_connects(self, rows: Any, seen: Any) -> list[int]:
        places = [place for place, row in enumerate(rows) if self.failures.get(row, 0) != seen[place]]
        for place in places:
            seen[place] = self.failures.get(rows[place], 0)
        return places

    def read_pool_times(self, row: int) -> tuple[object, ...]:
        seen = self.read_pool(row)
        return tuple(seen[name] for name in ("in_flight", "connect_us", "connects", "first_byte_us", "first_bytes", "waiting", "lay_us"))

    def read_pool_outcomes(self, row: int) -> tuple[object, ...]:
        seen = self.read_pool(row)
        return tuple(seen[name] for name in ("attempts", "failures", "server_errors", "rate_limited", "retry_after_ms"))

    def read_pool_groups(self, row: int) -> tuple[int, int, int]:
        return self.groups.get(row, (0, 0, 0))

    def read_pool(self, row: int) -> dict[str, object]:
        return {**self.figures.read_pool(row), **self.pools.get(row, {})}

    def read_pop(self, row: int) -> int:
        return self.pops.get(row, 0) or self.figures.read_pop(row)

    def in_use(self, row: int) -> int:
        known = {**self.pools.get(row, {}), **self.busy.get(row, {})}
        return self.pops.get(row, 0) + sum(known.get(name, 0) for name in ("in_flight", "connections")) or self.figures.in_use(row)

    def set_pool(self, row: int, **values: Any) -> None:
        self.figures.set_pool(row, **values)
        self.written.append((row, values))

    def set_phase(self, phase: int) -> None:
        self.figures.set_phase(phase)
        self.phases.append((phase, len(self.written)))


@dataclass
class Bench:
    """Gates over one service, with everything around them real."""

    service: Service
    clock: Clock = field(default_factory=Clock)
    opened: list[Identity] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.figures = FailingConnects(Figures(2))
        self.rows = Rows(self.figures)  # type: ignore[arg-type]  # a stand-in with the same methods
        self.gates = Gates(self.figures, self.clock, self.opened.append)  # type: ignore[arg-type]  # the same

    def select(self, *chosen: Identity, origin: Origin = Origin.STATIC) -> list[Identity]:
        begun = self.gates.select((one, self.rows.endpoint(one), self.service, origin) for one in chosen)
        return [gate.identity for gate in begun]

    def fail(self, one: Identity, times: int = 1) -> None:
        """Traffic can't connect."""
        row = self.rows.endpoint(one)
        self.figures.failures[row] = self.figures.failures.get(row, 0) + times

    def judge(self, one: Identity, *results: bool) -> None:
        for is_good in results:
            self.gates.judge(one, is_good, self.figures.failures.get(self.rows.endpoint(one), 0))

    def published(self, one: Identity) -> tuple[str, float]:
        seen = self.figures.read_endpoint(self.rows.endpoint(one))
        return str(seen["state"]), float(str(seen["weight"]))


def publisher_of(config: Config, clock: Clock, **more: Any) -> Publisher:
    """A publisher with real figures, rows and gates, and no workers."""
    figures = Figures(2)
    gates = Gates(figures, clock)
    locator = Locator(overrides=overrides_of(config), pins=pins_of(config))
    more.setdefault("on_select", lambda gates: None)
    return Publisher(config=config, world=World(), rows=Rows(figures), figures=figures, gates=gates, locator=locator, clock=clock, **more)


def serving(bench, *chosen):
    """A bench whose gateway serves, its endpoints found good at the start."""
    bench.select(*chosen)
    for one in chosen:
        bench.judge(one, True)
    bench.gates.begin()
    return bench


def by_group(*counts: int) -> int:
    """A cell of networks: how many each group had."""
    return sum(count << 32 * number for number, count in enumerate(counts))
