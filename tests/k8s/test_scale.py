"""What one changed slice costs control, in work counted: bytecodes of Python from the event's line to the next beat. No clock, no machine.

The same change among 100 Services must cost about what it costs among 4; what C does besides (the table) has tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from gateway.config import parse
from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gates
from gateway.control.process.tasks import Tasks
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.resolver import Resolver, lookup
from gateway.control.sources.world import World
from gateway.control.steering.refresh import Refresh
from gateway.control.table.publisher import Publisher
from gateway.control.table.rows import Rows
from geoip import Locator
from k8s import Cluster, ClusterAccess
from routing_core import Figures
from tests.k8s.fake_api import event
from tests.k8s.fake_api import piece as made_piece


def piece(service: int, number: int, version: int, unready: int = -1) -> bytes:
    """The line of an event: a slice of 100 endpoints."""
    found = made_piece(f"s{service}-{number}", [f"10.{service}.{number}.{k}" for k in range(100)], service=f"s{service}")
    found["metadata"]["resourceVersion"] = str(version)
    for place, endpoint in enumerate(found["endpoints"]):
        endpoint["conditions"] = {"ready": place != unready}
    return event("MODIFIED", json.loads(json.dumps(found)))


def configuration(services: int) -> str:
    lines = [
        "listeners: [{name: web, bind: '127.0.0.1:0'}]",
        "pops: [{name: fra, lat: 50, lon: 8, kubernetes: {context: fra}}]",
        "services:",
    ]
    backend = "{{pop: fra, kubernetes: {{namespace: shop, service: s{n}, port: http}}}}"
    lines += [f"  - {{name: s{n}, backends: [{backend.format(n=n)}]}}" for n in range(services)]
    return "\n".join([*lines, "routes: [{service: s0}]", ""])


async def no_rest(_: float) -> None:
    """A slow machine owes rest for decoding; here it is not taken."""


class Control:
    """All that a change passes through, without a server, workers and probes: lines are given to the reflector by hand."""

    def __init__(self, services: int, slices: int) -> None:
        self.config = parse(configuration(services)).config
        self.now = 1000.0
        self.world, self.figures = World(), Figures(1)
        rows = Rows(self.figures)
        self.gates = Gates(self.figures, self.clock)
        self.refresh = Refresh(self.figures, rows, self.gates, self.clock)
        self.ejections = Ejections(self.figures, self.gates, self.clock, random.Random(1))
        self.publisher = Publisher(
            config=self.config,
            world=self.world,
            rows=rows,
            figures=self.figures,
            gates=self.gates,
            locator=Locator(),
            clock=self.clock,
            on_select=lambda begun: None,
            on_newcomers=self.refresh.turn,
        )
        tasks = Tasks()
        self.sources = Sources(
            world=self.world,
            resolver=Resolver(tasks, self.clock, lambda: None, lookup),
            tasks=tasks,
            clock=self.clock,
            on_change=self.publisher.request,
            make_cluster=self.make,
        )
        self.sources.apply(self.config)
        for service in range(services):
            for number in range(slices):
                self.take(piece(service, number, 10))
        for one in self.cluster._slices.values():
            one.is_synced = True
        self.pass_on()
        for gate in self.gates.all.values():
            self.gates.judge(gate.identity, True, 0)
        self.gates.begin()
        for _ in range(3):
            self.beat()
        self.now += 60.0
        self.beat()

    def clock(self) -> float:
        return self.now

    def make(self, name: str, _: object, keys: list[Any], on_change: Any) -> Cluster:
        self.cluster = Cluster(name, lambda: ClusterAccess("http://127.0.0.1:9"), keys, on_change, sleep=no_rest)
        return self.cluster

    def take(self, line: bytes) -> None:
        service = json.loads(line)["object"]["metadata"]["labels"]["kubernetes.io/service-name"]
        reflector = self.cluster._slices.get(("shop", service)) or self.cluster._slices["shop", None]
        coroutine = reflector._take([line])
        with pytest.raises(StopIteration):
            coroutine.send(None)

    def pass_on(self) -> None:
        self.cluster._publish()
        self.publisher.publish()

    def beat(self) -> None:
        self.now += 0.1
        self.turn()

    def turn(self) -> None:
        self.gates.turn()
        self.ejections.turn(self.config, self.publisher.table.spec)
        self.refresh.turn(self.config, self.publisher.table.spec)

    def change(self, line: bytes) -> None:
        self.take(line)
        self.pass_on()
        self.turn()


def bytecodes(work: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def cost(services: int, slices: int) -> int:
    """Of a change, less what the same turn takes without one. The second of two: the first one may find what is new to it."""
    line = piece(1 % services, 0, 101)

    async def whole() -> int:
        control = Control(services, slices)
        try:
            control.change(piece(1 % services, 0, 100, unready=7))
            control.beat()
            calm = bytecodes(control.turn)
            changed = bytecodes(lambda: control.change(line))
            spec = control.publisher.table.spec.services[1 % services].pools[0]
            assert len(spec.endpoints) == slices * 100
            return changed - calm
        finally:
            control.publisher.stop()
            await control.sources.stop()

    return asyncio.run(whole())


def test_a_change_costs_what_it_changes() -> None:
    few, many = cost(4, 1), cost(100, 1)
    # Each other Service costs the look that finds it as it was.
    assert (many - few) / 96 < 200, (few, many)


def test_a_change_of_one_endpoint_of_a_slice_is_not_read_as_one_of_them_all() -> None:
    assert cost(4, 1) < 13_000


def test_a_change_of_a_service_of_thousands_is_not_a_change_of_them_all() -> None:
    small, large = cost(1, 2), cost(1, 40)
    assert (large - small) / 3800 < 15, (small, large)  # what loops in C is not seen here
