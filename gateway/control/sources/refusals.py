"""Refusals: which addresses that a Service's slices or a name give are nobody's endpoints, and why.

Who may write a slice or a name server's answer is often not who may reach what listens on this machine: loopback, a cloud's metadata
service, this gateway's own admin API. So these are refused, in whatever form an IPv6 address wraps them, unless `allow` of the backend
says otherwise. What the configuration itself names is not judged here. Knows addresses; must not know sources or the world.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

from gateway.control.sources.ways import own_address
from gateway.model import Address, Network

OWN_LISTENERS = "own-listeners"

_LINK_LOCAL = "link-local"
_METADATA = bytes((100, 100, 100, 200)), bytes.fromhex("fd000ec2")  # not link-local by their numbers: Alibaba's; Amazon's over IPv6
_MAPPED = bytes(10) + b"\xff\xff"  # the kernel itself makes IPv4 of it
_TRANSLATED = bytes(8) + b"\xff\xff\x00\x00"  # SIIT, RFC 2765
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # RFC 6052
_NAT64_LOCAL = bytes.fromhex("0064ff9b0001")  # RFC 8215
_6TO4 = bytes.fromhex("2002")
_LOOPBACK = {4: bytes((127, 0, 0, 1)), 16: bytes(15) + b"\x01"}


class Refusals:
    """Judges what one look at the sources has found. `own`: where this gateway listens."""

    def __init__(self, own: Iterable[Address]) -> None:
        self._own: dict[int, set[bytes]] = {}  # by port
        for one in own:
            if not one.is_unix:
                self._own.setdefault(one.port, set()).add(_packed(one.host))

    def cause(self, address: str, port: int, allow: tuple[str | Network, ...] = ()) -> str | None:
        """Why this is no endpoint; None: it may be one."""
        kind = _kind_of(address)
        if kind is None and port not in self._own:  # nearly all, and a change of one endpoint has thousands looked at
            return None
        packed = _packed(address)
        if kind is not None and kind not in allow and not _is_within(address, packed, allow):
            return kind
        if "%" in address:
            return _LINK_LOCAL  # bound to an interface: no endpoint can be, so `allow` changes nothing
        if port in self._own and OWN_LISTENERS not in allow and self._is_own(packed, port):
            return OWN_LISTENERS
        return None

    def _is_own(self, packed: bytes, port: int) -> bool:
        if not any(packed):
            packed = _LOOPBACK[len(packed)]  # as the kernel has it
        binds = self._own[port]
        return packed in binds or (bytes(len(packed)) in binds and (_kind(packed) == "loopback" or is_here(packed)))


def is_here(packed: bytes) -> bool:
    """Whether an address is this machine's: it would then speak to itself from there."""
    address = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
    try:
        return own_address(address) == address
    except OSError:  # no way there
        return False


def _packed(address: str) -> bytes:
    """An address's bytes: those of the IPv4 address within, where there is one."""
    text = address.partition("%")[0]
    packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    return _within(packed) or packed


@lru_cache(maxsize=1 << 16)
def _kind_of(address: str) -> str | None:
    """What is suspicious about it."""
    return _kind(_packed(address))


def _kind(packed: bytes) -> str | None:
    first = packed[0]
    if len(packed) == 4:
        if first == 0:
            return "unspecified"
        if first == 127:
            return "loopback"
        if packed.startswith(b"\xa9\xfe") or packed in _METADATA:
            return _LINK_LOCAL
        if packed == b"\xff\xff\xff\xff":
            return "broadcast"
        return "multicast" if 224 <= first < 240 else None
    if first == 0 and not any(packed[:15]) and packed[15] <= 1:
        return "loopback" if packed[15] else "unspecified"
    if (first == 0xFE and packed[1] & 0xC0 == 0x80) or packed.startswith(_METADATA):
        return _LINK_LOCAL
    return "multicast" if first == 0xFF else None


def _within(packed: bytes) -> bytes | None:
    """The IPv4 address that a kernel or a translator on the way makes of an IPv6 one."""
    if len(packed) == 4 or packed[0] not in (0x00, 0x20):
        return None
    if packed.startswith(_6TO4):
        return packed[2:6]
    if packed.startswith((_MAPPED, _TRANSLATED, _NAT64)):
        return packed[12:]
    if packed.startswith(_NAT64_LOCAL):
        return packed[12:] if any(packed[11:]) else packed[6:8] + packed[9:11]  # with a prefix of 96 bits, or of 48
    is_compatible = not any(packed[:12]) and int.from_bytes(packed[12:]) > 1
    return packed[12:] if is_compatible else None


def _is_within(address: str, packed: bytes, allow: Iterable[str | Network]) -> bool:
    either = (ipaddress.ip_address(address.partition("%")[0]), ipaddress.ip_address(packed))
    return any(one in prefix for prefix in allow if not isinstance(prefix, str) for one in either)
