"""From the EndpointSlices of one Service to its endpoints: the API's semantics, as pure functions. Knows no I/O and no store.

Sources: EndpointSlice API (discovery/v1) for what a missing condition means and for ports by name; KEP-1669 for the choice
between ready and terminating endpoints.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from k8s.objects import Conditions, EndpointSlice, Service, SliceEndpoint

IPV4_FIRST = ("IPv4", "IPv6")
IPV6_FIRST = ("IPv6", "IPv4")


class State(enum.Enum):
    """Where an endpoint is in its life, as its conditions say."""

    READY = "ready"
    UNREADY = "unready"  # alive, wants no traffic: starting, or failing its readiness probe
    SERVING_TERMINATING = "serving-terminating"  # going away, still answers: used only where no ready one is left
    TERMINATING = "terminating"  # going away and failing readiness: finishes what it has


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port of a Service. Its identity is (uid, address, port): addresses are used again by other pods."""

    address: str  # "10.1.2.3" or "2001:db8::1", as inet_ntop writes it
    port: int
    uid: str  # of the pod; "" where the slice names none
    zone: str | None  # where it runs: the node's label topology.kubernetes.io/zone
    state: State
    hint_zones: tuple[str, ...] = ()  # clients of which zones the API would send to it, sorted; (): it says nothing of that

    @property
    def identity(self) -> tuple[str, str, int]:
        return (self.uid, self.address, self.port)


class Candidate(NamedTuple):
    """What one slice says of one endpoint, before duplicates are joined."""

    key: tuple[str, int]  # address and port
    endpoint: Endpoint
    said: Conditions  # with nothing left unset
    family: str
    version: int | None  # of the slice that it was read in; None: not a number, so not comparable


def port_name(service: Service | None, port: int) -> tuple[str | None, str | None]:
    """The name of a Service's TCP port by its number, and, where there is none, why: (name, None) or (None, problem)."""
    if service is None or service.spec is None:
        return None, "the Service does not exist"
    if service.spec.type == "ExternalName":
        return None, "the Service is of type ExternalName, which has no endpoints and is refused"
    tcp = [p for p in service.spec.ports or () if (p.protocol or "TCP") == "TCP"]
    for candidate in tcp:
        if candidate.port == port:
            return candidate.name or "", None
    known = ", ".join(f"{p.port} ({p.name})" if p.name else str(p.port) for p in tcp)
    return None, f"the Service has no TCP port {port}; it has: {known or 'none'}"


def has_port(piece: EndpointSlice, port: str) -> bool:
    """Whether a slice carries a TCP port of this name."""
    return any((p.name or "") == port and (p.protocol or "TCP") == "TCP" for p in piece.ports or ())


def known_ports(slices: Iterable[EndpointSlice]) -> list[str]:
    """Names of the TCP ports that the slices carry, for an operator whose name is not among them."""
    return sorted({p.name or "" for s in slices for p in s.ports or () if (p.protocol or "TCP") == "TCP"})


def port_number(piece: EndpointSlice, port: str) -> int | None:
    """Where the endpoints of a slice are reached behind the port named `port` ("" is a legal name).

    None, and none of them is read, in a slice of type FQDN (deprecated, without semantics), without that port, or with the port's number
    left open (there is nothing to connect to).
    """
    number = next((p.port for p in piece.ports or () if (p.name or "") == port and (p.protocol or "TCP") == "TCP"), None)
    return None if number is None or not 0 < number < 65536 or piece.address_type not in IPV4_FIRST else number


def version_of(piece: EndpointSlice) -> int | None:
    return int(v) if (v := piece.metadata.resource_version or "").isdecimal() and len(v) < 40 else None


def candidate(endpoint: SliceEndpoint, port: int, family: str, version: int | None) -> Candidate | None:
    """What a slice says of one endpoint; None: its address is not of the slice's type, and it is passed over."""
    # Only the first address has a meaning.
    if not endpoint.addresses or (address := _address(endpoint.addresses[0], family)) is None:
        return None
    said = _effective(endpoint.conditions or _NO_CONDITIONS)
    uid = (endpoint.target_ref.uid if endpoint.target_ref else None) or ""
    found = Endpoint(address, port, uid, endpoint.zone or None, _state(said), _hint_zones(endpoint))
    return Candidate((address, port), found, said, family, version)


def candidates(piece: EndpointSlice, port: str) -> list[Candidate]:
    """What one slice says of its endpoints behind the port named `port`."""
    number, version = port_number(piece, port), version_of(piece)
    if number is None:
        return []
    return [c for e in piece.endpoints or () if (c := candidate(e, number, piece.address_type, version)) is not None]


