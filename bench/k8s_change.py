"""What one changed EndpointSlice costs control: `make bench NAME=k8s_change`, or `python -m bench.k8s_change`.

A whole gateway in this process, and a fake API server in another one that says now and then that one endpoint of one slice
became unready, or ready again. What is measured is the CPU time of control's thread from one change to the next, less what it takes in
the same time when nothing changes: reading the event, endpoints, world, table, gates, and the beats after it. Loopback, plain HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
from typing import Any

from aiohttp import web

from bench.k8s_server import LABEL, PER_SLICE, UNREADY, Pipe, event, listed, listen, piece, started, watch
from gateway.app import Gateway
from gateway.config import parse
from gateway.control.health.probes import Result
from gateway.control.sources.world import Identity
from gateway.model import Health
from k8s import Cluster, ClusterAccess

STEP_S = 0.4


async def serve(pipe: Pipe, services: int, endpoints: int) -> None:
    """The server. Who says a service and a slice has that slice change."""
    watches: list[tuple[str | None, web.StreamResponse]] = []
    version = 1_000_000
    flips = 0

    def wanted(request: web.Request) -> str | None:
        name, _, value = request.query.get("labelSelector", "").partition("=")
        return value if name == LABEL and value else None

    async def handle(request: web.Request) -> web.StreamResponse:
        only = wanted(request)
        if "watch" not in request.query:
            named = [service for service in range(services) if only in (None, f"s{service}")]
            return listed([piece(service, number, 100) for service in named for number in range(endpoints // PER_SLICE)], version)
        response = await watch(request)
        watches.append((only, response))
        await asyncio.sleep(3600)
        return response

    async def change(service: int, number: int) -> None:
        nonlocal version, flips
        version, flips = version + 1, flips + 1
        line = event(piece(service, number, version, 7 if flips % 2 else None, UNREADY))
        for only, response in watches:
            if only in (None, f"s{service}"):
                await response.write(line)

    await listen(pipe, handle)
    while True:
        await change(*await asyncio.get_running_loop().run_in_executor(None, pipe.recv))


def configuration(services: int) -> str:
    lines = [
        "gateway: {workers: 1}",
        "listeners: [{name: web, bind: '127.0.0.1:0'}]",
        "pops: [{name: fra, lat: 50, lon: 8, kubernetes: {context: fra}}]",
        "services:",
    ]
    for n in range(services):
        lines += [f"  - name: s{n}", "    health: {interval: 1h}", "    backends:"]
        lines.append(f"      - {{pop: fra, kubernetes: {{namespace: shop, service: s{n}, port: http}}}}")
    lines += ["routes:", *(f"  - {{match: {{hosts: [s{n}.example.com]}}, service: s{n}}}" for n in range(services))]
    return "\n".join(lines) + "\n"


async def well(_: Identity, __: Health) -> Result:
    return Result(True, "well", 0.001, has_answered=True)


async def measure(pipe: Pipe, port: int, services: int, endpoints: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each step: those in which one slice changed, and those in which none did."""
    loaded = parse(configuration(services))

    def make(name: str, _: object, keys: list[Any], on_change: Any) -> Cluster:
        return Cluster(name, lambda: ClusterAccess(f"http://127.0.0.1:{port}"), keys, on_change)

    gateway = Gateway(loaded.config, lambda: loaded, ask=well, make_cluster=make)
    found: dict[str, list[float]] = {"changed": [], "calm": []}
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(), name="gateway")
        n_endpoints = services * endpoints
        while sum(len(known) for known in gateway.world.pools.values()) < n_endpoints or gateway.lifecycle.state != "serving":
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
        generation = gateway.publisher.generation
        for number in range(rounds):
            for kind in ("calm", "changed"):
                before = time.thread_time()
                if kind == "changed":
                    # Ready again in the same one: each slice is as before after two rounds.
                    pipe.send((number // 2 % services, number // 2 % (endpoints // PER_SLICE)))
                await asyncio.sleep(STEP_S)
                found[kind].append((time.thread_time() - before) * 1e3)
        await asyncio.sleep(STEP_S)
        assert gateway.publisher.generation >= generation + rounds, "not each change made a table"
        gateway.terminate()
        gateway.terminate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; CPU time of control for one changed slice")
    for services, endpoints in ((1, 100), (100, 100), (1, 10_000)):
        with started(serve, services, endpoints) as (pipe, port):
            found = asyncio.run(measure(pipe, port, services, endpoints, rounds))
        calm = statistics.median(found["calm"])
        costs = sorted(one - calm for one in found["changed"])
        print(
            f"{services:4} services of {endpoints:6} endpoints: median {statistics.median(costs):6.2f} ms, "
            f"p90 {costs[int(len(costs) * 0.9)]:6.2f} ms (in the same time without a change: {calm:.2f} ms)"
        )


if __name__ == "__main__":
    main()
