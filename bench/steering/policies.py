"""Policies: what share of each client's requests goes to which PoP. Must not know what came of it.

A policy takes a setting and returns shares, [client, PoP], each row of which sums to one; a PoP that is down for a client gets nothing.
`ours` is the product's own decision, made by its core from a configuration with every default; nothing of it is written down here a second
time. `ours_by_paths` is the same where the PoPs know the round trips among each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.steering.configuration import config_of, name_of
from bench.steering.data import Floats, Setting, distances_km, facts_of, point_of
from gateway.control.operator.offline import situation_of
from geoip.countries import COUNTRIES
from routing_core import CandidateExplained, explain


def random(setting: Setting) -> Floats:
    """Every PoP alike."""
    serving = _serving(setting)
    return np.asarray(serving / serving.sum(axis=1, keepdims=True))


def centroid(setting: Setting) -> Floats:
    """The PoP nearest to the middle of the client's country; every PoP alike where the country has none in the product's table."""
    middles = [COUNTRIES.get(place.country) for place in setting.clients]
    shares = _nearest([(middle.lat, middle.lon) if middle else (0.0, 0.0) for middle in middles], setting)
    unknown = [middle is None for middle in middles]
    shares[unknown] = random(setting)[unknown]
    return shares


def nearest(setting: Setting) -> Floats:
    """The PoP nearest to where the client truly is."""
    return _nearest([(place.lat, place.lon) for place in setting.clients], setting)


def ours(setting: Setting, window_ms: float | None = None) -> Floats:
    """The decision with the prior alone: nothing was measured, nothing is in flight. `window_ms`: another than the default."""
    return _decided(setting, lambda candidate: candidate.share, window_ms)


def ours_by_paths(setting: Setting, window_ms: float | None = None) -> Floats:
    """The same, and the PoPs know the paths among each other."""
    return _decided(setting, lambda candidate: candidate.share, window_ms, setting.paths_ms)


def estimates_ms(setting: Setting) -> Floats:
    """What the decision takes each PoP for, [client, PoP], by its prior alone."""
    return _decided(setting, lambda candidate: candidate.estimate_ms)


def _decided(
    setting: Setting,
    read: Callable[[CandidateExplained], float],
    window_ms: float | None = None,
    paths_ms: Sequence[tuple[int, int, float]] = (),
) -> Floats:
    steering = {} if window_ms is None else {"window": f"{window_ms:g}ms"}
    table = situation_of(config_of(setting.pops, steering=steering, paths_ms=paths_ms))[0].table
    column = {name_of(place): number for number, place in enumerate(setting.pops)}
    found = np.zeros(setting.rtt_ms.shape)
    for row, place in enumerate(setting.clients):
        left_out = [name_of(setting.pops[setting.down[row]])] if setting.down else []
        for candidate in explain(table, 0, point_of(place), **facts_of(place), left_out=left_out).candidates:
            found[row, column[candidate.pop]] = read(candidate)
    return found


def best(setting: Setting) -> Floats:
    """The PoP with the lowest round trip: what nobody can know beforehand."""
    return _all_to(np.where(_serving(setting), setting.rtt_ms, np.inf).argmin(axis=1), len(setting.pops))


POLICIES: dict[str, Callable[[Setting], Floats]] = {
    "random": random,
    "centroid": centroid,
    "nearest": nearest,
    "ours": ours,
    "ours, by paths": ours_by_paths,
    "best": best,
}


def _serving(setting: Setting) -> NDArray[np.bool_]:
    """[client, PoP]: which may serve it."""
    found: NDArray[np.bool_] = np.ones(setting.rtt_ms.shape, dtype=bool)
    if setting.down:
        found[np.arange(len(setting.down)), setting.down] = False
    return found


def _nearest(places: Sequence[tuple[float, float]], setting: Setting) -> Floats:
    km = distances_km(places, [(pop.lat, pop.lon) for pop in setting.pops])
    return _all_to(np.where(_serving(setting), km, np.inf).argmin(axis=1), len(setting.pops))


def _all_to(picks: np.ndarray[tuple[int], np.dtype[np.int64]], n_pops: int) -> Floats:
    return np.eye(n_pops)[picks]
