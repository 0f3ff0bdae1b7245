"""`isochrone explain`: where one client's request would go, and why, PoP by PoP. Owns options and what a terminal shows; the words are
gateway.pictures.explain_text's.

Asks the file alone (`-c`) or a running gateway (`--admin`); both answer with the object of gateway.control.operator.explanation, and
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
from gateway.pictures.explain_text import columns, headlines

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PLAIN_WIDTH = 200  # where no terminal says how wide it is


class PageError(IsochroneError):
    """The page can't be written."""


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="where one client's request would go, and why",
        description="Explains the decision for a request of one client. From the file alone: endpoints given as names or Kubernetes"
        " Services are taken to be there, and nothing has been measured. With --admin: as the running gateway decides now.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="default: isochrone.yaml, without --admin")
    add_admin(parser, "ask a running gateway: http://HOST:PORT or unix:/PATH")
    parser.add_argument("--client", metavar="IP", required=True, help="the client's address")
    parser.add_argument("--host", metavar="HOST", help="the request's host; default: the first that a route names")
    parser.add_argument("--path", metavar="PATH", default="/", help="the request's path, with its query; default: /")
    parser.add_argument("--method", metavar="METHOD", help="the request's method; default: GET")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header of the request, as a route or its affinity goes by; may be given again. A cookie: 'Cookie: pop=VALUE'",
    )
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
    if args.method is not None:
        query["method"] = args.method
    if args.header:
        query["headers"] = "\n".join(args.header)
    said = AdminClient(args.admin).get("/explain", **query)
    if not isinstance(said, dict) or "candidates" not in said:
        raise AdminError(f"{args.admin} is no admin API: its /explain says something else")
    return said


def _from_file(args: argparse.Namespace) -> dict[str, Any]:
    from gateway.control.operator.explanation import explain, read_headers
    from gateway.control.operator.offline import situation_of
    from gateway.loading import load

    situation, faults = situation_of(load(args.config or Path("isochrone.yaml")).config)
    for fault in faults:
        print(f"warning: geoip: {fault}", file=sys.stderr)
    return explain(situation, args.client, args.host, args.path, read_headers(args.header), args.method)


def _write_page(path: Path, said: dict[str, Any]) -> None:
    from gateway.pictures.explain_page import page

    try:
        path.write_text(page(said), encoding="utf-8")
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
    shown = columns(said)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        table.add_column(column.head, justify="right" if column.is_number else "left", no_wrap=column is not shown[-1])
    for one in said["candidates"]:
        is_chosen = one["pop"] == decided
        first, *others = (column.text(one) for column in shown)
        row = (f"{first} *" if is_chosen else first, *others)
        table.add_row(*map(Text, row), style="bold" if is_chosen else "" if one["share"] else "dim")
    console.print(table)
