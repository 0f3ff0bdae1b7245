"""Runs a blocking call in a thread of its own, with a deadline. Knows nothing of what it runs.

Not asyncio's executor: its few threads are shared, and it is joined at exit, so one credential plugin that hangs (it may
wait for a browser) would cost the other clusters their threads and the process its end. A thread can't be stopped: past
the deadline it is left behind, a daemon, and `Blocking` starts no second one beside it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Blocking(Generic[T]):
    """One blocking call at a time; all who ask meanwhile get the same answer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pending: asyncio.Future[T] | None = None

    async def call(self, function: Callable[[], T], deadline_s: float) -> T:
        """What `function` returns or raises; TimeoutError after `deadline_s` seconds.

        Where an earlier call is still at work its answer is waited for instead, so `function` should mean the same each time.
        """
        if self._pending is None:
            self._pending = self._start(function)
        # Shielded: one who gives up (or is cancelled) takes nothing from the others.
        async with asyncio.timeout(deadline_s):
            return await asyncio.shield(self._pending)

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._pending = None
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
                future.exception()  # marks it as seen: nobody may be waiting any more
            else:
                future.set_result(result)  # type: ignore[arg-type]  # T may be None

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = function()
            except BaseException as caught:  # handed to those who wait
                error = caught
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop has closed: nobody waits any more

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return future
