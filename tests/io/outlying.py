"""A gateway before some servers of one PoP, of which tests make outliers: well to their probes, whatever their clients get."""

import asyncio
import contextlib
import json
import socket
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.io.serving import Backend, Served, served

CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services:
  - name: shop
    health: {{path: /healthz, interval: 300ms, timeout: 300ms, confirm_interval: 100ms}}
    slow_start: 500ms
    outliers: {{eject: {eject}{more}}}
    backends: [{{pop: fra, endpoints: [{endpoints}]}}]
routes: [{{service: shop}}]
timeouts: {{first_byte: 1s}}
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 2}}
log: {{format: json}}
"""


class Server(Backend):
    """One endpoint."""

    answers = 200  # to everything but probes
    failing_path = ""  # is answered 500
    crashing_path = ""  # and this one with a reset
    delay_s = 0.0
    resets_used = False  # every request on a connection that had one before

    def __init__(self, name: str) -> None:
        self.used: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        super().__init__(name)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return await super()._answer(request)
        self.seen[f"{request.method} {request.path}"] += 1
        if (transport := request.transport) is not None:
            if self.resets_used and transport in self.used:
                self.seen["reset"] += 1
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
                return web.Response()
            self.used.add(transport)
        delay_s = float(request.query.get("delay", self.delay_s))
        if delay_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dying.wait(), delay_s)
        if request.path == self.crashing_path and request.transport is not None:
            request.transport.abort()
        status = 500 if request.path == self.failing_path else self.answers
        return web.Response(text=self.name if status == 200 else "", status=status)

    @property
    def n_seen(self) -> int:
        return self.seen["GET /"]


@contextlib.contextmanager
def standing(folder: Path, n: int, eject: str = "30s", more: str = "") -> Iterator[tuple[Served, list[Server]]]:
    """A gateway before `n` servers. `more`: of their outliers."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(contextlib.closing(Server(f"s{number}"))) for number in range(n)]
        endpoints = ", ".join(f'"{one.address}"' for one in servers)
        more = f", {more}" if more else ""
        yield stack.enter_context(served(folder, CONFIG, endpoints=endpoints, eject=eject, more=more)), servers


def pool_of(gateway: Served) -> dict[str, Any]:
    """What /pops/fra says."""
    (service,) = gateway.admin("/pops/fra")["services"]
    found: dict[str, Any] = service
    return found


def endpoint(gateway: Served, server: Backend) -> dict[str, Any]:
    """And of one."""
    (found,) = [one for one in pool_of(gateway)["each"] if one["endpoint"] == server.address]
    return dict(found)


def lines(gateway: Served, server: Backend, word: str) -> list[dict[str, Any]]:
    """Of the log, those that say that an endpoint is something."""
    logged = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    return [line for line in logged if line.get("endpoint") == server.address and f"endpoint is {word}" in line.values()]
