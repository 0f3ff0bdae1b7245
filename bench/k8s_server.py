"""A fake API server in a process of its own, for benches of what watches it. Loopback, plain HTTP; slices as the controller writes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import multiprocessing.connection
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

PER_SLICE = 100
LABEL = "kubernetes.io/service-name"
READY = {"ready": True, "serving": True, "terminating": False}
UNREADY = {"ready": False, "serving": False, "terminating": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}

Pipe = multiprocessing.connection.Connection
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def piece(service: int, number: int, version: int, changed: int | None = None, conditions: dict[str, bool] = LEAVING) -> dict[str, Any]:
    """A slice of the service s0, s1, ..., managed fields left out; `conditions` are those of the endpoint `changed`."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"s{service}-{number}",
            "namespace": "shop",
            "uid": f"0000-{service}-{number}",
            "resourceVersion": str(version),
            "labels": {LABEL: f"s{service}", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.{service}.{number}.{place}"],
                "conditions": conditions if place == changed else READY,
                "targetRef": {
                    "kind": "Pod",
                    "namespace": "shop",
                    "name": f"s{service}-7d4b9c-{place}",
                    "uid": f"3f0c7c9e-{service:04}-{number:04}-{place:04}-9d2e",
                },
                "nodeName": f"node-{place % 20}",
                "zone": f"eu-central-1{'abc'[place % 3]}",
            }
            for place in range(PER_SLICE)
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def listed(items: list[dict[str, Any]], version: int) -> web.Response:
    return web.json_response({"kind": "EndpointSliceList", "metadata": {"resourceVersion": str(version)}, "items": items})


def event(changed: dict[str, Any]) -> bytes:
    return json.dumps({"type": "MODIFIED", "object": changed}).encode() + b"\n"


async def watch(request: web.Request) -> web.StreamResponse:
    """The beginning of a watch's answer."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


async def listen(pipe: Pipe, handle: Handle) -> None:
    """Returns when it is served; whoever started the process is told the port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(runner.addresses[0][1])


@contextlib.contextmanager
def started(serve: Callable[..., Awaitable[None]], *arguments: object) -> Iterator[tuple[Pipe, int]]:
    """`serve` with its end of a pipe and the arguments, in a process of its own; our end, and the port."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_run, args=(serve, theirs, *arguments), daemon=True)
    server.start()
    try:
        yield ours, ours.recv()
    finally:
        server.terminate()
        server.join()


def _run(serve: Callable[..., Any], *arguments: object) -> None:
    asyncio.run(serve(*arguments))