def merge(found: Iterable[Candidate], families: Sequence[str] = IPV4_FIRST) -> tuple[Endpoint, ...]:
    """One endpoint per address and port, and one address family per pod; sorted, so that equal worlds compare equal.

    While an endpoint moves between slices both show it. The slice written last is right; slices whose versions can't be
    compared are OR-ed, and an endpoint that may be terminating is fenced. Of a pod with both families the first of
    `families` that it has is kept. Endpoints that name no pod can't be paired: each counts.
    """
    by_key: dict[tuple[str, int], Candidate] = {}
    doubled: dict[tuple[str, int], list[Candidate]] = {}
    for one in found:
        first = by_key.setdefault(one.key, one)
        if first is not one:
            doubled.setdefault(one.key, [first]).append(one)
    for key, several in doubled.items():
        by_key[key] = joined(several)
    if len({one.family for one in by_key.values()}) > 1:
        by_key = _one_family_a_pod(by_key, families)
    return tuple(by_key[key].endpoint for key in sorted(by_key))


def joined(several: Sequence[Candidate]) -> Candidate:
    """What slices say together of one address and port."""
    if len(several) == 1:
        return several[0]
    versions = [one.version for one in several if one.version is not None]
    if len(versions) == len(several) and versions.count(newest := max(versions)) == 1:
        return several[versions.index(newest)]
    said = Conditions(
        any(one.said.ready for one in several), any(one.said.serving for one in several), any(one.said.terminating for one in several)
    )
    named = next((one.endpoint for one in several if one.endpoint.uid), several[0].endpoint)
    return several[0]._replace(endpoint=replace(named, state=_state(said)), said=said)


def resolve(slices: Iterable[EndpointSlice], port: str, families: Sequence[str] = IPV4_FIRST) -> tuple[Endpoint, ...]:
    """All endpoints of a Service behind the port named `port`, in every state."""
    return merge((one for piece in slices for one in candidates(piece, port)), families)


def select(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those that may be given new requests (KEP-1669): the ready; if none, those that terminate but still serve; else none."""
    everyone = tuple(endpoints)
    ready = tuple(e for e in everyone if e.state is State.READY)
    return ready or tuple(e for e in everyone if e.state is State.SERVING_TERMINATING)


_NO_CONDITIONS = Conditions()


def _hint_zones(endpoint: SliceEndpoint) -> tuple[str, ...]:
    # Most Services have none, and this runs for each endpoint of a change.
    if endpoint.hints is None or not endpoint.hints.for_zones:
        return ()
    return tuple(sorted({zone.name for zone in endpoint.hints.for_zones if zone.name}))


def _effective(said: Conditions) -> Conditions:
    """The API's meaning of what is unset: ready means yes, serving is as ready, terminating means no."""
    if said.ready is not None and said.serving is not None and said.terminating is not None:
        return said
    is_ready = said.ready is not False
    return Conditions(is_ready, is_ready if said.serving is None else said.serving, bool(said.terminating))


def _state(said: Conditions) -> State:
    # With publishNotReadyAddresses `ready` stays true while the pod terminates, so terminating is asked first.
    if said.terminating:
        return State.SERVING_TERMINATING if said.serving else State.TERMINATING
    return State.READY if said.ready else State.UNREADY


def _address(text: str, family: str) -> str | None:
    """`text` in its one spelling, or None. By the C library: `ipaddress` takes ten times as long, for each endpoint of a change."""
    kind = socket.AF_INET if family == "IPv4" else socket.AF_INET6
    try:
        return socket.inet_ntop(kind, socket.inet_pton(kind, text))
    except (OSError, ValueError):  # no address, or one with a NUL or a scope, which has no meaning on another machine
        return None


def is_endpoint(one: Endpoint) -> bool:
    """Whether one that was written down is what a slice could have said."""
    family = "IPv6" if ":" in one.address else "IPv4"
    return 0 < one.port < 65536 and _address(one.address, family) == one.address


def _one_family_a_pod(found: dict[tuple[str, int], Candidate], families: Sequence[str]) -> dict[tuple[str, int], Candidate]:
    ranks = {family: rank for rank, family in enumerate(families)}
    best: dict[str, int] = {}
    for one in found.values():
        rank = ranks.get(one.family, len(ranks))
        best[one.endpoint.uid] = min(rank, best.get(one.endpoint.uid, rank))
    return {key: one for key, one in found.items() if not one.endpoint.uid or ranks.get(one.family, len(ranks)) == best[one.endpoint.uid]}
