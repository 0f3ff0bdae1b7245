"""Blocking: runs a call that may block in a thread of its own, with a deadline, and waits for threads. Knows nothing of what they run.

Not asyncio's executor: its threads are joined at exit, so a name server that does not answer would hold the process's end. A
thread can't be stopped: past the deadline it is left behind, a daemon.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.005  # between looks at whether threads have ended


async def in_thread(name: str, function: Callable[[], T], deadline_s: float | None) -> T:
    """What `function` returns or raises; TimeoutError after `deadline_s` seconds, None: never; OSError where no thread can be started."""
    async with asyncio.timeout(deadline_s):
        return await begin_in_thread(name, function)


def begin_in_thread(name: str, function: Callable[[], T]) -> asyncio.Future[T]:
    """The same for who waits as long as he likes, and again."""
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

    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:  # as where a container may have no more processes
        raise OSError(errno.EAGAIN, f"no thread can be started: {error}") from error
    return future


async def has_ended(threads: Sequence[threading.Thread], deadline_s: float) -> bool:
    """Whether all of them end within so many seconds. Takes no thread to wait in: at the end there may be none."""
    until = asyncio.get_running_loop().time() + deadline_s
    while any(thread.is_alive() for thread in threads):
        if asyncio.get_running_loop().time() >= until:
            return False
        await asyncio.sleep(LOOK_S)
    return True
