"""`isochrone pops`: a running gateway's PoPs as a table, once or again and again. Owns options and what a terminal shows.

Exit: 0; 1 not reached, with one line. With --watch it goes on over a gateway that does not answer, and says so: it may be restarting.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.commands._client import AdminClient, Refusal, Unreachable, add_running, running
from gateway.pictures.pops_text import HEADS, notes, rows

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

INTERVAL_S = 1.0
NUMBERS = (False, False, False, True, True, True, True, True, False)  # of the columns
CLEAR = "\x1b[H\x1b[2J"


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "pops",
        help="the PoPs of a running gateway: state, availability, load, latency",
        description="Shows the PoPs of a running gateway and each service there: state, availability, headroom, requests in flight,"
        " this gateway's own estimate, endpoints by state; below it what is wrong with a source. For one client's request: `explain`.",
    )
    add_running(parser)
    parser.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the answer of the admin API as it is")


def run(args: argparse.Namespace) -> int:
    client = running(args)
    if not args.watch:
        print(shown(client, args.json))
        return 0
    watch(client, args.json)
    return 0


def watch(client: AdminClient, as_json: bool, sleep: Callable[[float], object] = time.sleep) -> None:
    """Never returns; Ctrl-C ends it."""
    while True:
        try:
            text = shown(client, as_json)
        except (Unreachable, Refusal) as error:
            text = f"{time.strftime('%H:%M:%S')} {error}"
        print(f"{CLEAR}{text}" if sys.stdout.isatty() and not as_json else text, flush=True)
        sleep(INTERVAL_S)


def shown(client: AdminClient, as_json: bool) -> str:
    said = client.get("/pops")
    if as_json:
        return json.dumps(said)
    try:
        state = client.get("/healthz")["state"]
    except Refusal as error:
        state = str(error)  # no worker turns: just then somebody wants to see the rest
    title = f"gateway {said.get('gateway', '')} at {client.url}: {state}, table {said['table']['generation']}"
    return "\n".join([title, *table(said), *notes(said)])


def table(said: dict[str, Any]) -> list[str]:
    """Columns as wide as their widest; numbers to the right."""
    lines = [HEADS, *rows(said)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADS))]
    placed = [[*zip(line, widths, NUMBERS, strict=True)] for line in lines]
    return ["  ".join(text.rjust(width) if is_number else text.ljust(width) for text, width, is_number in line).rstrip() for line in placed]
