"""Timeouts, limits, lifecycle and what is told to operators: the sections that hold for the whole gateway. Knows no file and no line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from gateway.config import _units as units
from gateway.config._leaves import choice, duration, size, whole
from gateway.config._places import Bind, ClientIp, File, Flag, Gateway, GeoIp, Listener, Pop, Section, fit
from gateway.config._routes import ChangeControl, Route
from gateway.config._services import Service
from gateway.config._tree import Loc
from gateway.model import Address, Duration, Size

AFTER_LAMEDUCK_S = 55  # for what still runs, where nobody says how long


class Timeouts(Section):
    """Every wait has an end. What a client waits for ends in 408 or 504 when it still can, else in a closed connection."""

    request_head: Annotated[Duration, duration("100ms", "5m")] = Duration(10)
    """From a head's first byte to its end, in total, as HAProxy's `timeout http-request`: one byte a second must not hold a
    connection. 408."""
    body_progress: Annotated[Duration, duration("100ms", "1h")] = Duration(30)
    """Longest pause of a body that moves, either side, either way. A byte of one side never extends the wait for the other."""
    keep_alive_idle: Annotated[Duration, duration("100ms", "24h")] = Duration(75)
    """How long a client's connection is kept between requests. Longer than that of a load balancer in front (AWS ALB: 60 s), or it sends
    on a connection just being closed."""
    connect: Annotated[Duration, duration("10ms", "1m")] = Duration(2)
    """To open a connection to an endpoint. The next endpoint or PoP is tried then."""
    first_byte: Annotated[Duration, duration("10ms", "1h")] = Duration(60)
    """From the end of the request to the first byte of the answer; with `Expect: 100-continue` from the end of its
    head to the endpoint's word. 504."""
    upstream_idle: Annotated[Duration, duration("100ms", "1h")] = Duration(4)
    """How long a pooled connection to an endpoint is kept for reuse. Shorter than the endpoint keeps it (Node.js: 5 s), or a request
    meets its close."""
    queue: Annotated[Duration, duration("1ms", "1m")] = Duration(1)
    """Longest wait for a free connection to an endpoint. Then the next PoP is tried, where it may wait as long again, at most two of them;
    after that 503 with Retry-After."""
    tunnel_idle: Annotated[Duration, duration("1s", "168h")] = Duration(3600)
    """How long an upgraded connection (WebSocket) may be silent."""
    linger: Annotated[Duration, duration("0s", "1m")] = Duration(1)
    """After the last answer: how long the client's end is waited for, so that it can read that answer (RFC 9112 9.6; Envoy's is 1 s)."""


class PerClient(Section):
    """What one client may take. A client is a prefix of the address; of connections that of the socket's peer, of exchanges the one that
    `client_ip` finds. Trusted proxies and this machine itself are exempt. Without caps nobody is refused, but when there is no room for
    a new connection, one of the client that holds most is closed for it, busy ones too."""

    v4: Annotated[int, whole(1, 32)] = 32
    """Bits of an IPv4 address that are one client's."""
    v6: Annotated[int, whole(1, 128)] = 64
    """Bits of an IPv6 address that are one client's: a household has a /64 at least."""
    connections: Annotated[int, whole(0, 10_000_000)] = 0
    """Most connections of one client, over all listeners; further ones are closed at once. 0: no cap. Offices and mobile networks put
    thousands of people behind one address."""
    exchanges: Annotated[int, whole(0, 10_000_000)] = 0
    """Most requests of one client under way at once, tunnels among them; further ones are answered with 429. 0: no cap."""


class Limits(Section):
    """Bounds on what one client or one endpoint may take. They hold for the whole gateway, over all workers."""

    head_bytes: Annotated[Size, size("1KiB", "60KiB")] = Size(32 << 10)
    """A request's or answer's head. nginx has 32 KiB, Envoy 60 KiB. 431, or 414 when the request line alone is over; 502 from upstream."""
    fields: Annotated[int, whole(1, 128)] = 100
    """Header fields of a request's head. HAProxy has 101. 431. An answer may have 128: 502 above that, and nobody's failure."""
    body_bytes: Annotated[Size, size("1B", "1024GiB", or_none=True)] = Size(0)
    """A request's body. Bodies stream through in constant memory, so the default is no limit. 413."""
    body_rate: Annotated[Size, size("1B", "1MiB", or_none=True)] = Size(240)
    """Bytes a second that a client must send of a request's body, or read of an answer's, in the long run (Kestrel: 240). All its pauses
    together may last `timeouts.body_progress`, and a second more for each so many bytes; time in which the endpoint is waited for does not
    count. 408, or a closed connection. Tunnels and services that are `long_lived` are exempt."""
    connections: Annotated[int, whole(1, 10_000_000)] = 50_000
    """Clients' connections per listener; beyond it one of the client that holds most is closed, else the one idle longest. Envoy's edge
    default. Each needs two descriptors at worst."""
    connections_per_endpoint: Annotated[int, whole(1, 1_000_000)] = 1_024
    """To one endpoint; while all are in use the PoP's others are asked, and further requests wait. Envoy's default. Tunnels (WebSocket)
    don't count."""
    queue_per_endpoint: Annotated[int, whole(0, 1_000_000)] = 128
    """Requests that wait for one endpoint; beyond it the next PoP is tried. Where all are full 503 with Retry-After. Who only waits for a
    connection that lies idle at another worker is not counted."""
    buffers: Annotated[Size | Literal["auto"], size("16MiB", "1024GiB", or_auto=True)] = "auto"
    """Memory for what is read and not yet passed on, all clients and endpoints together. Half of it is for what is new: beyond that heads
    wait in their sockets, bodies go through small buffers, and connections of the client that holds most are closed; the other half is for
    requests under way, whose answers so never want for it. `auto`: a quarter of the memory that this process may have, by its machine
    and its cgroup; `check` says how much that is."""
    per_client: PerClient = PerClient()
    """What one client may take."""


