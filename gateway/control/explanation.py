"""Explanation: one decision as the object that `isochrone explain --json` and `GET /explain` answer with.

One pure function over a table, so that a file and a running gateway with the same table say the same, word for word. Owns the
object's fields (fixed: others read them) and what a question must be; the decision itself is routing_core's, by the code path of
traffic. Must not know where the table came from, or who prints.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.control.pools import Source, rounded
from gateway.errors import IsochroneError
from geoip import Found, Locator
from routing_core import CandidateExplained, Table
from routing_core import explain as decide
from routing_core import match as match_route

MAX_TEXT = 8192  # of a host or path: no request's head is longer
MAX_ACCURACY_KM = 20_000.0  # anywhere on earth

Point = tuple[float, float, float]  # lat, lon (degrees), accuracy (km)


class BadQuestion(IsochroneError):
    """What came, and what is legal."""

    status = 400


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision is made from."""

    table: Table
    locator: Locator
    age_s: float = 0.0  # of the table
    sources: Mapping[tuple[str, str], Source] = field(default_factory=dict)  # by service and PoP
    # Names of endpoints that only stand for others nobody has asked for (see offline): there, and not known by address.
    placeholders: frozenset[str] = frozenset()


def explain(situation: Situation, client: str, host: str | None = None, path: str | None = None) -> dict[str, Any]:
    """The decision for a GET and why, PoP by PoP. `host` absent: the first that a route names. BadQuestion when it is none."""
    table = situation.table
    address = _address(client)
    asked_host = _text("host", host) if host is not None else first_host(table)
    asked_path = _text("path", path) if path is not None else "/"
    if not asked_path.startswith("/"):
        raise BadQuestion(f"path: must begin with '/', got {asked_path!r}")
    found = situation.locator.locate(address)
    said: dict[str, Any] = {
        "client": address,
        "host": asked_host,
        "path": asked_path,
        "route": None,
        "service": None,
        "location": _location(found),
        "leg": None,
        "decision": None,
        "error": "no_route",
        "candidates": [],
        "table": {"generation": table.spec.generation, "age_s": rounded(situation.age_s)},
        "window_ms": None,
        "sources": {},
    }
    route = match_route(table, without_port(asked_host), asked_path)
    if route is None:
        return said
    explained = decide(table, route, point_of(found))
    said["route"], said["service"], said["leg"] = explained.route, explained.service, explained.leg
    said["error"] = explained.error
    if explained.error is None:
        endpoint = None if explained.endpoint in situation.placeholders else explained.endpoint
        said["decision"] = {
            "pop": explained.pop,
            "endpoint": endpoint,
            "reason": explained.reason,
            "fallbacks": list(explained.fallbacks),
        }
    places = {pop.name: (pop.lat, pop.lon) for pop in table.spec.pops}
    said["candidates"] = [_candidate(one, places[one.pop]) for one in explained.candidates]
    said["window_ms"] = round(explained.window_ms, 2)
    pops = list(places)
    said["sources"] = {
        pop: asdict(source)
        for (service, pop), source in sorted(situation.sources.items(), key=lambda item: pops.index(item[0][1]))
        if service == explained.service
    }
    return said


def first_host(table: Table) -> str:
    """The first host that a route names in full; empty where routes name none."""
    return next((host for route in table.spec.routes for host in route.hosts if not host.startswith("*")), "")


def without_port(host: str) -> str:
    """As a request's Host field is read: `shop.example.com:8080` and `[::1]:8080` are the host and its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (":" not in name or name.endswith("]")) else host


def _address(client: str) -> str:
    """As the data plane sees it: IPv4 in IPv6 is IPv4, a scope is no part of it."""
    try:
        address = ipaddress.ip_address(client.strip().partition("%")[0])
    except ValueError:
        raise BadQuestion(f"client: must be an IP address, got {client[:100]!r}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _text(name: str, text: str) -> str:
    if len(text) > MAX_TEXT or any(char <= " " or char == "\x7f" for char in text) or not text.isascii():
        raise BadQuestion(f"{name}: must be at most {MAX_TEXT} visible ASCII characters, as in a request, got {text[:100]!r}")
    return text


def _location(found: Found) -> dict[str, Any]:
    return {
        "lat": None if found.lat is None else round(found.lat, 4),
        "lon": None if found.lon is None else round(found.lon, 4),
        "country": found.country,
        "continent": found.continent,
        "asn": found.asn,
        "accuracy_km": None if found.accuracy_km is None else round(found.accuracy_km, 1),
        "source": found.source,
    }


def point_of(found: Found) -> Point | None:
    """None for a client of unknown place."""
    if found.lat is None or found.lon is None:
        return None
    return found.lat, found.lon, min(found.accuracy_km or 0.0, MAX_ACCURACY_KM)


def _candidate(one: CandidateExplained, place: tuple[float, float]) -> dict[str, Any]:
    return {
        "pop": one.pop,
        "permitted": one.permitted,
        "available": one.available,
        "availability": round(one.availability, 4),
        "headroom": None,  # no PoP has a capacity in this version
        "distance_km": None if one.distance_km is None else round(one.distance_km, 1),
        "estimate_ms": round(one.estimate_ms, 2),
        "evidence": one.evidence,
        "samples": one.samples,
        "in_window": one.in_window,
        "share": round(one.share, 4),
        "why_not": one.why_not,
        "drained": one.drained,
        "admit": round(one.admit, 4),
        "path_ms": round(one.path_ms, 2),
        "service_ms": round(one.service_ms, 2),
        "lat": place[0],
        "lon": place[1],
    }
