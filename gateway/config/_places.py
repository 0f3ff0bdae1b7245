"""The configuration as a tree of frozen models: every key, its default, its unit and its effect. Knows no file and no line.

Here: what every section shares, and who and where things are: the gateway, its clients, the PoPs. Services are in
`_services`, routes and steering in `_routes`, what holds for the whole gateway and the file's root in `_limits`.
Only the control plane imports them; workers get compiled tables and settings. A docstring under a field is what `check --schema`
and docs/config.md say about it. What concerns more than one section is judged in `_checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.config import _units as units
from gateway.config._leaves import FAULT, choice, duration, number, whole
from gateway.model import Address, Duration, Network
from geoip.countries import COUNTRIES, GROUPS

Name = Annotated[str, units.NAME]
Bind = Annotated[Address, units.BIND]
File = Annotated[Path, units.PATH]
Lat = Annotated[float, number(-90, 90, " degrees")]
Lon = Annotated[float, number(-180, 180, " degrees")]
Country = Annotated[str, units.COUNTRY]
CountryOrGroup = Annotated[str, units.COUNTRIES_OF]
Continent = Annotated[str, units.CONTINENT]
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


def fit(section: Section, key: str, value: Any) -> None:
    """Where the user did not write `key`, let it be `value`, which fits what he wrote: a default is never a fault."""
    if key not in section.model_fields_set:
        object.__setattr__(section, key, value)


def once(what: str, values: Iterable[Any]) -> None:
    """Nothing is named twice."""
    doubled = sorted(str(value) for value, count in Counter(values).items() if count > 1)
    if doubled:
        raise fault(f"must name each {what} once, got {', '.join(doubled)} more than once")


class InCountries(Section):
    """What has a list of countries, groups among them, which stand for their countries."""

    @model_validator(mode="after")
    def _ungrouped(self) -> Self:
        countries = getattr(self, "countries", None)
        if countries is not None:
            each = dict.fromkeys(code for one in countries for code in GROUPS.get(one, (one,)))
            object.__setattr__(self, "countries", tuple(each))
        return self


class Place(Section):
    """A point on the earth."""

    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""


class Gateway(Section):
    """This gateway itself."""

    name: Name | None = None
    """Its name in `via`. A request that has been by this name is answered 508: give each gateway its own. Left out: `isochrone-` and 16
    random digits, others at each start."""
    location: Place | None = None
    """Where it stands, else where its `pop` is. Clients with a private or loopback address stand here too; `leg: gateway-pop` needs it."""
    pop: Name | None = None
    """The PoP in which it stands, one of `pops`. What it measures of its own paths to the others then says where clients near that PoP are
    best served, as its `paths` do; where both know a path the measured one counts."""
    zone: Name | None = None
    """The zone it runs in, as endpoints carry it (`topology.kubernetes.io/zone`). `services[].prefer_zone` needs it."""
    workers: Annotated[int | Literal["auto"], units.WORKERS] = "auto"
    """Threads that serve requests. `auto`: as many as CPUs this process may use, a container's quota counted. A change needs a restart."""


class Listener(Section):
    """An address that accepts clients. Listeners are opened at start: a changed one needs a restart."""

    name: Name
    """Its name in logs and metrics."""
    bind: Bind
    """Where it listens. Port 0 takes any free one and logs it. A name is not legal: it may mean several addresses, or none at boot."""
    dual: Flag = False
    """With a bind of "[::]:80" alone: takes IPv4 as well, by one socket. Clients are then IPv4 ones everywhere, as by a listener of their
    own. Off: "[::]" is IPv6 alone, and "0.0.0.0" may stand beside it."""
    mode: Annotated[str, units.MODE] | None = None
    """Of a unix socket: the mode of its file. Who connects needs the right to write. Absent: what the umask leaves."""
    owner: Annotated[str, units.OWNER] | None = None
    """Of a unix socket: whose its file is, `user`, `user:group` or `:group`. Other users than one's own need CAP_CHOWN. Absent: the
    process's."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dual and self.bind.host != "::":
            raise fault(f'must have the bind "[::]" and a port where dual is true, got {str(self.bind)!r}')
        for key in ("mode", "owner"):
            if getattr(self, key) is not None and not self.bind.is_unix:
                raise fault(f"must have a unix socket as bind where there is {key}, got {str(self.bind)!r}")
        return self


class ClientIp(Section):
    """Who the client is. Only the addresses listed here may say that they speak for another."""

    trusted_proxies: tuple[Annotated[Network, units.PREFIX], ...] = Field(default=(), max_length=64)
    """Hops whose forwarded header is believed, at most 64; `::/0` holds IPv6 hops only. Empty: the client is always the
    peer of the socket, and what it sent is replaced."""
    forwarded_hops: Annotated[int, whole(1, 16)] = 1
    """Which address of the header is the client's, counted from the right: the number of trusted hops before this gateway (the
    leftmost is what anyone can write). With fewer addresses than this, or none in that place, the peer of the socket counts."""
    header: Annotated[Literal["x-forwarded-for", "forwarded"], choice("x-forwarded-for", "forwarded")] = "x-forwarded-for"
    """Which header trusted hops write."""


class Override(Section):
    """The operator's word on where clients are; beats any database. Exactly one of `prefix`, `asn`, or `country` alone says whose
    location it is: a client is looked up by prefix (the longest wins), then by autonomous system, then by country."""

    prefix: Annotated[Network, units.PREFIX] | None = None
    """The addresses meant."""
    asn: Annotated[int, whole(1, 4_294_967_295)] | None = None
    """The autonomous system meant, as a database of `geoip.asn` numbers it."""
    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""
    country: Country | None = None
    """ISO 3166 code. Beside `prefix` or `asn`: the country these clients are in, from which the continent follows; absent: that of a
    larger `prefix` in this list, else of the databases. Alone: the clients meant are those that a database of `geoip.city` puts in this
    country."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.prefix is not None and self.asn is not None:
            raise fault("must have either prefix or asn, got both")
        if self.prefix is None and self.asn is None and self.country is None:
            raise fault("must have prefix, asn or country: whose location it is")
        return self