class Retries(Section):
    """When another endpoint or PoP is tried. A request of which no byte was sent: always, whatever its method. An idempotent one also after
    a reset without a byte of the answer, and when the endpoint where it waits has fallen silent. Never after a byte of the answer."""

    max: Annotated[int, whole(0, 3)] = 2
    """Further attempts a request. The last goes to another PoP. A pooled connection that ends just as it is used takes none of them, once,
    unless there are none, and is made anew to the same PoP; four connections are tried at most. Connects that fail take attempts of their
    own PoP only: a request that reached nobody is not lost while another PoP that it may use is well, whatever this says; 23 endpoints at
    most."""
    budget_share: Annotated[float, units.SHARE] = 0.2
    """Share of a service's requests that may be retries (Envoy and Linkerd: 20 %), so that an outage is not multiplied; beyond it, in any
    minute, as many as were in flight at once, so that a death costs none of these. Of the whole gateway. Attempts that wrote no byte
    don't count."""
    budget_floor: Annotated[int, whole(0, 100_000, " a second")] = 10
    """Retries a second, in the mean of a minute, that are always within the budget, for services with little traffic (Linkerd: 10). Not in
    addition to what was in flight: in any minute there are at most `budget_share` of the requests and the greater of the two, which is the
    most that were in flight, or 70 times this (the minute, and the ten seconds under way). All of it may come at once: of few requests all
    may then be retried `max` times, by the default up to 700 in a minute; 0: never more than were in flight."""


class Requests(Section):
    """What of a request not everybody reads alike."""

    underscores: Annotated[Literal["refuse", "drop", "pass"], choice("refuse", "drop", "pass")] = "drop"
    """Fields with an underscore in their names. CGI, WSGI and many others read `_` as `-`, so `X_Real_IP` would be a second `X-Real-IP`.
    `refuse`: 400. `drop`: they are left out, for routes and affinity too, and counted (`isochrone_fields_dropped_total`), as nginx does.
    `pass`: they go on, but those that read as a field that means something to proxies."""
    non_ascii: Annotated[Literal["refuse", "pass"], choice("refuse", "pass")] = "refuse"
    """Raw octets beyond ASCII in a request's target, which RFC 3986 wants as %XX. `refuse`: 400. `pass`: they go on as they came; routes
    compare paths as sent."""


class Kubernetes(Section):
    """What holds for all clusters."""

    sync_deadline: Annotated[Duration, duration("1s", "10m")] = Duration(30)
    """How long the start waits for a cluster's first answer. Then it is called stale, and the gateway gets ready without it."""


class Drain(Section):
    """The end of this gateway: SIGTERM, or `isochrone drain`. A pod's terminationGracePeriodSeconds must be `deadline` and 5 s more."""

    lameduck: Annotated[Duration, duration("0s", "1h")] = Duration(5)
    """How long everyone is still served while /readyz says 503 and more and more answers say `Connection: close`. At least what it
    takes for load balancers to look away: 20-30 s behind AWS ALB or NLB, twice the TTL behind DNS. At most `deadline`."""
    deadline: Annotated[Duration, duration("0s", "24h")] = Duration(60)
    """From the signal to the end of what still runs; sooner when nothing does. Absent: 55 s more than `lameduck`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fit(self, "lameduck", min(self.lameduck, self.deadline))
        fit(self, "deadline", Duration(self.lameduck + AFTER_LAMEDUCK_S))
        return self


class Admin(Section):
    """The admin API, on loopback or a unix socket: beyond them it would need a token and TLS, and TLS is not in this version. A change
    needs a restart."""

    bind: Bind = Address("127.0.0.1", 9901)
    """Where it listens."""
    token: File | None = None
    """A file with a token of 16 characters at least, that requests must bring (`Authorization: Bearer`); read at start. `/healthz`,
    `/readyz` and `/metrics` are told to anyone. The command line takes it from the file in `ISOCHRONE_ADMIN_TOKEN_FILE`. Absent: none is
    needed, and every user of this machine who reaches the address may do everything."""


class Status(Section):
    """A read-only listener with /healthz, /readyz and /metrics alone, for kubelets and scrapers that can't reach loopback. A change
    needs a restart."""

    bind: Bind
    """Where it listens."""


class AccessLog(Section):
    """One JSON object a line for each exchange. Off when the section is absent; `access_log: {}` writes all to standard output."""

    path: Annotated[Path | Literal["-"], units.LOG_PATH] = "-"
    """The file, or `-` for standard output. Records are dropped and counted, never waited for, when it can't be written."""
    sample: Annotated[float, units.SHARE] = 1.0
    """Share of the exchanges that are logged."""


