"""Listeners: the sockets that clients connect to. Opened first, before anything else starts; closed by name, never shut down.

Owns addresses, socket options and the files of unix sockets. Must not know who accepts: workers get the descriptors.

Bound at once, so that an address in use is the first thing said; listening only from `listen()` on, when the gateway can
serve. Until then a client or a load balancer is refused, which it understands, instead of waiting in a queue that nobody
empties. A socket may also come from outside already open (`inherited`): nothing here assumes that it was bound here.
"""

from __future__ import annotations

import errno
import grp
import logging
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway import model
from gateway.errors import StartError
from gateway.model import Address

logger = logging.getLogger("isochrone.listeners")

BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
PROBE_UNIX_S = 1.0

# linux/in.h, linux/in6.h; the socket module has no names for them
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
# Handshakes that had begun when new ones were held back come through in this time; then a listener can close.
HANDSHAKE_S = 1.0
FROM_THIS_LINK = 255  # no router has touched such a packet; every common system sends 64 or 128


@dataclass(frozen=True, slots=True)
class How:
    """What else is said of a listener."""

    is_dual: bool = False  # [::] takes IPv4 too
    mode: str | None = None  # octal, of a unix socket's file
    owner: str | None = None  # user, user:group or :group

    @classmethod
    def of(cls, configured: Iterable[model.Listener]) -> dict[str, How]:
        return {one.name: cls(one.dual, one.mode, one.owner) for one in configured}


PLAIN = How()


@dataclass(slots=True)
class Listener:
    """One accepting socket. `address` is the real one: port 0 has become a number."""

    name: str
    address: Address
    socket: socket.socket
    inode: tuple[int, int] | None = None  # device and inode of a unix socket's file that this process made
    is_listening: bool = False
    is_dual: bool = False  # an IPv6 one that takes IPv4 too
    is_shared: bool = False  # with another process: what is done to the socket is done to that one too

    @property
    def addresses(self) -> list[Address]:
        """All that lead here."""
        return [self.address, Address("0.0.0.0", self.address.port)] if self.is_dual else [self.address]

    @property
    def is_closed(self) -> bool:
        return self.socket.fileno() < 0

    def close(self) -> None:
        """Close this process's descriptor, and no longer be found."""
        self._remove_file()
        self.socket.close()

    def hollow(self) -> None:
        """Likewise, but its number stays taken until close(), for whoever still knows it: nobody comes by it. A shared one stays."""
        self._remove_file()
        if not self.is_shared:
            with socket.socket(socket.AF_UNIX) as nobodys:
                os.dup2(nobodys.fileno(), self.socket.fileno(), inheritable=False)

    def _remove_file(self) -> None:
        """Of a unix socket, if it is still ours: a successor may have put its own there."""
        mine, self.inode = self.inode, None
        if mine is not None and mine == _inode(self.address.host):
            try:
                os.unlink(self.address.host)
            except FileNotFoundError:
                pass  # somebody was quicker
            except OSError as error:  # the folder belongs to somebody else by now: the next start takes the file for a dead process's
                extra = {"listener": self.name, "path": self.address.host, "error": error.strerror}
                logger.warning("the file of a unix socket stays", extra=extra)

    def refuse_new(self) -> None:
        """Take no connection that has not begun. Those in the queue or in their handshake come through, so closing afterwards
        resets nobody: a client whose SYN is dropped repeats it and is then refused.

        The kernel drops what has come further than the listener allows (RFC 5082), before it becomes a connection. Unlike a packet
        filter that needs no right. A connection whose handshake ends after this inherits it: who accepts one gives it 0 back.
        A unix socket whose file is gone is found by nobody.
        """
        self._remove_file()
        if self.address.is_unix or self.is_shared:
            return
        try:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_MINTTL, FROM_THIS_LINK)  # of an IPv6 socket: for IPv4 clients, if it takes them
            if self.socket.family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, FROM_THIS_LINK)
        except OSError as error:  # a kernel without such a bound: a connection may then be reset in the last moment
            logger.warning("can't hold new connections back", extra={"listener": self.name, "error": str(error)})


