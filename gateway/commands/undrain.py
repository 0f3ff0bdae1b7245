"""`isochrone undrain`: takes an operator's drain back, of a gateway or one of its PoPs. Owns options and exit status.

Exit: 0 taken back, also where nothing was drained; 1 not, with one line: a gateway that got SIGTERM can't be held any more.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gateway.commands._client import running
from gateway.commands._waiting import add_options, introduce, path_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "undrain",
        help="bring traffic back",
        description="Takes back what `isochrone drain` did. New requests come at once, to a PoP as to a gateway.",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    client = running(args)
    seen = client.post(path_of(args.pop, "undrain"))
    introduce(client, seen)
    print(f"{seen['pop']}: takes traffic" if "pop" in seen else f"takes traffic: {seen['state']}")
    return 0
