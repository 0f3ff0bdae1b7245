"""Scrapes: the text of /metrics, for many who ask at once. Owns when it is written anew; must not know what is measured.

One text is written at a time, in a thread, from figures that are at most a second older than the question, and everyone who asks meanwhile
gets it: hundreds of scrapers, or one that asks and leaves hundreds of times, cost what one costs. There are two formats, however a
client words what it accepts: the versions of a client's own invention are none, or each would be a text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.control.process.blocking import in_thread
from gateway.control.process.tasks import Tasks

OPEN_METRICS = "application/openmetrics-text"
SHARED_S = 1.0  # scrapers ask each 5 to 60 s
WRITE_S = 30.0

Text = tuple[bytes, str]  # with its Content-Type


class Scrape(Protocol):
    """See telemetry.Scrape."""

    def render(self, accept: str) -> Text: ...


class Scrapes:
    def __init__(self, read: Callable[[], Scrape], tasks: Tasks, clock: Callable[[], float]) -> None:
        self.read = read
        self.tasks = tasks
        self.clock = clock
        self._texts: dict[str, tuple[float, asyncio.Task[Text]]] = {}  # by what is accepted: of when, and who writes or wrote it
        self._one = asyncio.Lock()

    async def text(self, accept: str) -> Text:
        """TimeoutError where it can't be written in time."""
        kind = f"{OPEN_METRICS}; version=1.0.0" if OPEN_METRICS in accept.lower() else ""
        at, task = self._texts.get(kind, (float("-inf"), None))
        if task is None or (task.done() and (self.clock() - at >= SHARED_S or task.exception() is not None)):
            task = self.tasks.start("metrics", self._write(kind))
            self._texts[kind] = (self.clock(), task)
        return await asyncio.shield(task)  # one who leaves takes nothing from the others

    async def _write(self, kind: str) -> Text:
        async with self._one:
            return await in_thread("metrics", partial(self.read().render, kind), WRITE_S)
