"""Measured round trips of one set: places, which of them stand for PoPs, and the round trip between any two. Must not know policies.

A set is a folder with `places.csv` (id, name, country, lat, lon, pop_set, perhaps more) and `rtt.csv.gz` (src, dst, min_ms): see
bench/data/README.md. What a client pays for a PoP is the mean of both directions' minimum, or the one direction that was measured.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoip.countries import COUNTRIES

Floats = NDArray[np.float64]
LIGHT_MS_PER_KM = 2 / 299.792458  # there and back, in empty space


@dataclass(frozen=True, slots=True)
class Place:
    id: str
    name: str
    country: str  # ISO 3166 alpha-2
    lat: float  # degrees
    lon: float
    pop_set: float  # the smallest number of PoPs among which it is one; infinite: always a client


def point_of(place: Place) -> tuple[float, float, float]:
    """Its location, as the core is asked by it: with no radius, for it is known."""
    return place.lat, place.lon, 0.0


def facts_of(place: Place) -> dict[str, Any]:
    """What else the core is told of a client there: its country, where the product's table has it, and the continent of that."""
    country = COUNTRIES.get(place.country)
    return {} if country is None else {"country": place.country, "continent": country.continent}


@dataclass(frozen=True, slots=True)
class Setting:
    """Who asks, who may answer, and what that takes. Clients are the places that are no PoP and whose round trip to every PoP is known."""

    name: str  # of the set
    clients: tuple[Place, ...]
    pops: tuple[Place, ...]
    rtt_ms: Floats  # [client, PoP]
    paths_ms: tuple[tuple[int, int, float], ...] = ()  # between two PoPs, each pair once where it was measured
    down: tuple[int, ...] = ()  # of each client the PoP that serves nobody; empty: all serve

    @property
    def regret_ms(self) -> Floats:
        """[client, PoP]: above the lowest round trip of that client to one that serves; 0 of the one that doesn't, where nobody goes."""
        serving = self.rtt_ms.astype(float)
        if self.down:
            serving[np.arange(len(self.down)), self.down] = np.inf
        regret = serving - serving.min(axis=1, keepdims=True)
        return np.asarray(np.where(np.isfinite(regret), regret, 0.0))

    def within(self, continent: str) -> Setting:
        """With the clients of that continent, as the product's table has their countries. ValueError when there is none."""
        kept = [number for number, place in enumerate(self.clients) if facts_of(place).get("continent") == continent]
        if not kept:
            raise ValueError(f"{self.name}: no client in {continent}")
        return replace(self, clients=tuple(self.clients[number] for number in kept), rtt_ms=self.rtt_ms[kept])

    def without(self, down: Sequence[int]) -> Setting:
        """A PoP of each client down."""
        return replace(self, down=tuple(map(int, down)))


class Measured:
    """One set. ValueError when the folder holds none, or one that can't be read."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        try:
            with (folder / "places.csv").open(encoding="utf-8") as file:
                self.places = [_place(row) for row in csv.DictReader(file)]
            index = {place.id: number for number, place in enumerate(self.places)}
            self.rtt_ms = np.full((len(index), len(index)), np.nan)  # [src, dst]
            with gzip.open(folder / "rtt.csv.gz", "rt", encoding="utf-8") as rows:
                for row in csv.DictReader(rows):
                    self.rtt_ms[index[row["src"]], index[row["dst"]]] = float(row["min_ms"])
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{folder}: not a set of round trips as bench/data/README.md has it: {error!r}") from error

    def setting(self, n_pops: int) -> Setting:
        """ValueError when the set has no place whose `pop_set` is at most `n_pops`, or no client for them."""
        is_pop = np.array([place.pop_set <= n_pops for place in self.places])
        pops = np.flatnonzero(is_pop)
        there, back = self.rtt_ms, self.rtt_ms.T
        rtt = np.where(np.isfinite(there), np.where(np.isfinite(back), (there + back) / 2, there), back)[:, pops]
        between, places = rtt[pops], [(self.places[pop].lat, self.places[pop].lon) for pop in pops]
        # No configuration takes what is faster than light: then a place is wrong.
        is_known = between >= distances_km(places, places) * LIGHT_MS_PER_KM if places else between
        paths = tuple((i, j, float(between[i, j])) for i, j in itertools.combinations(range(len(pops)), 2) if is_known[i, j])
        clients = np.flatnonzero(~is_pop & np.isfinite(rtt).all(axis=1))
        if not len(pops) or not len(clients):
            raise ValueError(f"{self.name}: {len(pops)} PoPs and {len(clients)} clients for {n_pops} PoPs")
        return Setting(self.name, self._named(clients), self._named(pops), rtt[clients], paths)

    def _named(self, numbers: NDArray[np.int64]) -> tuple[Place, ...]:
        return tuple(self.places[number] for number in numbers)


def sets_in(folder: Path) -> list[Measured]:
    """The folder's own set, or those of the folders in it, by name."""
    if (folder / "places.csv").exists():
        return [Measured(folder)]
    found = sorted(path.parent for path in folder.glob("*/places.csv"))
    if not found:
        raise ValueError(f"{folder}: no places.csv in it, nor one folder below")
    return [Measured(path) for path in found]


def distances_km(clients: Sequence[tuple[float, float]], pops: Sequence[tuple[float, float]]) -> Floats:
    """Great circles, [client, PoP], by the haversine formula: on purpose not by what the decision uses."""
    (lat1, lon1), (lat2, lon2) = (np.radians(np.array(places)).T for places in (clients, pops))
    north, east = lat1[:, None] - lat2[None], lon1[:, None] - lon2[None]
    half = np.sin(north / 2) ** 2 + np.cos(lat1)[:, None] * np.cos(lat2)[None] * np.sin(east / 2) ** 2
    return np.asarray(2 * 6371.0088 * np.arcsin(np.sqrt(half)))


def _place(row: dict[str, str]) -> Place:
    pop_set = float(row["pop_set"]) if row["pop_set"] else math.inf
    return Place(row["id"], row["name"], row["country"], float(row["lat"]), float(row["lon"]), pop_set)
