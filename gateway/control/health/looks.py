"""Looks: of all gates those that a turn has something to do with, so that the others cost it nothing.

Owns which endpoints traffic could not connect to since the last turn, found by one scan in C, and who else waits for a look. Must not
know what it is for.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

from gateway.control.sources.world import Identity
from routing_core import Figures

PER_TURN = 1000  # bounds the cost of a turn: where more wait, the longest waiting come first


class Looked(Protocol):
    """A gate, as far as it is looked for here."""

    connect_failures: int  # as last seen

    @property
    def identity(self) -> Identity: ...

    @property
    def row(self) -> int: ...


Gate = TypeVar("Gate", bound=Looked)


@dataclass(slots=True)
class Looks(Generic[Gate]):
    figures: Figures
    _gates: list[Gate] = field(default_factory=list)  # all; in the order of
    _rows: array[int] = field(default_factory=lambda: array("i"))
    _failures: array[int] = field(default_factory=lambda: array("Q"))  # as last seen
    _places: dict[Identity, int] = field(default_factory=dict)
    _due: dict[Identity, Gate] = field(default_factory=dict)

    def add(self, gate: Gate) -> None:
        """From now on its failed connects are found."""
        self._places[gate.identity] = len(self._gates)
        self._gates.append(gate)
        self._rows.append(gate.row)
        self._failures.append(gate.connect_failures)

    def drop(self, gate: Gate) -> None:
        """Its row is given back. The last one takes its place."""
        self._due.pop(gate.identity, None)
        place, last = self._places.pop(gate.identity), len(self._gates) - 1
        if place != last:
            self._gates[place], self._rows[place], self._failures[place] = self._gates[last], self._rows[last], self._failures[last]
            self._places[self._gates[place].identity] = place
        del self._gates[last], self._rows[last], self._failures[last]

    def ask(self, gate: Gate) -> None:
        """One at the next turn."""
        self._due.setdefault(gate.identity, gate)

    def take(self) -> list[Gate]:
        """Those to look at now; they wait no more."""
        for place in self.figures.failed_connects(self._rows, self._failures):
            gate = self._gates[place]
            gate.connect_failures = self._failures[place]
            self.ask(gate)
        taken = list(islice(self._due.values(), PER_TURN))
        for gate in taken:
            del self._due[gate.identity]
        return taken
