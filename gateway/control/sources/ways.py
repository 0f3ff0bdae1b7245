"""Ways: what the kernel says of the way to an address. Sends nothing; must not know what the address is used for."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

NO_WAY = {errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
ANY_PORT = 9
ROUTES = Path("/proc/self/net/route")
ROUTES_IPV6 = Path("/proc/self/net/ipv6_route")


def own_address(address: str) -> str:
    """The address of this machine from which it would speak to that one. OSError: it can't."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        asked.connect((address, ANY_PORT))
        return str(asked.getsockname()[0])


def has_way(address: str) -> bool:
    """Whether this machine can send to an address at all: it has the family, and a route."""
    try:
        own_address(address)
    except OSError as error:
        return error.errno not in NO_WAY
    return True


def has_ipv4() -> bool:
    """Whether this machine has a way to any IPv4 address but its own: everywhere, or to a network of its own."""
    if has_way("192.0.2.1"):
        return True
    try:
        return len(ROUTES.read_text().splitlines()) > 1  # beside the heading; loopback's is not in it
    except OSError:
        return True


def has_ipv6() -> bool:
    """Likewise of IPv6. What every interface has without a network, link-local and multicast, is no way."""
    if has_way("2001:db8::1"):
        return True
    try:
        routes = [line.split() for line in ROUTES_IPV6.read_text().splitlines()]
    except OSError:
        return False
    return any(route[-1] != "lo" and not route[0].startswith(("fe8", "ff")) for route in routes if route)
