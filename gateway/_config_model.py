"""The configuration as a tree of frozen models: every key, its default, its unit and its effect. Knows no file and no line.

Only the control plane imports it; workers get compiled tables and settings. A docstring under a field is what `check --schema`
and docs/config.md say about it. What concerns more than one section is judged in `_config_checks`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway import _config_units as units
from gateway._config_units import FAULT, Address, Duration, Network, Statuses, choice, duration, number, whole
from geoip.countries import COUNTRIES

Name = Annotated[str, units.NAME]
Bind = Annotated[Address, units.BIND]
File = Annotated[Path, units.PATH]
Lat = Annotated[float, number(-90, 90, " degrees")]
Lon = Annotated[float, number(-180, 180, " degrees")]
Country = Annotated[str, units.COUNTRY]
Continent = Annotated[str, units.CONTINENT]
Port = Annotated[str | int, units.KUBE_PORT]
Flag = Annotated[bool, units.FLAG]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """A key with an empty value is a key that was left out."""
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


def fault(text: str) -> PydanticCustomError:
    return PydanticCustomError(FAULT, "{text}", {"text": text})


def one_or_many(data: Any, *keys: str) -> Any:
    """A single value where a list is legal too."""
    if not isinstance(data, dict):
        return data
    return {key: (value,) if key in keys and value is not None and not isinstance(value, tuple) else value for key, value in data.items()}


class Place(Section):
    """A point on the earth."""

    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""


class Gateway(Section):
    """This gateway itself."""

    name: Name = "isochrone"
    """Its name in `via`, logs and metrics. Give each gateway its own."""
    location: Place | None = None
    """Where it stands. Clients with a private or loopback address stand here too; `leg: gateway-pop` needs it."""
    workers: Annotated[int | Literal["auto"], units.WORKERS] = "auto"
    """Threads that serve requests. `auto`: as many as CPUs this process may use, a container's quota counted. A change needs a restart."""


class Listener(Section):
    """An address that accepts clients. Listeners are opened at start: a changed one needs a restart."""

    name: Name
    """Its name in logs and metrics."""
    bind: Bind
    """Where it listens. Port 0 takes any free one and logs it. A name is not legal: it may mean several addresses, or none at boot."""


class ClientIp(Section):
    """Who the client is. Only the addresses listed here may say that they speak for another."""

    trusted_proxies: tuple[Annotated[Network, units.PREFIX], ...] = Field(default=(), max_length=64)
    """Hops whose forwarded header is believed, at most 64. Empty: the client is always the peer of the socket, and what it sent is
    replaced."""
    forwarded_hops: Annotated[int, whole(1, 16)] = 1
    """Which address of the header is the client's, counted from the right: the number of trusted hops before this gateway (the
    leftmost is what anyone can write). With fewer addresses than this the peer of the socket counts."""
    header: Annotated[Literal["x-forwarded-for", "forwarded"], choice("x-forwarded-for", "forwarded")] = "x-forwarded-for"
    """Which header trusted hops write."""


class Override(Section):
    """The operator's word on where a prefix is; beats any database. The longest prefix wins."""

    prefix: Annotated[Network, units.PREFIX]
    """The addresses meant."""
    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""
    country: Country | None = None
    """ISO 3166 code. The continent follows from it."""


class GeoIp(Section):
    """Where clients are. Without a database or an override that knows a client, PoPs are tried in the order of `pops`."""

    city: tuple[File, ...] = ()
    """MaxMind DB files with locations (city or country), one or a list: IPv4 and IPv6 may come apart. Loaded again when they change."""
    asn: tuple[File, ...] = ()
    """MaxMind DB files with autonomous systems, one or a list."""
    overrides: tuple[Override, ...] = ()
    """Prefixes located by hand: offices, carrier NAT, private networks."""
    check_interval: Annotated[Duration, duration("1s", "24h")] = Duration(10)
    """How often files are looked at for a change. A bad or missing file keeps the last good one and says so."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return one_or_many(data, "city", "asn")


class KubernetesAccess(Section):
    """How to reach the API of the cluster in a PoP: a context, a kubeconfig, both, or `in_cluster`."""

    context: Annotated[str, units.WORDS] | None = None
    """Name of a context of the kubeconfig; its current one when absent."""
    kubeconfig: File | None = None
    """The kubeconfig; absent: `$KUBECONFIG`, then `~/.kube/config`."""
    in_cluster: Flag = False
    """Use the service account of the pod this gateway runs in."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.in_cluster and (self.context or self.kubeconfig):
            raise fault("must be in_cluster alone, or context and kubeconfig without it")
        if not (self.in_cluster or self.context or self.kubeconfig):
            raise fault("must have context, kubeconfig or in_cluster: true")
        return self


