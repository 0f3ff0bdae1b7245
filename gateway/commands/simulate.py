"""`isochrone simulate`: how a configuration spreads clients over PoPs, and what happens when one is lost. Owns options and what is
printed; who the clients are is gateway.simulation.population's, the sums are gateway.simulation.shares's.

Contacts nothing: endpoints given as names or Kubernetes Services are taken to be there, and nothing has been measured.
Exit: 0; 1 for a question that is none; 2 for a configuration or a file of clients that can't be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.errors import IsochroneError

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.control.operator.explanation import Situation
    from gateway.simulation.population import Population
    from gateway.simulation.shares import Simulation

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_WORLD = 10_000
MAX_WORLD = 1_000_000  # a minute
MAX_IN_FLIGHT = 1_000_000_000
MAX_DIGITS = 10  # of a number
PLAIN_WIDTH = 140  # where no terminal says how wide it is
TOP_OF_POP, TOP_COUNTRIES, TOP_PARTS, TOP_LOADS = 5, 15, 4, 3
LEAST = 0.0005  # smaller shares would be printed as 0.0 %
DIGITS = 4  # of shares and ms in JSON


class SimulateError(IsochroneError):
    """Nothing can be simulated, or the picture not be written: one line."""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="how a configuration spreads the world's clients over PoPs",
        description="Decides for many clients what a gateway with this configuration would, all being well, and again with each PoP lost."
        " Clients are random public addresses as the configured database places them, those of a file, or, without a database, the"
        " internet users of each country. Asks nobody: names and Kubernetes Services are taken to be there, and nothing has been measured.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, default=Path("isochrone.yaml"), help="default: %(default)s")
    clients = parser.add_mutually_exclusive_group()
    clients.add_argument("--clients", metavar="FILE", type=Path, help="one address a line, or CSV: address,weight")
    clients.add_argument("--world", metavar="N", type=_number, default=DEFAULT_WORLD, help="so many random addresses; default: %(default)s")
    parser.add_argument("--host", metavar="HOST", help="the requests' host; default: the first that a route names")
    parser.add_argument("--path", metavar="PATH", default="/", help="the requests' path, with its query; default: /")
    parser.add_argument(
        "--in-flight",
        metavar="N",
        type=_requests,
        help="requests under way at any time, of all clients (requests a second times their duration): how full PoPs with a capacity get",
    )
    parser.add_argument(
        "--lose", metavar="POP,...", type=_names, default=(), help="PoPs that are lost together, such as a provider's; besides each alone"
    )
    parser.add_argument("--top", metavar="N", type=_number, default=TOP_COUNTRIES, help="so many countries; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="draw the clients' places, coloured by PoP")


def _number(text: str, most: int = MAX_WORLD) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0
    if not 1 <= number <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {most}, got {text[:100]!r}")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))


def _requests(text: str) -> int:
    return _number(text, MAX_IN_FLIGHT)


def run(args: argparse.Namespace) -> int:
    from gateway.control.operator.offline import situation_of
    from gateway.loading import load
    from gateway.pictures.simulation_map import picture
    from gateway.simulation import population
    from gateway.simulation.shares import simulate

    situation, faults = situation_of(load(args.config).config)
    for fault in faults:
        print(f"warning: geoip: {fault}", file=sys.stderr)
    host, route = _route(situation, args.host, args.path)
    locator = situation.locator
    people = population.of_file(args.clients, locator) if args.clients is not None else population.of_world(locator, args.world)
    known = [pop.name for pop in situation.table.spec.pops]
    for name in args.lose:
        if name not in known:
            raise SimulateError(f"--lose: must be names of pops: {', '.join(known)}, got {name[:100]!r}")
    simulation = simulate(situation.table, route, people.clients, args.in_flight, args.lose)
    if args.svg is not None:
        _write(args.svg, picture(simulation, people.about))
    if args.json:
        print(json.dumps(_object(simulation, people, host, args.path), indent=2))
    else:
        show(simulation, people, f"GET http://{host or '(any host)'}{args.path}", args.top)
    return 0


def _route(situation: Situation, asked_host: str | None, path: str) -> tuple[str, int]:
    """The host that is meant, and the route's index. Asks as `explain` does, so that both refuse the same."""
    from gateway.control.operator.explanation import explain, without_port
    from routing_core import match

    host: str = explain(situation, "192.0.2.1", asked_host, path)["host"]
    route = match(situation.table, without_port(host), path)
    if route is None:
        names = sorted({name for one in situation.table.spec.routes for name in one.hosts or ("any",)})
        raise SimulateError(f"no route matches GET http://{host or '(any host)'}{path}; hosts of routes: {', '.join(names)}")
    return host, route


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SimulateError(f"--svg: must be a file that can be written, got {str(path)!r}: {error.strerror or error}") from error


