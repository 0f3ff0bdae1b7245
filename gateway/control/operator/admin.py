"""Admin: the operator's HTTP API. Everything the status listener says, what the gateway thinks, and what an operator may change.

Owns paths, parameters, and who may ask: whoever reaches loopback or the unix socket, with a token where one is configured; a page in
the operator's browser must not be able to use it. Drains are `draining`'s. Must not know how anything is done: each answer is one call.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway import model
from gateway.control.life.inherited import Inherited
from gateway.control.life.reload import Reload
from gateway.control.operator.explanation import Situation, explain, read_headers
from gateway.control.operator.pools import Pools
from gateway.control.operator.status import GENERATION, BadRequest, Handler, Server, answer, application, parameters
from gateway.control.process.tasks import Tasks
from gateway.errors import IsochroneError, StartError
from gateway.model import Address

LEAST_TOKEN_BYTES = 16
UNCHANGING = ("/healthz", "/readyz", "/metrics")  # as on the status listener: anyone may know


class Refused(IsochroneError):
    """A request that may be a browser's, led here by a page."""

    status = 403


class Unknown(IsochroneError):
    """A request without the token."""

    status = 401


class TokenUnusable(StartError):
    """The file of the token can't be read, or holds none."""


def load_token(path: Path | None) -> bytes | None:
    """What requests must bring; None where they need not."""
    if path is None:
        return None
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise TokenUnusable(f"admin.token {path}: {error.strerror or error}") from error
    if len(token) < LEAST_TOKEN_BYTES or not all(0x21 <= octet <= 0x7E for octet in token):
        raise TokenUnusable(
            f"admin.token {path}: must have a token of {LEAST_TOKEN_BYTES} characters at least, without spaces, all of ASCII"
        )
    return token


def is_known(request: web.Request, token: bytes) -> bool:
    scheme, _, brought = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(brought.strip().encode("utf-8", "surrogateescape"), token)


def guard(bind: Address, token: bytes | None = None) -> Any:
    """A middleware. A page can have the operator's browser send requests to loopback, and by DNS rebinding read the answers: both
    show, in `Origin` or in a `Host` that is a name."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "GET" and "Origin" in request.headers:
            raise Refused("Origin: must be absent: no web page may change anything here")
        if request.path not in UNCHANGING and not is_legal_host(request.host, bind):
            raise Refused(f"Host: must be an IP address, localhost or {bind.host}, got {request.host[:100]!r}")
        if token is not None and request.path not in UNCHANGING and not is_known(request, token):
            raise Unknown("Authorization: must be Bearer and the token of admin.token; isochrone reads it from ISOCHRONE_ADMIN_TOKEN_FILE")
        return await handler(request)

    return check


def is_legal_host(host: str, bind: Address) -> bool:
    """Whether a Host field can't have come by a name that somebody else made lead here. Elsewhere than on loopback names are how
    this gateway is reached; a unix socket no browser reaches."""
    if bind.is_unix or (bind.ip is not None and not bind.ip.is_loopback):
        return True
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() in ("localhost", bind.host):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def situation_of(pools: Pools) -> Situation:
    """What the gateway decides from now."""
    publisher = pools.publisher
    sources = {(service.name, backend.pop): pools.source_of(service, backend) for service, backend, _ in pools.in_use()}
    return Situation(publisher.table, publisher.locator, publisher.clock() - publisher.built_at, sources, config=publisher.config)


class Answers:
    """What the gateway thinks, and that it may think anew."""

    def __init__(self, pools: Pools, reloader: Reload, tasks: Tasks) -> None:
        self.pools, self.reloader, self.tasks = pools, reloader, tasks

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/pops", self.pops),
            web.get("/pops/{name}", self.pop),
            web.get("/explain", self.explain),
            web.get("/config", self.config),
            web.post("/reload", self.reload),
        ]

    async def pops(self, request: web.Request) -> web.Response:
        parameters(request)
        return answer(self.pools.describe())

    async def pop(self, request: web.Request) -> web.Response:
        parameters(request)
        return answer(self.pools.describe_one(request.match_info["name"]))

    async def explain(self, request: web.Request) -> web.Response:
        asked = parameters(request, ("client", "host", "path", "headers", "method"))
        if "client" not in asked:
            raise BadRequest("client: must be given: /explain?client=IP&host=H&path=P&method=M")
        headers = read_headers(filter(None, asked.get("headers", "").split("\n")))  # `Name: value` lines
        return answer(
            explain(situation_of(self.pools), asked["client"], asked.get("host"), asked.get("path"), headers, asked.get("method"))
        )

    async def config(self, request: web.Request) -> web.Response:
        """The file's, as it would be written with every default; above it what is refused of all sources, as comments."""
        parameters(request)
        config = self.pools.config
        refused = (f"# refused: {' '.join(str(one).split())}\n" for one in config.refused)
        return web.Response(text="".join(refused) + config.written(False), content_type="application/yaml")

    async def reload(self, request: web.Request) -> web.Response:
        """Whole or not at all: 409 has every reason why not."""
        parameters(request)
        # A client that leaves must not leave half a reload behind.
        outcome = await asyncio.shield(self.tasks.start("reload", self.reloader.run()))
        if outcome.is_done:
            table = {"generation": self.pools.publisher.generation}
            return answer({"reloaded": True, "generation": GENERATION, "table": table, "warnings": list(outcome.warnings)})
        return answer({"reloaded": False, "error": "reload refused: nothing has changed", "faults": list(outcome.lines)}, 409)


class Admin:
    """The admin listener: a part of the gateway (see gateway.app.Part)."""

    def __init__(self, routes: Iterable[web.RouteDef], admin: model.Admin, inherited: Inherited, own: list[Address]) -> None:
        """`own`: where the gateway itself listens; its own address is added."""
        self.own = own
        token = load_token(admin.token)
        self.server = Server("admin", admin.bind, application(routes, guard(admin.bind, token)), inherited, is_everyones=token is not None)

    async def start(self) -> None:
        await self.server.start()
        self.own.append(self.server.address)

    async def stop(self) -> None:
        await self.server.stop()
