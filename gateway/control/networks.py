"""Networks: how many client networks something came to, so that what one client does is told from what befalls all. Arithmetic.

Workers count by group (/24 and /48 by their hash, see routing_core): a cell holds 32 bits a group, asked only for whether a group had any
since an earlier reading, not how many. One client can't leave its network's group.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SPAN_S = 10.0
NO_CELLS = (0, 0, 0)
SEVERAL = 3  # groups
N_GROUPS = 8
_EACH = struct.Struct(f"<{N_GROUPS}I")


def since(cell: int, before: int) -> int:
    """0 where a group had none meanwhile."""
    return cell ^ before


def count(cell: int) -> int:
    """The groups that had any."""
    return N_GROUPS - _EACH.unpack(cell.to_bytes(_EACH.size, "little")).count(0)


def cell_of(counts: Sequence[int]) -> int:
    """Those that have any now, one of each."""
    return sum(1 << 32 * group for group, each in enumerate(counts) if each > 0)


def is_of_most(met: int, asked: int) -> bool:
    """Whether more than half of the groups that asked have met it."""
    return 2 * count(met) > count(asked)


@dataclass(slots=True)
class Window:
    """What the groups of one pool have met in the last 10 to 20 s: cells as Figures.read_pool_groups() answers them."""

    base: tuple[int, ...] = NO_CELLS
    earlier: tuple[int, ...] = NO_CELLS
    began: float = float("-inf")

    def is_over(self, now: float) -> bool:
        return now - self.began >= SPAN_S

    def begin(self, cells: tuple[int, ...], now: float) -> None:
        """The next one. What is older than the last is forgotten."""
        self.earlier, self.base, self.began = self.base, cells, now

    def asked(self, cells: tuple[int, ...]) -> int:
        """The groups that were answered."""
        return since(cells[0], self.earlier[0])

    def is_of_many(self, met: int, cells: tuple[int, ...]) -> bool:
        """Whether several networks, and most of those that were answered or are among them, have met it."""
        return count(met) >= SEVERAL and is_of_most(met, met | self.asked(cells))

    def is_limited(self, cells: tuple[int, ...]) -> bool:
        """Whether several networks, and most of those that were answered, were told to come later."""
        asked, limited, *_ = (since(cell, before) for cell, before in zip(cells, self.earlier, strict=True))
        return count(limited) >= SEVERAL and is_of_most(limited, asked)
