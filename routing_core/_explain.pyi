from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack

from routing_core._table import Table

class Explained(NamedTuple):
    """One decision, PoP by PoP. Shares are exact (worked out, not sampled) and sum to one when there is a decision."""

    route: str
    service: str
    split: tuple[tuple[str, float], ...]  # (service, share) of each service that the route is split over
    rule: int | None  # which of the route's jurisdiction rules holds for the client, from 0; None: none fits
    leg: str
    error: str | None
    pop: str | None  # the one pick named: drawn with a fixed seed
    endpoint: str | None  # None when the pool has none that admits
    reason: str
    fallbacks: tuple[str, ...]
    window_ms: float
    candidates: tuple[CandidateExplained, ...]  # best first, then those drained, then those not permitted

class CandidateExplained(NamedTuple):
    pop: str
    permitted: bool
    drained: bool
    available: bool
    availability: float
    admit: float  # availability * shed * ramp, 0 when drained automatically
    shed: float
    ramp: float
    headroom: float | None  # share of its capacity, or its PoP's, that is free now; None: no capacity
    distance_km: float | None
    estimate_ms: float
    path_ms: float
    border_ms: float  # of the path: what the border costs; 0 where the path is measured
    by_paths_ms: float  # of the path: what known paths between PoPs take more than the prior says
    service_ms: float
    penalty_ms: float
    evidence: str
    samples: int  # behind the service time
    spread_ms: float  # one standard deviation of what the service time may be in truth
    in_window: bool  # for the one pick named
    share: float
    why_not: str | None  # a few words for a person; None for those with a share, unless the pick named passed it over

def match(
    table: Table,
    host: str,
    path: str,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
) -> int | None:
    """Index into spec.routes; path may carry a query. None: no route. ValueError: more than 128 headers."""

class _Facts(TypedDict, total=False):
    """What is known of a client beside its place."""

    country: str | None  # ISO 3166 code
    continent: str | None
    pin: int  # index into the table's pins, from 1
    client_key: int  # hash of its network; 0: nothing is to be the same each time
    header_key: int
    kept: str | None  # the PoP that its cookie names
    may_explore: bool  # a request that does no harm twice; shares are worked out without it
    left_out: Sequence[str]  # PoPs of which nobody took this request, as if they were drained for it: a decision made anew

def explain(table: Table, route: int, location: tuple[float, float, float] | None, seed: int = 1, **facts: Unpack[_Facts]) -> Explained:
    """location: lat, lon (degrees), accuracy_km; None when unknown. The pick is made by steer(), as traffic makes it; the shares are of all
    clients in the same place, whatever their cookie or key. IndexError: no such route. ValueError: a location out of range."""

def draw(
    table: Table, route: int, location: tuple[float, float, float] | None, n: int, seed: int = 1, **facts: Unpack[_Facts]
) -> dict[str, int]:
    """n decisions as traffic makes them: picks by PoP. "" counts the failures. Errors as explain()."""
