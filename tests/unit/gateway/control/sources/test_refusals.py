import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.sources import refusals
from gateway.control.sources.refusals import Refusals, is_here
from gateway.model import Address

NOWHERE = Refusals(())


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("10.0.0.1", None),
        ("192.168.1.1", None),
        ("100.64.0.1", None),
        ("126.255.255.255", None),
        ("128.0.0.1", None),
        ("169.253.255.255", None),
        ("169.255.0.1", None),
        ("223.255.255.255", None),
        ("240.0.0.1", None),  # some clouds number pods so
        ("2001:db8::1", None),
        ("2003::7f00:1", None),
        ("fd00:10::1", None),
        ("fec0::1", None),
        ("fe7f::1", None),
        ("::ffff:10.0.0.1", None),
        ("64:ff9b::10.0.0.1", None),
        ("64:ff9b:1::10.0.0.1", None),
        ("64:ff9b:1:a00:0:100::", None),  # 10.0.0.1 behind a prefix of 48 bits
        ("2002:a00:1::1", None),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "link-local"),
        ("100.100.100.200", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fd00:ec2::254", "link-local"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b:1::127.0.0.1", "loopback"),
        ("64:ff9b:1:7f00:0:100::", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a9fe:a9fe::1", "link-local"),
    ],
)
def test_what_an_address_is(address, cause):
    assert NOWHERE.cause(address, 80) == cause


@given(st.integers(0, 2**32 - 1))
def test_whatever_wraps_an_address_is_judged_as_it_is(number):
    plain = IPv4Address(number)
    for prefix in ("::ffff:0:0", "::ffff:0:0:0", "64:ff9b::"):
        assert NOWHERE.cause(str(IPv6Address(int(IPv6Address(prefix)) | number)), 80) == NOWHERE.cause(str(plain), 80)


def test_the_operator_allows_a_kind_or_a_prefix():
    assert NOWHERE.cause("127.0.0.1", 80, ("loopback",)) is None
    assert NOWHERE.cause("::ffff:127.0.0.1", 80, ("loopback",)) is None
    assert NOWHERE.cause("169.254.1.1", 80, ("loopback",)) == "link-local"
    one = (ip_network("169.254.7.0/24"),)
    assert NOWHERE.cause("169.254.7.1", 80, one) is None
    assert NOWHERE.cause("::ffff:169.254.7.1", 80, one) is None
    assert NOWHERE.cause("169.254.169.254", 80, one) == "link-local"
    assert NOWHERE.cause("64:ff9b::7f00:1", 80, (ip_network("64:ff9b::/96"),)) is None


def test_an_address_bound_to_an_interface_is_no_endpoint_whatever_is_allowed():
    assert NOWHERE.cause("fe80::1%eth0", 80) == "link-local"
    assert NOWHERE.cause("fe80::1%eth0", 80, ("link-local",)) == "link-local"


def test_own_listeners_are_refused_at_their_address_and_port():
    own = Refusals([Address("10.0.0.5", 9901), Address("127.0.0.1", 9902), Address("/run/x", 0), Address("2001:db8::5", 9903)])
    assert own.cause("10.0.0.5", 9901) == "own-listeners"
    assert own.cause("::ffff:10.0.0.5", 9901) == "own-listeners"
    assert own.cause("2001:db8::5", 9903) == "own-listeners"
    assert own.cause("10.0.0.5", 9902) is None
    assert own.cause("10.0.0.6", 9901) is None
    assert own.cause("127.0.0.1", 9902, ("loopback",)) == "own-listeners"
    assert own.cause("127.0.0.2", 9902, ("loopback",)) is None
    assert own.cause("0.0.0.0", 9902, (ip_network("0.0.0.0/0"),)) == "own-listeners"  # as the kernel has it: 127.0.0.1
    assert own.cause("10.0.0.5", 9901, (ip_network("10.0.0.0/8"),)) == "own-listeners"
    assert own.cause("10.0.0.5", 9901, ("own-listeners",)) is None


def test_a_wildcard_listens_at_every_address_of_this_machine(monkeypatch):
    here = []
    monkeypatch.setattr(refusals, "is_here", lambda packed: here.append(packed) or packed == bytes((10, 0, 0, 5)))
    own = Refusals([Address("0.0.0.0", 80), Address("::", 81)])
    assert own.cause("10.0.0.5", 80) == "own-listeners"
    assert own.cause("10.0.0.6", 80) is None
    assert own.cause("10.0.0.5", 81) is None  # "[::]" takes IPv6 alone
    assert own.cause("127.0.0.9", 80, ("loopback",)) == "own-listeners"
    assert own.cause("::1", 81, ("loopback",)) == "own-listeners"
    assert own.cause("10.0.0.5", 82) is None
    assert here == [bytes((10, 0, 0, 5)), bytes((10, 0, 0, 6))]  # asked of none at another port


def test_which_addresses_are_this_machines():
    assert is_here(bytes((127, 0, 0, 1)))
    assert not is_here(bytes((192, 0, 2, 1)))
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return
    assert is_here(bytes(15) + b"\x01")
    assert not is_here(IPv6Address("2001:db8::1").packed)
