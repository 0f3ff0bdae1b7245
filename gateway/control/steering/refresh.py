"""Refresh: every 100 ms from what workers counted and gates say to what the decision reads of each pool.

Owns `availability`, `shed`, `ramp`, `admit`, the penalty, the path and the service time of the live figures, and their pace. One turn,
no wait; must not know how a probe is made. What each of these means is arithmetic of its own: `headroom`, `ramps`, `penalties`,
`comparison`, `backlog`, `admission`, `pacing`, `estimates`.

How it works. A gateway may have thousands of pools, most of which have nothing to do in most turns. One scan in C says of which pools
the counters moved, and which endpoints admit that did not, or the other way. What changes who is available is worked on in the same
turn, whatever that takes. The others wait in the agenda: those that moved, those that are in transition, those whose PoP sheds otherwise,
and in turn all, for what time alone changes. MOST_WORKED of them are worked on in a turn. A version of the estimates begins for all
pools at once, in C, as a copy of the one before; into it goes what has changed meanwhile. With a new configuration or a drain all are
worked on, with another table of the same one the pools that are not as they were.

Over 400 lines: the steps of one turn, in their order; their arithmetic is elsewhere.
"""

from __future__ import annotations

import logging
import math
import operator
from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from gateway.control.health.gates import Gates
from gateway.control.health.networks import SEVERAL, beyond_one, cell_of, count
from gateway.control.health.outliers import Counts
from gateway.control.sources.world import PoolKey
from gateway.control.steering.admission import Admission, admitted
from gateway.control.steering.agenda import Agenda, Group, Pool, PoolState, Published, agenda_of
from gateway.control.steering.backlog import FEW, Backlog, Seen
from gateway.control.steering.comparison import Comparison, counts_of
from gateway.control.steering.headroom import Filling, beyond_part, shed
from gateway.control.steering.levels import Level
from gateway.control.steering.pacing import Pace, Versions
from gateway.control.steering.penalties import Outcomes, Penalty
from gateway.control.steering.ramps import LONGEST_S, Ramp, Stage, relative
from gateway.control.steering.times import Times
from gateway.control.table.capacity import Capacity
from gateway.control.table.rows import Rows
from gateway.control.table.zones import for_all_zones
from gateway.model import Config
from routing_core import Figures, TableSpec

logger = logging.getLogger("isochrone.health")

INTERVAL_S = 0.1
LATE_S = 1.5 * INTERVAL_S  # a turn that comes so long after the one before: this process was not there all the time
LATE_FOR_S = 3.0  # until the means of what waits have forgotten it
STARTING_S = 10.0  # after serving began: what is learned by then is nobody's move, and nobody's return
HEALTHY_SHARE = 1.4  # a PoP with five of seven endpoints ready still takes its whole share
LOW_SHARE = 0.25  # below this a PoP is drained automatically
PANIC_BELOW = 0.5  # sum of the availabilities
LEAST = 1 / 1024  # of what an available pool admits: with nothing it would count as dead, not as full
MOST_WORKED = 250  # pools a turn: about a millisecond
SETTLED = 0.5  # requests: a mean that is so near to what is in flight is followed no further
STEPS = 1024  # of a share, as the figures have it: what is less is no change


def availability_of(ready: int, total: int) -> float:
    """Nothing to count and nothing ready: nothing is available."""
    return min(1.0, HEALTHY_SHARE * ready / total) if total else 0.0


