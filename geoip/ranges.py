"""Ranges: prefixes that may lie in one another -> ranges that don't, for a binary search.

Owns the rules of precedence: the longest prefix wins; private networks stand at home unless a prefix covers them.
Addresses are 128-bit numbers, IPv4 in ::ffff:0:0/96. Must not know what a place is: it is a number here.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

NOWHERE = -1
MAPPED = 0xFFFF << 32  # ::ffff:0:0
MAPPED_BITS = 96

# RFC 6890: loopback, private, link-local, carrier-grade NAT, unique local. The unspecified addresses are those of a peer that has none,
# as on a unix socket.
PRIVATE = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/32",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "fc00::/7",
        "fe80::/10",
    )
)


def as_number(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """First address and prefix length among the 128-bit numbers."""
    start = int(network.network_address)
    return (start + MAPPED, network.prefixlen + MAPPED_BITS) if network.version == 4 else (start, network.prefixlen)


def covers(prefixes: dict[tuple[int, int], int], start: int, length: int, shortest: int) -> bool:
    return any((start >> 128 - bits << 128 - bits, bits) in prefixes for bits in range(shortest, length + 1))


def disjoint(prefixes: Iterable[tuple[IPv4Network | IPv6Network, int]], home: int | None = None) -> list[tuple[int, int]]:
    """(first address, place) of each range, ascending from 0; a range ends where the next begins; NOWHERE: no prefix there.

    The edges of ::ffff:0:0/96 are always edges of ranges: a prefix of IPv6 says nothing about IPv4.
    ValueError names a prefix that occurs twice.
    """
    places: dict[tuple[int, int], int] = {}
    for network, place in prefixes:
        if places.setdefault(as_number(network), place) != place:
            raise ValueError(f"prefix {network} occurs twice")
    if home is not None:
        at_home = [
            as_number(network)
            for network in PRIVATE
            if not covers(places, *as_number(network), shortest=MAPPED_BITS if network.version == 4 else 0)
        ]
        places.update(dict.fromkeys(at_home, home))
    places.setdefault((MAPPED, MAPPED_BITS), NOWHERE)

    starts: dict[int, int] = {0: NOWHERE}  # ascending, because a start is never before the last one
    inside: list[tuple[int, int]] = []  # (first address behind, place) of the prefixes around, outermost first

    def leave(until: int) -> None:
        while inside and inside[-1][0] <= until:
            end, _ = inside.pop()
            if end < 1 << 128:
                starts[end] = inside[-1][1] if inside else NOWHERE

    for (start, length), place in sorted(places.items()):
        leave(start)
        starts[start] = place
        inside.append((start + (1 << 128 - length), place))
    leave(1 << 128)
    return list(starts.items())


def combined(one: Iterable[tuple[int, int]], other: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(first address, place of `one`, place of `other`): two lists of disjoint() as one, with the edges of both."""
    starts, others = dict(one), dict(other)
    found = []
    place, other_place = NOWHERE, NOWHERE
    for start in sorted(starts.keys() | others.keys()):
        place, other_place = starts.get(start, place), others.get(start, other_place)
        found.append((start, place, other_place))
    return found
