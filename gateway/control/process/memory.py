"""Memory: what the data plane has given back to the heap goes on to the system. Pages of buffers are not of it: they go at once.

The heap keeps the pages between blocks that are in use. One call hands them on; it takes milliseconds for each few MiB, so a thread makes
it, and no beat waits.
Must not know when a worker gives something back.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import routing_core

KINDS = ("exchange", "table", "snapshot")
TURNS = 20  # of the beat: two seconds
BLOCKS = 32  # what is less than that is not worth the call


def held() -> int:
    """Blocks that change their number with the load."""
    live = routing_core.live_blocks()
    return sum(live[kind] for kind in KINDS)


@dataclass(slots=True)
class Memory:
    """One turn a beat."""

    most: int = field(default_factory=held)  # held since pages were last handed on
    turns: int = 0
    thread: threading.Thread | None = None  # the last that handed some on

    def turn(self) -> None:
        self.turns += 1
        if self.turns % TURNS or (self.thread is not None and self.thread.is_alive()):
            return
        now = held()
        if self.most - now >= BLOCKS:
            self.thread = threading.Thread(target=routing_core.trim, name="trim", daemon=True)
            self.thread.start()
            self.most = now
        self.most = max(self.most, now)