class Pop(Section):
    """A point of presence. The order of the list is the order of last resort, for clients whose location is unknown."""

    name: Name
    """Its name in backends, jurisdictions, logs, metrics and `/pops/NAME/drain`."""
    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""
    country: Country | None = None
    """ISO 3166 code. A jurisdiction by country never permits a PoP without one."""
    region: Name | None = None
    """Any name you give to a group of PoPs, for jurisdictions."""
    continent: Continent | None = None
    """AF, AN, AS, EU, NA, OC or SA. Absent: that of `country`."""
    public_url: Annotated[str, units.URL] | None = None
    """Where clients reach this PoP by themselves. Kept for a version that redirects; nothing reads it in this one."""
    kubernetes: KubernetesAccess | None = None
    """The cluster in this PoP; backends may then name its Services."""

    @model_validator(mode="before")
    @classmethod
    def _continent(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("continent") is None and isinstance(country := data.get("country"), str):
            return {**data, "continent": COUNTRIES[country].continent if country in COUNTRIES else None}
        return data


class Health(Section):
    """Active probes, from this gateway to each endpoint. They can't be switched off: an endpoint that refused a connect is shut
    until a probe succeeds."""

    type: Annotated[Literal["http", "tcp"], choice("http", "tcp")] = "tcp"
    """`http`: a GET whose status must be expected. `tcp`: a connection must open. Absent: `http` when `path`, `host` or `expect` is
    given."""
    path: Annotated[str, units.PROBE_PATH] | None = None
    """Target of the GET; `/` when absent and the type is `http`."""
    host: Annotated[str, units.HOST_FIELD] | None = None
    """Its Host field. Absent: the endpoint's address, as a kubelet sends it."""
    expect: tuple[Annotated[Statuses, units.STATUSES], ...] = Field(default=(Statuses(200, 399),), min_length=1)
    """Statuses that mean healthy, one or a list. The default is the kubelet's."""
    interval: Annotated[Duration, duration("100ms", "1h")] = Duration(10)
    """Between two probes of one endpoint."""
    timeout: Annotated[Duration, duration("10ms", "1m")] = Duration(2)
    """From connecting to the whole status line; later is a failure. At most `interval`."""
    confirm_interval: Annotated[Duration, duration("100ms", "1h")] = Duration(1)
    """Between probes while a change is being confirmed: a death is then known in `interval + down_after * confirm_interval` at worst."""
    down_after: Annotated[int, whole(1, 100)] = 3
    """Failures in a row after which an endpoint is not available."""
    up_after: Annotated[int, whole(1, 100)] = 3
    """Successes in a row after which it is again."""
    jitter: Annotated[float, units.SHARE] = 0.1
    """Share of the interval by which each wait varies, so that probes of many gateways don't fall together."""

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, data: Any) -> Any:
        data = one_or_many(data, "expect")
        if not isinstance(data, dict):
            return data
        if data.get("type") is None and not {"path", "host", "expect"}.isdisjoint(key for key, value in data.items() if value is not None):
            data["type"] = "http"
        if data.get("type") == "http" and data.get("path") is None:
            data["path"] = "/"
        return data

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.type == "tcp" and self.path is not None:
            raise fault("must have no path when the type is tcp")
        if self.timeout > self.interval:
            raise fault(f"must have a timeout of at most its interval {self.interval}, got {self.timeout}")
        if self.confirm_interval > self.interval:
            raise fault(f"must have a confirm_interval of at most its interval {self.interval}, got {self.confirm_interval}")
        return self


class KubernetesBackend(Section):
    """The ready endpoints of a Service, followed live."""

    namespace: Annotated[str, units.KUBE_NAME] = "default"
    """Namespace of the Service."""
    service: Annotated[str, units.KUBE_NAME]
    """Its name. An ExternalName Service has no endpoints."""
    port: Port
    """Name or number of one of the Service's ports, not of its pods'."""


