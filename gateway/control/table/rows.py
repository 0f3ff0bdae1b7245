"""Rows: which identity has which row of the live figures. Learned figures stay with an identity for as long as it has a row.

Owns taking rows and giving them back. A row is given back only when no snapshot that a worker may still use contains it, and
nothing is in flight and no connection is open on it: else another endpoint's figures would be written by an old exchange.
Must not know what a row's figures mean.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from routing_core import Figures

Key = tuple[str, Hashable]  # kind of row ("endpoint", "pool", "service", "pop"), identity


@dataclass(slots=True)
class Rows:
    figures: Figures
    rows: dict[Key, int] = field(default_factory=dict)
    retired: dict[Key, int] = field(default_factory=dict)  # -> the last generation that may contain the row
    since: dict[Key, int] = field(default_factory=dict)  # -> the first one; none: it may be any

    def endpoint(self, identity: Hashable) -> int:
        return self._row("endpoint", identity)

    def pool(self, service: str, pop: str) -> int:
        return self._row("pool", (service, pop))

    def service(self, name: str) -> int:
        return self._row("service", name)

    def pop(self, name: str) -> int:
        return self._row("pop", name)

    def find(self, kind: str, identity: Hashable) -> int | None:
        return self.rows.get((kind, identity))

    def keep(self, used: Iterable[Key], generation: int) -> None:
        """What a new table uses. The others' last generation is the one before `generation`; what comes back keeps its row."""
        in_use = set(used)
        for key in in_use - self.since.keys():
            self.since[key] = generation
        for key in self.rows.keys() - in_use:
            self.retired.setdefault(key, generation - 1)
        for key in self.retired.keys() & in_use:
            del self.retired[key]

    def change(self, came: Iterable[Key], went: Iterable[Key], generation: int) -> None:
        """What a new table uses that the last one did not, and no longer uses."""
        for key in went:
            self.retired.setdefault(key, generation - 1)
        for key in came:
            self.since.setdefault(key, generation)
            self.retired.pop(key, None)

    def collect(self, kept: Sequence[int]) -> list[Key]:
        """Give back rows that no snapshot of these generations contains, in order, and that nothing is in flight on. Returns whose they
        were."""
        gone = [key for key, last in self.retired.items() if not self._is_in(key, last, kept) and self.figures.in_use(self.rows[key]) == 0]
        for key in gone:
            self.figures.release(self.rows.pop(key))
            del self.retired[key]
            self.since.pop(key, None)
        return gone

    def _is_in(self, key: Key, last: int, kept: Sequence[int]) -> bool:
        """Whether one of these generations may contain the row. A worker that hangs keeps an old one, which says nothing of rows that
        came later."""
        at = bisect_right(kept, last)
        return at > 0 and kept[at - 1] >= self.since.get(key, 0)

    def _row(self, kind: str, identity: Hashable) -> int:
        key = (kind, identity)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self.figures.acquire(kind)  # type: ignore[arg-type]  # the kinds above
        return row
