"""Memory: what the data plane has given back goes on to the system.

Workers give back buffers and exchanges some seconds after a burst, to the heap, which keeps the pages between those that are in use. One
call hands them on, and takes a few milliseconds: here it is nobody's latency.
Must not know when a worker gives something back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import routing_core

KINDS = ("buffer", "exchange", "table", "snapshot")
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

    def turn(self) -> None:
        self.turns += 1
        if self.turns % TURNS:
            return
        now = held()
        if self.most - now >= BLOCKS:
            routing_core.trim()
            self.most = now
        self.most = max(self.most, now)