def _object(simulation: Simulation, people: Population, host: str, path: str) -> dict[str, Any]:
    """What --json prints. Places are left to the picture."""
    said = asdict(simulation)
    del said["spots"]
    return {"host": host, "path": path, "clients": {"kind": people.kind, "about": people.about}, **_rounded(said)}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # nobody wants to read -0.0
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def show(simulation: Simulation, people: Population, request: str, top: int = TOP_COUNTRIES) -> None:
    """For people. rich finds out whether a terminal reads, and leaves colours out when none does."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    for name, text in headlines(simulation, people, request):
        console.print(Text.assemble((f"{name:<10}", "dim"), text), soft_wrap=True)
    _print(console, *_pops(simulation))
    _print(console, ("country", "clients>", "mean>", "PoPs"), _country_rows(simulation, top))
    left = len(simulation.countries) - top
    if left > 0:
        console.print(Text(f"and {left} countries more; --top N shows more, --json has all", style="dim"), soft_wrap=True)
    _print(console, *_losses(simulation))


def headlines(simulation: Simulation, people: Population, request: str) -> list[tuple[str, str]]:
    """What stands above the tables, a name and a text for each line."""
    window = f"window {simulation.window_ms:g} ms, wider where a place is vague"
    services = " and ".join(f"{service} {_share(share)}" for service, share in simulation.split.items()) or simulation.service
    lines = [
        ("clients", people.about),
        ("request", request),
        ("route", f"{simulation.route}, service {services}, leg {simulation.leg}, {window}"),
    ]
    if simulation.in_flight is not None:
        lines.append(("in flight", f"{simulation.in_flight:,.0f} of all clients; what a full PoP passes on to others is not followed"))
    if simulation.mean_ms is not None:
        lines.append(("estimate", f"mean {_ms(simulation.mean_ms)}, p90 {_ms(simulation.p90_ms)}; nothing was measured: it is the prior"))
    if simulation.unplaced:
        follow = "" if simulation.leg == "gateway-pop" else "; they follow the configured order of the PoPs, and have no estimate"
        lines.append(("unplaced", f"{_share(simulation.unplaced)} of the clients, whose place is unknown{follow}"))
    if simulation.unserved:
        causes = {
            "no_permitted_pop": "no PoP that the route's jurisdiction permits can serve: 503",
            "no_endpoint": "no PoP has an endpoint: 503",
        }
        cause = causes.get(simulation.error or "", simulation.error or "")
        lines.append(("unserved", f"{_share(simulation.unserved)} of the clients: {cause}"))
    return lines


def _pops(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    """Heads and rows. Capacities have columns where there are any, what is in flight where it was said."""
    has_capacity = any(one.capacity is not None for one in simulation.pops)
    is_loaded = simulation.in_flight is not None
    heads = ["PoP", "clients>", "mean>", "p90>"]
    heads += [head for head, is_there in (("in flight>", is_loaded), ("capacity>", has_capacity)) if is_there]
    rows = []
    for one in simulation.pops:
        row = [one.pop, _share(one.share), _ms(one.mean_ms), _ms(one.p90_ms)]
        if one.in_flight is not None:
            row.append(f"{one.in_flight:,.0f}" + (f" ({_filled(one.in_flight / one.capacity)})" if one.capacity else ""))
        if has_capacity:
            row.append("" if one.capacity is None else f"{one.capacity:,}")
        rows.append([*row, one.why_not or _parts(one.countries, TOP_OF_POP)])
    return [*heads, "its clients' countries"], rows


def _country_rows(simulation: Simulation, top: int) -> list[Sequence[str]]:
    return [
        (one.country, _share(one.share), _ms(one.mean_ms), _parts(one.pops, TOP_PARTS) or "none")
        for one in islice(simulation.countries, top)
    ]


def _losses(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    """Heads and rows. Whether those that take over have room for it, where that can be said: the fullest first."""
    has_loads = any(one.loads for one in simulation.losses)
    heads = ["if lost", "clients>", "mean before>", "after>", "nowhere to go>", *(["then filled"] if has_loads else []), "taken over by"]
    rows = []
    for one in simulation.losses:
        row = [one.pop, _share(one.share), _ms(one.before_ms), _ms(one.after_ms), _share(one.stranded)]
        if has_loads:
            row.append(", ".join(f"{pop} {_filled(load)}" for pop, load in islice(one.loads.items(), TOP_LOADS)))
        rows.append([*row, _parts(one.takers, TOP_PARTS) or "none"])
    return heads, rows


def _print(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """`>` behind a head: its column stands to the right. The last column gives way when the terminal is narrow."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head.rstrip(">"), justify="right" if head.endswith(">") else "left", no_wrap=number < len(heads) - 1)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print()
    console.print(table)


def _share(share: float) -> str:
    return f"{share:.1%}"


def _filled(load: float) -> str:
    """Of a capacity; more than all of it stands out."""
    return f"{load:.0%}" + ("!" if load > 1 else "")


def _ms(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.1f} ms"


def _parts(parts: Mapping[str, float], most: int) -> str:
    """The largest of them, and what the others come to."""
    said = [f"{name} {_share(share)}" for name, share in islice(parts.items(), most) if share >= LEAST]
    left = sum(parts.values()) - sum(share for share in list(parts.values())[: len(said)])
    n_left = len(parts) - len(said)
    return ", ".join([*said, f"{n_left} more {_share(left)}"] if left >= LEAST else said)
