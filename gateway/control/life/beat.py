"""Beat: what control does every 100 ms, in one turn without a wait. Owns the order of it; each part owns what it does.

The order matters: gates look, and outliers are ejected, before the figures are published, so that a turn publishes what it has just seen.
What judges goes by `awake`, for which a beat that comes late is no time.
Each part is on its own: one that fails is logged, and the others, the drain and its deadline among them, go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.control.process.awake import Awake

logger = logging.getLogger("isochrone.beat")

INTERVAL_S = 0.1
ORDER = ("gates", "ejections", "resolver", "prober", "refresh", "publisher", "memory", "drains", "workers", "doors", "lifecycle")


@dataclass(slots=True)
class Beat:
    awake: Awake
    turns: Mapping[str, Callable[[], object]]  # of each part of ORDER
    _failing: dict[str, type[Exception]] = field(default_factory=dict)  # parts whose last turn failed

    def __post_init__(self) -> None:
        assert self.turns.keys() == set(ORDER), f"a turn of each of {', '.join(ORDER)}, got {', '.join(self.turns)}"

    async def turn(self) -> None:
        self.awake.turn()
        for part in ORDER:
            self._do(part, self.turns[part])

    def _do(self, part: str, turn: Callable[[], object]) -> None:
        try:
            turn()
        except Exception as error:
            # The same fault ten times a second is one line, not a full disk.
            if self._failing.get(part) is not type(error):
                logger.exception("turn failed", extra={"part": part})
            self._failing[part] = type(error)
        else:
            self._failing.pop(part, None)
