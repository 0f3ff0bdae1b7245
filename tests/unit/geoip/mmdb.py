"""Writes MaxMind DB files for tests: small, and broken where a test wants it. Knows the format, not our reader."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"


class Raw(bytes):
    """Bytes that go into the data section as they are."""


class Float(float):
    """Written as four bytes."""


class Int32(int):
    """Written as a signed number."""


def head(kind: int, size: int) -> bytes:
    """Control bytes of a type and size."""
    if size < 29:
        low, more = size, b""
    elif size < 285:
        low, more = 29, (size - 29).to_bytes(1, "big")
    elif size < 65821:
        low, more = 30, (size - 285).to_bytes(2, "big")
    else:
        low, more = 31, (size - 65821).to_bytes(3, "big")
    return (bytes([kind << 5 | low]) if kind < 8 else bytes([low, kind - 7])) + more


def pointer(target: int, width: int = 4) -> Raw:
    """A pointer of one of the four widths. No check: a test may want one that leads nowhere."""
    if width == 4:
        return Raw(bytes([1 << 5 | 3 << 3]) + target.to_bytes(4, "big"))
    value = target - (0, 2048, 526336)[width - 1]
    return Raw(bytes([1 << 5 | (width - 1) << 3 | value >> 8 * width]) + (value & (1 << 8 * width) - 1).to_bytes(width, "big"))


def encode(value: Any) -> bytes:
    """A value of the data section."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Mapping):
        return head(7, len(value)) + b"".join(encode(key) + encode(inner) for key, inner in value.items())
    if isinstance(value, list):
        return head(11, len(value)) + b"".join(map(encode, value))
    if isinstance(value, bool):
        return head(14, value)
    if isinstance(value, Int32):
        return head(8, 4) + struct.pack(">i", value)
    if isinstance(value, int):
        size = (value.bit_length() + 7) // 8
        return head(6 if size <= 4 else 9 if size <= 8 else 10, size) + value.to_bytes(size, "big")
    if isinstance(value, Float):
        return head(15, 4) + struct.pack(">f", value)
    if isinstance(value, float):
        return head(3, 8) + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(4, len(value)) + value
    return head(2, len(value.encode())) + value.encode()


def bits_of(network: str, ip_version: int) -> str:
    parsed = ipaddress.ip_network(network)
    bits = f"{int(parsed.network_address):0{parsed.max_prefixlen}b}"[: parsed.prefixlen]
    return "0" * 96 + bits if parsed.version == 4 and ip_version == 6 else bits


def node_bytes(left: int, right: int, record_bits: int) -> bytes:
    if record_bits == 28:
        middle = (left >> 24) << 4 | right >> 24
        return (left & 0xFFFFFF).to_bytes(3, "big") + bytes([middle]) + (right & 0xFFFFFF).to_bytes(3, "big")
    return left.to_bytes(record_bits // 8, "big") + right.to_bytes(record_bits // 8, "big")


def write(
    networks: Mapping[str, Any],
    *,
    ip_version: int = 6,
    record_bits: int = 24,
    before: bytes = b"",
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """A whole file: {network: record}, longer networks win. `before` stands at offset 0 of the data section, for pointers."""
    nodes: list[list[tuple[str, int]]] = [[("none", 0), ("none", 0)]]
    data = before
    for network, record in sorted(networks.items(), key=lambda item: ipaddress.ip_network(item[0]).prefixlen):
        offset, data = len(data), data + encode(record)
        node, path = 0, bits_of(network, ip_version)
        for bit in map(int, path[:-1]):
            kind, value = nodes[node][bit]
            if kind != "node":
                nodes.append([(kind, value), (kind, value)])
                kind, value = nodes[node][bit] = ("node", len(nodes) - 1)
            node = value
        nodes[node][int(path[-1])] = ("data", offset)
    lead = {"node": 0, "none": len(nodes), "data": len(nodes) + 16}
    tree = b"".join(node_bytes(*(lead[kind] + value for kind, value in node), record_bits) for node in nodes)
    about = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": "Test",
        "description": {"en": "for tests"},
        "ip_version": ip_version,
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": record_bits,
        **(metadata or {}),
    }
    return tree + bytes(16) + data + MARKER + encode({key: value for key, value in about.items() if value is not None})


def city(lat: float, lon: float, country: str = "DE", continent: str = "EU", **more: Any) -> dict[str, Any]:
    """A record in the nested shape of GeoIP2."""
    return {
        "city": {"names": {"en": "Somewhere", "de": "Irgendwo"}},
        "continent": {"code": continent, "geoname_id": 1, "names": {"en": "A continent"}},
        "country": {"iso_code": country, "names": {"en": "A country"}},
        "location": {"accuracy_radius": 20, "latitude": lat, "longitude": lon, "time_zone": "Etc/UTC"},
        "subdivisions": [{"iso_code": "XX", "names": {"en": "A part"}}],
        **more,
    }
