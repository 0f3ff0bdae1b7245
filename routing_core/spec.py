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
    row: int | None = None  # of Figures, kind "pop"; None: nobody counts what is in flight in it
    high: int = 0  # in flight, all services: none is added from here on while another PoP has room; 0: no capacity. Needs a row
    cookie: str = ""  # value of an affinity cookie that names it; "": none
    country: str | None = None  # ISO 3166 code: a path that crosses a border is longer by the prior
    public_url: str = ""  # scheme and authority, without a path: where a redirect leads; "": nowhere


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    row: int  # of Figures, kind "endpoint"
    address: str  # "192.0.2.1", "2001:db8::1" (no brackets), or "/path" of a unix socket
    port: int  # 0 for a unix socket
    weight: int = 1
    # As in logs and explain: `192.0.2.1:8080`, `[2001:db8::1]:8080`, `unix:/path`. Once, for tables ask each time.
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.address.startswith("/"):
            name = f"unix:{self.address}"
        else:
            name = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
        object.__setattr__(self, "name", name)


@dataclass(frozen=True, slots=True)
class PoolSpec:
    pop: int  # index into TableSpec.pops
    row: int  # of Figures, kind "pool"
    endpoints: tuple[EndpointSpec, ...]  # those that may be chosen
    total: int  # what availability counts
    max_in_flight: int = 0  # per endpoint; 0: no limit
    is_last_resort: bool = False  # its endpoints all terminate: they serve only while no other PoP can
    high: int = 0  # as a PoP's, of this service alone
    weight: int = 1  # beside the number of endpoints: how often it is drawn among near-equals
    n_preferred: int = 0  # the first of the endpoints, in this gateway's zone: they come first


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    name: str
    row: int  # of Figures, kind "service"
    pools: tuple[PoolSpec, ...]  # at most one a PoP
    is_long_lived: bool = False  # its exchanges last by their nature: their times say nothing about latency


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """Jurisdiction: which PoPs may see the requests of which clients. Of a route's rules the first that fits the client counts."""

    permitted_pops: frozenset[int] | None = None  # worked out by control; None: all
    countries: frozenset[str] | None = None  # clients there, by ISO 3166 code; with neither: any client, of unknown place too
    continents: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class AffinitySpec:
    """What keeps a client on its PoP while that PoP can serve. Beats latency; loses to health, drains, capacity and jurisdiction."""

    by: str  # "cookie" (its value says which PoP), "header", "client" (its /24 or /48)
    name: str = ""  # of the cookie or header
    within_ms: float = 0.0  # by header or client: how far above the fastest the PoP may lie, when that is more than the window
    attributes: str = ""  # of the cookie, as they are sent: "; Path=/; HttpOnly"
    is_secure_over_tls: bool = False  # and Secure, for clients that came by TLS


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One match of a configured route. Empty: matches anything."""

    name: str
    service: int | None  # index into TableSpec.services; None: it leads nowhere, for it is refused, and still matches
    hosts: tuple[str, ...] = ()  # lower case; "*.example.com"
    path_exact: str | None = None
    path_prefix: str | None = None  # by path element: /a matches /a and /a/b, not /ab
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # name (any case), exact value
    query: tuple[tuple[str, str], ...] = ()
    leg: str = "client-pop"  # or "gateway-pop"
    window_ms: float = 5.0
    rules: tuple[RuleSpec, ...] = (RuleSpec(),)  # none fits: nothing is permitted
    split: tuple[tuple[int, int], ...] = ()  # (service, weight): instead of `service` alone
    is_split_sticky: bool = False  # a client stays with its service
    fallback_services: tuple[int, ...] = ()  # tried in order when the one before has no permitted, available PoP
    affinity: AffinitySpec | None = None
    redirect_status: int = 0  # 307 or 308: clients are sent to the PoP; 0: the request is passed on
    redirects_all: bool = False  # any method, not GET and HEAD alone


@dataclass(frozen=True, slots=True)
class BordersSpec:
    """What a path over a border takes beyond its distance, by the subregions of the two countries. A country in none of them, or one that
    nobody says, is beyond a border of which nothing more is known: `abroad_ms` alone."""

    subregions: tuple[str, ...] = ()  # the countries of each: ISO 3166 codes with spaces between
    costs_ms: tuple[tuple[float, ...], ...] = ()  # beside abroad_ms: a row a subregion, up to itself


@dataclass(frozen=True, slots=True)
class TableSpec:
    generation: int
    pops: tuple[PopSpec, ...]
    services: tuple[ServiceSpec, ...]
    routes: tuple[RouteSpec, ...]  # in the order of the configuration
    intercept_ms: float = field(default=0.0)  # the prior; control passes routing_core.PRIOR
    slope_ms_per_km: float = field(default=0.0)
    abroad_ms: float = field(default=0.0)
    borders: BordersSpec = BordersSpec()
    exploration: float = field(default=0.0)  # of the requests that may, the share that is sent where little is known, at most
    gateway: tuple[float, float] | None = None  # lat, lon of this gateway: for leg gateway-pop
    gateway_pop: int | None = None  # the PoP in which this gateway stands: what it measures of its own path is that PoP's
    # Round trips between PoPs: from, to, ms. They hold for the way back too, unless that is here as well.
    paths: tuple[tuple[int, int, float], ...] = ()
    pins: tuple[tuple[int, ...], ...] = ()  # PoPs in order; a location's pin is an index from 1
