"""Cost of watching a cluster: CPU at 1000 endpoint changes a second, ms to list 1000 endpoints, ms from event to callback.

    python -m bench.k8s_reflector [--seconds 5]

A fake API server in a process of its own writes prepared slices (10 of 100 endpoints, as the controller makes them) as fast
as asked; what is measured is this process: decoding, the reflector, resolving, the callback. Loopback, plain HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import resource
import statistics
import time
from typing import Any

import msgspec
from aiohttp import web

from k8s import Cluster, ClusterAccess, ServiceKey

KEY = ServiceKey("shop", "web", "http")
SLICES, PER_SLICE = 10, 100


def piece(number: int, version: int, changed: int | None = None) -> dict[str, Any]:
    """A slice as a real controller writes it, managed fields left out; endpoint `changed` is on its way out."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": f"0000-{number}",
            "resourceVersion": str(version),
            "labels": {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.{number}.0.{i}"],
                "conditions": {"ready": i != changed, "serving": True, "terminating": i == changed},
                "targetRef": {
                    "kind": "Pod",
                    "namespace": "shop",
                    "name": f"web-7d4b9c-{i}",
                    "uid": f"3f0c7c9e-{number:04}-{i:04}-a7c3-9d2e",
                },
                "nodeName": f"node-{i % 20}",
                "zone": f"eu-central-1{'abc'[i % 3]}",
            }
            for i in range(PER_SLICE)
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def serve(pipe: multiprocessing.connection.Connection, per_event: int, changes_per_s: int, seconds: float) -> None:
    """The server's process. Each event carries `per_event` changed endpoints of one slice."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            items = [piece(n, 100 + n) for n in range(SLICES)]
            return web.json_response({"kind": "EndpointSliceList", "metadata": {"resourceVersion": "200"}, "items": items})
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        prepared = [
            json.dumps({"type": "MODIFIED", "object": piece(n % SLICES, 1000 + n, n % PER_SLICE)}).encode() + b"\n" for n in range(200)
        ]
        events_per_s = changes_per_s / per_event
        started_at, sent = time.monotonic(), 0
        while (elapsed_s := time.monotonic() - started_at) < seconds:
            while sent < elapsed_s * events_per_s:
                await response.write(prepared[sent % len(prepared)])
                sent += 1
            await asyncio.sleep(0.001)
        await response.write(json.dumps({"type": "MODIFIED", "object": piece(0, 999_999)}).encode() + b"\n")
        pipe.send(sent)
        await asyncio.sleep(3600)
        return response

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.sleep(3600)

    asyncio.run(main())


async def measure(per_event: int, seconds: float) -> dict[str, float]:
    pipe, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, per_event, 1000, seconds), daemon=True)
    server.start()
    loop = asyncio.get_running_loop()
    port = await loop.run_in_executor(None, pipe.recv)
    calls: list[float] = []
    cluster = Cluster("bench", lambda: ClusterAccess(f"http://127.0.0.1:{port}"), [KEY], lambda _, __: calls.append(time.monotonic()))
    # Not the cluster's own tasks: the one that runs it, ended below.
    async with asyncio.TaskGroup() as group:
        task = group.create_task(cluster.run(), name="cluster")
        while not calls:
            await asyncio.sleep(0.001)
        before, wall = time.process_time(), time.monotonic()
        sent = await loop.run_in_executor(None, pipe.recv)
        cpu, wall = time.process_time() - before, time.monotonic() - wall
        task.cancel()
    assert len(cluster.endpoints(KEY)) == SLICES * PER_SLICE
    server.terminate()
    server.join()
    return {
        "events_per_s": sent / wall,
        "callbacks_per_s": len(calls) / wall,
        "cpu_percent": 100 * cpu / wall,
        "us_per_event": 1e6 * cpu / sent,
    }


def decode_ms() -> list[float]:
    from k8s.objects import EndpointSlice, ObjectList
    from k8s.slices import resolve

    decoder = msgspec.json.Decoder(ObjectList[EndpointSlice])
    text = json.dumps(
        {"kind": "EndpointSliceList", "metadata": {"resourceVersion": "1"}, "items": [piece(n, n) for n in range(SLICES)]}
    ).encode()
    times: list[list[float]] = [[], []]
    for _ in range(50):
        started = time.perf_counter()
        found = decoder.decode(text)
        decoded = time.perf_counter()
        resolve(found.items or (), "http")
        times[0].append(1e3 * (decoded - started))
        times[1].append(1e3 * (time.perf_counter() - decoded))
    return [len(text) / 1024, *(statistics.median(one) for one in times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, msgspec {msgspec.__version__}")
    size_kib, list_ms, resolve_ms = decode_ms()
    print(
        f"list of {SLICES * PER_SLICE} endpoints ({size_kib:.0f} KiB): decode {list_ms:.2f} ms, resolve {resolve_ms:.2f} ms (median of 50)"
    )
    for per_event in (1, 10):
        found = asyncio.run(measure(per_event, seconds))
        text = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
        print(f"1000 endpoint changes/s, {per_event} in each event: {text}")
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
