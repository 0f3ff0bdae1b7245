"""Names: how aiohttp looks a host up here. In a thread of the cluster's own, one at a time.

aiohttp's own resolver shares asyncio's few threads with all other clusters, and the process waits for them at its end: six API servers
behind a name server that swallows what it is asked would keep all others from being reached.
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from k8s._blocking import Blocking

DEADLINE_S = 30.0  # whoever connects gives up before that
FLAGS = socket.AI_ADDRCONFIG | socket.AI_NUMERICSERV


class Names(AbstractResolver):
    """For one cluster: nearly always one host, or a proxy's."""

    def __init__(self) -> None:
        self._lookups: dict[tuple[str, int, int], Blocking[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Addresses, in the system's order; OSError where there are none, or none came in time."""

        def ask() -> list[ResolveResult]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=FLAGS)
            return [_result(host, address, kind, protocol) for kind, _, protocol, _, address in found]

        lookup = self._lookups.setdefault((host, port, int(family)), Blocking("k8s-name"))
        try:
            return await lookup.call(ask, DEADLINE_S)
        except TimeoutError as error:
            raise OSError(None, f"no answer for {host} in {DEADLINE_S:g} s") from error

    async def close(self) -> None:
        """A look-up under way is left to itself."""


def _result(
    host: str, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes], family: int, protocol: int
) -> ResolveResult:
    return ResolveResult(
        hostname=host, host=str(address[0]), port=int(address[1]), family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