class Backend(Section):
    """What serves a service in one PoP: endpoints, or a Kubernetes Service."""

    pop: Name
    """The PoP it is in; at most one backend a PoP."""
    endpoints: tuple[Annotated[Address, units.ENDPOINT], ...] | None = Field(default=None, min_length=1)
    """Addresses, or names, resolved off the hot path (all A and AAAA, again every 30 s; the last good answer is kept)."""
    kubernetes: KubernetesBackend | None = None
    """A Service of the PoP's cluster."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.endpoints is None) == (self.kubernetes is None):
            raise fault("must have either endpoints or kubernetes" + (", got both" if self.endpoints else ", got neither"))
        doubled = sorted(str(address) for address, count in Counter(self.endpoints or ()).items() if count > 1)
        if doubled:
            raise fault(f"must name each endpoint once, got {', '.join(doubled)} more than once")
        return self


class Service(Section):
    """An application, and where it runs."""

    name: Name
    """Its name in routes, logs and metrics."""
    health: Health = Health()
    """How its endpoints are probed."""
    backends: tuple[Backend, ...] = Field(min_length=1)
    """One for each PoP it runs in."""
    max_in_flight: Annotated[int, whole(0, 1_000_000, ", 0 for no limit")] = 0
    """Exchanges at once at one endpoint, over all workers; more wait in its queue. `limits.connections_per_endpoint` holds beside it."""
    slow_start: Annotated[Duration, duration("0s", "1h")] = Duration(30)
    """How long an endpoint that came or came back is given less than its share; never at process start. 0s: off."""


class Match(Section):
    """What a request must have, all of it. Precedence is the Gateway API's: exact host, then wildcard; exact path, then the longest
    prefix, method, most headers, most query parameters; then the order of the file."""

    hosts: tuple[Annotated[str, units.HOST], ...] = ()
    """Any of these hosts; the request's port does not count. Empty: any host."""
    path_prefix: Annotated[str, units.URL_PATH] | None = None
    """By whole elements: `/a` matches `/a` and `/a/b`, not `/ab`. Compared as sent, without decoding."""
    path_exact: Annotated[str, units.URL_PATH] | None = None
    """The whole path."""
    method: Annotated[str, units.METHOD] | None = None
    """The request's method."""
    headers: Annotated[tuple[tuple[str, str], ...], units.HEADERS] = ()
    """Headers with exactly these values."""
    query: Annotated[tuple[tuple[str, str], ...], units.QUERY] = ()
    """Query parameters with exactly these values, compared as sent."""

    @model_validator(mode="after")
    def _one_path(self) -> Self:
        if self.path_prefix is not None and self.path_exact is not None:
            raise fault("must have path_prefix or path_exact, got both")
        return self


class Jurisdiction(Section):
    """Which PoPs may see these requests. Fails closed: no permitted PoP that can serve means 503, never a PoP outside. A PoP must satisfy
    every list given (so another list narrows, and never widens), and lacks what it does not say."""

    continents: tuple[Continent, ...] | None = Field(default=None, min_length=1)
    """Continents of permitted PoPs."""
    countries: tuple[Country, ...] | None = Field(default=None, min_length=1)
    """Countries of permitted PoPs."""
    regions: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Regions of permitted PoPs."""
    pops: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Names of permitted PoPs."""

    def permits(self, pop: Pop) -> bool:
        asked = ((self.continents, pop.continent), (self.countries, pop.country), (self.regions, pop.region), (self.pops, pop.name))
        return all(legal is None or has in legal for legal, has in asked)


class Steering(Section):
    """How a PoP is chosen for the requests of a route."""

    mode: Annotated[Literal["proxy"], choice("proxy", later="redirect")] = "proxy"
    """`proxy`: the request is passed on."""
    leg: Annotated[Literal["client-pop", "gateway-pop"], choice("client-pop", "gateway-pop")] = "client-pop"
    """Which path's latency is estimated. `client-pop`: from the client to each PoP, right for gateways near their clients.
    `gateway-pop`: this gateway's own path to each PoP, the same for all clients."""
    window: Annotated[Duration, duration("0s", "1s")] = Duration(0.005)
    """PoPs within this of the fastest are near-equals and share the traffic. Wider when a client's location is vague."""
    jurisdiction: Jurisdiction = Jurisdiction()
    """Which PoPs are permitted."""


class Route(Section):
    """Which requests go to which service."""

    name: Name = ""
    """Its name in logs and `explain`. Absent: that of its service, with `-2`, `-3` and so on when it has several routes."""
    match: tuple[Match, ...] = Field(default=(Match(),), min_length=1)
    """One, or a list of which one must hold. Absent: every request."""
    service: Name
    """Where they go."""
    steering: Steering = Steering()
    """How the PoP is chosen."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return one_or_many(data, "match")
