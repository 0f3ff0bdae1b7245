"""Explain text: what an explanation says to people, apart from where it is shown: the lines above the table, and the table's columns.

Owns the words and the order, which is that of the decision: who and where, which rule, who may serve, what each admits, what it is
estimated at, who is in the window, who has which share. It is given the object of `operator.explanation`, also one of an older gateway
that says less. Must not know terminals or HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Said = dict[str, Any]

ERRORS = {
    "no_route": "no route matches: 404",
    "route_refused": "the route is refused, and its requests are nobody else's: 500",
    "no_permitted_pop": "no PoP that the route's jurisdiction permits can serve: 503",
    "no_endpoint": "no PoP has an endpoint: 503",
}
REASONS = {
    "fastest": "the fastest",
    "window": "near enough to the fastest, and drawn among the near-equals",
    "affinity": "where this client is kept",
    "spill": "a better one is passed over for part of the traffic",
    "failover": "the better ones are not available",
    "panic": "too little is healthy: health is ignored",
    "ramp": "a better one has come back, and takes its traffic up step by step",
    "explore": "too little is known of it, and it may well be the better one",
    "order": "the first in the configured order, the client's place being unknown",
}
PINNED = "the first of its pin that can serve"


class Column(NamedTuple):
    """One step of the decision. `text` is of one candidate; left out where `is_shown` is none's: a step that changes nothing."""

    head: str
    text: Callable[[Said], str]
    is_number: bool = True
    is_shown: Callable[[Said], bool] = lambda one: True


def _permitted(one: Said) -> str:
    if not one["permitted"]:
        return "no"
    return "drained" if one["drained"] else "yes"


def _estimate(one: Said, name: str, unit: str = "") -> str:
    """Of a path that nobody knows the number only sorts: half the earth."""
    is_known = one["distance_km"] is not None or one["evidence"] != "prior"
    return f"{one[name]:.1f}{unit}" if is_known else "unknown"


def _service(one: Said) -> str:
    """Plus and minus one standard deviation; an older gateway doesn't say it."""
    spread_ms = one.get("spread_ms", 0.0)
    return f"{one['service_ms']:.1f}" + (f" ±{spread_ms:.1f}" if spread_ms else "")


# Named as the sum or product that they are read as, from left to right.
COLUMNS = (
    Column("PoP", lambda one: str(one["pop"]), is_number=False),
    Column("permitted", _permitted, is_number=False, is_shown=lambda one: _permitted(one) != "yes"),
    Column("availability", lambda one: f"{one['availability']:.2f}"),
    Column("x shed", lambda one: f"{one['shed']:.2f}", is_shown=lambda one: one.get("shed", 1) < 1 or one["headroom"] is not None),
    Column("x ramp", lambda one: f"{one['ramp']:.2f}", is_shown=lambda one: one.get("ramp", 1) < 1),
    Column("= admit", lambda one: f"{one['admit']:.2f}"),
    Column(
        "free",
        lambda one: "" if one["headroom"] is None else f"{one['headroom']:.0%}",
        is_shown=lambda one: one["headroom"] is not None,
    ),
    Column("km", lambda one: "" if one["distance_km"] is None else f"{one['distance_km']:.0f}"),
    Column("path", lambda one: _estimate(one, "path_ms")),
    Column("+ service", _service),
    Column("+ penalty", lambda one: f"{one['penalty_ms']:.1f}", is_shown=lambda one: one.get("penalty_ms", 0) > 0),
    Column("= estimate", lambda one: _estimate(one, "estimate_ms", " ms")),
    Column(
        "evidence",
        lambda one: f"{one['evidence']}, {one['samples']} samples" if one["samples"] else str(one["evidence"]),
        is_number=False,
    ),
    Column("window", lambda one: "in" if one["in_window"] else "", is_number=False),
    Column("share", lambda one: f"{one['share']:.1%}"),
    Column("why not", lambda one: one["why_not"] or "", is_number=False),
)


