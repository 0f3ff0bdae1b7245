from collections.abc import Sequence
from typing import NamedTuple

from routing_core._table import Table

class Explained(NamedTuple):
    """One decision, PoP by PoP. Shares are exact (worked out, not sampled) and sum to one when there is a decision."""

    route: str
    service: str
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
    admit: float
    distance_km: float | None
    estimate_ms: float
    path_ms: float
    service_ms: float
    evidence: str
    samples: int
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

def explain(table: Table, route: int, location: tuple[float, float, float] | None, seed: int = 1) -> Explained:
    """location: lat, lon (degrees), accuracy_km; None when unknown. The code path of traffic: weigh() and choose().
    IndexError: no such route. ValueError: a location out of range."""

def draw(table: Table, route: int, location: tuple[float, float, float] | None, n: int, seed: int = 1) -> dict[str, int]:
    """n decisions as traffic makes them: picks by PoP. "" counts the failures. Errors as explain()."""
