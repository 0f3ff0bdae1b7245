"""Pacing: estimates are published in versions, so that on latency grounds a service's traffic moves no faster than a set pace.

Owns when a version begins, which versions of a pool are written, and the dead band below which a new estimate is noise. Must not know
figures or how a request draws.

How it works. A request is decided by the version that was the newest some time ago, drawn evenly from the last seven versions' times.
Whatever happens to an estimate, the share of requests that know of it grows by 1/7 a version, so at most by `share_per_s` a second.
Eight slots hold every version that may be drawn: the newest, which is being faded in, to the eighth, which is being faded out. Health,
drains, capacity and penalties are no estimates and are not held up by this. Capping the share of traffic moved at a time, with a dead
band, is what Facebook's Taiji does between data centres (SOSP 2019).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.control.steering.levels import MARGIN_MS

N_VERSIONS = 8  # slots of a pool; version n is in slot n % 8
N_STEPS = 7  # versions' times that requests are spread over
UNITS = 1024  # of a version's time: the fixed point of the phase


@dataclass(slots=True)
class Pace:
    """The clock of versions, one for all pools. `phase // 1024` is the newest version.

    It stands still while nobody turns it: a control thread that was held up goes on where it was, at most one version a turn.
    So no version is skipped, and no jump moves more than 1/7.
    """

    share_per_s: float = 0.1
    phase: int = N_VERSIONS * UNITS  # in 1/1024 of a version's time; the first that is drawn from is not negative
    at: float | None = None  # monotonic seconds, when the phase was reached

    @property
    def step_s(self) -> float:
        """A version's time."""
        return 1 / (N_STEPS * self.share_per_s)

    @property
    def number(self) -> int:
        """Of the newest version."""
        return self.phase // UNITS

    def turn(self, now: float) -> bool:
        """Move on. Whether a version begins: it is to be written into every pool before the new phase is published."""
        if self.at is None:
            self.at = now
        before = self.number
        unit_s = self.step_s / UNITS
        units = int((now - self.at) / unit_s)
        if units > UNITS:
            units, self.at = UNITS, now
        else:
            self.at += units * unit_s
        self.phase += units
        return self.number > before


def settle(published: float | None, fresh: float | None, margin: float) -> float | None:
    """The estimate to publish, in ms; None: unknown. The published one stays while the fresh one is within `margin` (a share of the
    published one) or within half a millisecond of it."""
    if published is None or fresh is None:
        return fresh
    return fresh if abs(fresh - published) > max(MARGIN_MS, margin * published) else published


class Slots(enum.Enum):
    """Where a pool's estimate is to be written."""

    NONE = "none"
    NEWEST = "newest"  # the version that begins
    ALL = "all"


@dataclass(slots=True)
class Versions:
    """One pool's estimate, as it was last published, in milliseconds."""

    path_ms: float | None = None  # None: unknown
    above_ms: float = 0.0  # its service time beyond its service's level
    is_known: bool = False  # whether anything was published

    def turn(self, path_ms: float | None, above_ms: float, is_known: bool, has_begun: bool, is_starting: bool) -> Slots:
        """Take what is to be in force, and say where it is to be written. What is first known of a pool changes nobody's mind, and while
        the process starts there is no traffic to move: both are in force at once."""
        is_other = (path_ms, above_ms) != (self.path_ms, self.above_ms)
        is_at_once = is_known and (is_starting or not self.is_known)
        if not (is_at_once or has_begun) or not (is_other or is_known > self.is_known):
            return Slots.NONE
        self.path_ms, self.above_ms, self.is_known = path_ms, above_ms, is_known
        return Slots.ALL if is_at_once else Slots.NEWEST
