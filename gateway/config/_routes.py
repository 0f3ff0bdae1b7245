"""Routes and steering in the configuration: which requests go to which service, which PoPs may see them, how one is chosen. Knows no file
and no line.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.config import _units as units
from gateway.config._leaves import choice, duration, share, whole
from gateway.config._places import Continent, CountryOrGroup, Flag, InCountries, Name, Section, fault, once, one_or_many
from gateway.model import Duration

_MAX_ELEMENTS = 64  # of a path prefix, as the core holds them


class Match(Section):
    """What a request must have, all of it. Precedence is the Gateway API's: exact host, then wildcard; exact path, then the longest
    prefix, method, most headers, most query parameters; then the order of the file."""

    hosts: tuple[Annotated[str, units.HOST], ...] = ()
    """Any of these hosts; the request's port does not count, nor how it writes an IPv6 address (`[::1]`). Empty: any host."""
    path_prefix: Annotated[str, units.URL_PATH] | None = None
    """By whole elements: `/a` matches `/a` and `/a/b`, not `/ab`. Compared as sent, without decoding."""
    path_exact: Annotated[str, units.URL_PATH] | None = None
    """The whole path."""
    method: Annotated[str, units.METHOD] | None = None
    """The request's method."""
    headers: Annotated[tuple[tuple[str, str], ...], units.HEADERS] = ()
    """Headers with exactly these values."""
    query: Annotated[tuple[tuple[str, str], ...], units.QUERY] = ()
    """Query parameters with exactly these values, names and values with `%XX` and `+` undone: `v: "1"` matches `?v=1` and `?v=%31`. Of a
    name that comes twice the first counts."""

    @model_validator(mode="after")
    def _one_path(self) -> Self:
        if self.path_prefix is not None and self.path_exact is not None:
            raise fault("must have path_prefix or path_exact, got both")
        n_elements = (self.path_prefix or "").removesuffix("/").count("/")
        if n_elements > _MAX_ELEMENTS:
            raise fault(f"must have a path_prefix of at most {_MAX_ELEMENTS} elements, got {n_elements}")
        return self


def _opens(key: str) -> PydanticCustomError:
    return fault(f"must have a value at {key!r}: empty it would permit every PoP; leave the key out where that is meant")


class Jurisdiction(InCountries):
    """Which PoPs may see these requests. Fails closed: no permitted PoP that can serve means 503, never a PoP outside. A PoP must satisfy
    every list given (so another list narrows, and never widens), and lacks what it does not say."""

    continents: tuple[Continent, ...] | None = Field(default=None, min_length=1)
    """Continents of permitted PoPs. EU is the continent, with GB, CH and RU: for the Union's law say `countries: [EU27]`."""
    countries: tuple[CountryOrGroup, ...] | None = Field(default=None, min_length=1)
    """Countries of permitted PoPs. `EU27` and `EEA` stand for their states, by the codes of these alone (FR, not RE; FI, not AX)."""
    regions: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Regions of permitted PoPs."""
    pops: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Names of permitted PoPs."""

    @model_validator(mode="before")
    @classmethod
    def _is_said(cls, data: Any) -> Any:
        """A list that is lost permits everybody. All of them empty is how a configuration is printed that has none."""
        if isinstance(data, dict) and not data.keys() >= cls.model_fields.keys():
            for key in (key for key, value in data.items() if value is None):
                raise _opens(key)
        return data


class Clients(InCountries):
    """Whose requests a rule is for: those of any country or continent listed. A client whose place is unknown is in none."""

    countries: tuple[CountryOrGroup, ...] | None = Field(default=None, min_length=1)
    """ISO 3166 codes; `EU27` and `EEA` stand for those of their states."""
    continents: tuple[Continent, ...] | None = Field(default=None, min_length=1)
    """Continents, as places and not as unions of states."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.countries is None and self.continents is None:
            raise fault("must have countries or continents; leave clients out for everyone")
        return self


class Rule(Section):
    """A jurisdiction for some clients."""

    clients: Clients | None = None
    """Whose requests it is for. Absent: everyone's, also of those whose place is unknown."""
    pops: Jurisdiction
    """Which PoPs may see them; `{}` for all."""


class Redirect(Section):
    """How clients are sent to a PoP's `public_url`, path and query kept. What is not redirected is passed on."""

    status: Annotated[Literal[307, 308], choice(307, 308)] = 307
    """Both keep method and body. The answer is never to be cached, whatever the status says of permanence."""
    methods: Annotated[Literal["safe", "all"], choice("safe", "all")] = "safe"
    """`safe`: GET and HEAD. `all`: every method; a client then sends its body twice."""


