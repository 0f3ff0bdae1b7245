"""Hosts: an IPv6 address is one host, however it is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, RouteSpec, match
from tests.unit.routing_core.tables import table_of

ADDRESSES = st.one_of(
    st.ip_addresses(v=6),
    st.builds(lambda v4, prefix: ipaddress.IPv6Address(prefix | int(v4)), st.ip_addresses(v=4), st.sampled_from([0, 0xFFFF << 32])),
    st.integers(0, 2**20).map(ipaddress.IPv6Address),
)


def is_found(configured, host):
    return match(table_of(Figures(1), routes=[RouteSpec("r", 0, hosts=(configured,))]), host, "/") == 0


def spellings(address):
    """Short, whole, in capitals, and the last four octets as numbers of an IPv4 address (RFC 4291 2.2)."""
    whole = ":".join(f"{int(address):032x}"[at : at + 4] for at in range(0, 32, 4))
    v4 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return [address.compressed, whole, whole.upper(), ":".join(f"{int(part, 16):x}" for part in whole.split(":")), f"{whole[:29]}:{v4}"]


@given(ADDRESSES)
def test_every_spelling_is_the_same_host(address):
    for configured in spellings(address):
        for asked in spellings(address):
            assert is_found(f"[{configured}]", f"[{asked}]")


@given(ADDRESSES, ADDRESSES)
def test_another_address_is_another_host(one, other):
    assert is_found(f"[{one}]", f"[{other}]") == (one == other)


@pytest.mark.parametrize(
    "host", ["[::1%lo]", "[::1", "::1", "[]", "[::]", "[::2]", "[127.0.0.1]", "[:::1]", "[::1]x", "x[::1]", "[" + "1" * 60 + "]"]
)
def test_what_is_no_such_address_finds_nothing(host):
    assert not is_found("[::1]", host)


@pytest.mark.parametrize("host", ["[::1%lo]", "[]", "[127.0.0.1]", "[::1", "[x]", "[" + "1" * 60 + "]"])
def test_a_configured_host_in_brackets_must_be_an_address(host):
    with pytest.raises(ValueError, match="must have an IPv6 address without a zone"):
        is_found(host, "[::1]")


def test_names_and_ipv4_addresses_are_compared_as_they_are():
    assert is_found("Shop.Example.com.", "shop.example.com")
    assert is_found("192.0.2.1", "192.0.2.1")
    assert not is_found("[::ffff:192.0.2.1]", "192.0.2.1")
    assert not is_found("192.0.2.1", "192.0.2.01")
