"""Objects: what is to be served, from whatever source: listeners, routes, services, PoPs, and the policies that hold for all of them.

Plain and frozen, whole and sound when they are made: who makes them has judged what was written. Defaults are those of docs/config.md,
for sources that leave a policy out. Durations are seconds, sizes bytes. Must not know a file, a cluster, nor how anything is served.

Over 400 lines: declarations, in the order in which docs/config.md has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.model._reach import permits
from gateway.model._values import Address, Duration, Network, Size, Statuses


class Identity(NamedTuple):
    """Which object: within one gateway two of a kind never have the same."""

    source: str  # "file", or which other source said it
    namespace: str  # "" where the source has none
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.namespace}/{self.name}" if self.namespace else f"{self.source}:{self.name}"


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that does not serve, and why."""

    kind: str  # listener, pop, service, route
    identity: Identity
    fault: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}: {self.fault}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What others name, and what a gateway has one of by that name."""

    name: str
    source: str = "file"
    namespace: str = ""

    @property
    def identity(self) -> Identity:
        return Identity(self.source, self.namespace, self.name)


# --- Where things are ---


@dataclass(frozen=True, slots=True)
class Place:
    lat: float  # degrees north
    lon: float  # degrees east


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    name: str | None = None
    location: Place | None = None
    pop: str | None = None  # in which it stands
    zone: str | None = None
    workers: int | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener(Named):
    bind: Address
    dual: bool = False
    mode: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIp:
    trusted_proxies: tuple[Network, ...] = ()
    forwarded_hops: int = 1
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Exactly one of prefix, asn, or country alone says whose location it is."""

    prefix: Network | None = None
    asn: int | None = None
    lat: float
    lon: float
    country: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    prefix: Network
    pops: tuple[str, ...]  # the first that can serve has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoIp:
    city: tuple[Path, ...] = ()
    asn: tuple[Path, ...] = ()
    overrides: tuple[Override, ...] = ()
    pins: tuple[Pin, ...] = ()
    check_interval: Duration = Duration(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAccess:
    """A way to the API of a cluster."""

    context: str | None = None
    kubeconfig: Path | None = None
    in_cluster: bool = False
    also: tuple[str | None, ...] = ()  # other contexts that lead the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    requests_in_flight: int
    low: float = 0.8  # share of it from which on less is taken
    high: float = 1.0  # and nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop(Named):
    lat: float
    lon: float
    country: str | None = None
    region: str | None = None
    continent: str | None = None
    public_url: str | None = None
    capacity: Capacity | None = None
    paths: tuple[tuple[str, Duration], ...] = ()  # round trips to other PoPs
    kubernetes: KubernetesAccess | None = None


# --- Services ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    type: Literal["http", "tcp"] = "tcp"
    path: str | None = None
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    port: int | None = None
    expect: tuple[Statuses, ...] = (Statuses(200, 399),)
    interval: Duration = Duration(10)
    timeout: Duration = Duration(2)
    confirm_interval: Duration = Duration(1)
    down_after: int = 3
    up_after: int = 3
    jitter: float = 0.1

    @property
    def question(self) -> tuple[object, ...]:
        """What is asked, and which answer is good: who is asked something else is judged anew."""
        return self.type, self.path, self.host, self.headers, self.port, self.expect, self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesBackend:
    namespace: str = "default"
    service: str
    port: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What serves a service in one PoP: either endpoints or a Service of its cluster."""

    pop: str
    endpoints: tuple[Address, ...] | None = None
    kubernetes: KubernetesBackend | None = None
    allow: tuple[Network | str, ...] = ()
    weight: int = 1
    capacity: Capacity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    consecutive_errors: int = 5
    interval: Duration = Duration(10)
    eject: Duration = Duration(30)
    eject_max: Duration = Duration(300)
    max_share: float = 0.5
    success_rate: bool = True
    latency: bool = True
    server_errors: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    failure: Duration = Duration(5)
    server_errors: bool = False
    compared: bool = True
    rate_limited: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Named):
    health: Health = Health()
    backends: tuple[Backend, ...]
    max_in_flight: int = 0
    slow_start: Duration = Duration(30)
    pop_ramp: Duration = Duration(60)
    prefer_zone: bool = False
    outliers: Outliers = Outliers()
    penalties: Penalties = Penalties()
    on_unavailable: tuple[str, ...] = ()
    long_lived: bool = False


# --- Routes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    hosts: tuple[str, ...] = ()
    path_prefix: str | None = None
    path_exact: str | None = None
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """A PoP must be in every list that is given, and lacks what it does not say."""

    continents: tuple[str, ...] | None = None
    countries: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    pops: tuple[str, ...] | None = None

    def permits(self, pop: Pop) -> bool:
        return permits(self, pop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    countries: tuple[str, ...] | None = None
    continents: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    clients: Clients | None = None  # None: all of them
    pops: Jurisdiction


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    status: Literal[307, 308] = 307
    methods: Literal["safe", "all"] = "safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    cookie: str | None = None
    header: str | None = None
    client: bool = False
    within: Duration = Duration(0)
    same_site: Literal["lax", "strict", "none"] = "lax"
    secure: Literal["auto", True, False] = "auto"
    max_age: Duration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    mode: Literal["proxy", "redirect"] = "proxy"
    redirect: Redirect = Redirect()
    leg: Literal["client-pop", "gateway-pop"] = "client-pop"
    window: Duration = Duration(0.005)
    rules: tuple[Rule, ...] = (Rule(pops=Jurisdiction()),)  # the first that is for a client counts; of no rule: nowhere
    affinity: Affinity | None = None


class Target(NamedTuple):
    service: str
    weight: int  # its part, of the sum of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Named):
    match: tuple[Match, ...] = (Match(),)  # one of them must hold
    targets: tuple[Target, ...]  # none: it is refused, and what it matches is answered so
    split_sticky: bool = False
    steering: Steering = Steering()


# --- What holds for all ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeControl:
    pace: float = 0.1
    margin: float = 0.05
    exploration: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    request_head: Duration = Duration(10)
    body_progress: Duration = Duration(30)
    keep_alive_idle: Duration = Duration(75)
    connect: Duration = Duration(2)
    first_byte: Duration = Duration(60)
    upstream_idle: Duration = Duration(4)
    queue: Duration = Duration(1)
    tunnel_idle: Duration = Duration(3600)
    linger: Duration = Duration(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerClient:
    v4: int = 32
    v6: int = 64
    connections: int = 0
    exchanges: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    head_bytes: Size = Size(32 << 10)
    fields: int = 100
    body_bytes: Size = Size(0)
    body_rate: Size = Size(240)
    connections: int = 50_000
    connections_per_endpoint: int = 1_024
    queue_per_endpoint: int = 128
    buffers: Size | Literal["auto"] = "auto"
    per_client: PerClient = PerClient()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    underscores: Literal["refuse", "drop", "pass"] = "drop"
    non_ascii: Literal["refuse", "pass"] = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    max: int = 2
    budget_share: float = 0.2
    budget_floor: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes:
    sync_deadline: Duration = Duration(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    lameduck: Duration = Duration(5)
    deadline: Duration = Duration(60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    bind: Address = Address("127.0.0.1", 9901)
    token: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    bind: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    path: Path | Literal["-"] = "-"
    sample: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All that one gateway is to do."""

    gateway: Gateway = Gateway()
    listeners: tuple[Listener, ...] = ()
    client_ip: ClientIp = ClientIp()
    geoip: GeoIp = GeoIp()
    pops: tuple[Pop, ...] = ()  # in the order of last resort
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    steering: ChangeControl = ChangeControl()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    requests: Requests = Requests()
    retries: Retries = Retries()
    kubernetes: Kubernetes = Kubernetes()
    drain: Drain = Drain()
    admin: Admin = Admin()
    status: Status | None = None
    access_log: AccessLog | None = None
    log: Log = Log()
    debug_headers: bool = False
    state_dir: Path | None = None
    affinity_key: Path | None = None
    refused: tuple[Refused, ...] = ()  # who was to be in it, and is not
    # As its source writes it, every default with it; given whether what is beyond ASCII is escaped.
    written: Callable[[bool], str] = field(default=lambda is_ascii: "", compare=False, repr=False)
