"""Regret: what a policy's shares cost over the best PoP, on measured round trips. Arithmetic; must not know who decided.

The regret of a request is the round trip to the PoP it goes to less the lowest of its client, in ms. Every client weighs the same, however
many PoPs its requests are spread over; quantiles are over requests: the smallest regret that the given share does not exceed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.steering.data import Floats, Setting

NEAR_MS = 5.0  # "within 5 ms"
WINDOW_MS = 5.0  # the default of a route: further than that is no near-equal
N_BOOTSTRAP = 2000
SEED = 1
EXACT_MS = 1e-9


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy on one setting. Shares are of the requests."""

    mean_ms: float
    mean_se_ms: float  # standard error, by bootstrap over the clients
    p90_ms: float
    p99_ms: float
    best: float  # went to exactly the best PoP
    near: float  # within NEAR_MS of it
    needless: float  # to a PoP more than WINDOW_MS slower than the nearest
    over_nearest_ms: float  # mean regret less that of "nearest"
    over_nearest_se_ms: float  # of that difference, client by client


def judge(setting: Setting, shares: Mapping[str, Floats]) -> dict[str, Figures]:
    """Figures of each policy; `shares` must have "nearest"."""
    regret = setting.regret_ms
    by_nearest = (shares["nearest"] * regret).sum(axis=1)
    is_needless = regret > by_nearest[:, None] + WINDOW_MS
    found = {}
    for name, share in shares.items():
        part = share / len(share)  # of all requests
        mean = (share * regret).sum(axis=1)
        found[name] = Figures(
            mean_ms=float(mean.mean()),
            mean_se_ms=standard_error(mean),
            p90_ms=quantile(regret, part, 0.90),
            p99_ms=quantile(regret, part, 0.99),
            best=float(part[regret <= EXACT_MS].sum()),
            near=float(part[regret <= NEAR_MS].sum()),
            needless=float(part[is_needless].sum()),
            over_nearest_ms=float((mean - by_nearest).mean()),
            over_nearest_se_ms=standard_error(mean - by_nearest),
        )
    return found


def standard_error(values: Floats) -> float:
    """Of the mean, by bootstrap; the same for the same values."""
    rng = np.random.default_rng(SEED)
    return float(values[rng.integers(0, len(values), (N_BOOTSTRAP, len(values)))].mean(axis=1).std())


def quantile(values: Floats, weights: Floats, at: float) -> float:
    """The smallest value that at least `at` of the weight does not exceed. Rounding of the weights' sum counts for nothing."""
    order = values.argsort(axis=None)
    reached = np.cumsum(weights.ravel()[order])
    return float(values.ravel()[order][np.searchsorted(reached, at * reached[-1] - 1e-9)])


def exceedance(setting: Setting, share: Floats, at_ms: Floats) -> Floats:
    """Share of the requests whose regret is above each of `at_ms`."""
    part = share / len(share)
    return np.array([part[setting.regret_ms > ms].sum() for ms in at_ms])
