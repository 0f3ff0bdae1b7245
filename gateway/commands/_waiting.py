"""Waiting: what `drain` and `undrain` have in common: whom they mean, and how progress is followed and said.

Must not know how a drain is done, or what is printed elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from gateway.commands._client import AdminClient, AdminError, Unreachable, add_running
from gateway.model import read_duration

INTERVAL_S = 0.5  # between looks
REPEAT_S = 10.0  # a line that has not changed is said again after this, so that one sees that it goes on


def add_options(parser: argparse.ArgumentParser) -> None:
    add_running(parser)
    parser.add_argument("--pop", metavar="NAME", help="this PoP alone; default: the whole gateway")


def duration_s(text: str) -> float:
    """For argparse: `30s`, `2m`."""
    try:
        return float(read_duration(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a duration such as 30s or 2m, got {text!r}") from None


def path_of(pop: str | None, what: str) -> str:
    return f"/{what}" if pop is None else f"/pops/{urllib.parse.quote(pop, safe='')}/{what}"


def introduce(client: AdminClient, seen: dict[str, Any]) -> None:
    """Whom it concerns, before anything is said of it: who has several gateways must see that it is the one meant. And whether it holds
    for longer than the process."""
    print(f"gateway {seen.get('gateway', '(without a name)')} at {client.url}", flush=True)
    if (why := seen.get("not_kept")) is not None:
        print(f"{seen['pop']}: a restart would forget this: {why}; written down as soon as that can be", file=sys.stderr)


def describe(seen: dict[str, Any]) -> str:
    """What is still to be waited for."""
    if "pop" in seen:
        return f"{seen['pop']}: draining, {seen['in_flight']} in flight"
    left = seen["connections"]
    counted = f"{left['active']} active and {left['idle']} idle connections"
    if seen["since_s"] < seen["lameduck_s"]:
        return f"lameduck for {seen['lameduck_s']:g} s, {counted}"
    return f"draining, {counted}"


def describe_end(seen: dict[str, Any]) -> str:
    who = f"{seen['pop']}: drained" if "pop" in seen else "drained"
    what = "nothing in flight" if "pop" in seen else "no connection left"
    return f"{who} after {seen['since_s']:.1f} s, {what}; `isochrone undrain` takes it back"


def follow(
    client: AdminClient,
    path: str,
    seen: dict[str, Any],
    timeout_s: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Look until it is done, a line for each change. Exit status 0 when it is; AdminError when it can't be any more."""
    began = clock()
    said, said_at = "", began
    while not seen["done"]:
        if not seen["drained"]:
            raise AdminError("somebody has taken it back: no longer draining")
        now, line = clock(), describe(seen)
        if timeout_s is not None and now - began >= timeout_s:
            raise AdminError(f"not done in {timeout_s:g} s, and still under way: {line}")
        if line != said or now - said_at >= REPEAT_S:
            print(line, flush=True)
            said, said_at = line, now
        sleep(INTERVAL_S)
        try:
            seen = client.get(path)
        except Unreachable as error:
            raise Unreachable(f"{error}; it answered before: has it ended?") from error
    print(describe_end(seen))
    sys.stdout.flush()
    return 0