class Log(Section):
    """The program's own log, on standard error."""

    format: Annotated[Literal["auto", "json", "text"], choice("auto", "json", "text")] = "auto"
    """`auto`: text on a terminal, else JSON."""
    level: Annotated[Literal["debug", "info", "warning", "error"], choice("debug", "info", "warning", "error")] = "info"
    """What is worth a line."""


class Config(Section):
    """The whole file."""

    gateway: Gateway = Gateway()
    """This gateway."""
    listeners: tuple[Listener, ...] = Field(default=(), max_length=16)
    """Where clients connect; at least one, at most 16."""
    client_ip: ClientIp = ClientIp()
    """Who the client is."""
    geoip: GeoIp = GeoIp()
    """Where clients are."""
    pops: tuple[Pop, ...] = Field(default=(), max_length=512)
    """Points of presence, in the order of last resort; at least one, at most 512."""
    services: tuple[Service, ...] = ()
    """Applications; at least one."""
    routes: tuple[Route, ...] = ()
    """Which requests go to which service; at least one. A request that no route matches is answered with 404."""
    steering: ChangeControl = ChangeControl()
    """How fast traffic may move."""
    timeouts: Timeouts = Timeouts()
    """Every wait's end."""
    limits: Limits = Limits()
    """Bounds."""
    requests: Requests = Requests()
    """What not everybody reads alike in a request."""
    retries: Retries = Retries()
    """Further attempts."""
    kubernetes: Kubernetes = Kubernetes()
    """All clusters."""
    drain: Drain = Drain()
    """The end of this gateway."""
    admin: Admin = Admin()
    """The admin API."""
    status: Status | None = None
    """The read-only listener; off when absent."""
    access_log: AccessLog | None = None
    """The access log; off when absent."""
    log: Log = Log()
    """The program's log."""
    debug_headers: Flag = False
    """Whether answers say `x-isochrone-pop` and `x-isochrone-reason`. They tell clients how your network is made."""
    state_dir: Annotated[Path, units.FOLDER] | None = None
    """A folder for what must outlive this process (the drains of PoPs, a key, the last endpoints of each cluster); created at start if
    absent, for its user alone (0700). What others may write is not read, nor is a key that others may read."""
    affinity_key: File | None = None
    """A file with the key that signs affinity cookies, 16 bytes at least; give the same to all gateways that a client may meet. Absent: a
    key is kept in `state_dir`, as `affinity.key`; without that one is made at start, and cookies end with the process."""

    _written: tuple[tuple[Loc, Any], ...] = PrivateAttr(())

    @property
    def written(self) -> tuple[tuple[Loc, Any], ...]:
        """What came from outside the file: where it stands, and how it is written there."""
        return self._written

    def remember(self, found: Iterable[tuple[Loc, Any]]) -> None:
        self._written = tuple(found)

    @model_validator(mode="before")
    @classmethod
    def _route_names(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("routes"), tuple):
            return data
        routes = data["routes"]
        taken = {route["name"] for route in routes if isinstance(route, dict) and isinstance(route.get("name"), str)}
        named = []
        for route in routes:
            if isinstance(route, dict) and route.get("name") is None and (service := _service_of(route)):
                name, n = service, 1
                while name in taken:
                    n += 1
                    name = f"{service[: 62 - len(str(n))]}-{n}"  # at most the 63 that a name may have
                taken.add(name)
                route = {**route, "name": name}
            named.append(route)
        return {**data, "routes": tuple(named)}


def _service_of(route: dict[str, Any]) -> str:
    """A route's service, or the first of its split, as it stands in the file; empty when it is no name: that fault is not this one's."""
    split = route.get("split")
    found = route.get("service")
    if found is None and isinstance(split, tuple) and split and isinstance(split[0], dict):
        found = split[0].get("service")
    try:
        return str(units.NAME.parse(found, Path()))
    except ValueError:
        return ""
