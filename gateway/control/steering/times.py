"""Times: a pool's path and service time, from what workers have counted to the estimate that requests are decided by.

Owns what of the figures that is, and when it is written: into which versions (`pacing`), and a service's level into all of its pools at
once, or two PoPs would differ by nothing but when they were looked at. What is said of a pool is `levels`' and `estimates`' arithmetic.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

from gateway.control.health.networks import N_GROUPS
from gateway.control.steering.agenda import Agenda, Group, Pool
from gateway.control.steering.levels import MOST_MS, MOST_TIMES, THIN
from gateway.control.steering.pacing import Pace, Slots, settle
from routing_core import Figures

MOST_SETTLED = 500  # pools whose estimate is changed when a version begins; the others take the next


@dataclass(slots=True)
class Times:
    figures: Figures
    pace: Pace

    def learn(self, agenda: Agenda, pool: Pool, now: float) -> None:
        """What was counted since the last look; or that nothing was."""
        state = pool.state
        was, served = state.served, self.figures.read_pool_served(pool.spec.row)
        if served != was:
            *counted, squares = map(operator.sub, served, was)
            state.served = served
            state.service_time.add([us / 1000 for us in counted[:N_GROUPS]], counted[N_GROUPS:], squares / 1e6, now)
            agenda.touched[pool.group] = None
        state.evidence = state.service_time.evidence(now)
        if state.evidence is not None and state.evidence.n >= THIN:
            state.thick_at = now

    def level(self, agenda: Agenda, now: float, has_begun: bool) -> None:
        """Of the services whose pools have learned anything. A level that is first known is no news of any pool beside another."""
        left, margin = MOST_SETTLED, agenda.config.steering.margin
        for group in list(agenda.touched):
            level = group.level
            if left <= 0:
                break
            if not (has_begun or agenda.is_starting or level.ms is None):
                continue
            left -= len(group.pools)
            del agenda.touched[group]
            is_first = level.ms is None
            level.learn([pool.state.evidence for pool in group.pools if pool.state.evidence is not None])
            if level.settle(margin):
                self._publish_all(agenda, group, now, has_begun, is_first)

    def settle(self, agenda: Agenda, now: float) -> None:
        """As a version begins, those that have waited for one."""
        for pool in agenda.take_unsettled(MOST_SETTLED):
            self.publish(agenda, pool, now, True)

    def publish(self, agenda: Agenda, pool: Pool, now: float, has_begun: bool, at_least: Slots = Slots.NONE) -> None:
        """The estimate, with what stands behind it, where that is to be written now: `at_least` there, although nothing of its own changed.
        To be asked when its level is known: what all PoPs are slower by is none's own."""
        state, versions, margin = pool.state, pool.state.versions, agenda.config.steering.margin
        said = pool.group.level.say(state.evidence, now - state.thick_at, versions.above_ms, margin)
        path_ms = settle(versions.path_ms, state.path.ms(now), margin)
        above_ms = said.above_ms if abs(said.above_ms - versions.above_ms) > said.band_ms else versions.above_ms
        hope_ms = pool.group.level.hope_ms(said, above_ms)
        state.known = round(said.n), round(said.spread_ms, 1), -1.0 if hope_ms is None else round(hope_ms, 1)
        is_known = path_ms is not None or pool.group.level.ms is not None
        slots = versions.turn(path_ms, above_ms, is_known, has_begun, agenda.is_starting)
        if slots is not Slots.NONE:
            agenda.unsettled.pop(pool.number, None)
        elif (path_ms, above_ms) != (versions.path_ms, versions.above_ms):
            agenda.unsettled[pool.number] = None
        slots = at_least if slots is Slots.NONE else slots
        if slots is not Slots.NONE:
            self._write(pool, slots)
        elif state.known != state.written:
            self._write(pool, None)

    def _publish_all(self, agenda: Agenda, group: Group, now: float, has_begun: bool, is_first: bool) -> None:
        """The level is another one, and so is how far each is from it."""
        for pool in group.pools:
            if is_first:  # with what was in force of it: that is news, if it is to be another
                pool.state.versions.is_known = True
                self._write(pool, Slots.ALL)
                self.publish(agenda, pool, now, has_begun)
            else:
                self.publish(agenda, pool, now, has_begun, Slots.ALL if agenda.is_starting else Slots.NEWEST)

    def _write(self, pool: Pool, slots: Slots | None) -> None:
        """None: only what stands behind the estimate."""
        state, level = pool.state, pool.group.level
        samples, spread_ms, hope_ms = state.written = state.known
        if slots is None:
            self.figures.set_pool(pool.spec.row, samples=samples, spread_ms=spread_ms, hope_ms=hope_ms)
            return
        versions = state.versions
        service_ms = 0.0 if level.ms is None else max(0.0, level.ms + versions.above_ms)
        self.figures.set_pool(
            pool.spec.row,
            service_ms=service_ms,
            path_ms=-1.0 if versions.path_ms is None else versions.path_ms,
            samples=samples,
            spread_ms=spread_ms,
            hope_ms=hope_ms,
            # By what is said of it: one that is a hundred times as slow as the others is known for that step by step.
            most_ms=0.0 if level.ms is None else max(MOST_TIMES * max(level.ms, service_ms), MOST_MS),
            version=None if slots is Slots.ALL else self.pace.number,
        )
