"""EndpointSlice semantics, against the API's words and a model written from them a second time."""

from __future__ import annotations

import collections
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.objects import (
    Conditions,
    EndpointSlice,
    ForZone,
    Hints,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
    TargetRef,
)
from k8s.slices import Endpoint, State, known_ports, port_name, resolve, select

HTTP = SlicePort("http", 8080, "TCP")


def endpoint(address: str, uid: str | None = "", *, zone: str | None = None, **conditions: bool | None) -> SliceEndpoint:
    ref = None if uid is None else TargetRef(uid or f"uid-{address}")
    return SliceEndpoint([address], Conditions(**conditions) if conditions else None, ref, zone)


def piece(
    *endpoints: SliceEndpoint, name: str = "s", version: str | None = "1", family: str = "IPv4", ports: list[SlicePort] | None = None
) -> EndpointSlice:
    return EndpointSlice(Metadata(name, version), family, list(endpoints), [HTTP] if ports is None else ports)


def states(*slices: EndpointSlice) -> list[tuple[str, State]]:
    return [(e.address, e.state) for e in resolve(slices, "http")]


EXPECTED = {
    # ready, serving, terminating: as the API documents it (None is "unset"); the controller never writes some of them
    (None, None, None): State.READY,
    (None, None, False): State.READY,
    (None, None, True): State.SERVING_TERMINATING,
    (None, True, None): State.READY,
    (None, True, False): State.READY,
    (None, True, True): State.SERVING_TERMINATING,
    (None, False, None): State.READY,
    (None, False, False): State.READY,
    (None, False, True): State.TERMINATING,
    (True, None, None): State.READY,
    (True, None, False): State.READY,
    (True, None, True): State.SERVING_TERMINATING,
    (True, True, None): State.READY,
    (True, True, False): State.READY,
    (True, True, True): State.SERVING_TERMINATING,  # publishNotReadyAddresses
    (True, False, None): State.READY,  # publishNotReadyAddresses: the operator asked for it
    (True, False, False): State.READY,
    (True, False, True): State.TERMINATING,  # publishNotReadyAddresses, and the pod fails: nothing for it
    (False, None, None): State.UNREADY,
    (False, None, False): State.UNREADY,
    (False, None, True): State.TERMINATING,
    (False, True, None): State.UNREADY,
    (False, True, False): State.UNREADY,
    (False, True, True): State.SERVING_TERMINATING,
    (False, False, None): State.UNREADY,
    (False, False, False): State.UNREADY,
    (False, False, True): State.TERMINATING,
}


@pytest.mark.parametrize("said", list(itertools.product([None, True, False], repeat=3)), ids=str)
def test_every_combination_of_conditions(said: tuple[bool | None, bool | None, bool | None]) -> None:
    ready, serving, terminating = said
    assert states(piece(endpoint("10.0.0.1", ready=ready, serving=serving, terminating=terminating))) == [("10.0.0.1", EXPECTED[said])]


def test_no_conditions_at_all_is_ready() -> None:
    assert states(piece(endpoint("10.0.0.1"))) == [("10.0.0.1", State.READY)]


def test_selection_prefers_ready_then_serving_terminating_then_none() -> None:
    made = {s: Endpoint(f"10.0.0.{n}", 80, f"u{n}", None, s) for n, s in enumerate(State)}
    for count in range(len(State) + 1):
        for present in itertools.combinations(State, count):
            picked = {e.state for e in select(made[s] for s in present)}
            if State.READY in present:
                assert picked == {State.READY}
            elif State.SERVING_TERMINATING in present:
                assert picked == {State.SERVING_TERMINATING}
            else:
                assert picked == set()


def test_ports_are_joined_by_name_per_slice() -> None:
    metrics = SlicePort("metrics", 9100)
    found = resolve(
        [
            piece(endpoint("10.0.0.1"), name="a", ports=[metrics, HTTP]),
            piece(endpoint("10.0.0.2"), name="b", ports=[SlicePort("http", 9090), metrics]),  # targetPort changed, or differs per pod
            piece(endpoint("10.0.0.3"), name="c", ports=[metrics]),
        ],
        "http",
    )
    assert [(e.address, e.port) for e in found] == [("10.0.0.1", 8080), ("10.0.0.2", 9090)]


def test_one_pod_behind_two_ports_while_target_port_changes() -> None:
    found = resolve([piece(endpoint("10.0.0.1"), name="a"), piece(endpoint("10.0.0.1"), name="b", ports=[SlicePort("http", 9090)])], "http")
    assert [e.port for e in found] == [8080, 9090]


@pytest.mark.parametrize("name", [None, ""])
def test_a_port_without_a_name_is_the_empty_name(name: str | None) -> None:
    assert resolve([piece(endpoint("10.0.0.1"), ports=[SlicePort(name, 80)])], "")


@pytest.mark.parametrize(
    "port",
    [SlicePort("http", None), SlicePort("http", 0), SlicePort("http", 65536), SlicePort("http", 8080, "UDP"), SlicePort("https", 8080)],
)
def test_ports_that_cannot_be_used(port: SlicePort) -> None:
    assert resolve([piece(endpoint("10.0.0.1"), ports=[port])], "http") == ()


