"""What one changed EndpointSlice costs control: `make bench NAME=k8s_change`, or `python -m bench.k8s_change`.

A whole gateway in this process, and a fake API server in another one that says now and then that one endpoint of one slice
became unready, or ready again. What is measured is the CPU time of control's thread from one change to the next, less what it takes in
the same time when nothing changes: reading the event, endpoints, world, table, gates, and the beats after it. Loopback, plain HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import statistics
import time
from typing import Any

from aiohttp import web

from gateway.app import Gateway
from gateway.config import Health, parse
from gateway.control.probes import Result
from gateway.control.world import Identity
from k8s import Cluster, ClusterAccess

STEP_S = 0.4
PER_SLICE = 100
LABEL = "kubernetes.io/service-name"


def piece(service: int, number: int, version: int, unready: int = -1) -> dict[str, Any]:
    """A slice as a real controller writes it, managed fields left out."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"s{service}-{number}",
            "namespace": "shop",
            "resourceVersion": str(version),
            "labels": {LABEL: f"s{service}", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.{service}.{number}.{place}"],
                "conditions": {"ready": place != unready, "serving": place != unready, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"s{service}-{place}", "uid": f"{service}-{number}-{place}"},
                "nodeName": f"node-{place % 20}",
                "zone": f"eu-central-1{'abc'[place % 3]}",
            }
            for place in range(PER_SLICE)
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def serve(pipe: multiprocessing.connection.Connection, services: int, endpoints: int) -> None:
    """The server's process. Who says a service and a slice has that slice change."""
    watches: list[tuple[str | None, web.StreamResponse]] = []
    version = 1_000_000
    flips = 0

    def wanted(request: web.Request) -> str | None:
        name, _, value = request.query.get("labelSelector", "").partition("=")
        return value if name == LABEL and value else None

    async def handle(request: web.Request) -> web.StreamResponse:
        only = wanted(request)
        if "watch" not in request.query:
            items = [
                piece(service, number, 100)
                for service in range(services)
                for number in range(endpoints // PER_SLICE)
                if only in (None, f"s{service}")
            ]
            return web.json_response({"kind": "EndpointSliceList", "metadata": {"resourceVersion": str(version)}, "items": items})
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        watches.append((only, response))
        await asyncio.sleep(3600)
        return response

    async def change(service: int, number: int) -> None:
        nonlocal version, flips
        version, flips = version + 1, flips + 1
        changed = piece(service, number, version, unready=7 if flips % 2 else -1)
        line = json.dumps({"type": "MODIFIED", "object": changed}).encode() + b"\n"
        for only, response in watches:
            if only in (None, f"s{service}"):
                await response.write(line)

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        loop = asyncio.get_running_loop()
        while True:
            await change(*await loop.run_in_executor(None, pipe.recv))

    asyncio.run(main())


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


async def measure(services: int, endpoints: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each step: those in which one slice changed, and those in which none did."""
    pipe, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, services, endpoints), daemon=True)
    server.start()
    loop = asyncio.get_running_loop()
    port = await loop.run_in_executor(None, pipe.recv)
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
    server.terminate()
    server.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; CPU time of control for one changed slice")
    for services, endpoints in ((1, 100), (100, 100), (1, 10_000)):
        found = asyncio.run(measure(services, endpoints, rounds))
        calm = statistics.median(found["calm"])
        costs = sorted(one - calm for one in found["changed"])
        print(
            f"{services:4} services of {endpoints:6} endpoints: median {statistics.median(costs):6.2f} ms, "
            f"p90 {costs[int(len(costs) * 0.9)]:6.2f} ms (in the same time without a change: {calm:.2f} ms)"
        )


if __name__ == "__main__":
    main()
