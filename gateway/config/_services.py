"""Services in the configuration: where they run, how their endpoints are probed and judged, what failures cost. Knows no file, no line and
no route.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gateway.config import _units as units
from gateway.config._leaves import choice, duration, whole
from gateway.config._places import Capacity, Flag, Name, Section, fault, fit, once, one_or_many
from gateway.model import Address, Duration, Network, Statuses

Port = Annotated[str | int, units.KUBE_PORT]


class Health(Section):
    """Active probes, from this gateway to each endpoint. They can't be switched off: an endpoint that refused a connect is shut
    until a probe succeeds."""

    type: Annotated[Literal["http", "tcp"], choice("http", "tcp")] = "tcp"
    """`http`: a GET whose status must be expected. `tcp`: a connection must open. Absent: `http` when `path`, `host`, `headers`
    or `expect` is given."""
    path: Annotated[str, units.PROBE_PATH] | None = None
    """Target of the GET; `/` when absent and the type is `http`."""
    host: Annotated[str, units.HOST_FIELD] | None = None
    """Its Host field. Absent: the endpoint's address, as a kubelet sends it."""
    headers: Annotated[tuple[tuple[str, str], ...], units.PROBE_HEADERS] = ()
    """Further fields of the GET, such as a token that the health check wants: `{Authorization: "Bearer ${file:/run/secrets/probe}"}`."""
    port: Annotated[int, whole(1, 65535)] | None = None
    """The port that is probed, where it is not the endpoint's own. Absent, and for unix sockets: the endpoint's."""
    expect: tuple[Annotated[Statuses, units.STATUSES], ...] = Field(default=(Statuses(200, 399),), min_length=1)
    """Statuses that mean healthy, one or a list. The default is the kubelet's."""
    interval: Annotated[Duration, duration("100ms", "1h")] = Duration(10)
    """Between two probes of one endpoint."""
    timeout: Annotated[Duration, duration("10ms", "1m")] = Duration(2)
    """From connecting to the whole status line; later is a failure. At most `interval`, which is the default where it is shorter."""
    confirm_interval: Annotated[Duration, duration("100ms", "1h")] = Duration(1)
    """Between probes while a change is being confirmed: a death is then known in `interval + down_after * confirm_interval` at worst.
    At most `interval`, which is the default where it is shorter."""
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
        if data.get("type") is None and not {"path", "host", "headers", "expect"}.isdisjoint(
            key for key, value in data.items() if value is not None
        ):
            data["type"] = "http"
        if data.get("type") == "http" and data.get("path") is None:
            data["path"] = "/"
        return data

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for key in ("path", "host", "headers", "expect"):
            if self.type == "tcp" and getattr(self, key) != Health.model_fields[key].default:
                raise fault(f"must have no {key} when the type is tcp")
        fit(self, "timeout", min(self.timeout, self.interval))
        fit(self, "confirm_interval", min(self.confirm_interval, self.interval))
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
    """Addresses, or names, resolved off the hot path (all A and AAAA, again every 30 s; the last good answer is kept).
    A name that ends with a dot, `web.example.com.:80`, is not looked for in the machine's search domains."""
    kubernetes: KubernetesBackend | None = None
    """A Service of the PoP's cluster."""
    allow: tuple[Annotated[Network | str, units.ALLOW], ...] = ()
    """Addresses that names and the Service's slices may give beside the usual ones. Without it those of loopback, link-local ones
    (among them the metadata service of a cloud), unspecified, multicast and broadcast ones and, at this gateway's own ports, its own
    are refused, in whatever IPv6 form: who writes a slice is not always who may reach them. `/pops` shows what was refused, and why. A
    prefix permits its addresses, but this gateway's own listeners only the word does. Addresses and `localhost` in `endpoints` are your
    own word."""
    weight: Annotated[int, whole(1, 1000)] = 1
    """How often this PoP is drawn among near-equals, beside the number of its endpoints: with 2 twice as often for each of them."""
    capacity: Capacity | None = None
    """What may be in flight of this service in this PoP. Absent: no bound but that of the PoP."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.endpoints is None) == (self.kubernetes is None):
            raise fault("must have either endpoints or kubernetes" + (", got both" if self.endpoints else ", got neither"))
        once("item of allow", self.allow)
        once("endpoint", self.endpoints or ())
        return self


class Outliers(Section):
    """Which endpoints are left out for a while for what they answer, over all workers, as Envoy's outlier detection and gRPC's (A50). They
    come back by `slow_start`. Each rule can be switched off."""

    consecutive_errors: Annotated[int, whole(0, 1000, ", 0 for off")] = 5
    """Gateway errors (502, 503, 504, resets, timeouts) without a good answer between them that eject at once (Envoy: 5), if most of the
    client networks that ask the set have met them. So what one client asks for ejects nobody, unless it asks alone."""
    interval: Annotated[Duration, duration("1s", "1h")] = Duration(10)
    """How often an endpoint is compared with its set (Envoy: 10 s)."""
    eject: Annotated[Duration, duration("1s", "1h")] = Duration(30)
    """How long the first ejection lasts; the next ones that many times longer, a tenth more or less (Envoy: 30 s)."""
    eject_max: Annotated[Duration, duration("1s", "24h")] = Duration(300)
    """The longest ejection. At least `eject`, which is the default where it is longer."""
    max_share: Annotated[float, units.SHARE] = 0.5
    """Share of a set that may be ejected at once; 0 for none. What is shut for other reasons does not count."""
    success_rate: Flag = True
    """Whether one is ejected whose share of good answers lies below its set's mean by 1.9 standard deviations (Envoy's factor), and by 5
    points at least, if most of the client networks that ask the set have met errors there."""
    latency: Flag = True
    """Whether one is ejected whose mean time to first byte is over three times the median of its set, and 50 ms above it at least."""
    server_errors: Flag = True
    """Whether one is ejected of whose answers a share is 5xx, or none came (resets, timeouts), that lies three in ten above the others' of
    its set, by more than chance explains, if most of the client networks that ask the set have met them there. So what one client asks
    for ejects nobody, nor what fails everywhere."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        fit(self, "eject_max", max(self.eject_max, self.eject))
        if self.eject_max < self.eject:
            raise fault(f"must have an eject_max of at least its eject {self.eject}, got {self.eject_max}")
        return self