class Affinity(Section):
    """Keeps a client on its PoP, by exactly one of `cookie`, `header` and `client`. It beats latency, and loses to jurisdiction, drains,
    health and capacity."""

    cookie: Annotated[str, units.TOKEN] | None = None
    """Name of a cookie that names the PoP, signed with `affinity_key`. It is always HttpOnly. The answer that gives it is `private` for
    caches, whatever the PoP said: in a shared one it would send everybody to one PoP."""
    header: Annotated[str, units.TOKEN] | None = None
    """Name of a header whose value says who the client is, such as a tenant's. Requests without it are decided without affinity."""
    client: Flag = False
    """By the client's address, /24 or /48."""
    within: Annotated[Duration, duration("0s", "10s")] = Duration(0)
    """How far above the fastest a PoP kept by header or client may lie. 0s: the window as it is. A cookie holds wherever its PoP lies."""
    same_site: Annotated[Literal["lax", "strict", "none"], choice("lax", "strict", "none")] = "lax"
    """The cookie's SameSite. `none`: it is sent from other sites' pages too, and only by TLS: browsers drop it without Secure."""
    secure: Annotated[Literal["auto", True, False], choice("auto", True, False)] = "auto"
    """The cookie's Secure, without which it is sent by plain HTTP too. `auto`: where a trusted hop says that the client came by https, in
    `x-forwarded-proto`, or in `forwarded` where `client_ip.header` is that."""
    max_age: Annotated[Duration, duration("1s", "8760h")] | None = None
    """For how long a client keeps the cookie, from when it was given; then it is decided anew. Absent: until the browser ends."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [key for key, value in (("cookie", self.cookie), ("header", self.header), ("client", self.client)) if value]
        if len(kinds) != 1:
            raise fault(f"must have exactly one of cookie, header and client: true, got {' and '.join(kinds) or 'none'}")
        if self.same_site == "none" and self.secure is False:
            raise fault("must not be secure: false with same_site: none, which browsers drop")
        return self


# The alternatives are told apart by hand: a union of pydantic's puts its own words into the path of a fault.
_Rules = Annotated[tuple[Rule, ...], Field(min_length=1, max_length=1000)]
_RULES: TypeAdapter[tuple[Rule, ...]] = TypeAdapter(_Rules)


def _read_jurisdiction(raw: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Jurisdiction | tuple[Rule, ...]:
    if isinstance(raw, tuple):
        return _RULES.validate_python(raw, context=info.context)
    return Jurisdiction.model_validate(raw, context=info.context)


class Steering(Section):
    """How a PoP is chosen for the requests of a route."""

    mode: Annotated[Literal["proxy", "redirect"], choice("proxy", "redirect")] = "proxy"
    """`proxy`: the request is passed on. `redirect`: the client is sent to the PoP's `public_url`."""
    redirect: Redirect = Redirect()
    """How, with `mode: redirect`."""
    leg: Annotated[Literal["client-pop", "gateway-pop"], choice("client-pop", "gateway-pop")] = "client-pop"
    """Which path's latency is estimated. `client-pop`: from the client to each PoP, right for gateways near their clients.
    `gateway-pop`: this gateway's own path to each PoP, the same for all clients."""
    window: Annotated[Duration, duration("0s", "1s")] = Duration(0.005)
    """PoPs within this of the fastest are near-equals: what comes while it has more in flight than usual may go to them. Wider when a
    client's location is vague."""
    jurisdiction: Annotated[Jurisdiction | _Rules, WrapValidator(_read_jurisdiction)] = Jurisdiction()
    """Which PoPs are permitted: for all clients, or a list of rules, of which the first that is for the client counts. A client that no
    rule is for is permitted nothing: 503."""
    affinity: Affinity | None = None
    """What keeps a client on its PoP. Absent: nothing does."""

    @model_validator(mode="before")
    @classmethod
    def _is_said(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("jurisdiction", {}) is None:
            raise _opens("jurisdiction")
        return data

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The jurisdiction as rules, the first that is for a client counts; when it is one for all clients, a rule without `clients`."""
        return self.jurisdiction if isinstance(self.jurisdiction, tuple) else (Rule(pops=self.jurisdiction),)


class Target(Section):
    """A service that takes a part of a route's requests."""

    service: Name
    """Where they go."""
    weight: Annotated[int, whole(0, 1_000_000)] = 1
    """Its part, of the sum of all weights. 0: nothing for now."""


class Route(Section):
    """Which requests go to which service."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["service"]}, {"required": ["split"]}]})

    name: Name = ""
    """Its name in logs and `explain`. Absent: that of its (first) service, with `-2`, `-3` and so on when it has several
    routes."""
    match: tuple[Match, ...] = Field(default=(Match(),), min_length=1)
    """One, or a list of which one must hold. Absent: every request."""
    service: Name = ""  # the split's first when that is given: whoever asks for one finds one
    """Where they go. Exactly one of `service` and `split` must be given."""
    split: tuple[Target, ...] | None = Field(default=None, min_length=1)
    """Several services that share them by weight, instead of `service`: a canary beside what it is to replace."""
    split_sticky: Flag = False
    """Whether a client keeps its service while the weights stay. Off: drawn for each request."""
    steering: Steering = Steering()
    """How the PoP is chosen."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return one_or_many(data, "match")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.split is None) == (not self.service):
            raise fault("must have either service or split" + (", got both" if self.split else ", got neither"))
        if self.split is None:
            return self
        once("service of its split", (target.service for target in self.split))
        if not any(target.weight for target in self.split):
            raise fault("must have a split with a weight above 0")
        return self.model_copy(update={"service": self.split[0].service})

    @model_serializer(mode="wrap")
    def _as_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        if self.split is not None:
            del written["service"]
        return written

    @property
    def targets(self) -> tuple[tuple[str, int], ...]:
        """(service, weight) pairs in the order of the file: the split, or the one service with weight 1."""
        return tuple((target.service, target.weight) for target in self.split) if self.split else ((self.service, 1),)


class ChangeControl(Section):
    """How fast traffic may move because latencies changed. Health, drains, capacity and penalties are not held back by it."""

    pace: Annotated[float, share(0.01, 1)] = 0.1
    """Share of a service's traffic that latency alone may move within a second."""
    margin: Annotated[float, units.SHARE] = 0.05
    """By how much an estimate must differ from the one in use, and by 0.5 ms and four standard errors at least, to replace it."""
    exploration: Annotated[float, share(0, 0.03, "a share from 0% to 3%, such as 1% or 0.01")] = 0.01
    """Share of the requests, of those by GET, HEAD and OPTIONS that no affinity keeps, that may go where little is known of the service
    time and that may well be the better one; for 0.15 ms a request on average, at most. 0: what was left because it was slow is tried
    again by all."""
