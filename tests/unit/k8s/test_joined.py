"""Slices that change one by one: what comes of it is what all of them together mean, and who did not change is not read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s import _joined
from k8s._joined import FEW, Joined
from k8s.objects import Conditions, EndpointSlice, Metadata, SliceEndpoint, SlicePort, TargetRef
from k8s.slices import IPV4_FIRST, IPV6_FIRST, Candidate, resolve


def piece(name: str, *endpoints: SliceEndpoint, version: int = 1, family: str = "IPv4", port: str = "http") -> EndpointSlice:
    return EndpointSlice(Metadata(name, str(version)), family, list(endpoints), [SlicePort(port, 8080)])


def endpoint(address: str, uid: str = "", ready: bool = True, terminating: bool = False) -> SliceEndpoint:
    return SliceEndpoint([address], Conditions(ready, ready, terminating), TargetRef(uid or f"uid-{address}"))


def follow(joined: Joined, *slices: EndpointSlice) -> Joined:
    named = {one.metadata.name or "": one for one in slices}
    joined.follow(named, dict.fromkeys(named, "http"))
    return joined


ADDRESSES = {"IPv4": [f"10.0.0.{n}" for n in range(4)], "IPv6": [f"2001:db8::{n + 1}" for n in range(3)]}
families = st.sampled_from(["IPv4", "IPv4", "IPv4", "IPv6"])


@st.composite
def contents(draw: st.DrawFn) -> tuple[str, str, list[SliceEndpoint]]:
    family = draw(families)
    made = st.builds(endpoint, st.sampled_from(ADDRESSES[family]), st.sampled_from(["a", "b"]), st.booleans(), st.booleans())
    return family, draw(st.sampled_from(["http", "http", "http", "other"])), draw(st.lists(made, max_size=4))


steps = st.lists(st.tuples(st.sampled_from("wxyz"), st.one_of(st.none(), contents())), max_size=12)


@pytest.mark.parametrize("few", [FEW, 0], ids=["some", "all"])
@settings(max_examples=300)
@given(steps)
def test_after_any_changes_it_is_what_all_slices_mean(
    few: int, played: list[tuple[str, tuple[str, str, list[SliceEndpoint]] | None]]
) -> None:
    joined, slices = Joined(), dict[str, EndpointSlice]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_joined, "FEW", few)
        for number, (name, content) in enumerate(played):
            slices.pop(name, None)
            if content is not None:
                family, port, found = content
                slices[name] = piece(name, *found, version=number + 10, family=family, port=port)
            before = joined.endpoints
            follow(joined, *slices.values())
            assert joined.endpoints == resolve(slices.values(), "http")
            assert (joined.endpoints is before) == (joined.endpoints == before)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of the endpoints that were read since it was cleared."""
    found: list[str] = []
    candidate = _joined.candidate

    def watched(one: SliceEndpoint, *rest: Any) -> Candidate | None:
        found.extend(one.addresses or ())
        return candidate(one, *rest)

    monkeypatch.setattr(_joined, "candidate", watched)
    return found


def test_what_did_not_change_is_not_read_and_equal_endpoints_stay_the_same_objects(read: list[str]) -> None:
    slices = [piece(f"s{n}", *(endpoint(f"10.0.{n}.{k}") for k in range(100))) for n in range(20)]
    joined = follow(Joined(), *slices)
    before = {one.address: one for one in joined.endpoints}
    read.clear()
    changed = piece("s7", *(endpoint(f"10.0.7.{k}", ready=k != 5) for k in range(100)), version=2)
    follow(joined, *slices[:7], changed, *slices[8:])
    assert read == ["10.0.7.5"]
    assert [one.address for one in joined.endpoints if before[one.address] is not one] == ["10.0.7.5"]
    follow(joined, *slices[:7], changed, *slices[8:])
    assert read == ["10.0.7.5"]


def test_who_comes_and_goes_in_a_slice_has_the_others_not_read(read: list[str]) -> None:
    those = [endpoint(f"10.0.0.{k}") for k in range(100)]
    joined = follow(Joined(), piece("s", *those))
    read.clear()
    joined = follow(joined, piece("s", *those[:40], *those[41:], version=2))
    assert read == [] and len(joined.endpoints) == 99
    follow(joined, piece("s", *those[:40], *those[41:], endpoint("10.0.1.1"), version=3))
    assert read == ["10.0.1.1"] and len(joined.endpoints) == 100


def test_of_a_pod_with_both_families_the_other_one_is_taken_from_now_on() -> None:
    v4 = piece("v4", endpoint("10.0.0.1", uid="a"), endpoint("10.0.0.2", uid="b"))
    v6 = piece("v6", endpoint("2001:db8::1", uid="a"), family="IPv6")
    joined = follow(Joined(), v4, v6)
    for families in (IPV6_FIRST, IPV4_FIRST, IPV4_FIRST):
        before = joined.endpoints
        joined.prefer(families)
        assert joined.endpoints == resolve((v4, v6), "http", families)
        assert (joined.endpoints is before) == (joined.endpoints == before)
    assert len(joined.endpoints) == 2


def test_a_slice_whose_port_has_another_name_is_read_by_that() -> None:
    joined, one = Joined(), piece("s", endpoint("10.0.0.1"), port="web")
    joined.follow({"s": one}, {"s": "http"})
    assert joined.endpoints == ()
    joined.follow({"s": one}, {"s": "web"})
    assert [found.address for found in joined.endpoints] == ["10.0.0.1"]
    joined.follow({"s": one}, {})
    assert joined.endpoints == ()
