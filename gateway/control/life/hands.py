"""Hands: carry out the steps of a drain, see lifecycle.Hands. Must not know when a step is due."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.life.doors import Doors


@dataclass(slots=True)
class WorkerHands:
    doors: Doors
    _phase: str = "serving"

    def order(self, phase: str, close_share: float) -> None:
        self.doors.snapshots.order(phase, close_share)
        if phase != self._phase:
            self._phase = phase
            self.doors.workers.wake()

    def refuse_new(self) -> None:
        for number in self.doors.numbers:
            self.doors.refuse_new(number)

    def leave_listeners(self, at_once: bool) -> None:
        for number in self.doors.numbers:
            self.doors.leave(number, at_once)

    def have_let_go(self) -> bool:
        return all(self.doors.have_left(number) for number in self.doors.numbers)

    def close_listeners(self) -> None:
        for number in self.doors.numbers:
            self.doors.close(number)

    def connections(self) -> int:
        return self.doors.workers.connections()

    def cut(self) -> dict[str, int]:
        forced: dict[str, int] = self.doors.workers.counters.read()["forced"]
        return forced
