"""Noise: what measured service times make of the choice where every PoP is alike and has room: regret beside the prior's own, and swing.

Whichever PoP serves, a request takes a time of one distribution, so there is nothing to learn, and whatever moves is noise. Judged from
the first second on. Must not know the command line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.steering import policies
from bench.steering.configuration import config_of
from bench.steering.data import Floats, Setting
from bench.steering.outcome import shares_of
from bench.steering.servers import Work
from bench.steering.simulator import Records, Simulation

BIN_S = 10.0
REQUESTS = 60_000  # that a run is long enough for
SHORTEST_S, LONGEST_S = 120.0, 600.0
TAIL_S = 20.0  # what is under way at the end of a run is not recorded, and of that most is what takes long
ROOM = 1 << 30  # slots: no queue anywhere


@dataclass(frozen=True, slots=True)
class Noisy:
    """What to judge by: the work of a request, and how many ask."""

    work: Work
    per_s: float

    @classmethod
    def parse(cls, text: str) -> Noisy:
        """MEAN_MS,SIGMA,PER_S. ValueError says what is legal."""
        try:
            mean_ms, sigma, per_s = map(float, text.split(","))
        except ValueError:
            mean_ms = sigma = per_s = math.nan
        if not (0 < mean_ms <= 60_000 and 0 <= sigma <= 3 and 0 < per_s <= 100_000):
            raise ValueError(f"--work: must be MEAN_MS,SIGMA,PER_S, at most 60000, 3 and 100000, got {text!r}")
        return cls(Work(mean_ms, sigma), per_s)

    @property
    def seconds(self) -> float:
        return min(max(REQUESTS / self.per_s, SHORTEST_S), LONGEST_S)

    def __str__(self) -> str:
        return f"{self.work.mean_ms:g} ms, sigma {self.work.sigma:g}, {self.per_s:g}/s"


@dataclass(frozen=True, slots=True)
class Noise:
    """What came of it."""

    regret_ms: float
    prior_ms: float  # regret of the same requests by the prior alone
    first_ms: float  # mean round trip in the first second; NaN when nobody asked
    swing: float  # of the PoP that swings most, see swing_of
    n_requests: int
    shares: Floats  # [client, PoP], of the requests that were answered

    @property
    def beyond_ms(self) -> float:
        return self.regret_ms - self.prior_ms


def swing_of(records: Records, pop: int, end_s: float) -> float:
    """Standard deviation of a PoP's share from one ten seconds to the next, beyond what chance explains: sqrt(var - p (1 - p) / n)."""
    shares = shares_of(records, pop, 0, end_s, BIN_S)
    n, p = len(records.between(0, BIN_S * len(shares)).at_s) / len(shares), float(shares.mean())
    return math.sqrt(max(0.0, float(shares.var()) - p * (1 - p) / max(n, 1.0)))


def play(setting: Setting, noisy: Noisy, *, seed: int = 1, plan: Callable[[Simulation], None] | None = None) -> tuple[Noise, Records]:
    """`plan`: what else happens."""
    simulation = Simulation(setting, config_of(setting.pops), per_s=noisy.per_s, n_slots=ROOM, work=noisy.work, seed=seed)
    if plan is not None:
        plan(simulation)
    records = simulation.run(noisy.seconds + TAIL_S).between(0, noisy.seconds)
    answered = records.served >= 0
    client, served = records.client[answered], records.served[answered]
    counts = np.zeros(setting.rtt_ms.shape)
    np.add.at(counts, (client, served), 1)
    by_prior = (policies.ours(setting) * setting.regret_ms).sum(axis=1)
    first = records.between(0, 1)
    noise = Noise(
        regret_ms=float(setting.regret_ms[client, served].mean()),
        prior_ms=float(by_prior[client].mean()),
        first_ms=float(setting.rtt_ms[first.client, first.served].mean()) if len(first.at_s) else math.nan,
        swing=max(swing_of(records, pop, noisy.seconds) for pop in range(len(setting.pops))),
        n_requests=len(records.at_s),
        shares=counts / np.maximum(counts.sum(axis=1, keepdims=True), 1),
    )
    return noise, records
