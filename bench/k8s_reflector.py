"""Cost of watching a cluster: CPU at 1000 endpoint changes a second, ms to list 1000 endpoints, ms from event to callback.

    python -m bench.k8s_reflector [--seconds 5]

A fake API server in a process of its own writes prepared slices (10 of 100 endpoints, as the controller makes them) as fast
as asked; what is measured is this process: decoding, the reflector, resolving, the callback. Loopback, plain HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import time

import msgspec
from aiohttp import web

from bench.k8s_server import PER_SLICE, Pipe, event, listed, listen, piece, started, watch
from k8s import Cluster, ClusterAccess, ServiceKey

KEY = ServiceKey("shop", "s0", "http")
SLICES = 10


async def serve(pipe: Pipe, per_event: int, changes_per_s: int, seconds: float) -> None:
    """The server. Each event carries `per_event` changed endpoints of one slice."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return listed([piece(0, n, 100 + n) for n in range(SLICES)], 200)
        response = await watch(request)
        prepared = [event(piece(0, n % SLICES, 1000 + n, n % PER_SLICE)) for n in range(200)]
        events_per_s = changes_per_s / per_event
        started_at, sent = time.monotonic(), 0
        while (elapsed_s := time.monotonic() - started_at) < seconds:
            while sent < elapsed_s * events_per_s:
                await response.write(prepared[sent % len(prepared)])
                sent += 1
            await asyncio.sleep(0.001)
        await response.write(event(piece(0, 0, 999_999)))
        pipe.send(sent)
        await asyncio.sleep(3600)
        return response

    await listen(pipe, handle)
    await asyncio.sleep(3600)


async def measure(pipe: Pipe, port: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
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
        {"kind": "EndpointSliceList", "metadata": {"resourceVersion": "1"}, "items": [piece(0, n, n) for n in range(SLICES)]}
    ).encode()
    times: list[list[float]] = [[], []]
    for _ in range(50):
        begun = time.perf_counter()
        found = decoder.decode(text)
        decoded = time.perf_counter()
        resolve(found.items or (), "http")
        times[0].append(1e3 * (decoded - begun))
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
        with started(serve, per_event, 1000, seconds) as (pipe, port):
            found = asyncio.run(measure(pipe, port))
        text = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
        print(f"1000 endpoint changes/s, {per_event} in each event: {text}")
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