def columns(said: Said) -> list[Column]:
    """Those that tell something, in the order of the decision."""
    return [column for column in COLUMNS if any(column.is_shown(one) for one in said["candidates"])]


def headlines(said: Said) -> list[tuple[str, str]]:
    """What stands above the table, a name and a text for each line."""
    lines = [("client", f"{said['client']}, {_place(said['location'])}")]
    lines.append(("request", f"{said.get('method', 'GET')} http://{said['host'] or '(any host)'}{said['path']}"))
    if said["error"] == "route_refused":
        lines += [("route", said["route"]), *(("refused", fault) for fault in said["refused"])]
    elif said["route"] is not None:
        lines.append(("route", f"{said['route']}, service {said['service']}, leg {said['leg']}, window {said['window_ms']:g} ms"))
        lines += _of_route(said)
    if said["decision"] is None:
        lines.append(("decision", f"none: {ERRORS.get(said['error'], said['error'])}"))
    else:
        decision = said["decision"]
        where = f"{decision['pop']} at {decision['endpoint']}" if decision["endpoint"] else f"{decision['pop']} (endpoint not known here)"
        then = f"; then {', '.join(decision['fallbacks'])}" if decision["fallbacks"] else ""
        lines.append(("decision", f"{where}: {_reason(said)}{then}"))
    if said.get("redirect"):
        lines.append(("redirect", f"{said['redirect']['status']} to {said['redirect']['location']}"))
    table = said["table"]
    if table["generation"]:
        lines.append(("table", f"generation {table['generation']}, {table['age_s']:.1f} s old"))
    for pop, source in said["sources"].items():
        if source["error"] is not None:
            age = "" if source["age_s"] is None else f", last heard {source['age_s']:.0f} s ago"
            lines.append(("source", f"{pop}, {source['kind']}: {source['error']}{age}"))
    return lines


def _of_route(said: Said) -> list[tuple[str, str]]:
    """What the route asks for beyond the fastest PoP; a line for each that it has."""
    lines = []
    split = said.get("split", {})
    if len(split) > 1:
        parts = ", ".join(f"{service} {share:.1%}" for service, share in split.items())
        lines.append(("split", f"{parts}; drawn here: {said['service']}"))
    others = said.get("on_unavailable", [])
    if others:
        instead = said["service"] in others and said["service"] not in split
        text = f"{said['service']}, for {' and '.join(split)} has no PoP that can serve" if instead else ", ".join(others)
        lines.append(("otherwise", text))
    rule = said.get("rule")
    if rule is None and "rule" in said:
        lines.append(("rule", "none is for this client: nothing is permitted"))
    elif rule is not None and (rule["of"] > 1 or any(not one["permitted"] for one in said["candidates"])):
        lines.append(("rule", f"{rule['number']} of {rule['of']}: {rule['text']}"))
    pin = said.get("pin")
    if pin is not None:
        whose = f"{pin['prefix']} to " if pin["prefix"] is not None else ""
        lines.append(("pin", f"{whose}{', '.join(pin['pops'])}" + ("" if pin["holds"] else "; none of them takes it: as for anyone else")))
    if said.get("affinity") is not None:
        lines.append(("affinity", f"by {said['affinity']['by']}: {said['affinity']['text']}"))
    return lines


def _reason(said: Said) -> str:
    reason: str = said["decision"]["reason"]
    if reason == "order" and (said.get("pin") or {}).get("holds"):
        return PINNED
    return REASONS.get(reason, reason)


def _place(location: Said) -> str:
    if location["lat"] is None:
        return "place unknown" + (f", {location['country']}" if location["country"] else "")
    accuracy = f" within {location['accuracy_km']:g} km" if location["accuracy_km"] else ""
    network = f", AS{location['asn']}" if location["asn"] else ""
    country = f"{location['country']} " if location["country"] else ""
    override = f" {location['override']}" if location.get("override") else ""
    return f"{country}({location['lat']:.2f}, {location['lon']:.2f}){accuracy}{network}, by {location['source']}{override}"
