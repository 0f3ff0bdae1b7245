"""Admin: the operator's HTTP API. Everything the status listener says, what the gateway thinks, and what an operator may change.

Owns paths, parameters, and who may ask: whoever reaches loopback or the unix socket, with a token where one is configured; a page in
the operator's browser must not be able to use it. Must not know how anything is done: each answer is one call.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.control.life.drains import Progress
from gateway.control.life.lifecycle import Event, Phase
from gateway.control.life.stranding import Serves, Serving, stranded
from gateway.control.operator.explanation import Situation, explain, read_headers
from gateway.control.operator.pools import describe, describe_pop, pools_in_use, rounded, source_of
from gateway.control.operator.status import GENERATION, BadRequest, Handler, Server, StatusAnswers, answer, application, parameters
from gateway.control.process.blocking import in_thread
from gateway.control.table.settings import name_of
from gateway.errors import IsochroneError, StartError
from gateway.model import Address, read_duration
from routing_core import PoolFigures

if TYPE_CHECKING:
    from gateway.app import Gateway

MAX_WAIT_S = 3600.0
LOOKING_S = 5.0  # through all rules
LOOK_S = 0.1  # between looks at what a request waits for
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


def wait_of(request: web.Request, *others: str) -> float:
    """`?wait=30s`: how long the answer may take while what was asked for is under way; 0: at once. `others`: what else is legal."""
    text = parameters(request, ("wait", *others)).get("wait")
    if text is None:
        return 0.0
    try:
        wait_s = read_duration(text)
    except ValueError:
        wait_s = None
    if wait_s is None or wait_s > MAX_WAIT_S:
        raise BadRequest(f"wait: must be a duration such as 250ms, 10s, 2m, at most 1h, got {text[:100]!r}")
    return float(wait_s)


def situation_of(gateway: Gateway) -> Situation:
    """What the gateway decides from now."""
    publisher = gateway.publisher
    sources = {(service.name, backend.pop): source_of(gateway, service, backend) for service, backend, _ in pools_in_use(gateway)}
    return Situation(publisher.table, publisher.locator, gateway.clock() - publisher.built_at, sources, config=gateway.config)


class Admin:
    """The admin listener: a part of the gateway (see gateway.app.Part)."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        routes = [
            *StatusAnswers(gateway).routes(),
            web.get("/pops", self.pops),
            web.get("/pops/{name}", self.pop),
            web.get("/explain", self.explain),
            web.get("/config", self.config),
            web.get("/drain", self.drain_progress),
            web.post("/drain", self.drain),
            web.post("/undrain", self.undrain),
            web.get("/pops/{name}/drain", self.pop_progress),
            web.get("/pops/{name}/stranded", self.stranded),
            web.post("/pops/{name}/drain", self.drain_pop),
            web.post("/pops/{name}/undrain", self.undrain_pop),
            web.post("/reload", self.reload),
        ]
        bind, token = gateway.config.admin.bind, load_token(gateway.config.admin.token)
        app = application(routes, guard(bind, token))
        self.server = Server("admin", bind, app, gateway.inherited, is_everyones=token is not None)

    async def start(self) -> None:
        await self.server.start()
        self.gateway.own.append(self.server.address)

    async def stop(self) -> None:
        await self.server.stop()

    # What the gateway thinks

    async def pops(self, request: web.Request) -> web.Response:
        parameters(request)
        return answer(describe(self.gateway))

    async def pop(self, request: web.Request) -> web.Response:
        parameters(request)
        return answer(describe_pop(self.gateway, request.match_info["name"]))

    async def explain(self, request: web.Request) -> web.Response:
        asked = parameters(request, ("client", "host", "path", "headers", "method"))
        if "client" not in asked:
            raise BadRequest("client: must be given: /explain?client=IP&host=H&path=P&method=M")
        headers = read_headers(filter(None, asked.get("headers", "").split("\n")))  # `Name: value` lines
        return answer(
            explain(situation_of(self.gateway), asked["client"], asked.get("host"), asked.get("path"), headers, asked.get("method"))
        )

    async def config(self, request: web.Request) -> web.Response:
        """The file's, as it would be written with every default; above it what is refused of all sources, as comments."""
        parameters(request)
        config = self.gateway.config
        refused = (f"# refused: {' '.join(str(one).split())}\n" for one in config.refused)
        return web.Response(text="".join(refused) + config.written(False), content_type="application/yaml")

    # What an operator may change

    async def drain(self, request: web.Request) -> web.Response:
        """LAMEDUCK that stays: unready, everyone still served, more and more answers say that the connection ends."""
        wait_s = wait_of(request)
        self.gateway.lifecycle.handle(Event.DRAIN)
        return await self._when_done(request, self._gateway_progress, wait_s)

    async def drain_progress(self, request: web.Request) -> web.Response:
        return await self._when_done(request, self._gateway_progress, wait_of(request))

    async def undrain(self, request: web.Request) -> web.Response:
        parameters(request)
        self.gateway.lifecycle.handle(Event.UNDRAIN)
        return answer(self._gateway_progress())

    async def drain_pop(self, request: web.Request) -> web.Response:
        """`?unless=stranded`: 409 says whose requests it would leave without a PoP, and nothing is drained."""
        wait_s = wait_of(request, "unless")
        name, unless = request.match_info["name"], request.query.get("unless")
        if unless not in (None, "stranded"):
            raise BadRequest(f"unless: must be stranded, got {unless[:100]!r}")
        if unless is not None and (lines := await self._stranded(name)):
            error = f"{name} is not drained: requests would be answered 503"
            return answer({"gateway": name_of(self.gateway.config), "pop": name, "drained": False, "stranded": lines, "error": error}, 409)
        # No await since it was judged: of two at once the second sees the first.
        self.gateway.drains.drain(name)
        await self.gateway.drains.keep()
        return await self._when_done(request, lambda: self._pop_progress(name), wait_s)

    async def stranded(self, request: web.Request) -> web.Response:
        """Whose requests a drain would leave without a PoP, as things are now; nobody's where the PoP is drained already."""
        parameters(request)
        name = request.match_info["name"]
        lines = await self._stranded(name)
        is_drained = name in self.gateway.world.drained
        return answer({"gateway": name_of(self.gateway.config), "pop": name, "drained": is_drained, "stranded": lines})

    async def _stranded(self, name: str) -> list[str]:
        """As things are when this returns: what an operator changed meanwhile, by another drain or a reload, is judged anew."""
        gateway = self.gateway
        while not gateway.drains.progress(name).is_drained:
            config, drained = gateway.config, frozenset(gateway.world.drained)
            serving = serving_now(gateway)
            # In a thread: thousands of rules take a while.
            lines = await in_thread("stranded", partial(stranded, config, name, serving), LOOKING_S)
            if gateway.config is config and gateway.world.drained == drained:
                return lines
        return []

    async def pop_progress(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return await self._when_done(request, lambda: self._pop_progress(name), wait_of(request))

    async def undrain_pop(self, request: web.Request) -> web.Response:
        parameters(request)
        name = request.match_info["name"]
        self.gateway.drains.undrain(name)
        await self.gateway.drains.keep()
        return answer(self._pop_progress(name))

    async def reload(self, request: web.Request) -> web.Response:
        """Whole or not at all: 409 has every reason why not."""
        parameters(request)
        # A client that leaves must not leave half a reload behind.
        outcome = await asyncio.shield(self.gateway.tasks.start("reload", self.gateway.reload()))
        if outcome.is_done:
            table = {"generation": self.gateway.publisher.generation}
            return answer({"reloaded": True, "generation": GENERATION, "table": table, "warnings": list(outcome.warnings)})
        return answer({"reloaded": False, "error": "reload refused: nothing has changed", "faults": list(outcome.lines)}, 409)

    async def _when_done(self, request: web.Request, look: Callable[[], dict[str, Any]], wait_s: float) -> web.Response:
        """What is seen when it is done, taken back, or the time is up."""
        until = self.gateway.clock() + wait_s
        seen = look()
        while seen["drained"] and not seen["done"] and self.gateway.clock() < until and request.transport is not None:
            await asyncio.sleep(LOOK_S)
            seen = look()
        return answer(seen)

    def _gateway_progress(self) -> dict[str, Any]:
        """Of this gateway's drain. Done: the lameduck is over, so load balancers have looked away, and no client is connected."""
        lifecycle, counted = self.gateway.lifecycle, self.gateway.counters.read()
        connections = {"active": sum(counted["active"]), "idle": sum(counted["idle"])}
        lameduck_s = float(lifecycle.drain.lameduck)
        since_s = None if lifecycle.announced_at is None else self.gateway.clock() - lifecycle.announced_at
        is_drained = lifecycle.phase not in (Phase.STARTING, Phase.SERVING)
        return {
            "gateway": name_of(self.gateway.config),
            "state": lifecycle.state,
            "drained": is_drained,
            "since_s": None if since_s is None else rounded(since_s),
            "lameduck_s": lameduck_s,
            "close_share": round(lifecycle.close_share, 3),
            "connections": connections,
            "done": is_drained and since_s is not None and since_s >= lameduck_s and not any(connections.values()),
        }

    def _pop_progress(self, name: str) -> dict[str, Any]:
        # Looked at first: what a worker still begins by an older table would not be in flight yet.
        has_reached_all = self._has_reached_all()
        said = progress_of(self.gateway.drains.progress(name))
        return {"gateway": name_of(self.gateway.config), **said, "done": said["done"] and has_reached_all}

    def _has_reached_all(self) -> bool:
        """Whether every worker has seen the table in use. One that hangs has not."""
        seen = self.gateway.counters.read()["generations"]
        return not self.gateway.workers.all or min(seen) >= self.gateway.snapshots.generation


def serving_now(gateway: Gateway) -> Serving:
    """By the figures of this moment; where a PoP is drained nothing is served."""
    served = {
        (service.name, backend.pop): how_served(gateway.figures.read_pool(pool.row))
        for service, backend, pool in pools_in_use(gateway)
        if backend.pop not in gateway.world.drained
    }
    return lambda service, pop: served.get((service, pop), Serves.NOT)


def how_served(figures: PoolFigures) -> Serves:
    """By a pool's figures."""
    if figures["availability"] > 0:
        return Serves.WELL
    return Serves.IN_A_PANIC if figures["answering"] > 0 else Serves.NOT


def progress_of(progress: Progress) -> dict[str, Any]:
    """Of one PoP's drain. Done: no exchange runs there any more."""
    return {
        "pop": progress.pop,
        "drained": progress.is_drained,
        "in_flight": progress.in_flight,
        "since_s": None if progress.since_s is None else rounded(progress.since_s),
        "done": progress.is_done,
        "kept": progress.is_kept,
        **({} if progress.not_kept is None else {"not_kept": progress.not_kept}),
    }
