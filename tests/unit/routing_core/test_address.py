import dataclasses
import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, Table
from routing_core._testing import address_of
from tests.unit.routing_core.tables import spec_of


def with_endpoint(**changes):
    figures = Figures(1)
    spec = spec_of(figures)
    service = spec.services[0]
    pool = service.pools[0]
    endpoint = dataclasses.replace(pool.endpoints[0], **changes)
    pools = (dataclasses.replace(pool, endpoints=(endpoint, *pool.endpoints[1:])), *service.pools[1:])
    return dataclasses.replace(spec, services=(dataclasses.replace(service, pools=pools),)), figures


def address(text, port):
    spec, figures = with_endpoint(address=text, port=port)
    return address_of(Table(spec, figures), 0, 0, 0)


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_ipv4_addresses_are_as_connect_takes_them(ip, port):
    assert address(str(ip), port) == struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + ip.packed + bytes(8)


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_ipv6_addresses_are_as_connect_takes_them(ip, port):
    packed = struct.pack("=H", socket.AF_INET6) + struct.pack("!H", port) + bytes(4) + ip.packed + bytes(4)
    assert address(str(ipaddress.IPv6Address(int(ip))), port) == packed


@pytest.mark.parametrize("path", ["/a", "/run/app.sock", "/" + "x" * 106, "/m\u00fcnchen"])
def test_unix_addresses_are_as_connect_takes_them(path):
    assert address(path, 0) == struct.pack("=H", socket.AF_UNIX) + path.encode().ljust(108, b"\0")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("", 80), ("localhost", 80), ("10.0.0", 80), ("10.0.0.256", 80), ("10.0.0.1 ", 80), ("10.0.0.1\0", 80),
        ("[::1]", 80), ("fe80::1%lo", 80),
        ("10.0.0.1", 0), ("10.0.0.1", 65536), ("10.0.0.1", -1), ("10.0.0.1", "80"), ("10.0.0.1", True), ("::1", 0),
        ("/run/x", 1), ("/" + "x" * 107, 0), ("/a\0b", 0),
    ],
)  # fmt: skip
def test_wrong_addresses_are_refused_with_what_came(text, port):
    with pytest.raises(ValueError, match="must") as caught:
        address(text, port)
    assert "EndpointSpec" in str(caught.value)


@pytest.mark.parametrize("changes", [{"weight": 0}, {"weight": 10**9}, {"weight": 1.5}, {"row": 10**6}, {"row": -1}, {"row": 2**40}])
def test_wrong_endpoints_are_refused(changes):
    spec, figures = with_endpoint(**changes)
    with pytest.raises(ValueError, match=r"must|row|large|convert"):
        Table(spec, figures)
