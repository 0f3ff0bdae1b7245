"""Ranges against the naive answer: of all prefixes that hold the address, the longest."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoip._testing import place_of
from geoip.ranges import MAPPED, NOWHERE, PRIVATE, as_number, combined, disjoint

HOME = 1000


def network(text):
    return ipaddress.ip_network(text)


def naive(prefixes, address, home=None):
    """Longest prefix of the address's own family; else home for private ones; else -1."""
    address = ipaddress.IPv6Address(address)
    address = address.ipv4_mapped or address
    holding = [(prefix.prefixlen, place) for prefix, place in prefixes if prefix.version == address.version and address in prefix]
    if holding:
        return max(holding)[1]
    is_private = any(prefix.version == address.version and address in prefix for prefix in PRIVATE)
    return home if home is not None and is_private else -1


def place(ranges, address):
    return place_of(ranges, address.to_bytes(16, "big"))


def interesting(prefixes):
    """The edges of all prefixes, and their neighbours."""
    edges = {0, MAPPED, MAPPED + (1 << 32)}
    for prefix in [*(prefix for prefix, _ in prefixes), *PRIVATE]:
        start, length = as_number(prefix)
        edges |= {start, start + (1 << 128 - length)}
    return sorted({at + by for at in edges for by in (-1, 0, 1) if 0 <= at + by < 1 << 128})


V4 = st.builds(
    lambda bits, length: ipaddress.ip_network((bits >> 32 - length << 32 - length, length)),
    st.sampled_from([0, 0x0A000000, 0x0A010203, 0x7F000001, 0xFFFFFFFF, 0xC0A80101]),
    st.integers(0, 32),
)
V6 = st.builds(
    lambda bits, length: ipaddress.IPv6Network((bits >> 128 - length << 128 - length, length)),
    st.sampled_from([0, 1, MAPPED, MAPPED + (1 << 32), 0xFC << 120, 0xFE80 << 112, 0x2001 << 112, (1 << 128) - 1]),
    st.integers(0, 128),
).filter(lambda prefix: not (prefix.network_address.ipv4_mapped and prefix.prefixlen >= 96))


@given(st.lists(st.one_of(V4, V6), max_size=8, unique=True), st.sampled_from([None, HOME]))
def test_the_longest_prefix_wins(networks, home):
    prefixes = [(prefix, number) for number, prefix in enumerate(networks)]
    ranges = disjoint(prefixes, home)
    assert [start for start, _ in ranges] == sorted({start for start, _ in ranges})
    for address in interesting(prefixes):
        found, bits = place(ranges, address)
        assert found == naive(prefixes, address, home), ipaddress.IPv6Address(address)
        check_bits(ranges, address, found, bits)


@given(st.lists(st.one_of(V4, V6), max_size=5, unique=True), st.lists(st.one_of(V4, V6), max_size=5, unique=True))
def test_two_lists_as_one_say_what_each_says(networks, others):
    lists = [disjoint([(prefix, number) for number, prefix in enumerate(prefixes)]) for prefixes in (networks, others)]
    both = combined(*lists)
    starts = [start for start, _, _ in both]
    assert starts == sorted({start for ranges in lists for start, _ in ranges})
    for number, ranges in enumerate(lists):
        mine = [(start, places[number]) for start, *places in both]
        for start in starts:
            assert place(mine, start)[0] == place(ranges, start)[0]


def test_two_lists_of_which_one_says_nothing():
    located = disjoint([(network("10.0.0.0/8"), 7)])
    assert combined(located, disjoint([])) == [(start, where, NOWHERE) for start, where in located]
    assert combined(disjoint([]), located) == [(start, NOWHERE, where) for start, where in located]


def check_bits(ranges, address, found, bits):
    """All addresses that share the bits get the same place and lie on the same side of ::ffff:0:0/96."""
    assert 0 <= bits <= 128
    first = address >> 128 - bits << 128 - bits
    last = first + (1 << 128 - bits) - 1
    assert place(ranges, first) == (found, bits)
    assert place(ranges, last) == (found, bits)
    assert (first >> 32 == 0xFFFF) == (last >> 32 == 0xFFFF) == (address >> 32 == 0xFFFF)
    # And no shorter prefix would do.
    if bits:
        wider = address >> 129 - bits << 129 - bits
        inside = {start for start, _ in ranges if wider < start < wider + (1 << 129 - bits)}
        assert inside


def test_without_any_prefix_the_families_are_apart():
    ranges = disjoint([])
    assert ranges == [(0, -1), (MAPPED, -1), (MAPPED + (1 << 32), -1)]
    assert place(ranges, MAPPED + 5) == (-1, 96)


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.1.1", "100.64.0.1", "172.31.255.255", "192.168.0.1", "0.0.0.0"])
def test_private_ipv4_is_at_home(address):
    at = MAPPED + int(ipaddress.IPv4Address(address))
    assert place(disjoint([], HOME), at)[0] == HOME
    assert place(disjoint([]), at)[0] == -1


@pytest.mark.parametrize("address", ["::1", "::", "fe80::1", "fd00::1", "fc00::"])
def test_private_ipv6_is_at_home(address):
    assert place(disjoint([], HOME), int(ipaddress.IPv6Address(address)))[0] == HOME


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.0", "11.0.0.0", "0.0.0.1"])
def test_public_is_not_at_home(address):
    assert place(disjoint([], HOME), MAPPED + int(ipaddress.IPv4Address(address)))[0] == -1


def test_a_shorter_prefix_of_the_operator_beats_home():
    ranges = disjoint([(network("0.0.0.0/0"), 1), (network("fc00::/6"), 2)], HOME)
    assert place(ranges, MAPPED + int(ipaddress.IPv4Address("10.0.0.1")))[0] == 1
    assert place(ranges, int(ipaddress.IPv6Address("fd00::1")))[0] == 2
    assert place(ranges, int(ipaddress.IPv6Address("::1")))[0] == HOME


def test_a_longer_one_inside_home_leaves_the_rest_at_home():
    ranges = disjoint([(network("10.1.0.0/16"), 1)], HOME)
    assert [place(ranges, MAPPED + int(ipaddress.IPv4Address(text)))[0] for text in ("10.0.0.1", "10.1.0.1", "10.2.0.1")] == [HOME, 1, HOME]


def test_all_of_ipv6_says_nothing_about_ipv4():
    ranges = disjoint([(network("::/0"), 1)])
    assert place(ranges, MAPPED + 1)[0] == -1
    assert place(ranges, 1)[0] == place(ranges, (1 << 128) - 1)[0] == 1


def test_a_prefix_that_occurs_twice_is_named():
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8 occurs twice"):
        disjoint([(network("10.0.0.0/8"), 1), (network("10.0.0.0/8"), 2)])


def test_many():
    rng = random.Random(1)
    networks = {ipaddress.ip_network((rng.getrandbits(length) << 32 - length, length)) for length in [8, 16, 20, 24, 32] * 60}
    prefixes = [(prefix, number) for number, prefix in enumerate(networks)]
    ranges = disjoint(prefixes)
    for address in rng.sample(interesting(prefixes), 300):
        assert place(ranges, address)[0] == naive(prefixes, address)
