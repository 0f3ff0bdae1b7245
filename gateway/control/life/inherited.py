"""Inherited: sockets that were open before this process began, by systemd's protocol (sd_listen_fds(3)).

Owns which descriptor has which name, and that a socket is what the configuration says. Others may listen on it too, before, beside and
after this process: nothing is done to it that outlives its use here. Must not know who accepts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field

from gateway.control.life.listeners import PLAIN, How, Listener, bind
from gateway.errors import StartError
from gateway.model import Address

FIRST = 3  # the number of the first descriptor
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Inherited:
    """By name, until they are taken."""

    sockets: dict[str, socket.socket] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: MutableMapping[str, str], first: int = FIRST) -> Inherited:
        """Takes the variables away: they are for this process, not for those that it starts. StartError for what can't be told apart."""
        pid, count, names = (environment.pop(one, "") for one in VARIABLES)
        if not count or pid != str(os.getpid()):
            return cls()
        if not count.isdecimal() or len(count) > 4:
            raise StartError(f"LISTEN_FDS: must be a number of descriptors, got {count!r}")
        if len(found := names.split(":")) != int(count) or len(set(found)) < len(found) or not all(found):
            raise StartError(
                f"LISTEN_FDNAMES: must name each of the {count} sockets, by its listener, admin or status, got {names!r} "
                "(in a systemd unit: FileDescriptorName=, a socket unit for each)"
            )
        return cls({name: _socket(name, descriptor) for descriptor, name in enumerate(found, first)})

    def open(self, name: str, address: Address, how: How = PLAIN) -> Listener:
        """The one of that name, as the configuration has it; where there is none it is bound here."""
        opened = self.sockets.pop(name, None)
        if opened is None:
            return bind(name, address, how)
        try:
            listener = _listener(name, opened)
            if not _is_same(listener.address, address) or listener.is_dual != how.is_dual:
                is_dual = " for IPv4 too" if listener.is_dual else ""
                raise StartError(f"listener {name}: the inherited socket is bound to {listener.address}{is_dual}, bind says {address}")
        except BaseException:
            opened.close()
            raise
        return listener

    def open_listener(self, name: str, address: Address, how: How, others: Collection[str]) -> Listener:
        """Likewise of a listener. `others`: names of what opens its own later. Where that has the same, the socket is whose bind it has."""
        opened = self.sockets.get(name)
        if opened is not None and name in others and not _is_same(_listener(name, opened).address, address):
            return bind(name, address, how)
        return self.open(name, address, how)

    def check_all_taken(self) -> None:
        """StartError for one that nobody has asked for: its clients would wait for ever."""
        if self.sockets:
            raise StartError(f"inherited sockets that no listener, admin or status is named as: {', '.join(self.sockets)}")

    def close(self) -> None:
        """Those not taken."""
        for one in self.sockets.values():
            one.close()


def _socket(name: str, descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        opened = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} ({name}): {error.strerror or error}") from error
    if opened.type != socket.SOCK_STREAM or opened.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        opened.close()
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} ({name}): must be a stream socket of IPv4, IPv6 or unix")
    opened.setblocking(False)  # of all who have it; whoever polls, as systemd does, is not surprised
    return opened


def _listener(name: str, opened: socket.socket) -> Listener:
    at = opened.getsockname()
    is_listening = bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    if opened.family == socket.AF_UNIX:
        # No inode of ours: the file is taken away by whoever made it.
        return Listener(name, Address(os.fsdecode(at), 0), opened, is_listening=is_listening, is_shared=True)
    is_dual = opened.family == socket.AF_INET6 and not opened.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted, as of one bound here
    return Listener(name, Address(at[0], at[1]), opened, is_listening=is_listening, is_dual=is_dual, is_shared=True)


def _is_same(one: Address, configured: Address) -> bool:
    return one.host == configured.host and configured.port in (0, one.port)
