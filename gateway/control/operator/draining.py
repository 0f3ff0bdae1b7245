"""Draining: what the admin API says of drains, of this gateway and of its PoPs, and what an operator does about them.

Owns paths, parameters, and how long an answer waits. Must not know how anything is drained: each is one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from gateway.control.life.drains import Progress
from gateway.control.life.lifecycle import Event, Lifecycle, Phase
from gateway.control.life.stranding import Serves, Serving, stranded
from gateway.control.life.workers import Workers
from gateway.control.operator.pools import Pools, rounded
from gateway.control.operator.status import BadRequest, answer, parameters
from gateway.control.process.blocking import in_thread
from gateway.control.table.settings import name_of
from gateway.model import read_duration
from routing_core import PoolFigures

MAX_WAIT_S = 3600.0
LOOKING_S = 5.0  # through all rules
LOOK_S = 0.1  # between looks at what a request waits for


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


class DrainAnswers:
    def __init__(self, lifecycle: Lifecycle, workers: Workers, pools: Pools) -> None:
        self.lifecycle, self.workers, self.pools = lifecycle, workers, pools

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/drain", self.drain_progress),
            web.post("/drain", self.drain),
            web.post("/undrain", self.undrain),
            web.get("/pops/{name}/drain", self.pop_progress),
            web.get("/pops/{name}/stranded", self.stranded),
            web.post("/pops/{name}/drain", self.drain_pop),
            web.post("/pops/{name}/undrain", self.undrain_pop),
        ]

    async def drain(self, request: web.Request) -> web.Response:
        """LAMEDUCK that stays: unready, everyone still served, more and more answers say that the connection ends."""
        wait_s = wait_of(request)
        self.lifecycle.handle(Event.DRAIN)
        return await self._when_done(request, self._gateway_progress, wait_s)

    async def drain_progress(self, request: web.Request) -> web.Response:
        return await self._when_done(request, self._gateway_progress, wait_of(request))

    async def undrain(self, request: web.Request) -> web.Response:
        parameters(request)
        self.lifecycle.handle(Event.UNDRAIN)
        return answer(self._gateway_progress())

    async def drain_pop(self, request: web.Request) -> web.Response:
        """`?unless=stranded`: 409 says whose requests it would leave without a PoP, and nothing is drained."""
        wait_s = wait_of(request, "unless")
        name, unless = request.match_info["name"], request.query.get("unless")
        if unless not in (None, "stranded"):
            raise BadRequest(f"unless: must be stranded, got {unless[:100]!r}")
        if unless is not None and (lines := await self._stranded(name)):
            error = f"{name} is not drained: requests would be answered 503"
            return answer({"gateway": name_of(self.pools.config), "pop": name, "drained": False, "stranded": lines, "error": error}, 409)
        # No await since it was judged: of two at once the second sees the first.
        self.pools.drains.drain(name)
        await self.pools.drains.keep()
        return await self._when_done(request, lambda: self._pop_progress(name), wait_s)

    async def stranded(self, request: web.Request) -> web.Response:
        """Whose requests a drain would leave without a PoP, as things are now; nobody's where the PoP is drained already."""
        parameters(request)
        name = request.match_info["name"]
        lines = await self._stranded(name)
        is_drained = name in self.pools.publisher.world.drained
        return answer({"gateway": name_of(self.pools.config), "pop": name, "drained": is_drained, "stranded": lines})

    async def _stranded(self, name: str) -> list[str]:
        """As things are when this returns: what an operator changed meanwhile, by another drain or a reload, is judged anew."""
        pools = self.pools
        while not pools.drains.progress(name).is_drained:
            config, drained = pools.config, frozenset(pools.publisher.world.drained)
            serving = serving_now(pools)
            # In a thread: thousands of rules take a while.
            lines = await in_thread("stranded", partial(stranded, config, name, serving), LOOKING_S)
            if pools.config is config and pools.publisher.world.drained == drained:
                return lines
        return []

    async def pop_progress(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return await self._when_done(request, lambda: self._pop_progress(name), wait_of(request))

    async def undrain_pop(self, request: web.Request) -> web.Response:
        parameters(request)
        name = request.match_info["name"]
        self.pools.drains.undrain(name)
        await self.pools.drains.keep()
        return answer(self._pop_progress(name))

    async def _when_done(self, request: web.Request, look: Callable[[], dict[str, Any]], wait_s: float) -> web.Response:
        """What is seen when it is done, taken back, or the time is up."""
        until = self.pools.publisher.clock() + wait_s
        seen = look()
        while seen["drained"] and not seen["done"] and self.pools.publisher.clock() < until and request.transport is not None:
            await asyncio.sleep(LOOK_S)
            seen = look()
        return answer(seen)

    def _gateway_progress(self) -> dict[str, Any]:
        """Of this gateway's drain. Done: the lameduck is over, so load balancers have looked away, and no client is connected."""
        lifecycle, counted = self.lifecycle, self.workers.counters.read()
        connections = {"active": sum(counted["active"]), "idle": sum(counted["idle"])}
        lameduck_s = float(lifecycle.drain.lameduck)
        since_s = None if lifecycle.announced_at is None else self.pools.publisher.clock() - lifecycle.announced_at
        is_drained = lifecycle.phase not in (Phase.STARTING, Phase.SERVING)
        return {
            "gateway": name_of(self.pools.config),
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
        said = progress_of(self.pools.drains.progress(name))
        return {"gateway": name_of(self.pools.config), **said, "done": said["done"] and has_reached_all}

    def _has_reached_all(self) -> bool:
        """Whether every worker has seen the table in use. One that hangs has not."""
        seen = self.workers.counters.read()["generations"]
        return not self.workers.all or min(seen) >= self.pools.publisher.snapshots.generation


def serving_now(pools: Pools) -> Serving:
    """By the figures of this moment; where a PoP is drained nothing is served."""
    served = {
        (service.name, backend.pop): how_served(pools.publisher.figures.read_pool(pool.row))
        for service, backend, pool in pools.in_use()
        if backend.pop not in pools.publisher.world.drained
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
