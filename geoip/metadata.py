"""Metadata: the map at the end of a MaxMind DB file, which says how to read the rest.

Owns its decoding and what is legal in it. Must not know trees or records. Runs once a file, so plain Python; kept apart from the
maxminddb package, which gives a second opinion on whole files (see files.py).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"
SEARCHED_BYTES = 128 * 1024  # the format's limit on the metadata's size
MAX_VALUES = 4096  # real metadata hold a few dozen
MAX_DEPTH = 16

POINTER, STRING, DOUBLE, BYTES, MAP, INT32, ARRAY, BOOLEAN, FLOAT = 1, 2, 3, 4, 7, 8, 11, 14, 15
UNSIGNED = {5: 2, 6: 4, 9: 8, 10: 16}  # type -> most bytes
POINTER_BASE = (0, 2048, 526336, 0)


class Layout(NamedTuple):
    """What the metadata say of a file. Sizes and offsets in bytes of the content; `values` is the whole map."""

    n_nodes: int
    record_bits: int
    ip_version: int
    build_epoch: int
    tree_bytes: int
    data_bytes: int
    values: dict[str, Any]


class _Decoder:
    """Strict: every length is checked, depth and number of values are bounded. ValueError says what is wrong."""

    def __init__(self, section: bytes) -> None:
        self.section = section
        self.values_left = MAX_VALUES

    def take(self, at: int, size: int) -> bytes:
        if at + size > len(self.section):
            raise ValueError("a value reaches past the end of the file")
        return self.section[at : at + size]

    def head(self, at: int) -> tuple[int, int, int]:
        """Type, size and offset of what follows; for a pointer the size is its five low bits."""
        control = self.take(at, 1)[0]
        at += 1
        kind, size = control >> 5, control & 31
        if kind == POINTER:
            return kind, size, at
        if kind == 0:
            kind = self.take(at, 1)[0] + 7
            at += 1
        if size >= 29:
            width = size - 28
            size = (29, 285, 65821)[width - 1] + int.from_bytes(self.take(at, width), "big")
            at += width
        return kind, size, at

    def value(self, at: int, depth: int = 0) -> tuple[Any, int]:
        self.values_left -= 1
        if self.values_left < 0 or depth > MAX_DEPTH:
            raise ValueError("more values than metadata ever hold")
        kind, size, at = self.head(at)
        if kind == POINTER:
            width = (size >> 3) + 1
            high = (size & 7) << 8 * width if width < 4 else 0
            target = high + int.from_bytes(self.take(at, width), "big") + POINTER_BASE[width - 1]
            return self.value(target, depth + 1)[0], at + width
        if kind in (MAP, ARRAY):
            return self.container(kind, size, at, depth)
        if kind == BOOLEAN:
            return size != 0, at
        content = self.take(at, size)
        return self.scalar(kind, content), at + size

    def container(self, kind: int, size: int, at: int, depth: int) -> tuple[Any, int]:
        if kind == ARRAY:
            items = []
            for _ in range(size):
                item, at = self.value(at, depth + 1)
                items.append(item)
            return items, at
        entries: dict[str, Any] = {}
        for _ in range(size):
            key, at = self.value(at, depth + 1)
            if not isinstance(key, str):
                raise ValueError("a key is no text")
            entries[key], at = self.value(at, depth + 1)
        return entries, at

    @staticmethod
    def scalar(kind: int, content: bytes) -> Any:
        if kind == STRING:
            return content.decode()
        if kind == BYTES:
            return content
        if kind in UNSIGNED and len(content) <= UNSIGNED[kind]:
            return int.from_bytes(content, "big")
        if kind == INT32 and len(content) <= 4:
            return int.from_bytes(content.rjust(4, b"\0"), "big", signed=True)
        if (kind, len(content)) in ((DOUBLE, 8), (FLOAT, 4)):
            return struct.unpack(">d" if kind == DOUBLE else ">f", content)[0]
        raise ValueError(f"type {kind} with {len(content)} bytes")


def read_layout(content: bytes) -> Layout:
    """ValueError says what is missing or contradicts the file's size."""
    marker = content.rfind(MARKER, max(0, len(content) - SEARCHED_BYTES - len(MARKER)))
    if marker < 0:
        raise ValueError("no MaxMind DB file, or cut short: its metadata are missing")
    try:
        values, _ = _Decoder(content[marker + len(MARKER) :]).value(0)
    except ValueError as error:  # of which bad UTF-8 is one
        raise ValueError(f"metadata: {error}") from error
    if not isinstance(values, dict):
        raise ValueError("metadata: no map")

    def number(key: str, least: int, most: int) -> int:
        found = values.get(key)
        if type(found) is not int or not least <= found <= most:
            raise ValueError(f"metadata: {key} must be a whole number from {least} to {most}, got {found!r:.40}")
        return found

    if number("binary_format_major_version", 0, 65535) != 2:
        raise ValueError(f"metadata: format version {values['binary_format_major_version']} is not known, only 2 is")
    n_nodes = number("node_count", 1, 2**32 - 1)
    record_bits = number("record_size", 24, 32)
    ip_version = number("ip_version", 4, 6)
    if record_bits not in (24, 28, 32) or ip_version == 5:
        raise ValueError(f"metadata: record_size {record_bits} or ip_version {ip_version} is not known")
    tree_bytes = n_nodes * record_bits // 4
    data_bytes = marker - tree_bytes - 16  # the separator
    if data_bytes < 0:
        raise ValueError(f"cut short: {n_nodes} nodes of its search tree need {tree_bytes} bytes, the file has {marker}")
    return Layout(n_nodes, record_bits, ip_version, number("build_epoch", 0, 2**64 - 1), tree_bytes, data_bytes, values)
