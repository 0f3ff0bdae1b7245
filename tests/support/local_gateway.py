"""A gateway inside the test's process: workers in threads behind one listener, and nothing else of the control side.

What speaks to it and what stands behind it should be another process or another thread: peers.py is the quick one.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import routing_core
from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
from geoip import Locator
from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec

DEADLINE_S = 10.0


class LocalGateway:
    """One PoP and one service; the endpoints are addresses, (host, port) each. A context manager."""

    def __init__(self, endpoints: Sequence[tuple[str, int]], n_workers: int = 1, settings: Settings | None = None) -> None:
        self.endpoints = list(endpoints)
        self.figures = Figures(n_workers)
        self.counters = Counters(n_workers)
        self.rows = [self.figures.acquire("endpoint") for _ in endpoints]
        self.pool_row = self.figures.acquire("pool")
        self.service_row = self.figures.acquire("service")
        self.settings = CompiledSettings(settings or Settings(), n_workers)
        self.locator = Locator()
        self.generation = 0
        self.snapshots = Snapshots(self.table(), self.locator, self.settings)
        self.door = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.door.setblocking(False)
        self.port: int = self.door.getsockname()[1]
        self.snapshots.order_listener(0, "accept", self.door.fileno())
        now_us = time.monotonic_ns() // 1000
        self.workers = [Worker(number, self.snapshots, self.figures, self.counters, now_us=now_us, seed=7) for number in range(n_workers)]
        self.threads = [threading.Thread(target=worker.run, name=f"worker-{n}") for n, worker in enumerate(self.workers)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
        for thread in self.threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), f"{thread.name} does not end"
        for worker in self.workers:
            worker.close()
        self.door.close()

    def table(self, n_routes: int = 1) -> Table:
        """A new one, a little different from the one before."""
        self.generation += 1
        endpoints = tuple(EndpointSpec(row, *address) for row, address in zip(self.rows, self.endpoints, strict=True))
        pools = (PoolSpec(0, self.pool_row, endpoints, len(endpoints)),)
        routes = (*(RouteSpec(f"r{n}", 0, hosts=(f"h{n}.example",)) for n in range(1, n_routes)), RouteSpec("all", 0))
        pops = (PopSpec("here", 50.0, 8.0),)
        return Table(
            TableSpec(self.generation, pops, (ServiceSpec("web", self.service_row, pools),), routes, *routing_core.PRIOR), self.figures
        )

    def swap(self) -> int:
        """Publishes a new table; returns how many old snapshots are still held."""
        return self.snapshots.publish(self.table(1 + self.generation % 5), self.locator, self.settings)

    def cpu_s(self) -> float:
        """CPU time of all workers so far."""
        return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0)) for thread in self.threads)

    def requests(self) -> int:
        return int(self.figures.read_pool(self.pool_row)["durations"])


class Peer:
    """A process of peers.py: `backend`, or `client PORT SECONDS CONNECTIONS PAUSE_S`. It shares no GIL with the gateway, no sanitizer."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "tests.support.peers", *map(str, arguments)]
        environment = {**os.environ, "LD_PRELOAD": "", "PYTHONMALLOC": "", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()

    def is_running(self) -> bool:
        return self.process.poll() is None

    def report(self) -> dict[str, float]:
        """What a client has to say at its end."""
        with self.process:
            assert self.process.stdout is not None
            return dict(json.loads(self.process.stdout.read() or "{}"))

    def kill(self) -> None:
        self.process.kill()
        with self.process:
            pass
