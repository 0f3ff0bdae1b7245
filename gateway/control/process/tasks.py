"""Tasks: the one place that starts asyncio tasks. Names them, keeps them, logs what they fail with, ends them together.

A bare task is garbage collected in mid-air and fails in silence; so nobody else starts one.
Must not know what a task does. An endless loop is `repeat` around a one-turn function, which tests drive by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger("isochrone.tasks")

T = TypeVar("T")


class Tasks:
    """The tasks of one gateway."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `work`. What it raises is logged once, here, unless somebody awaits the task and so handles it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    def repeat(self, name: str, turn: Callable[[], Awaitable[object]], interval_s: float) -> asyncio.Task[None]:
        """Run `turn`, wait, and again, until cancelled. A turn that fails is logged and does not end the loop."""
        return self.start(name, _repeat(name, turn, interval_s))

    @property
    def names(self) -> list[str]:
        """Of what runs, for tests and for those who look for what hangs."""
        return sorted(task.get_name() for task in self._running)

    async def stop(self, deadline_s: float) -> None:
        """Cancel all and wait; what has not ended by the deadline is named in the log and left."""
        running = {task for task in self._running if task is not asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            _, late = await asyncio.wait(running, timeout=deadline_s)
            for task in late:
                logger.warning("task does not end", extra={"task": task.get_name()})

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("task failed", extra={"task": task.get_name()}, exc_info=error)


async def cancel(task: asyncio.Task[Any] | None, deadline_s: float = 5.0) -> None:
    """Cancel one task and wait for its end, not longer than the deadline."""
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=deadline_s)


async def _repeat(name: str, turn: Callable[[], Awaitable[object]], interval_s: float) -> None:
    failed: str | None = None
    while True:
        try:
            await turn()
            failed = None
        except Exception as error:
            # The same fault ten times a second is one line, not a full disk.
            if failed != repr(error):
                logger.exception("turn failed", extra={"task": name})
            failed = repr(error)
        await asyncio.sleep(interval_s)
