"""Configuration of the bench: the PoPs of a setting and one service in all of them, every key the product's default unless it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from bench.steering.data import Place
from gateway.config import parse
from gateway.model import Config

SERVICE = "all"
LEAST_MS = 0.1  # of a path, as a configuration takes it


def name_of(place: Place) -> str:
    """Of a PoP in the configuration."""
    return f"at-{place.id}"


def address_of(pop: int, endpoint: int) -> str:
    """Of the given PoP's endpoint of that number: 198.18.0.0/15 is for benchmarks (RFC 2544)."""
    return f"198.{18 + (pop >> 8)}.{pop & 255}.{endpoint + 1}"


def text_of(
    pops: Sequence[Place],
    *,
    n_endpoints: int = 1,  # in each PoP, at most 254
    endpoints: Sequence[str] | None = None,  # one of each PoP instead, with its port
    capacity: Sequence[int | None] | None = None,  # requests in flight of each PoP
    paths_ms: Sequence[tuple[int, int, float]] = (),  # round trips between PoPs, by their numbers
    service: Mapping[str, Any] | None = None,  # further keys of the service
    steering: Mapping[str, Any] | None = None,  # of the route
    top: Mapping[str, Any] | None = None,  # sections
) -> str:
    """One service with its endpoints in every PoP, one route that anything matches; as YAML."""
    names = [name_of(place) for place in pops]
    rooms = [None if n is None else {"requests_in_flight": n} for n in capacity or [None] * len(names)]
    written_out = [[f"{address_of(number, endpoint)}:80" for endpoint in range(n_endpoints)] for number in range(len(names))]
    found = [[one] for one in endpoints] if endpoints is not None else written_out
    paths: dict[str, dict[str, str]] = {}
    for one, other, ms in paths_ms:
        paths.setdefault(names[one], {})[names[other]] = f"{max(ms, LEAST_MS):.3f}ms"
    written = {
        "listeners": [{"name": "web", "bind": "127.0.0.1:0"}],
        "pops": [
            {"name": name, "lat": place.lat, "lon": place.lon, "country": place.country or None, "capacity": room, "paths": paths.get(name)}
            for name, place, room in zip(names, pops, rooms, strict=True)
        ],
        "services": [
            {
                "name": SERVICE,
                "backends": [{"pop": name, "endpoints": of} for name, of in zip(names, found, strict=True)],
                **(service or {}),
            }
        ],
        "routes": [{"service": SERVICE, "steering": {**(steering or {})}}],
        **(top or {}),
    }
    return yaml.safe_dump(written)


def config_of(pops: Sequence[Place], **more: Any) -> Config:
    """The same, as the product reads it."""
    return parse(text_of(pops, **more)).config
