"""Networks: how many client networks something came to, so that what one client does is told from what befalls all. Arithmetic.

Workers count by group (/24 and /48 by their hash, see routing_core): a cell holds 32 bits a group. One client can't leave its network's
group.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SPAN_S = 10.0
NO_CELLS = (0, 0, 0)
SEVERAL = 3  # groups
N_GROUPS = 8
MOST_TIMES = 2.0  # what the others have met: more of it is one network's own
_EACH = struct.Struct(f"<{N_GROUPS}I")


def since(cell: int, before: int) -> int:
    """0 where a group had none meanwhile."""
    return cell ^ before


def count(cell: int) -> int:
    """The groups that had any."""
    return N_GROUPS - _EACH.unpack(cell.to_bytes(_EACH.size, "little")).count(0)


def counts_since(cell: int, before: int) -> tuple[int, ...]:
    """Of each group, how many it had meanwhile."""
    size = _EACH.size
    was = _EACH.unpack(before.to_bytes(size, "little"))
    return tuple((now - then) % (1 << 32) for now, then in zip(_EACH.unpack(cell.to_bytes(size, "little")), was, strict=True))


def shared_part(answered: Sequence[int], bad: Sequence[int]) -> float:
    """Of what went wrong, the part that says something of the pool: of each group no more than twice the share that the others meet.
    Where nobody else asked, or nobody knows whom it came to: all."""
    asked, n_bad = [a + b for a, b in zip(answered, bad, strict=True)], sum(bad)
    if n_bad == 0 or sum(n > 0 for n in asked) == 1:
        return 1.0
    n_asked = sum(asked)
    return sum(min(b, MOST_TIMES * n * (n_bad - b) / (n_asked - n)) for n, b in zip(asked, bad, strict=True) if b) / n_bad


def cell_of(counts: Sequence[int]) -> int:
    """Those that have any now, one of each."""
    return sum(1 << 32 * group for group, each in enumerate(counts) if each > 0)


def beyond_one(counts: Sequence[int]) -> int:
    """What the group that has most has more than any other."""
    *_, second, most = sorted(counts)
    return most - second


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

    def count_most(self, met: int, cells: tuple[int, ...]) -> int:
        """How many networks have met it; 0 where that is not most of those that were answered or are among them."""
        return count(met) if is_of_most(met, met | self.asked(cells)) else 0

    def shared_part(self, cells: tuple[int, ...]) -> float:
        """Of what went wrong, the part that is no single network's own."""
        return shared_part(counts_since(cells[0], self.earlier[0]), counts_since(cells[2], self.earlier[2]))

    def is_limited(self, cells: tuple[int, ...]) -> bool:
        """Whether several networks, and most of those that were answered, were told to come later."""
        asked, limited, *_ = (since(cell, before) for cell, before in zip(cells, self.earlier, strict=True))
        return count(limited) >= SEVERAL and is_of_most(limited, asked)


@dataclass(slots=True)
class Unanswered:
    """Which groups have waited in a pool since it last answered: at once, or one after another."""

    met: int = 0
    at: float = float("-inf")  # monotonic seconds, when one of them was last seen to wait

    def turn(self, waiting: Sequence[int], now: float) -> None:
        """These wait, and nobody was answered meanwhile."""
        if now - self.at > SPAN_S:
            self.met = 0
        self.met, self.at = self.met | cell_of(waiting), now

    def end(self) -> None:
        """Somebody was."""
        self.met = 0