@dataclass(slots=True)
class Listeners:
    """All of them, in the order of the configuration: a listener's number is its index."""

    all: list[Listener] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        wanted: Iterable[tuple[str, Address]],
        how: Mapping[str, How] | None = None,
        open_one: Callable[[str, Address, How], Listener] | None = None,
    ) -> Listeners:
        """Bind every one (or what else `open_one` does), `how` by its name; StartError in one line for the first that can't be, and none is
        left open."""
        opened = cls()
        try:
            for name, address in wanted:
                opened.all.append((open_one or bind)(name, address, (how or {}).get(name, PLAIN)))
        except BaseException:
            opened.close()
            raise
        return opened

    def listen(self) -> None:
        """From here on clients are accepted by the kernel. StartError when another process was quicker."""
        for listener in self.all:
            if listener.is_listening:
                continue
            # A process that starts at the same moment finds nobody listening behind the file, and puts its own in its place.
            if listener.inode is not None and listener.inode != _inode(listener.address.host):
                raise StartError(f"listener {listener.name}: {listener.address} was taken by another process")
            try:
                listener.socket.listen(BACKLOG)
            except OSError as error:
                raise StartError(_reason(listener.name, listener.address, error)) from error
            listener.is_listening = True
            logger.info("listening", extra={"listener": listener.name, "address": str(listener.address)})

    def close(self) -> None:
        """Close this process's descriptors. Names and addresses stay, for those who still count connections by listener."""
        for listener in self.all:
            listener.close()


def bind(name: str, address: Address, how: How = PLAIN) -> Listener:
    """A bound, non-blocking socket that does not listen yet. StartError says what is in the way."""
    try:
        return _bind_unix(name, address, how) if address.is_unix else _bind_tcp(name, address, how.is_dual)
    except OSError as error:
        raise StartError(_reason(name, address, error)) from error


def _bind_tcp(name: str, address: Address, is_dual: bool) -> Listener:
    is_v6 = ":" in address.host
    opened = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # A restart meets its own connections in TIME_WAIT. Never SO_REUSEPORT: a queue of its own is lost with its process.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted
        if is_v6:
            # "[::]" means IPv6 alone, whatever the machine's default: "0.0.0.0" beside it is then no conflict.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
        opened.bind((address.host, address.port))
        return Listener(name, Address(address.host, opened.getsockname()[1]), opened, is_dual=is_dual)
    except BaseException:
        opened.close()
        raise


def _bind_unix(name: str, address: Address, how: How) -> Listener:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        try:
            opened.bind(address.host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(address.host):
                raise
            os.unlink(address.host)  # left behind by a process that was killed
            opened.bind(address.host)
        listener = Listener(name, address, opened, _inode(address.host))
    except BaseException:
        opened.close()
        raise
    try:
        _own(name, address.host, how)  # before it listens: nobody can have connected yet
    except BaseException:
        listener.close()
        raise
    return listener


def _own(name: str, path: str, how: How) -> None:
    """The mode first: of a file that belongs to somebody else only root sets it."""
    if how.mode is not None:
        os.chmod(path, int(how.mode, 8))
    if how.owner is not None:
        user, _, group = how.owner.partition(":")
        try:
            user_id = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else -1
            group_id = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid if group else -1
        except KeyError:
            raise StartError(f"listener {name}: owner {how.owner}: there is no such user or group on this machine") from None
        try:
            os.chown(path, user_id, group_id)
        except OSError as error:
            raise StartError(f"listener {name}: owner {how.owner}: {error.strerror or error}") from error


def _is_stale(path: str) -> bool:
    """Whether a unix socket's file is there and nobody listens behind it. Anything but a socket is never taken away."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_UNIX_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return not _is_bound(path)
        except OSError:  # a full queue, no permission: somebody's
            return False
    return False


def _is_bound(path: str) -> bool:
    """Whether a process has it that does not listen yet, as a gateway that waits for its first answers: unix(7), /proc/net/unix."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    return any(line.endswith(f" {path}") for line in lines)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _reason(name: str, address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        what = "is not a socket and in the way" if address.is_unix and not _is_socket(address.host) else "is already in use"
        return f"listener {name}: {address} {what}"
    return f"listener {name}: can't listen on {address}: {error.strerror or error}"


def _is_socket(path: str) -> bool:
    return Path(path).is_socket()
