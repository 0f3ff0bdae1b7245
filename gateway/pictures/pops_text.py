"""Pops text: what `GET /pops` says, in the words of a table for people. Owns the columns; must not know terminals or how it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Said = dict[str, Any]

HEADS = ("PoP", "state", "service", "availability", "headroom", "in flight", "estimate", "path", "endpoints")


def rows(said: Said) -> Iterator[tuple[str, ...]]:
    """A line for each service of each PoP; the PoP's own figures stand on its first. One without services has a line too."""
    for pop in said["pops"]:
        first = (pop["pop"], state_of(pop))
        for service in pop["services"]:
            yield (
                *first,
                service["service"],
                f"{service['availability']:.0%}",
                _share(service["headroom"]),
                str(service["in_flight"]),
                _ms(service["estimate_ms"]),
                _ms(service["path_ms"]),
                endpoints_of(service["endpoints"]),
            )
            first = ("", "")
        if not pop["services"]:
            yield (*first, "-", "-", _share(pop["headroom"]), str(pop["in_flight"]), "-", "-", "-")


def state_of(pop: Said) -> str:
    """The state, with how long it has been drained."""
    return pop["state"] if pop["since_s"] is None else f"{pop['state']} {pop['since_s']:.0f} s"


def endpoints_of(counts: dict[str, int]) -> str:
    """`2 admitting, 1 shut`; `none` where there are none."""
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


def notes(said: Said) -> list[str]:
    """What is wrong with a source of endpoints, a line each."""
    return [
        f"{pop['pop']}: {service['service']}: {service['source']['error']}"
        for pop in said["pops"]
        for service in pop["services"]
        if service["source"]["error"] is not None
    ]


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _ms(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.1f} ms"
