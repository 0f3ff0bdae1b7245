"""TableSpec: what a table is built from, in Python's terms. Control fills it, `Table` compiles it.

Names are unique within their kind; numbers are indices into the tuple beside them. Rows come from `Figures`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PopSpec:
    name: str
    lat: float  # degrees
    lon: float
    is_drained: bool = False  # by the operator


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    row: int  # of Figures, kind "endpoint"
    address: str  # "192.0.2.1", "2001:db8::1" (no brackets), or "/path" of a unix socket
    port: int  # 0 for a unix socket
    weight: int = 1

    @property
    def name(self) -> str:
        """As in logs and explain: `192.0.2.1:8080`, `[2001:db8::1]:8080`, `unix:/path`."""
        if self.address.startswith("/"):
            return f"unix:{self.address}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class PoolSpec:
    pop: int  # index into TableSpec.pops
    row: int  # of Figures, kind "pool"
    endpoints: tuple[EndpointSpec, ...]  # those that may be chosen
    total: int  # what availability counts
    max_in_flight: int = 0  # per endpoint; 0: no limit
    is_last_resort: bool = False  # its endpoints all terminate: they serve only while no other PoP can


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    name: str
    row: int  # of Figures, kind "service"
    pools: tuple[PoolSpec, ...]  # at most one a PoP


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One match of a configured route. Empty: matches anything."""

    name: str
    service: int  # index into TableSpec.services
    hosts: tuple[str, ...] = ()  # lower case; "*.example.com"
    path_exact: str | None = None
    path_prefix: str | None = None  # by path element: /a matches /a and /a/b, not /ab
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # name (any case), exact value
    query: tuple[tuple[str, str], ...] = ()
    permitted_pops: frozenset[int] | None = None  # jurisdiction, worked out by control; None: all
    leg: str = "client-pop"  # or "gateway-pop"
    window_ms: float = 5.0


@dataclass(frozen=True, slots=True)
class TableSpec:
    generation: int
    pops: tuple[PopSpec, ...]
    services: tuple[ServiceSpec, ...]
    routes: tuple[RouteSpec, ...]  # in the order of the configuration
    intercept_ms: float = field(default=0.0)  # the prior; control passes routing_core.PRIOR
    slope_ms_per_km: float = field(default=0.0)
    gateway: tuple[float, float] | None = None  # lat, lon of this gateway: for leg gateway-pop
