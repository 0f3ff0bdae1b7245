"""`isochrone reload`: has a running gateway read its configuration again, and says what came of it. Owns options and exit status.

Exit: 0 in use; 2 refused, one line a fault as `check` has them, and nothing has changed; 1 not reached. Warnings go to standard error.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gateway.commands._client import Refusal, add_running, running

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

TIMEOUT_S = 110.0  # the file may take 30 s, databases 60 s, new names 3 s, clusters 3 s before the swap and 3 s after it


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "reload",
        help="have a running gateway read its configuration again",
        description="Has a running gateway read its configuration again, as SIGHUP does: whole, or not at all. Prints warnings and"
        " faults as `isochrone check` does.",
    )
    add_running(parser)


def run(args: argparse.Namespace) -> int:
    try:
        said = running(args, TIMEOUT_S).post("/reload")
    except Refusal as error:
        if "faults" not in error.said:
            raise
        print(*error.said["faults"], f"isochrone: {error}", sep="\n", file=sys.stderr)
        return 2
    for warning in said["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"reloaded: table {said['table']['generation']}")
    return 0
