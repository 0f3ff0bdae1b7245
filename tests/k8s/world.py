"""What the reflector's tests stand on: a fake server, a reflector, and a clock, dice and waits that are the test's."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from k8s._api import Api
from k8s.access import ClusterAccess
from k8s.objects import EndpointSlice
from k8s.reflector import Reflector, Timing
from tests.k8s.fake_api import SLICES, FakeApi, piece

PATH = SLICES.format("shop")
SELECTOR = {"labelSelector": "kubernetes.io/service-name=web"}


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 10.0))


@dataclass
class World:
    """A fake server, a reflector on it, and time that moves only when a wait or the test moves it."""

    api: FakeApi
    reflector: Reflector[EndpointSlice]
    now: float = 1000.0
    waits: list[float] = field(default_factory=list)
    changes: int = 0
    url: str = ""  # what the access says
    tls_server_name: str | None = None

    @property
    def names(self) -> set[str]:
        return set(self.reflector.objects)

    async def turns(self, count: int) -> float:
        """The wait after the last of them, which is not slept."""
        wait_s = 0.0
        for _ in range(count):
            self.now += wait_s
            wait_s = await self.reflector.turn()
        return wait_s

    async def watch_until(self, is_reached: Callable[[], bool]) -> None:
        """Turns until the copy is as wanted; the deadline is the test's."""

        async def turns() -> None:
            while True:
                self.now += await self.reflector.turn()

        task = asyncio.ensure_future(turns())
        while not is_reached():
            assert not task.done(), task
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def after(self, seconds: float, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        """A fault's answer that takes so long by the fake clock."""

        async def slow(request: web.Request) -> web.StreamResponse:
            self.now += seconds
            return await answer(request)

        return slow


@contextlib.asynccontextmanager
async def world(timing: Timing | None = None, **kwargs: Any) -> AsyncIterator[World]:
    async with FakeApi(**kwargs) as fake:
        made: list[World] = []

        async def sleep(seconds: float) -> None:
            made[0].waits.append(seconds)
            made[0].now += seconds
            await asyncio.sleep(0)

        def changed(_: object) -> None:
            made[0].changes += 1

        def clock() -> float:
            return made[0].now if made else 1000.0

        async with Api(lambda: ClusterAccess(made[0].url, tls_server_name=made[0].tls_server_name), clock) as api:
            reflector = Reflector(
                api, PATH, EndpointSlice, SELECTOR, changed, timing=timing, clock=clock, rng=random.Random(7), sleep=sleep
            )
            made.append(World(fake, reflector, url=fake.url))
            await fake.put(PATH, piece("web-1", ["10.0.0.1"]))
            await fake.put(PATH, piece("other-1", ["10.0.0.9"], service="other"))
            yield made[0]


def changed(name: str, version: int) -> dict[str, Any]:
    """An object as an event carries it."""
    found = piece(name, ["10.0.0.1"])
    found["metadata"]["resourceVersion"] = str(version)
    return found