class Penalties(Section):
    """What failures cost a PoP, as latency: with one failure in a hundred it looks slower by a hundredth of `failure`. So a PoP that fails
    fast is never attractive."""

    failure: Annotated[Duration, duration("0s", "5m")] = Duration(5)
    """As what a failed connect, a reset or a timeout counts (Linkerd: 5 s); 0s for nothing."""
    server_errors: Flag = False
    """Whether an answer of 5xx counts as a failure wherever it comes from. Off: most are the request's own, and the same everywhere."""
    compared: Flag = True
    """Whether an answer of 5xx counts as a failure where the PoP gives far more of them than the service's other PoPs over the same 10 to
    20 s: by three answers in ten, by more than chance explains, and to most of the client networks that it answers. Nothing is known of
    others that have no requests: PoPs are compared only where each has its own clients."""
    rate_limited: Flag = True
    """Whether an answer of 429, or of 503 with Retry-After, counts its Retry-After, at most 1s, or `failure` without one, where several
    client networks (/24 or /48) are answered so, and most of those that ask. Else a PoP that turns everybody away looks fast. It is
    forgotten 10 s after the last one."""


class Service(Section):
    """An application, and where it runs."""

    name: Name
    """Its name in routes, logs and metrics."""
    health: Health = Health()
    """How its endpoints are probed."""
    backends: tuple[Backend, ...] = Field(min_length=1)
    """One for each PoP it runs in."""
    max_in_flight: Annotated[int, whole(0, 1_000_000, ", 0 for no limit")] = 0
    """Exchanges at once at one endpoint, over all workers; more wait in its queue. Tunnels (WebSocket) don't count.
    `limits.connections_per_endpoint` holds beside it."""
    slow_start: Annotated[Duration, duration("0s", "1h")] = Duration(30)
    """How long an endpoint that came or came back is given less than its share; never at process start. 0s: off."""
    pop_ramp: Annotated[Duration, duration("0s", "1h")] = Duration(60)
    """How long a PoP that comes back, by health or after a drain, takes to its full share: 10 % at first, then evenly more; after less than
    a tenth of this time away it begins further on, in proportion, and below a second it goes on as it was. Never at process start. 0s:
    off."""
    prefer_zone: Flag = False
    """Whether endpoints in `gateway.zone` are preferred within a PoP: by the hints of EndpointSlices where all have them, else by their
    zones, as long as they are not given more than their share; what is more goes to all."""
    outliers: Outliers = Outliers()
    """Endpoints left out for a while for what they answer."""
    penalties: Penalties = Penalties()
    """What failures cost a PoP, as latency."""
    on_unavailable: tuple[Name, ...] = ()
    """Other services, tried in this order when this one has no PoP that is permitted and available; then theirs. They may not lead back."""
    long_lived: Flag = False
    """Whether its exchanges are long polls, whose time to first byte says nothing: they don't feed the latency figures. WebSockets and
    event streams never do."""

    @model_validator(mode="after")
    def _others(self) -> Self:
        if self.name in self.on_unavailable:
            raise fault(f"must have other services in on_unavailable, got {self.name} itself")
        once("service in on_unavailable", self.on_unavailable)
        return self
