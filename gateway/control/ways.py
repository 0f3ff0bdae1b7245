"""Ways: what the kernel says of the way to an address. Sends nothing; must not know what the address is used for."""

from __future__ import annotations

import errno
import socket

NO_WAY = {errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
ANY_PORT = 9


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
