"""Decides: which PoP and which endpoint serve a request. No sockets, clocks or logging."""

from routing_core._explain import CandidateExplained, Explained, draw, explain, match
from routing_core._figures import BUCKETS_MS, MAX_WORKERS, Figures
from routing_core._fitted import PRIOR
from routing_core._latency import great_circle_km
from routing_core._memory import live_blocks, trim
from routing_core._readings import EndpointFigures, PoolFigures
from routing_core._table import MAX_POPS, Table
from routing_core.spec import (
    AffinitySpec,
    BordersSpec,
    EndpointSpec,
    PoolSpec,
    PopSpec,
    RouteSpec,
    RuleSpec,
    ServiceSpec,
    TableSpec,
)

__all__ = [
    "BUCKETS_MS",
    "MAX_POPS",
    "MAX_WORKERS",
    "PRIOR",
    "AffinitySpec",
    "BordersSpec",
    "CandidateExplained",
    "EndpointFigures",
    "EndpointSpec",
    "Explained",
    "Figures",
    "PoolFigures",
    "PoolSpec",
    "PopSpec",
    "RouteSpec",
    "RuleSpec",
    "ServiceSpec",
    "Table",
    "TableSpec",
    "draw",
    "explain",
    "great_circle_km",
    "live_blocks",
    "match",
    "trim",
]
