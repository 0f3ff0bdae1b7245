"""Blocking: runs a call that may block in a thread of its own, with a deadline. Knows nothing of what it runs.

Not asyncio's executor: its threads are joined at exit, so a name server that does not answer would hold the process's end. A
thread can't be stopped: past the deadline it is left behind, a daemon.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(name: str, function: Callable[[], T], deadline_s: float | None) -> T:
    """What `function` returns or raises; TimeoutError after `deadline_s` seconds, None: never."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T may be None

    def work() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except BaseException as error:  # handed to the one who waits
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # the loop has closed

    threading.Thread(target=work, name=name, daemon=True).start()
    async with asyncio.timeout(deadline_s):
        return await future
