"""Reaper: as PID 1 of a container this process inherits whoever lost its parent, and nobody else waits for their end.

A child of our own is waited for by the thread that started it, within milliseconds. So who is still there at the second look, ended and
waited for by nobody, is an orphan; each look takes those that it saw before. Must not know who they were.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

LOOK_S = 1.0


def is_needed() -> bool:
    return os.getpid() == 1


@dataclass(slots=True)
class Reaper:
    _ended: int | None = None  # found at the last look

    async def turn(self) -> None:
        before = self._ended
        self._ended = _first()
        if self._ended is not None and self._ended == before:
            _take(self._ended)
            self._ended = _first()


def _first() -> int | None:
    """A child that has ended, which stays as it is."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _take(pid: int) -> None:
    os.waitpid(pid, os.WNOHANG)
