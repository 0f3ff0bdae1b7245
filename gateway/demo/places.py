"""Places: the demo's PoPs and clients, and the measured round-trip time between each two. Owns the tables and how they are read.

Must not know processes or requests. Each table says at its head where its figures come from.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Pop:
    name: str
    city: str
    country: str  # ISO 3166
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Client:
    address: str
    city: str
    country: str  # ISO 3166
    country_name: str
    lat: float  # of the city
    lon: float


RoundTrips = dict[tuple[str, str], float]
"""(city of the client, name of the PoP) -> ms."""


def pops() -> tuple[Pop, ...]:
    """In the order of the configuration, which is that of last resort."""
    return tuple(Pop(row["name"], row["city"], row["country"], float(row["lat"]), float(row["lon"])) for row in _rows("pops.csv"))


def clients() -> tuple[Client, ...]:
    return tuple(
        Client(row["address"], row["city"], row["country"], row["country_name"], float(row["lat"]), float(row["lon"]))
        for row in _rows("clients.csv")
    )


def round_trips() -> RoundTrips:
    return {(row["city"], pop): float(ms) for row in _rows("rtt.csv") for pop, ms in row.items() if pop != "city"}


def _rows(name: str) -> Iterator[dict[str, str]]:
    """Lines that begin with # say where the table comes from."""
    text = (resources.files("gateway.demo") / name).read_text()
    yield from csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
