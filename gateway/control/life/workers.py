"""Workers: the threads that serve. Starts, names, watches and ends them. Must not know what a worker does with a request."""

from __future__ import annotations

import logging
import secrets
import threading
from dataclasses import dataclass, field

from gateway.control.process.blocking import has_ended
from gateway.dataplane import Counters, Snapshots, Worker
from routing_core import Figures

logger = logging.getLogger("isochrone.workers")

SILENT_S = 2.0  # a worker turns at least every 100 ms: this long without a beat means that it hangs


@dataclass(slots=True)
class Workers:
    counters: Counters
    all: list[Worker] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _silent: set[int] = field(default_factory=set)
    _beats: list[tuple[int, float]] = field(default_factory=list)  # of each worker: its last beat, and when that was seen

    def start(self, snapshots: Snapshots, figures: Figures, now: float) -> None:
        """One thread for each column of the counters. They accept where that is ordered, see doors."""
        for number in range(self.counters.n_workers):
            seed = secrets.randbits(63) | 1
            self.all.append(Worker(number, snapshots, figures, self.counters, int(now * 1e6), seed))
        for number, worker in enumerate(self.all):
            thread = threading.Thread(target=_run, args=(number, worker), name=f"worker-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Have sleeping workers look at snapshot and orders now."""
        for worker in self.all:
            worker.wake()

    @property
    def silent(self) -> list[str]:
        """Names of those that hang, or have ended without being told to."""
        return [self._threads[number].name for number in sorted(self._silent)]

    @property
    def has_none(self) -> bool:
        """Whether none of those that were started turns: nobody is served any more."""
        return bool(self._threads) and len(self._silent) == len(self._threads)

    def turn(self, now: float) -> None:
        """Look for beats that fail to come. `now`: seconds in which control was awake. What is stopped (SIGSTOP, a paused machine) or
        starved is so with all its threads: a worker has its time from where control goes on."""
        if not self._threads:
            return
        beats = self.counters.read()["beats_ms"]
        before = self._beats or [(beat, now) for beat in beats]
        self._beats = [last if last[0] == beat else (beat, now) for beat, last in zip(beats, before, strict=True)]
        for number, (_, seen_at) in enumerate(self._beats):
            silent_s = now - seen_at
            if silent_s > SILENT_S and number not in self._silent:
                self._silent.add(number)
                is_alive = self._threads[number].is_alive()
                logger.error("worker silent", extra={"worker": number, "silent_s": round(silent_s, 1), "is_alive": is_alive})
            elif silent_s <= SILENT_S and number in self._silent:
                self._silent.discard(number)
                logger.info("worker beats again", extra={"worker": number})

    def have_acted(self, version: int) -> bool:
        """Whether all that turn have acted on the listeners' orders up to this one. One that hangs acts on none, and takes nobody in."""
        versions = self.counters.read()["versions"]
        return not self.all or all(seen >= version for number, seen in enumerate(versions) if number not in self._silent)

    def may_lag(self, version: int | None) -> bool:
        """Whether one has not acted on it that may turn again, though it hangs. None: there was no such order."""
        versions = self.counters.read()["versions"]
        lagging = (thread for thread, seen in zip(self._threads, versions, strict=False) if version is None or seen < version)
        return any(thread.is_alive() for thread in lagging)

    def connections(self) -> int:
        """Clients' connections now, over all workers."""
        counted = self.counters.read()
        return sum(counted["idle"]) + sum(counted["active"])

    async def stop(self, deadline_s: float) -> bool:
        """Have the threads end. Whether all did; one that hangs is left behind, a daemon."""
        for worker in self.all:
            worker.stop()
        threads = self._threads
        if await has_ended(threads, deadline_s):
            return True
        logger.error("workers don't end", extra={"workers": [t.name for t in threads if t.is_alive()]})
        return False

    def close(self) -> None:
        """Give back what workers hold that have ended, all of them: one that runs still reaches into the others. Their log records are gone
        afterwards."""
        if any(thread.is_alive() for thread in self._threads):
            return
        for worker in self.all:
            worker.close()


def _run(number: int, worker: Worker) -> None:
    try:
        worker.run()
    except BaseException:  # nothing is above this frame to see it
        logger.exception("worker failed", extra={"worker": number})
