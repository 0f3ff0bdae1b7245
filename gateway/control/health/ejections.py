"""Ejections: of each pool the endpoints that answer worse than its others, found from live traffic and left out for a while.

Owns when a pool is looked at, what is asked of the figures for it, and that gates follow what `outliers` judges. Must not know how
that judges, or what a gate's state means to workers.

How it works. Only errors are urgent. A pool in which none was counted since the last turn, that has nobody ejected and is not to be
swept now costs one look at its sums, however many endpoints it has; one in which nothing was begun since its last sweep is not swept
either. An endpoint that is shut for another reason (its probes, a failed connect) is no outlier: it is forgotten but for how often it
was ejected, and judged anew from its return. It stays part of its set all the while: half of a set is half of all that could be chosen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway import model
from gateway.control.health.gates import Gate, Gates, State
from gateway.control.health.outliers import Counts, Ejection, Outliers, Record, Rules
from gateway.control.sources.others import others
from gateway.control.sources.world import Identity, PoolKey
from gateway.model import Config
from routing_core import Figures, PoolSpec, TableSpec

SWEPT_PER_TURN = 1000  # endpoints, or a pool's more: pools that began together are not swept in one long turn
JUDGED = (State.ADMITTING, State.RAMPING, State.EJECTED)
# A rule's name in metrics, that of its key in the configuration, by the words of its causes.
RULE_NAMES = {
    " in a row": "consecutive_errors",
    " good answers": "success_rate",
    "first byte ": "latency",
    " of answers 5xx ": "server_errors",
}


@dataclass(slots=True)
class Pool:
    """What was seen of one."""

    judge: Outliers = field(default_factory=Outliers)
    members: list[Gate] = field(default_factory=list)
    came: list[Gate] = field(default_factory=list)  # members since the last turn
    went: list[Identity] = field(default_factory=list)
    spec: PoolSpec | None = None  # of the table that the members are of
    ejections: dict[Identity, Ejection] = field(default_factory=dict)  # not over, also of those that left the table since
    outcomes: tuple[int, ...] = (0, 0, 0, 0, 0)  # read_pool_outcomes() at the last turn
    is_due: bool = True  # it was never looked at
    is_unsettled: bool = False  # something was begun since the last sweep, or is not forgiven yet

    def is_to_be_swept(self, now: float, interval_s: float) -> bool:
        return self.is_unsettled and (self.judge.swept_at is None or now - self.judge.swept_at >= interval_s)


def rules_of(outliers: model.Outliers) -> Rules:
    return Rules(
        consecutive_errors=outliers.consecutive_errors,
        interval_s=outliers.interval,
        eject_s=outliers.eject,
        eject_max_s=outliers.eject_max,
        max_share=outliers.max_share,
        success_rate=outliers.success_rate,
        latency=outliers.latency,
        server_errors=outliers.server_errors,
    )


def rule_name(cause: str) -> str:
    """Of the rule that found this cause."""
    return next(name for words, name in RULE_NAMES.items() if words in cause)


@dataclass(slots=True)
class Ejections:
    figures: Figures
    gates: Gates
    clock: Callable[[], float]
    rng: random.Random
    pools: dict[PoolKey, Pool] = field(default_factory=dict)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # ejections, by service, PoP and rule, since the start

    def turn(self, config: Config, spec: TableSpec) -> None:
        """Judge every pool of the table in use, which was built of `config`, and have gates follow."""
        now = self.clock()
        room = SWEPT_PER_TURN
        for configured_service, service in zip(config.services, spec.services, strict=True):
            for built in service.pools:
                key = service.name, spec.pops[built.pop].name
                pool = self.pools.get(key) or self.pools.setdefault(key, Pool())
                if pool.spec is not built:
                    self._remember(pool, list(self.gates.chosen.get(key, {}).values()))
                    pool.spec = built
                before, pool.outcomes = pool.outcomes, self.figures.read_pool_outcomes(built.row)
                has_moved = pool.outcomes != before
                pool.is_unsettled = pool.is_unsettled or has_moved
                # Failures and server errors: an endpoint's error is always one of these.
                has_failed = pool.outcomes[1:3] != before[1:3]
                if pool.came or pool.went:
                    self._meet(pool, rules_of(configured_service.outliers), now)
                if not (has_failed or pool.is_due or pool.ejections):
                    if room <= 0 or not pool.is_to_be_swept(now, configured_service.outliers.interval):
                        continue
                    room -= len(pool.members)
                self._look(key, pool, has_moved, rules_of(configured_service.outliers), now)
        self._forget(spec)

    def _forget(self, spec: TableSpec) -> None:
        """Pools that the table does not have, where it is of another configuration."""
        if len(self.pools) > sum(len(service.pools) for service in spec.services):
            there = {(service.name, spec.pops[built.pop].name) for service in spec.services for built in service.pools}
            self.pools = {key: pool for key, pool in self.pools.items() if key in there}

    @staticmethod
    def _remember(pool: Pool, members: list[Gate]) -> None:
        """Who is in the pool now, and who came and went."""
        came, went = others(members, pool.members)
        pool.came += [members[place] for place in came]
        pool.went += [pool.members[place].identity for place in went]
        pool.members = members

    def _meet(self, pool: Pool, rules: Rules, now: float) -> None:
        """Who came is counted from now on, who went no longer. A look at all, of thousands, is for where that may change a judgement."""
        if pool.is_due or pool.ejections or pool.judge.swept_at is None or rules.most(len(pool.members)) == 0:
            pool.is_due = True
        else:
            pool.judge.change({gate.identity: self._counts(pool, gate, now) for gate in pool.came}, pool.went)
            self._follow(pool, pool.came, now)
        pool.came, pool.went = [], []

    def _look(self, key: PoolKey, pool: Pool, has_moved: bool, rules: Rules, now: float) -> None:
        pool.is_due = False
        if not pool.ejections and rules.most(len(pool.members)) == 0:
            pool.judge = Outliers()  # what it has seen will be old when somebody can be ejected
            pool.is_unsettled = False
        else:
            self._judge(key, pool, rules, now)
            if pool.judge.swept_at == now:
                pool.is_unsettled = has_moved or any(record.times > 0 for record in pool.judge.records.values())
        self._follow(pool, pool.members, now)

    def _judge(self, key: PoolKey, pool: Pool, rules: Rules, now: float) -> None:
        seen = {gate.identity: self._counts(pool, gate, now) for gate in pool.members}
        verdicts = pool.judge.turn(seen, rules, now, self.rng)
        for identity in verdicts.restored:
            del pool.ejections[identity]
        for ejection in verdicts.ejected:
            pool.ejections[ejection.identity] = ejection
            self.counts[*key, rule_name(ejection.cause)] += 1

    def _counts(self, pool: Pool, gate: Gate, now: float) -> Counts:
        if gate.state not in JUDGED:
            self._pass_over(pool, gate.identity, now)
        return Counts(*self.figures.read_endpoint_outcomes(gate.row))

    @staticmethod
    def _pass_over(pool: Pool, identity: Identity, now: float) -> None:
        """Shut for another reason: what a panic sends there says nothing, and probes have the word on its return. So an ejection ends; in
        Envoy, too, a passed check ends one."""
        pool.ejections.pop(identity, None)
        record = pool.judge.records.get(identity)
        if record is not None:
            restored_at = record.restored_at if record.until is None else now
            pool.judge.records[identity] = Record(times=record.times, restored_at=restored_at)

    def _follow(self, pool: Pool, members: Iterable[Gate], now: float) -> None:
        """Gates of the pool become what was judged. Not by the news of this turn: one that was away meanwhile must follow as well."""
        for gate in members:
            ejection = pool.ejections.get(gate.identity)
            if ejection is not None:
                self.gates.eject(gate, ejection.cause, ejection.until - now)
            elif gate.state is State.EJECTED:
                self.gates.restore(gate)
