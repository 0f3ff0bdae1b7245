"""Policies: what share of each client's requests goes to which PoP. Must not know what came of it.

A policy takes a setting and returns shares, [client, PoP], each row of which sums to one. `ours` is the product's own decision, made
by its core from a configuration with every default; nothing of it is written down here a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.steering.configuration import config_of, name_of
from bench.steering.data import Floats, Place, Setting, distances_km, facts_of, point_of
from gateway.control.operator.offline import situation_of
from geoip.countries import COUNTRIES
from routing_core import CandidateExplained, explain


def random(setting: Setting) -> Floats:
    """Every PoP alike."""
    return np.full(setting.rtt_ms.shape, 1 / len(setting.pops))


def centroid(setting: Setting) -> Floats:
    """The PoP nearest to the middle of the client's country; every PoP alike where the country has none in the product's table."""
    middles = [COUNTRIES.get(place.country) for place in setting.clients]
    shares = _nearest([(middle.lat, middle.lon) if middle else (0.0, 0.0) for middle in middles], setting.pops)
    shares[[middle is None for middle in middles]] = 1 / len(setting.pops)
    return shares


def nearest(setting: Setting) -> Floats:
    """The PoP nearest to where the client truly is."""
    return _nearest([(place.lat, place.lon) for place in setting.clients], setting.pops)


def ours(setting: Setting, window_ms: float | None = None) -> Floats:
    """The decision with the prior alone: nothing was measured, nothing is in flight. `window_ms`: another than the default."""
    return _decided(setting, lambda candidate: candidate.share, window_ms)


def estimates_ms(setting: Setting) -> Floats:
    """What the decision takes each PoP for, [client, PoP], by its prior alone."""
    return _decided(setting, lambda candidate: candidate.estimate_ms)


def _decided(setting: Setting, read: Callable[[CandidateExplained], float], window_ms: float | None = None) -> Floats:
    steering = {} if window_ms is None else {"window": f"{window_ms:g}ms"}
    table = situation_of(config_of(setting.pops, steering=steering))[0].table
    column = {name_of(place): number for number, place in enumerate(setting.pops)}
    found = np.zeros(setting.rtt_ms.shape)
    for row, place in enumerate(setting.clients):
        for candidate in explain(table, 0, point_of(place), **facts_of(place)).candidates:
            found[row, column[candidate.pop]] = read(candidate)
    return found


def best(setting: Setting) -> Floats:
    """The PoP with the lowest round trip: what nobody can know beforehand."""
    return _all_to(setting.rtt_ms.argmin(axis=1), len(setting.pops))


POLICIES: dict[str, Callable[[Setting], Floats]] = {
    "random": random,
    "centroid": centroid,
    "nearest": nearest,
    "ours": ours,
    "best": best,
}


def _nearest(places: Sequence[tuple[float, float]], pops: Sequence[Place]) -> Floats:
    return _all_to(distances_km(places, [(pop.lat, pop.lon) for pop in pops]).argmin(axis=1), len(pops))


def _all_to(picks: np.ndarray[tuple[int], np.dtype[np.int64]], n_pops: int) -> Floats:
    return np.eye(n_pops)[picks]
