"""The fields of Kubernetes objects that this room reads, as msgspec structs; decoding skips everything else.

Any field the API calls optional may be missing *or null* (Go writes a nil slice as `null`), hence `| None` throughout. The
structs hold no reference cycles, so `gc=False` keeps tens of thousands of endpoints out of the collector's walks.
Fields are the API's, in snake case (`resourceVersion` is `resource_version`).
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Metadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    name: str | None = None
    resource_version: str | None = None
    labels: dict[str, str] | None = None


class Conditions(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """As they came: what a missing one means is decided in `slices`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    uid: str | None = None


class ForZone(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    name: str | None = None


class Hints(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """For whom an endpoint is meant. `forNodes` is not read: a gateway serves clients from everywhere, not from its node."""

    for_zones: list[ForZone] | None = None


class SliceEndpoint(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    addresses: list[str] | None = None
    conditions: Conditions | None = None
    target_ref: TargetRef | None = None
    zone: str | None = None
    hints: Hints | None = None


class SlicePort(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    address_type: str
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class ServicePort(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    port: int
    name: str | None = None
    protocol: str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    type: str | None = None
    ports: list[ServicePort] | None = None


class Service(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    metadata: Metadata
    spec: ServiceSpec | None = None


class HasMetadata(Protocol):
    """What a reflector needs of an object."""

    @property
    def metadata(self) -> Metadata: ...


ObjectT = TypeVar("ObjectT", bound=HasMetadata)


class ListMetadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    resource_version: str | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class ObjectList(msgspec.Struct, Generic[ObjectT], frozen=True, gc=False, rename="camel"):
    """`kind` has no default: any JSON object would otherwise pass for an empty list, and empty a PoP."""

    kind: str
    metadata: ListMetadata
    items: list[ObjectT] | None = None


class WatchEvent(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One line of a watch. What `object` is depends on `type`, so it is decoded in a second step."""

    type: str
    object: msgspec.Raw


class Bookmark(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    metadata: Metadata


class StatusCause(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    reason: str | None = None


class StatusDetails(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    retry_after_seconds: int | None = None
    causes: list[StatusCause] | None = None


class Status(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The body of a refusal, and of an ERROR event."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: StatusDetails | None = None

    def has_cause(self, reason: str) -> bool:
        causes = self.details.causes if self.details else None
        return any(cause.reason == reason for cause in causes or ())
