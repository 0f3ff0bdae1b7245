"""Milliseconds that control's refresh takes, ten times a second. Goal: 2 ms at 300 PoPs and 20 services. Moving: in that share of the
pools a request began and was answered since the last turn."""

from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.config import parse
from gateway.control.health.gates import Gates
from gateway.control.sources.world import Identity, Known, Origin, World
from gateway.control.steering.refresh import INTERVAL_S, STARTING_S, Refresh
from gateway.control.table.builder import build
from gateway.control.table.rows import Rows
from k8s import State
from routing_core import Figures
from routing_core._testing import add_to_pool

N_POPS = 300
N_SERVICES = 20
N_WORKERS = 2


def written() -> str:
    pops = "\n".join(f"  - {{name: p{n}, lat: {n % 90}, lon: {n % 180}, capacity: {{requests_in_flight: 1000}}}}" for n in range(N_POPS))
    backends = [
        "\n".join(f"      - {{pop: p{n}, endpoints: ['10.{service}.{n // 250}.{n % 250 + 1}:80']}}" for n in range(N_POPS))
        for service in range(N_SERVICES)
    ]
    services = "\n".join(f"  - name: s{number}\n    backends:\n{of}" for number, of in enumerate(backends))
    return f"listeners: [{{name: web, bind: '127.0.0.1:0'}}]\npops:\n{pops}\nservices:\n{services}\nroutes: [{{service: s0}}]\n"


@pytest.mark.parametrize("moving", [0.0, 0.05, 1.0])
def test_many_pools(benchmark: BenchmarkFixture, moving: float) -> None:
    config = parse(written()).config
    figures = Figures(N_WORKERS)
    rows, world = Rows(figures), World()
    for service in config.services:
        for backend in service.backends:
            known = [
                Known(Identity(service.name, backend.pop, "", one.host, one.port), State.READY, Origin.STATIC) for one in backend.endpoints
            ]
            world.describe((service.name, backend.pop), known)
    built = build(config, world, rows, 1)
    seconds = count(0)
    gates = Gates(figures, lambda: 0.0)
    gates.select((one.identity, row, service, one.origin) for one, row, service in built.selected)
    for one, _, _ in built.selected:
        gates.judge(one.identity, True, 0)
    gates.begin()
    now = 0.0
    refresh = Refresh(figures, rows, gates, lambda: now)
    refresh.turn(config, built.spec)
    now = STARTING_S
    refresh.turn(config, built.spec)
    pools = [pool.row for service in built.spec.services for pool in service.pools]

    def pass_time() -> None:
        nonlocal now
        now += INTERVAL_S
        turn = next(seconds)
        for place in range(round(moving * len(pools))):
            # No two turns take the same pools, and no two pools take as long.
            row = pools[(turn * 997 + place) % len(pools)]
            add_to_pool(figures, row, 0, attempts=1, first_bytes=1, first_byte_us=10_000 + 7 * row)

    benchmark.pedantic(refresh.turn, (config, built.spec), setup=pass_time, rounds=200, warmup_rounds=20)  # type: ignore[no-untyped-call]  # it carries no types
    assert figures.read_pool(pools[0])["admit"] == 1
