"""Rows: which identity has which row of the live figures. Learned figures stay with an identity for as long as it has a row.

Owns taking rows and giving them back. A row is given back only when no snapshot that a worker may still use contains it, and
nothing is in flight and no connection is open on it: else another endpoint's figures would be written by an old exchange.
Must not know what a row's figures mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from routing_core import Figures

Key = tuple[str, Hashable]  # kind of row ("endpoint", "pool", "service", "pop"), identity


@dataclass(slots=True)
class Rows:
    figures: Figures
    rows: dict[Key, int] = field(default_factory=dict)
    retired: dict[Key, int] = field(default_factory=dict)  # -> the last generation that may contain the row

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
        for key in self.rows.keys() - in_use:
            self.retired.setdefault(key, generation - 1)
        for key in self.retired.keys() & in_use:
            del self.retired[key]

    def change(self, came: Iterable[Key], went: Iterable[Key], generation: int) -> None:
        """What a new table uses that the last one did not, and no longer uses."""
        for key in went:
            self.retired.setdefault(key, generation - 1)
        for key in came:
            self.retired.pop(key, None)

    def collect(self, oldest: int) -> list[Key]:
        """Give back rows that no snapshot from `oldest` on contains and that nothing is in flight on. Returns whose they were."""
        gone = [key for key, last in self.retired.items() if last < oldest and self._is_quiet(key)]
        for key in gone:
            self.figures.release(self.rows.pop(key))
            del self.retired[key]
        return gone

    def _row(self, kind: str, identity: Hashable) -> int:
        key = (kind, identity)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self.figures.acquire(kind)  # type: ignore[arg-type]  # the kinds above
        return row

    def _is_quiet(self, key: Key) -> bool:
        kind, row = key[0], self.rows[key]
        if kind == "endpoint":
            seen = self.figures.read_endpoint(row)
            return seen["in_flight"] == 0 and seen["connections"] == 0
        if kind == "pop":
            return self.figures.read_pop(row) == 0
        return kind != "pool" or self.figures.read_pool(row)["in_flight"] == 0