def test_null_lists() -> None:
    metadata = Metadata("s", "1")
    assert (
        resolve([EndpointSlice(metadata, "IPv4", None, [HTTP]), EndpointSlice(metadata, "IPv4", [endpoint("10.0.0.1")], None)], "http")
        == ()
    )
    assert resolve([piece(SliceEndpoint(None), SliceEndpoint([]))], "http") == ()
    assert resolve([], "http") == ()


def test_only_the_first_address_counts() -> None:
    assert [e.address for e in resolve([piece(SliceEndpoint(["10.0.0.1", "10.0.0.2"]))], "http")] == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("web.example.com", "FQDN"),
        ("10.0.0.1", "FQDN"),
        ("10.0.0.1", "IPv6"),
        ("2001:db8::1", "IPv4"),
        ("10.0.0.256", "IPv4"),
        ("10.0.0.1:80", "IPv4"),
        ("10.0.0.1\n", "IPv4"),
        ("fe80::1%eth0", "IPv6"),
        ("", "IPv4"),
    ],
)
def test_addresses_that_are_passed_over(address: str, family: str) -> None:
    assert resolve([piece(endpoint(address), endpoint("10.9.9.9" if family == "IPv4" else "2001:db8::9"), family=family)], "http") == (
        () if family == "FQDN" else resolve([piece(endpoint("10.9.9.9" if family == "IPv4" else "2001:db8::9"), family=family)], "http")
    )


def test_what_an_endpoint_carries() -> None:
    (found,) = resolve([piece(endpoint("10.0.0.1", "pod-7", zone="z1"))], "http")
    assert found == Endpoint("10.0.0.1", 8080, "pod-7", "z1", State.READY)
    assert found.identity == ("pod-7", "10.0.0.1", 8080)
    (found,) = resolve([piece(endpoint("10.0.0.1", None))], "http")
    assert found.uid == ""


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (None, ()),
        (Hints(None), ()),
        (Hints([]), ()),
        (Hints([ForZone(None), ForZone("")]), ()),
        (Hints([ForZone("z1")]), ("z1",)),
        (Hints([ForZone("z2"), ForZone("z1"), ForZone("z2")]), ("z1", "z2")),
    ],
)
def test_hints_are_the_zones_they_name(hints: Hints | None, expected: tuple[str, ...]) -> None:
    (found,) = resolve([piece(SliceEndpoint(["10.0.0.1"], zone="z1", hints=hints))], "http")
    assert (found.zone, found.hint_zones) == ("z1", expected)


def test_a_hint_that_moves_is_another_endpoint_of_the_same_identity() -> None:
    one, two = (
        resolve([piece(SliceEndpoint(["10.0.0.1"], target_ref=TargetRef("u"), hints=Hints([ForZone(zone)])))], "http")
        for zone in ("z1", "z2")
    )
    assert one != two
    assert one[0].identity == two[0].identity


def test_an_empty_zone_is_none() -> None:
    (found,) = resolve([piece(endpoint("10.0.0.1", zone=""))], "http")
    assert found.zone is None


def test_of_an_endpoint_in_two_slices_zone_and_hints_are_those_of_the_newer() -> None:
    old = piece(SliceEndpoint(["10.0.0.1"], zone="z1", hints=Hints([ForZone("z1")])), name="a", version="99")
    new = piece(SliceEndpoint(["10.0.0.1"], zone="z2", hints=Hints([ForZone("z2")])), name="b", version="100")
    for order in ((old, new), (new, old)):
        (found,) = resolve(order, "http")
        assert (found.zone, found.hint_zones) == ("z2", ("z2",))


def test_many_slices_are_one_set() -> None:
    found = resolve([piece(*(endpoint(f"10.{n}.0.{i}") for i in range(100)), name=str(n)) for n in range(10)], "http")
    assert len(found) == 1000
    assert [e.address for e in found] == sorted(e.address for e in found)


def test_of_a_duplicate_the_newest_slice_is_right() -> None:
    old = piece(endpoint("10.0.0.1", ready=True), name="a", version="99")
    new = piece(endpoint("10.0.0.1", ready=False, serving=False, terminating=True), name="b", version="100")
    assert states(old, new) == states(new, old) == [("10.0.0.1", State.TERMINATING)]


def test_an_address_used_again_by_another_pod() -> None:
    old = piece(endpoint("10.0.0.1", "gone", ready=False, terminating=True), name="a", version="99")
    new = piece(endpoint("10.0.0.1", "fresh", ready=True), name="b", version="100")
    (found,) = resolve([new, old], "http")
    assert (found.uid, found.state) == ("fresh", State.READY)


@pytest.mark.parametrize("version", [None, "", "abc", "7", "9" * 60])
def test_slices_that_cannot_be_ordered_are_ored(version: str | None) -> None:
    one = piece(endpoint("10.0.0.1", None, ready=True), name="a", version="7")
    two = piece(endpoint("10.0.0.1", "u", ready=False, serving=False, terminating=True), name="b", version=version)
    for order in ((one, two), (two, one)):
        (found,) = resolve(order, "http")
        assert (found.uid, found.state) == ("u", State.SERVING_TERMINATING)