class Pin(Section):
    """Sends the clients of a prefix to PoPs of your choice. Jurisdiction, health and drains hold; when none of these PoPs can serve, the
    decision is the normal one."""

    prefix: Annotated[Network, units.PREFIX]
    """The clients meant. The longest prefix wins."""
    pops: tuple[Name, ...] = Field(min_length=1)
    """Names of PoPs; the first that can serve has them all."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        once("PoP", self.pops)
        return self


class GeoIp(Section):
    """Where clients are. Without a database or an override that knows a client, PoPs are tried in the order of `pops`."""

    city: tuple[File, ...] = ()
    """MaxMind DB files with locations (city or country), one or a list: IPv4 and IPv6 may come apart. Loaded again when they change."""
    asn: tuple[File, ...] = ()
    """MaxMind DB files with autonomous systems, one or a list."""
    overrides: tuple[Override, ...] = ()
    """Clients located by hand: offices, carrier NAT, private networks; an autonomous system or a country that a database has wrong."""
    pins: tuple[Pin, ...] = ()
    """Clients that go to PoPs of your choice, wherever they are."""
    check_interval: Annotated[Duration, duration("1s", "24h")] = Duration(10)
    """How often files are looked at for a change; a reload has them looked at too. One that has changed, and one that is missing, is looked
    at again a second later: it is used once it is the same twice. A bad or missing file keeps the last good one and says so."""

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


class Capacity(Section):
    """Requests in flight that this gateway, all its workers together, may have here. From `low` on a part is passed over to the next best
    PoPs, which grows evenly to all of it at `high` (as NS1's watermarks); above `high` nothing is sent here while another permitted PoP
    has room. Tunnels (WebSocket) don't count. What clients hold (bodies that they send or read slowly) counts, of one client network up to
    its part of it. What waits for a connection to an endpoint counts too."""

    requests_in_flight: Annotated[int, whole(1, 10_000_000)]
    """All it may have. Several gateways before the same PoPs: the part of this one."""
    low: Annotated[float, units.SHARE] = 0.8
    """Share of `requests_in_flight` at which shedding begins. Below `high`; absent: four fifths of it."""
    high: Annotated[float, units.SHARE] = 1.0
    """Share of `requests_in_flight` at which everything is shed."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        fit(self, "low", self.low * self.high)
        if self.low >= self.high:
            raise fault(f"must have a low below its high, got low {_percent(self.low)} and high {_percent(self.high)}")
        return self


def _percent(share: float) -> str:
    return f"{round(share * 100, 4):g}%"


class Pop(Section):
    """A point of presence. The order of the list is the order of last resort, for clients whose location is unknown."""

    name: Name
    """Its name in backends, jurisdictions, logs, metrics and `/pops/NAME/drain`."""
    lat: Lat
    """Latitude, degrees north."""
    lon: Lon
    """Longitude, degrees east."""
    country: Country | None = None
    """ISO 3166 code. A jurisdiction by country never permits a PoP without one, and to the latency estimate it lies abroad for everyone,
    behind a border of which nothing more is known."""
    region: Name | None = None
    """Any name you give to a group of PoPs, for jurisdictions."""
    continent: Continent | None = None
    """AF, AN, AS, EU, NA, OC or SA. Absent: that of `country`."""
    public_url: Annotated[str, units.URL] | None = None
    """Where clients reach this PoP by themselves. Routes with `mode: redirect` need it."""
    capacity: Capacity | None = None
    """What may be in flight in this PoP, all services together. Absent: no bound."""
    paths: Annotated[tuple[tuple[str, Duration], ...], units.PATHS] = ()
    """Round trips from here to other PoPs, as they were measured: `{nyc: 84ms}`. They hold for the way back too, unless that PoP says
    otherwise. By them estimates for clients near here (`leg: client-pop`) are mended, and it is known which PoP takes over best."""
    kubernetes: KubernetesAccess | None = None
    """The cluster in this PoP; backends may then name its Services."""

    @model_validator(mode="before")
    @classmethod
    def _continent(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("continent") is None and isinstance(country := data.get("country"), str):
            return {**data, "continent": COUNTRIES[country].continent if country in COUNTRIES else None}
        return data
