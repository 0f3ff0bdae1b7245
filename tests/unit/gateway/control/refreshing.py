"""What tests of the refresh begin with: a service in two PoPs, its gates, a clock that is moved by hand."""

from collections import Counter
from typing import Any

from gateway.control.health.gates import Gates
from gateway.control.sources.world import Identity, Known, Origin, World
from gateway.control.steering.refresh import INTERVAL_S, STARTING_S, Refresh
from gateway.control.table.builder import build
from gateway.control.table.rows import Rows
from gateway.model import Config
from k8s import State
from routing_core import Figures, TableSpec
from routing_core._testing import add_to_pool
from tests.unit.gateway.control.helpers import Bench, Clock, config_of, identity

FRA, NYC = ("shop", "fra"), ("shop", "nyc")
Scene = tuple[Bench, Refresh, TableSpec, list[Identity]]


def scene_of(config: Config) -> Scene:
    """Two PoPs, all endpoints found good at the start, serving begins."""
    bench = Bench(config.services[0])
    everyone = [identity("192.0.2.1"), identity("192.0.2.2", pop="nyc"), identity("192.0.2.3", pop="nyc")]
    world = World()
    world.describe(FRA, [Known(everyone[0], State.READY, Origin.STATIC)])
    world.describe(NYC, [Known(one, State.READY, Origin.STATIC) for one in everyone[1:]])
    bench.select(*everyone)
    for one in everyone:
        bench.judge(one, True)
    bench.gates.begin()
    refresh = Refresh(bench.figures, bench.rows, bench.gates, bench.clock)
    spec = build(config, world, bench.rows, 1).spec
    return bench, refresh, spec, everyone


def started(config: Config) -> Scene:
    """The same when the start is over."""
    bench, refresh, spec, everyone = scene_of(config)
    refresh.turn(config, spec)
    bench.clock.advance(STARTING_S)
    refresh.turn(config, spec)
    return bench, refresh, spec, everyone


def count_answers(figures: Figures, row: int, ms: float, n: int, by: int = -1) -> None:
    """As workers count n answers whose first byte took ms each: of clients in all groups of networks in turn, or of those in one."""
    us = round(ms * 1000)
    add_to_pool(figures, row, 0, attempts=n, first_bytes=n, first_byte_us=n * us, served_us=us, served_n=n, served_by=by)


def answer(bench: Bench, pool: tuple[str, str], ms: float, n: int = 100, by: int = -1) -> None:
    """Traffic's, see count_answers()."""
    count_answers(bench.figures.figures, bench.rows.pool(*pool), ms, n, by)


def read(bench: Bench, pool: tuple[str, str]) -> dict[str, Any]:
    """What was published of a pool, and what tests have it count."""
    return bench.figures.read_pool(bench.rows.pool(*pool))


class Counting:
    """Real figures; counts who was read, and keeps what was written."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.read: Counter[int] = Counter()
        self.written: list[tuple[int, dict[str, Any]]] = []  # set_pool(): row and what was given
        self.waiting: dict[int, tuple[int, ...]] = {}  # by groups of client networks, which only workers count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.figures, name)

    def read_pool_times(self, row: int) -> tuple[int, ...]:
        self.read[row] += 1
        return self.figures.read_pool_times(row)

    def set_pool(self, row: int, **values: Any) -> None:
        self.figures.set_pool(row, **values)
        self.written.append((row, values))

    def read_waiting(self, row: int) -> tuple[int, ...]:
        return self.waiting.get(row) or self.figures.read_waiting(row)


class ManyPops:
    """A service in so many PoPs, an endpoint in each, all well and the start over."""

    def __init__(self, n: int, service: str = "", pop: str = "", backend: str = "", n_services: int = 1) -> None:
        names = [f"p{number}" for number in range(n)]
        pops = "\n".join(f"  - {{name: {name}, lat: 0, lon: {number / 100}{pop}}}" for number, name in enumerate(names))
        services = "\n".join(
            f"  - name: s{of}\n    {service}\n    backends:\n"
            + "\n".join(
                f"      - {{pop: {name}, endpoints: ['10.{of}.{number // 250}.{number % 250 + 1}:80']{backend}}}"
                for number, name in enumerate(names)
            )
            for of in range(n_services)
        )
        listeners = "listeners: [{name: web, bind: '127.0.0.1:0'}]"
        self.config = config_of(f"{listeners}\npops:\n{pops}\nservices:\n{services}\nroutes: [{{service: s0}}]\n")
        self.clock = Clock(0.0)
        self.counting = Counting(Figures(2))
        self.figures = self.counting.figures
        self.rows, self.world = Rows(self.figures), World()
        self.identities: list[Identity] = []
        for configured in self.config.services:
            for behind in configured.backends:
                of = [Identity(configured.name, behind.pop, "", one.host, one.port) for one in behind.endpoints or ()]
                self.identities += of
                self.world.describe((configured.name, behind.pop), [Known(one, State.READY, Origin.STATIC) for one in of])
        self.gates = Gates(self.figures, self.clock)
        self.refresh = Refresh(self.counting, self.rows, self.gates, self.clock)  # type: ignore[arg-type]  # a stand-in with the same methods
        self.spec = self.build()
        for one in self.identities:
            self.gates.judge(one, True, 0)
        self.gates.begin()
        self.refresh.turn(self.config, self.spec)
        self.clock.advance(STARTING_S)
        self.refresh.turn(self.config, self.spec)
        self.counting.read.clear()
        self.counting.written.clear()

    def build(self) -> TableSpec:
        built = build(self.config, self.world, self.rows, 1)
        self.gates.select((one.identity, row, service, one.origin) for one, row, service in built.selected)
        return built.spec

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(INTERVAL_S)
            self.refresh.turn(self.config, self.spec)

    def row(self, number: int, service: str = "s0") -> int:
        return self.rows.pool(service, f"p{number}")

    def pool(self, number: int, service: str = "s0") -> dict[str, Any]:
        """What was published of it."""
        return dict(self.figures.read_pool(self.row(number, service)))

    def answer(self, number: int, ms: float, n: int = 100, *, service: str = "s0", by: int = -1) -> None:
        """Traffic's, see count_answers()."""
        count_answers(self.figures, self.row(number, service), ms, n, by)