def test_dual_stack_counts_a_pod_once() -> None:
    v4 = piece(endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b"), name="v4")
    v6 = piece(endpoint("2001:db8::1", "a"), endpoint("2001:db8::3", "c"), name="v6", family="IPv6")
    assert [e.address for e in resolve([v6, v4], "http")] == ["10.0.0.1", "10.0.0.2", "2001:db8::3"]
    assert [e.address for e in resolve([v6, v4], "http", ("IPv6", "IPv4"))] == ["10.0.0.2", "2001:db8::1", "2001:db8::3"]


def test_without_a_pod_families_cannot_be_paired() -> None:
    v4, v6 = piece(endpoint("10.0.0.1", None)), piece(endpoint("2001:db8::1", None), family="IPv6")
    assert len(resolve([v4, v6], "http")) == 2


def test_ipv6_is_written_one_way() -> None:
    found = resolve(
        [piece(endpoint("2001:DB8:0:0::1", "a"), family="IPv6"), piece(endpoint("2001:db8::1", "a"), family="IPv6", version="2")], "http"
    )
    assert [e.address for e in found] == ["2001:db8::1"]


def test_a_port_number_is_the_services() -> None:
    service = Service(
        Metadata("web"),
        ServiceSpec(
            "ClusterIP",
            [ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp", "TCP"), ServicePort(80, None), ServicePort(443, "s", "TCP")],
        ),
    )
    assert port_name(service, 53) == ("dns-tcp", None)
    assert port_name(service, 80) == ("", None)
    assert port_name(service, 443) == ("s", None)
    assert port_name(service, 8080) == (None, "the Service has no TCP port 8080; it has: 53 (dns-tcp), 80, 443 (s)")
    assert port_name(None, 80) == (None, "the Service does not exist")
    assert port_name(Service(Metadata("web")), 80)[0] is None
    assert port_name(Service(Metadata("web"), ServiceSpec("ClusterIP", None)), 80) == (None, "the Service has no TCP port 80; it has: none")


def test_external_name_is_refused() -> None:
    name, problem = port_name(Service(Metadata("web"), ServiceSpec("ExternalName", [ServicePort(80, "http")])), 80)
    assert name is None
    assert "ExternalName" in (problem or "")


def test_known_ports() -> None:
    slices = [piece(ports=[HTTP, SlicePort("dns", 53, "UDP")]), piece(ports=[SlicePort(None, 1)]), EndpointSlice(Metadata("s"), "IPv4")]
    assert known_ports(slices) == ["", "http"]


flag = st.sampled_from([None, True, False])
drawn_endpoint = st.builds(
    lambda n, uid, ready, serving, terminating: SliceEndpoint(
        [f"10.0.0.{n}"], Conditions(ready, serving, terminating), TargetRef(uid) if uid else None
    ),
    st.integers(1, 4), st.sampled_from([None, "a", "b"]), flag, flag, flag,
)  # fmt: skip


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.lists(drawn_endpoint, max_size=4), st.sampled_from(["http", "other"])), max_size=4),
    st.randoms(use_true_random=False),
)
def test_against_a_naive_model(drawn: list[tuple[list[SliceEndpoint], str]], rng: random.Random) -> None:
    """Oracle: scan everything per address. Versions are distinct, as etcd's are; the order of slices must not matter."""
    slices = [piece(*found, name=str(n), version=str(n + 1), ports=[SlicePort(port, 8080)]) for n, (found, port) in enumerate(drawn)]
    expected: dict[str, State] = {}
    for found, port in drawn:  # rising version: the last word is right
        by_address: dict[str, list[SliceEndpoint]] = {}
        for one in found if port == "http" else []:
            assert one.addresses
            by_address.setdefault(one.addresses[0], []).append(one)
        for address, several in by_address.items():
            said = [one.conditions for one in several]
            ready = any(c is None or c.ready is not False for c in said)
            serving = any(c is None or (c.ready is not False if c.serving is None else c.serving) for c in said)
            terminating = any(c is not None and c.terminating for c in said)
            if terminating:
                expected[address] = State.SERVING_TERMINATING if serving else State.TERMINATING
            else:
                expected[address] = State.READY if ready else State.UNREADY
    # A doubled address inside one slice has no order, so it is OR-ed with everything else that says something of it.
    doubled = set[str]()
    for found, port in drawn:
        counted = collections.Counter(e.addresses[0] for e in found if e.addresses and port == "http")
        doubled |= {address for address, count in counted.items() if count > 1}
    got = {e.address: e.state for e in resolve(slices, "http")}
    assert got.keys() == expected.keys()
    assert {a: s for a, s in got.items() if a not in doubled} == {a: s for a, s in expected.items() if a not in doubled}
    rng.shuffle(slices)
    assert {(e.address, e.state) for e in resolve(slices, "http")} == set(got.items())
