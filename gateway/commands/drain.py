"""`isochrone drain`: takes traffic off a gateway or one of its PoPs, and waits until it is gone. Owns options and exit status.

Exit: 0 drained; 1 not (unreachable, refused, taken back, not done in time, no --force where a PoP is the only one), with one line. The
drain stays when this ends.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from gateway.commands._client import AdminClient, AdminError, Refusal, running
from gateway.commands._waiting import add_options, duration_s, follow, introduce, path_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "drain",
        help="take traffic off this gateway or one PoP, wait until it is gone",
        description="Drains a running gateway (it looks unready, serves everyone, and announces the end on more and more answers) or, with"
        " --pop, one PoP (new requests go elsewhere, running ones finish). Waits until no connection, or nothing at the PoP, is left,"
        " printing progress. The drain stays until `isochrone undrain`.",
    )
    add_options(parser)
    parser.add_argument("--force", action="store_true", help="with --pop: also where requests are left that no other PoP can serve")
    parser.add_argument("--timeout", metavar="DURATION", type=duration_s, help="wait no longer, and exit 1; the drain stays all the same")


def run(args: argparse.Namespace) -> int:
    client = running(args)
    path = path_of(args.pop, "drain")
    if args.pop is None:
        seen = client.post(path)
    elif args.force:
        _name(args.pop, client.get(path_of(args.pop, "stranded"))["stranded"])
        seen = client.post(path)
    else:
        seen = _drain_unless_stranded(client, args.pop, path)
    introduce(client, seen)
    return follow(client, path, seen, args.timeout)


def _drain_unless_stranded(client: AdminClient, pop: str, path: str) -> Any:
    """In one request: the gateway judges and drains in one step, or two drains at once would not see one another."""
    try:
        return client.post(path, unless="stranded")
    except Refusal as refusal:
        if "stranded" not in refusal.said:
            raise
        _name(pop, refusal.said["stranded"])
        raise AdminError(f"{pop} is not drained: these requests would be answered 503; --force drains it all the same") from None


def _name(pop: str, stranded: list[str]) -> None:
    for line in stranded:
        print(f"{pop}: {line}", file=sys.stderr)
