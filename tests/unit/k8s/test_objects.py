"""Decoding: what the API may leave out or write as null, and what is no Kubernetes object at all."""

from __future__ import annotations

import msgspec
import pytest

from k8s.objects import EndpointSlice, ObjectList, Service, SliceEndpoint, Status, WatchEvent

SLICE = b"""{"kind":"EndpointSlice","metadata":{"name":"web-x","namespace":"shop","resourceVersion":"7","labels":{"a":"b"},
 "ownerReferences":[{"kind":"Service"}],"managedFields":[{"fieldsV1":{"f:x":{}}}]},"addressType":"IPv4",
 "endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":null},"targetRef":{"kind":"Pod","uid":"u"},
 "hints":{"forZones":[{"name":"z"}]},"nodeName":"n","zone":"z1"}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}"""


def test_a_slice_as_the_server_writes_it() -> None:
    found = msgspec.json.decode(SLICE, type=EndpointSlice)
    assert found.metadata.resource_version == "7"
    assert found.address_type == "IPv4"
    assert found.endpoints
    (endpoint,) = found.endpoints
    assert endpoint.target_ref is not None
    assert (endpoint.addresses, endpoint.target_ref.uid, endpoint.zone) == (["10.0.0.1"], "u", "z1")
    assert endpoint.conditions is not None
    assert endpoint.hints is not None
    assert endpoint.hints.for_zones
    assert [zone.name for zone in endpoint.hints.for_zones] == ["z"]
    assert (endpoint.conditions.ready, endpoint.conditions.serving, endpoint.conditions.terminating) == (True, None, None)


@pytest.mark.parametrize("field", ["endpoints", "ports"])
def test_null_and_missing_are_the_same(field: str) -> None:
    for text in (
        b'{"metadata":{"name":"x"},"addressType":"IPv4","%s":null}' % field.encode(),
        b'{"metadata":{"name":"x"},"addressType":"IPv4"}',
    ):
        assert getattr(msgspec.json.decode(text, type=EndpointSlice), field) is None


def test_every_optional_field_may_be_null() -> None:
    nulls = b'{"addresses":null,"conditions":null,"targetRef":null,"zone":null,"hints":null}'
    assert msgspec.json.decode(nulls, type=SliceEndpoint) == SliceEndpoint()


@pytest.mark.parametrize(
    "text", [b"{}", b"null", b"[]", b'{"metadata":{}}', b'{"kind":"X","items":[]}', b'{"metadata":{"resourceVersion":"1"}}']
)
def test_no_json_object_passes_for_a_list(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ObjectList[EndpointSlice])


def test_a_list_and_its_continuation() -> None:
    text = b'{"kind":"ServiceList","metadata":{"resourceVersion":"9","continue":"abc"},"items":[{"metadata":{"name":"web"},"spec":{}}]}'
    found = msgspec.json.decode(text, type=ObjectList[Service])
    assert (found.metadata.resource_version, found.metadata.continue_) == ("9", "abc")
    assert found.items
    assert found.items[0].metadata.name == "web"


def test_an_event_keeps_its_object_for_later() -> None:
    event = msgspec.json.decode(b'{"type":"BOOKMARK","object":{"a":[1]}}', type=WatchEvent)
    assert (event.type, bytes(event.object)) == ("BOOKMARK", b'{"a":[1]}')


def test_the_causes_of_a_status() -> None:
    text = (
        b'{"code":504,"reason":"Timeout","details":{"retryAfterSeconds":1,"causes":[{"reason":"ResourceVersionTooLarge","message":"x"}]}}'
    )
    status = msgspec.json.decode(text, type=Status)
    assert status.has_cause("ResourceVersionTooLarge")
    assert not status.has_cause("Timeout")
    assert not Status().has_cause("x")
