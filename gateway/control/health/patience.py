"""Patience: a deadline for what control waits for, that counts only the time in which its loop turned.

Timers come before what lies in the sockets: after a pause (SIGSTOP, a machine that moves, a CPU that is taken away) every plain deadline
has passed, and answers that came long ago are not read. Here the time is counted in slices, and a late one counts for nothing.
Must not know what is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

SLICE_S = 0.25
LATE_S = 0.1  # a slice that ends this much late says that the loop was held up
MOST_S = 10.0  # of the clock, beyond what was granted: a loop that is late all the time knows no more than one that was stopped


class Patience:
    """`async with Patience(seconds, clock) as patience:` raises TimeoutError when that is over."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._left_s = seconds
        self._clock = clock
        self._ends = clock() + seconds + MOST_S
        self._has_been_late = False
        self._timeout = asyncio.timeout(None)

    @property
    def is_exhausted(self) -> bool:
        """Whether all of it was waited, not only the clock has gone on."""
        return self._left_s <= 0

    @property
    def was_late(self) -> bool:
        """Whether the loop was held up meanwhile: what was measured is no measure."""
        return self._has_been_late or self._clock() - self._due > LATE_S

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._wait()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _wait(self) -> None:
        self._slice_s = max(0.0, min(SLICE_S, self._left_s))
        self._due = self._clock() + self._slice_s
        self._timer = asyncio.get_running_loop().call_later(self._slice_s, self._on_slice)

    def _on_slice(self) -> None:
        now = self._clock()
        if now - self._due > LATE_S:
            self._has_been_late = True
        else:
            self._left_s -= self._slice_s
        if self.is_exhausted or now > self._ends:
            self._timeout.reschedule(asyncio.get_running_loop().time())
        else:
            self._wait()