def left_out(shares: Mapping[str, float]) -> set[str]:
    """The PoPs that requests leave out which may use all of these, given the share of each that is ready: those below 25 %, the poorest
    first, never so many that with the dead ones more than half are out, and none when the others could not do without them. As
    routing_core has it for each request; here it says whose return is to be a ramp."""
    dead = [pop for pop, share in shares.items() if share <= 0]
    poor = sorted((pop for pop, share in reversed(list(shares.items())) if 0 < share < LOW_SHARE), key=lambda pop: shares[pop])
    out = set(poor[: max(0, len(shares) // 2 - len(dead))])
    left = sum(min(1.0, HEALTHY_SHARE * share) for pop, share in shares.items() if pop not in out)
    return out if left >= PANIC_BELOW else set()


@dataclass(slots=True)
class Refresh:
    figures: Figures
    rows: Rows
    gates: Gates
    clock: Callable[[], float]
    resumed_at: Callable[[], float] = lambda: -math.inf  # when the last beat came late: see `awake`
    pools: dict[PoolKey, PoolState] = field(default_factory=dict)
    pops: dict[str, Filling] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)  # by service
    levels: dict[str, Level] = field(default_factory=dict)  # likewise
    away: dict[PoolKey, Ramp] = field(default_factory=dict)  # of pools that the table has no more, whether they keep their row or not
    pace: Pace = field(default_factory=Pace)
    _times: Times = field(init=False)
    _began: float | None = None  # when serving began
    _turned: float = -math.inf  # when the last turn was
    _late_at: float = -math.inf  # when the last one that came late
    _agenda: Agenda | None = None

    def __post_init__(self) -> None:
        self._times = Times(self.figures, self.pace)

    def fails_more(self, pool: PoolKey) -> str | None:
        """The cause, while it counts."""
        service, pop = pool
        comparison = self.comparisons.get(service)
        return None if comparison is None or pool not in self.pools or self.pools[pool].penalty.is_free else comparison.failing.get(pop)

    def on_connect(self, pool: PoolKey, connect_s: float) -> None:
        """A probe's connect: the path as it is now."""
        path, now = self.pools.setdefault(pool, PoolState()).path, self.clock()
        before = path.ms(now)
        path.add(connect_s * 1000, now)
        if self._agenda is not None and pool in self._agenda.numbers and path.ms(now) != before:
            self._agenda.add([self._agenda.numbers[pool]], self._turned)

    def turn(self, config: Config, spec: TableSpec) -> None:
        """Publish the figures of the pools of the table in use, which was built of `config`."""
        now = self.clock()
        before, self._turned = self._turned, now
        if now - before > LATE_S:
            self._late_at = now
        if self._began is None and not self.gates.is_starting:
            self._began = now
        self.pace.share_per_s = config.steering.pace
        has_begun = self.pace.turn(now)
        agenda, changed = self._agenda_of(config, spec, self._began is None or now - self._began < STARTING_S, now)
        is_new = changed is agenda.pools
        # Before anything else is read: what is counted from here on is seen again at the next turn.
        agenda.add(self.figures.moved(agenda.rows, agenda.seen), before)
        moved = self.figures.moved(agenda.endpoint_rows, agenda.endpoints_seen)
        if has_begun:
            self.figures.begin_version(agenda.rows, self.pace.number)
        urgent = self._judge(
            agenda, changed if is_new else dict.fromkeys([*changed, *(agenda.endpoint_pools[place] for place in moved)]), now
        )
        for pool in urgent:
            pool.since = before
        self._fill(agenda, before, now)
        agenda.sweep(before)
        worked = dict.fromkeys([*urgent, *agenda.take(None if is_new else MOST_WORKED)])
        for pool in worked:
            self._work(agenda, pool, now)
        self._times.level(agenda, now, has_begun)
        for pool in worked:
            self._times.publish(agenda, pool, now, has_begun)
        if has_begun:
            self._times.settle(agenda, now)
        # After the versions: a request that draws the newest finds it.
        self.figures.set_phase(self.pace.phase)

    def forget(self, pool: PoolKey) -> None:
        self.pools.pop(pool, None)

    def forget_pop(self, pop: str) -> None:
        self.pops.pop(pop, None)

    def _agenda_of(self, config: Config, spec: TableSpec, is_starting: bool, now: float) -> tuple[Agenda, list[Pool]]:
        """That of the table in use, and the pools that are not as they were: its own list when all of it is new."""
        before = self._agenda
        if before is not None and before.config is config and before.is_starting == is_starting:
            if before.spec is spec:
                return before, []
            if before.spec.pops is spec.pops:
                return before, before.renew(spec)
        agenda = agenda_of(
            config,
            spec,
            is_starting,
            lambda key: self.pools.setdefault(key, PoolState()),
            lambda pop: self.pops.setdefault(pop, Filling()),
            lambda service: self.levels.setdefault(service, Level()),
        )
        if before is not None:
            self._part(before, agenda, now)
            for key in agenda.numbers.keys() - before.numbers.keys():
                # No version has begun for it while it was in no table, so what its slots hold is of different times.
                state, ramp = self.pools[key], self.away.pop(key, None)
                state.versions = Versions()
                # The endpoints of a pool under another name stand as they stood, see gates: nobody is sent elsewhere for the name. But a
                # PoP that is drained is away, however well they are.
                if not is_starting and self.gates.stand(key) and not agenda.pools[agenda.numbers[key]].is_drained:
                    state.ramp = Ramp(Stage.WHOLE)
                elif ramp is not None:
                    state.ramp = ramp
        self._agenda = agenda
        return agenda, agenda.pools

    def _part(self, before: Agenda, after: Agenda, now: float) -> None:
        """From pools that are in the table no more. Their time away begins, whatever goes on there; the others of their services are
        compared anew."""
        for key in before.numbers.keys() - after.numbers.keys():
            pool = before.pools[before.numbers[key]]
            pool.state.ramp.turn(now, False, before.is_starting, pool.group.service.pop_ramp)
            self.away[key] = pool.state.ramp
            self.comparisons.pop(key[0], None)
        self.away = {key: ramp for key, ramp in self.away.items() if now - ramp.since < LONGEST_S}
        for gone in {group.service.name for group in before.groups} - {group.service.name for group in after.groups}:
            self.levels.pop(gone, None)

    # Who is available

    def _judge(self, agenda: Agenda, moved: Collection[Pool], now: float) -> list[Pool]:
        """Count what is ready in those that moved. Returns the pools of which anything is otherwise by that."""
        for pool in moved:
            state, spec = pool.state, pool.spec
            # Endpoints that terminate are not ready, though they serve (KEP-1669: whoever balances over sites is told at once). Where
            # no other PoP can take their requests, the panic of the decision still finds them.
            state.answering = self.figures.count_answering(pool.endpoint_rows)
            state.ready = 0 if spec.is_last_resort else self.figures.count_admitting(pool.endpoint_rows)
            state.all_zones = self._all_zones(pool)
            # What is ready counts, also where it is not in the total: a static endpoint that came later, until it is counted.
            state.total = max(spec.total, state.ready)
            state.availability = availability_of(state.ready, state.total)
        changed = list(moved)
        for group in dict.fromkeys([*(pool.group for pool in moved), *(group for group in agenda.groups if not group.is_whole)]):
            changed += self._leave_out(group)
            changed += self._ramp(group, agenda.is_starting, now)
        return changed

    def _all_zones(self, pool: Pool) -> float:
        spec, rows = pool.spec, pool.endpoint_rows
        if not 0 < spec.n_preferred < len(rows):
            return 0.0
        ours = self.figures.count_admitting(rows[: spec.n_preferred])
        return for_all_zones(spec.n_preferred, len(rows), ours, ours + self.figures.count_admitting(rows[spec.n_preferred :]))

    def _leave_out(self, group: Group) -> list[Pool]:
        """Of a service the PoPs of which too little is ready, or those that are no more; returns them."""
        out = left_out({pool.pop: pool.state.share for pool in group.pools if not pool.is_drained})
        changed = [pool for pool in group.pools if pool.state.is_left_out != (pool.pop in out)]
        for pool in changed:
            state = pool.state
            state.is_left_out = not state.is_left_out
            what = "pool drained automatically: too little of it is ready"
            logger.warning(
                what if state.is_left_out else "pool taken back: enough of it is ready",
                extra={"service": group.service.name, "pop": pool.pop, "ready": state.ready, "total": state.total},
            )
        return changed

    @staticmethod
    def _ramp(group: Group, is_starting: bool, now: float) -> list[Pool]:
        """Which part of its requests each PoP of a service takes; returns those where it is another one. Those that may take any at all are
        judged relative to the one that is furthest on; the others stand where they will begin: an undrained PoP is in a table before
        the next turn."""
        away: dict[str, float] = {}
        factors: dict[str, float] = {}
        has_whole = False
        for pool in group.pools:
            ramp, may_take = pool.state.ramp, pool.may_take
            (factors if may_take else away)[pool.pop] = ramp.turn(now, may_take, is_starting, group.service.pop_ramp)
            has_whole = has_whole or ramp.stage is Stage.WHOLE
        group.is_whole = has_whole or not factors
        changed = []
        factors = away | relative(factors)
        for pool in group.pools:
            state, factor = pool.state, factors[pool.pop]
            if round(factor * STEPS) != round(state.ramped * STEPS):
                changed.append(pool)
            state.ramped = factor
        return changed

    # What the others do

    def _fill(self, agenda: Agenda, before: float, now: float) -> None:
        """What each PoP with a capacity sheds, all services together."""
        for bounded in agenda.bounded.values():
            spared = self._spared(bounded.rows, [agenda.pools[number] for number in bounded.numbers], bounded.capacity)
            in_flight = self.figures.read_pop(bounded.row) - self.figures.read_pop_tunnels(bounded.row) - spared
            share = shed(bounded.filling.add(max(0, in_flight), bounded.capacity, now), bounded.capacity)
            if spared != bounded.spared or (share != bounded.shed and round(share * STEPS) != round(bounded.shed * STEPS)):
                agenda.add(bounded.numbers, before)
            bounded.shed, bounded.spared = share, spared

    def _spared(self, rows: array[int], pools: Collection[Pool], capacity: Capacity) -> int:
        """What clients hold of these pools beyond their parts of the capacity: that fills it for nobody else."""
        held = self.figures.read_held(rows)
        if max(held) <= capacity.high // len(held):  # whoever else asks
            return 0
        asked = cell_of(held)
        for pool in pools:
            asked |= pool.state.window.asked(self.figures.read_pool_groups(pool.spec.row))
        return beyond_part(held, count(asked), capacity)

    def _work(self, agenda: Agenda, pool: Pool, now: float) -> None:
        """All that is published of one pool but its times, and what is learned of those."""
        state = pool.state
        was, times = state.times, self.figures.read_pool_times(pool.spec.row)
        in_flight, connect_us, connects, first_byte_us, first_bytes, waiting, lay_us = state.times = times
        answers = first_bytes - was[4]
        if answers > 0:
            state.first_byte.add((first_byte_us - was[3]) / 1000, answers, now)
        if connects > was[2]:
            state.path.add((connect_us - was[1]) / (connects - was[2]) / 1000, now)
        first_byte_ms = state.first_byte.mean_ms
        if pool.since > state.worked_at:  # until then all was as it had been: what fades has faded to that
            if pool.capacity is not None:
                state.filling.add(max(0, was[0] - state.tunnels - state.spared), pool.capacity, pool.since)
            state.usual.add(was[0], pool.since)
            networks = count(state.unanswered.met) if state.backlog.is_mute else 0
            state.backlog.turn(Seen(was[5], 0, first_byte_ms, networks=networks, variance=pool.group.level.variance), pool.since)
        was_held_up, state.worked_at = state.worked_at < self.resumed_at(), now
        is_returning = state.ramp.stage is Stage.RETURNING
        if is_returning and pool.group.is_whole:
            state.ramped = state.ramp.turn(now, pool.may_take, agenda.is_starting, pool.group.service.pop_ramp)
        shed_by_both = 1.0 if pool.bounded is None else pool.bounded.shed
        is_filling = False
        if pool.capacity is not None:
            state.spared = self._spared(array("i", [pool.spec.row]), (pool,), pool.capacity)
            state.tunnels = self.figures.read_pool_tunnels(pool.spec.row)
            in_flight = max(0, in_flight - state.tunnels - state.spared)
            mean = state.filling.add(in_flight, pool.capacity, now)
            shed_by_both = min(shed_by_both, shed(mean, pool.capacity))
            is_filling = state.spared > 0 or abs(mean - min(in_flight, pool.capacity.high)) > SETTLED
        # Answers of which nobody knows in what time they came say nothing of a queue.
        seen = None
        if not was_held_up:
            networks = self._networks_in_vain(pool, waiting, answers, now)
            lay_ms, variance = (lay_us - was[6]) / 1000, pool.group.level.variance
            seen = Seen(self._in_line(pool, waiting), answers, first_byte_ms, lay_ms, networks, variance)
        penalty_ms = self._penalty_ms(pool, seen, now)
        if pool.learns_admission:
            is_own = now - self._late_at < LATE_FOR_S  # what waits may have waited for this gateway
            state.admission.turn(0.0 if is_own else state.backlog.queue_ms, first_byte_ms, now)
            shed_by_both = min(shed_by_both, self._admitted(pool))
        elif state.admission.share < 1:  # a reload said what it can take
            state.admission = Admission()
        # Who uses it although it is drained for most does so by its availability.
        published = Published(
            state.availability,
            shed_by_both,
            1.0 if state.is_left_out else state.ramped,
            penalty_ms,
            state.answering,
            state.spared,
            0 if pool.bounded is None else pool.bounded.spared,
            state.all_zones,
            state.usual.add(times[0], now),
        )
        if published != state.published:
            state.published = published
            self._publish(pool, published)
        self._times.learn(agenda, pool, now)
        # Where some wait and nothing is counted any more, the time that this lasts is the news.
        is_waited_for = waiting > FEW and not pool.group.service.long_lived
        if is_filling or state.admission.share < 1 or is_returning or penalty_ms > 0 or is_waited_for or state.backlog.is_mute:
            agenda.add((pool.number,), now)

    @staticmethod
    def _admitted(pool: Pool) -> float:
        share = pool.state.admission.share
        return 1.0 if share >= 1 else admitted(share, (each.state.admission.share for each in pool.group.pools if each.may_take))

    def _in_line(self, pool: Pool, waiting: int) -> int:
        """What waits for the pool: of one network no more than of the next, or its slow pages would be a queue. Where hardly another asks
        there all of it counts."""
        if waiting == 0:
            return 0
        row, counts = pool.spec.row, self.figures.read_waiting(pool.spec.row)
        asked = cell_of(counts) | pool.state.window.asked(self.figures.read_pool_groups(row))
        return max(0, waiting - beyond_one(counts)) if count(asked) >= SEVERAL else waiting

    def _networks_in_vain(self, pool: Pool, waiting: int, answers: int, now: float) -> int:
        """How many have waited there since the last answer, where these are most that ask there."""
        row, unanswered = pool.spec.row, pool.state.unanswered
        if answers > 0:
            unanswered.end()
        elif waiting > 0:
            unanswered.turn(self.figures.read_waiting(row), now)
        return pool.state.window.count_most(unanswered.met, self.figures.read_pool_groups(row)) if unanswered.met else 0

    def _publish(self, pool: Pool, published: Published) -> None:
        admit = max(published.availability * published.shed * published.ramp, LEAST) if published.availability > 0 else 0.0
        self.figures.set_pool(pool.spec.row, admit=admit, **published._asdict())

    def _penalty_ms(self, pool: Pool, seen: Seen | None, now: float) -> float:
        """What failures and refusals cost, and how long a new request would wait. `seen`: what the backlog is judged by, if it can be."""
        state = pool.state
        was, outcomes = state.outcomes, self.figures.read_pool_outcomes(pool.spec.row)
        state.outcomes = outcomes
        if pool.is_drained or state.availability <= 0:  # it is forgotten: its return is the ramp's matter
            state.penalty, state.backlog, state.admission = Penalty(), Backlog(), Admission()
            return 0.0
        penalty_ms = 0.0
        window, row = state.window, pool.spec.row
        if window.is_over(now):
            window.begin(self.figures.read_pool_groups(row), now)
        if outcomes[1:] == was[1:] and state.penalty.is_free:
            state.penalty.attempt(outcomes[0] - was[0], now)
        else:
            is_limited = outcomes[3] > was[3] or state.penalty.later_ms > 0
            groups = self.figures.read_pool_groups(row)
            is_limited = is_limited and window.is_limited(groups)
            terms = pool.group.terms
            if terms.compared and self._fails_more(pool, Outcomes(*outcomes), outcomes[1:3] != was[1:3], now):
                terms = replace(terms, server_errors=True)
            penalty_ms = state.penalty.turn(Outcomes(*map(operator.sub, outcomes, was)), terms, now, is_limited, window.shared_part(groups))
        if not pool.group.service.long_lived:
            penalty_ms += state.backlog.skip(now) if seen is None else state.backlog.turn(seen, now)
        return penalty_ms

    def _fails_more(self, pool: Pool, outcomes: Outcomes, has_failed: bool, now: float) -> bool:
        """Than the other PoPs of its service, as was found when one of them failed last."""
        service = pool.group.service.name
        comparison = self.comparisons.setdefault(service, Comparison())
        if has_failed and comparison.is_due(pool.pop, outcomes, now):
            before = comparison.failing
            comparison.look({each.pop: self._counts(each) for each in pool.group.pools if each.may_take}, now)
            for pop in comparison.failing.keys() - before.keys():
                extra = {"service": service, "pop": pop, "cause": comparison.failing[pop]}
                logger.warning("pool fails more than those of other PoPs", extra=extra)
        return pool.pop in comparison.failing

    def _counts(self, pool: Pool) -> Counts:
        row = pool.spec.row
        return counts_of(Outcomes(*self.figures.read_pool_outcomes(row)), self.figures.read_pool_groups(row))
