"""What tests of the refresh begin with: a service in two PoPs, its gates, a clock that is moved by hand."""

from typing import Any

from gateway.control.sources.world import Identity, Known, Origin, World
from gateway.control.steering.refresh import STARTING_S, Refresh
from gateway.control.table.builder import build
from gateway.model import Config
from k8s import State
from routing_core import TableSpec
from tests.unit.gateway.control.helpers import Bench, identity

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


def read(bench: Bench, pool: tuple[str, str]) -> dict[str, Any]:
    """What was published of a pool, and what tests have it count."""
    return bench.figures.read_pool(bench.rows.pool(*pool))
