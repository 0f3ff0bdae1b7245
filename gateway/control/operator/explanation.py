"""Explanation: one decision as the object that `isochrone explain --json` and `GET /explain` answer with.

One pure function over a table, so that a file and a running gateway with the same table say the same, word for word. Owns the
object's fields (fixed: others read them), what a question must be, and what of a request the decision is asked by, which is what the data
plane asks by; the decision itself is routing_core's, by the code path of traffic. Must not know where the table came from, or who prints.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlsplit

from gateway.control.operator.pools import Source, rounded
from gateway.dataplane import client_key, header_key
from gateway.errors import IsochroneError
from gateway.model import Config
from geoip import Found, Locator
from routing_core import AffinitySpec, CandidateExplained, Explained, RouteSpec, RuleSpec, Table, TableSpec
from routing_core import explain as decide
from routing_core import match as match_route

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
MAX_TEXT = 8192  # of a host, path or header: no request's head is longer
MAX_HEADERS = 100  # as many as a request may have by default
MAX_ACCURACY_KM = 20_000.0  # anywhere on earth
DIGITS = 4  # of shares

Point = tuple[float, float, float]  # lat, lon (degrees), accuracy (km)
Headers = Sequence[tuple[str, str]]


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
    config: Config | None = None  # what the table was built of: only it knows the override and the pin by their prefix


class _Facts(TypedDict, total=False):
    """What is known of a client beside its coordinates, as the decision is asked."""

    country: str | None
    continent: str | None
    pin: int
    client_key: int
    header_key: int
    kept: str | None


def explain(
    situation: Situation, client: str, host: str | None = None, path: str | None = None, headers: Headers = (), method: str | None = None
) -> dict[str, Any]:
    """The decision and why, PoP by PoP. `host` absent: the first that a route names; `method`: GET. BadQuestion when it is none."""
    table = situation.table
    address = _address(client)
    asked_host = _text("host", host) if host is not None else first_host(table)
    asked_path = _text("path", path) if path is not None else "/"
    if not asked_path.startswith("/"):
        raise BadQuestion(f"path: must begin with '/', got {asked_path!r}")
    _check_headers(headers)
    if situation.config is not None and situation.config.requests.underscores == "drop":
        headers = [(name, value) for name, value in headers if "_" not in name]
    asked_method = method if method is not None else "GET"
    if not _METHOD.fullmatch(asked_method):
        raise BadQuestion(f"method: must be an HTTP method in capitals, such as GET, got {asked_method[:100]!r}")
    found = situation.locator.locate(address)
    said: dict[str, Any] = {
        "client": address,
        "host": asked_host,
        "path": asked_path,
        "route": None,
        "service": None,
        "location": {**_location(found), "override": _override_of(situation.config, address, found)},
        "leg": None,
        "decision": None,
        "error": "no_route",
        "candidates": [],
        "table": {"generation": table.spec.generation, "age_s": rounded(situation.age_s)},
        "window_ms": None,
        "sources": {},
        "rule": None,
        "split": {},
        "on_unavailable": [],
        "pin": None,
        "affinity": None,
        "redirect": None,
        "method": asked_method,
        "refused": [],
    }
    number = match_route(table, without_port(asked_host), asked_path, asked_method, headers)
    if number is None:
        return said
    route = table.spec.routes[number]
    if route.service is None:
        return {**said, "route": route.name, "error": "route_refused", "refused": _refusals(situation.config, route.name)}
    facts = _facts_of(table.spec, route, address, found, headers)
    explained = decide(table, number, point_of(found), **facts)
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
    said["sources"] = _sources(situation, explained.service, list(places))
    said["rule"] = None if explained.rule is None else _rule(explained.rule, route.rules, table.spec)
    said["split"] = {service: round(share, DIGITS) for service, share in explained.split}
    said["on_unavailable"] = [table.spec.services[service].name for service in route.fallback_services]
    said["pin"] = _pin(situation, found.pin, explained)
    if route.affinity is not None:
        said["affinity"] = _affinity(table.spec, route.affinity, facts, headers, explained)
    if route.redirect_status and explained.pop is not None and (route.redirects_all or asked_method in ("GET", "HEAD")):
        said["redirect"] = _redirect(table.spec, route, asked_host, asked_path, explained.pop)
    return said


def _refusals(config: Config | None, route: str) -> list[str]:
    """Why a route leads nowhere."""
    refused = () if config is None else config.refused
    return [one.fault for one in refused if one.kind == "route" and one.identity.name == route]


def _facts_of(spec: TableSpec, route: RouteSpec, address: str, found: Found, headers: Headers) -> _Facts:
    """As the data plane asks: a key only where the route goes by it."""
    facts: _Facts = {"country": found.country, "continent": found.continent, "pin": found.pin}
    affinity = route.affinity
    if affinity is not None or route.is_split_sticky:
        facts["client_key"] = client_key(_packed(address))
    if affinity is not None and affinity.by == "header":
        facts["header_key"] = header_key((_header(headers, affinity.name) or "").encode())
    if affinity is not None and affinity.by == "cookie":
        value = _cookie(headers, affinity.name)
        facts["kept"] = next((pop.name for pop in spec.pops if pop.cookie and pop.cookie == value), None)
    return facts


def _header(headers: Headers, name: str) -> str | None:
    """The first of that name."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def _cookie(headers: Headers, name: str) -> str | None:
    """The first of that name (RFC 6265 5.4)."""
    pairs = (pair.strip(" \t") for key, value in headers if key.lower() == "cookie" for pair in value.split(";"))
    return next((pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")), None)


def _sources(situation: Situation, service: str, pops: list[str]) -> dict[str, Any]:
    known = sorted(situation.sources.items(), key=lambda item: pops.index(item[0][1]))
    return {pop: asdict(source) for (of, pop), source in known if of == service}


def _rule(number: int, rules: Sequence[RuleSpec], spec: TableSpec) -> dict[str, Any]:
    """Of the route's jurisdiction. Numbers are from 1, as one counts them in the file."""
    rule = rules[number]
    pops = [pop.name for place, pop in enumerate(spec.pops) if rule.permitted_pops is None or place in rule.permitted_pops]
    whose = [f"{kind} {', '.join(sorted(codes))}" for kind, codes in (("country", rule.countries), ("continent", rule.continents)) if codes]
    clients = f"clients in {' or '.join(whose)}" if whose else "every client"
    permitted = "every PoP" if rule.permitted_pops is None else ", ".join(pops) or "no PoP"
    return {"number": number + 1, "of": len(rules), "text": f"{clients}: {permitted}", "pops": pops}


def _pin(situation: Situation, number: int, explained: Explained) -> dict[str, Any] | None:
    """It holds when the PoP is one of its own: else none of them could serve."""
    spec, config = situation.table.spec, situation.config
    if not 0 < number <= len(spec.pins):
        return None
    pops = [spec.pops[pop].name for pop in spec.pins[number - 1]]
    prefix = None if config is None else str(config.geoip.pins[number - 1].prefix)
    return {"prefix": prefix, "pops": pops, "holds": explained.reason == "order" and explained.pop in pops}


def _affinity(spec: TableSpec, affinity: AffinitySpec, facts: _Facts, headers: Headers, explained: Explained) -> dict[str, Any]:
    """`kept`: the PoP that this client has or will have; None where nothing is kept."""
    has_held = explained.reason == "affinity"
    pop = explained.pop
    kept = facts.get("kept") if affinity.by == "cookie" else pop if has_held else None
    if pop is None:
        text = "nobody can serve"
    elif affinity.by == "cookie":
        text = _of_cookie(spec, affinity.name, _cookie(headers, affinity.name), kept, pop)
    elif affinity.by == "header" and facts["header_key"] == 0:
        text = f"no header {affinity.name}: as without affinity"
    else:
        whose = f"its value of {affinity.name}" if affinity.by == "header" else "its network"
        instead = "the order decides" if explained.reason == "order" else f"{pop} alone is near enough"
        text = f"{whose} goes to {pop} each time" if has_held else f"nothing to choose: {instead}"
    return {
        "by": affinity.by,
        "name": affinity.name or None,
        "within_ms": round(affinity.within_ms, 2),
        "kept": kept,
        "holds": has_held,
        "text": text,
    }


def _of_cookie(spec: TableSpec, name: str, value: str | None, kept: str | None, pop: str) -> str:
    if not any(one.cookie for one in spec.pops):
        return f"the key of cookie {name} is not known here"
    if kept == pop:
        return f"cookie {name} names {pop}"
    anew = f"the answer sets one that names {pop}"
    if kept is not None:
        return f"cookie {name} names {kept}, which does not take this request; {anew}"
    return f"no cookie {name}; {anew}" if value is None else f"cookie {name} is stale or forged, as good as none; {anew}"


def _redirect(spec: TableSpec, route: RouteSpec, host: str, path: str, chosen: str) -> dict[str, Any] | None:
    """Where the client is sent. None where the request is passed on: nobody is sent on from the public host of a PoP."""
    url = next(pop.public_url for pop in spec.pops if pop.name == chosen)
    name, port = _authority(f"//{host}")
    public = {_authority(pop.public_url) for pop in spec.pops if pop.public_url}
    if not url or not name or any(name == other and port in (None, its_port) for other, its_port in public):
        return None
    return {"status": route.redirect_status, "location": url + path}


def _authority(url: str) -> tuple[str, int | None]:
    """Host and port, as two hosts are compared; an empty host when it is none."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        host = str(ipaddress.IPv6Address(host)) if ":" in host else host  # one spelling
        return host, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", None


def first_host(table: Table) -> str:
    """The first host that a route names in full; empty where routes name none."""
    return next((host for route in table.spec.routes for host in route.hosts if not host.startswith("*")), "")


def without_port(host: str) -> str:
    """As a request's Host field is read: `shop.example.com:8080` and `[::1]:8080` are the host and its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) and name and (":" not in name or name.endswith("]")) else host


def _packed(address: str) -> bytes:
    """16 bytes, IPv4 as ::ffff:a.b.c.d."""
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def _check_headers(headers: Headers) -> None:
    if len(headers) > MAX_HEADERS:
        raise BadQuestion(f"header: must be at most {MAX_HEADERS}, got {len(headers)}")
    for name, value in headers:
        if not _is_token(name):
            raise BadQuestion(f"header: must be NAME: VALUE, as in a request, got the name {name[:100]!r}")
        if len(value) > MAX_TEXT or any((char < " " and char != "\t") or char == "\x7f" for char in value):
            raise BadQuestion(f"header {name}: must be at most {MAX_TEXT} characters without control characters, got {value[:100]!r}")


def read_headers(lines: Iterable[str]) -> list[tuple[str, str]]:
    """From `Name: value` each. BadQuestion for a line that is none."""
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadQuestion(f"header: must be NAME: VALUE, as in a request, got {line[:100]!r}")
        found.append((name, value.strip(" \t")))
    return found


def _is_token(name: str) -> bool:
    """RFC 9110 5.6.2."""
    return 0 < len(name) <= MAX_TEXT and name.isascii() and all(char.isalnum() or char in "!#$%&'*+-.^_`|~" for char in name)


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


def _override_of(config: Config | None, address: str, found: Found) -> str | None:
    """Which of the operator's words places the client: in the order in which they count."""
    if config is None or found.source != "override":
        return None
    overrides = config.geoip.overrides
    ip = ipaddress.ip_address(address)
    prefixes = [one.prefix for one in overrides if one.prefix is not None and ip in one.prefix]
    if prefixes:
        return f"prefix {max(prefixes, key=lambda prefix: prefix.prefixlen)}"
    if any(one.asn is not None and one.asn == found.asn for one in overrides):
        return f"AS {found.asn}"
    if any(one.prefix is None and one.asn is None and one.country == found.country for one in overrides):
        return f"country {found.country}"
    return "gateway.location" if config.gateway.location is not None else "gateway.pop"


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
        "availability": round(one.availability, DIGITS),
        "headroom": None if one.headroom is None else round(one.headroom, DIGITS),
        "distance_km": None if one.distance_km is None else round(one.distance_km, 1),
        "estimate_ms": round(one.estimate_ms, 2),
        "evidence": one.evidence,
        "samples": one.samples,
        "in_window": one.in_window,
        "share": round(one.share, DIGITS),
        "why_not": one.why_not,
        "drained": one.drained,
        "admit": round(one.admit, DIGITS),
        "shed": round(one.shed, DIGITS),
        "ramp": round(one.ramp, DIGITS),
        "path_ms": round(one.path_ms, 2),
        "border_ms": round(one.border_ms, 2),
        "by_paths_ms": round(one.by_paths_ms, 2),
        "service_ms": round(one.service_ms, 2),
        "spread_ms": round(one.spread_ms, 2),
        "penalty_ms": round(one.penalty_ms, 2),
        "lat": place[0],
        "lon": place[1],
    }
