"""`isochrone explain`: where one client's request would go, and why, PoP by PoP. Owns options and the text for people.

Asks the file alone (`-c`) or a running gateway (`--admin`); both answer with the object of gateway.control.explanation, and
`--json` prints it as it is. Exit: 0 also when nothing can serve, for that is an answer; 1 for a question that is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands._client import AdminClient, AdminError, add_admin
from gateway.errors import IsochroneError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PLAIN_WIDTH = 160  # where no terminal says how wide it is
ERRORS = {
    "no_route": "no route matches: 404",
    "no_permitted_pop": "no PoP that the route's jurisdiction permits can serve: 503",
    "no_endpoint": "no PoP has an endpoint: 503",
}
REASONS = {
    "fastest": "the fastest",
    "window": "near enough to the fastest, and drawn among the near-equals",
    "spill": "a better one is passed over for part of the traffic",
    "failover": "the better ones are not available",
    "panic": "too little is healthy: health is ignored",
    "order": "the first in the configured order, the client's place being unknown",
}


class PageError(IsochroneError):
    """The page can't be written."""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="where one client's request would go, and why",
        description="Explains the decision for a GET of one client. From the file alone: endpoints given as names or Kubernetes Services"
        " are taken to be there, and nothing has been measured. With --admin: as the running gateway decides now.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="default: isochrone.yaml, without --admin")
    add_admin(parser, None, "ask a running gateway: http://HOST:PORT or unix:/PATH")
    parser.add_argument("--client", metavar="IP", required=True, help="the client's address")
    parser.add_argument("--host", metavar="HOST", help="the request's host; default: the first that a route names")
    parser.add_argument("--path", metavar="PATH", default="/", help="the request's path, with its query; default: /")
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it as a page as well: one file that needs no network")


def run(args: argparse.Namespace) -> int:
    if args.admin is not None and args.config is not None:
        raise AdminError("must have --config or --admin, got both: a file and a gateway that runs may differ")
    said = _from_gateway(args) if args.admin is not None else _from_file(args)
    if args.html is not None:
        _write_page(args.html, said)
    if args.json:
        print(json.dumps(said, indent=2))
    else:
        show(said)
    return 0


def _from_gateway(args: argparse.Namespace) -> dict[str, Any]:
    query = {"client": args.client, "path": args.path}
    if args.host is not None:
        query["host"] = args.host
    said = AdminClient(args.admin).get("/explain", **query)
    if not isinstance(said, dict) or "candidates" not in said:
        raise AdminError(f"{args.admin} is no admin API: its /explain says something else")
    return said


def _from_file(args: argparse.Namespace) -> dict[str, Any]:
    from gateway.config import load
    from gateway.control.explanation import explain
    from gateway.control.offline import situation_of

    situation, faults = situation_of(load(args.config or Path("isochrone.yaml")).config)
    for fault in faults:
        print(f"warning: geoip: {fault}", file=sys.stderr)
    return explain(situation, args.client, args.host, args.path)


def _write_page(path: Path, said: dict[str, Any]) -> None:
    from gateway.explain_page import page

    try:
        path.write_text(page(said, headlines(said)), encoding="utf-8")
    except OSError as error:
        raise PageError(f"--html: must be a file that can be written, got {str(path)!r}: {error.strerror or error}") from error


def show(said: dict[str, Any]) -> None:
    """For people. rich finds out whether a terminal reads, and leaves colours out when none does."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=PLAIN_WIDTH)
    for name, text in headlines(said):
        console.print(Text.assemble((f"{name:<10}", "dim"), text))
    if not said["candidates"]:
        return
    decided = said["decision"]["pop"] if said["decision"] else None
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("PoP", "share", "estimate", "path", "service", "km", "evidence", "availability"):
        table.add_column(name, justify="left" if name in ("PoP", "evidence") else "right", no_wrap=True)
    table.add_column("why not")
    for one in said["candidates"]:
        is_chosen = one["pop"] == decided
        cells = (
            f"{one['pop']} *" if is_chosen else one["pop"],
            f"{one['share']:.1%}",
            f"{one['estimate_ms']:.1f} ms",
            f"{one['path_ms']:.1f}",
            f"{one['service_ms']:.1f}",
            "" if one["distance_km"] is None else f"{one['distance_km']:.0f}",
            f"{one['evidence']}, {one['samples']} samples" if one["samples"] else one["evidence"],
            f"{one['availability']:.2f}",
            one["why_not"] or "",
        )
        table.add_row(*map(Text, cells), style="bold" if is_chosen else "" if one["share"] else "dim")
    console.print(table)


def headlines(said: dict[str, Any]) -> list[tuple[str, str]]:
    """What stands above the table, a name and a text for each line."""
    lines = [("client", f"{said['client']}, {_place(said['location'])}")]
    lines.append(("request", f"GET http://{said['host'] or '(any host)'}{said['path']}"))
    if said["route"] is not None:
        lines.append(("route", f"{said['route']}, service {said['service']}, leg {said['leg']}, window {said['window_ms']:g} ms"))
    if said["decision"] is None:
        lines.append(("decision", f"none: {ERRORS.get(said['error'], said['error'])}"))
    else:
        decision = said["decision"]
        where = f"{decision['pop']} at {decision['endpoint']}" if decision["endpoint"] else f"{decision['pop']} (endpoint not known here)"
        then = f"; then {', '.join(decision['fallbacks'])}" if decision["fallbacks"] else ""
        lines.append(("decision", f"{where}: {REASONS.get(decision['reason'], decision['reason'])}{then}"))
    table = said["table"]
    if table["generation"]:
        lines.append(("table", f"generation {table['generation']}, {table['age_s']:.1f} s old"))
    for pop, source in said["sources"].items():
        if source["error"] is not None:
            age = "" if source["age_s"] is None else f", last heard {source['age_s']:.0f} s ago"
            lines.append(("source", f"{pop}, {source['kind']}: {source['error']}{age}"))
    return lines


def _place(location: dict[str, Any]) -> str:
    if location["lat"] is None:
        return "place unknown" + (f", {location['country']}" if location["country"] else "")
    accuracy = f" within {location['accuracy_km']:g} km" if location["accuracy_km"] else ""
    network = f", AS{location['asn']}" if location["asn"] else ""
    country = f"{location['country']} " if location["country"] else ""
    return f"{country}({location['lat']:.2f}, {location['lon']:.2f}){accuracy}{network}, by {location['source']}"
