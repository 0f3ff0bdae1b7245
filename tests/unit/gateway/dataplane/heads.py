"""Heads to parse, each whole, byte by byte as an exchange reads them, and with bytes behind it left alone."""

from typing import Any

from gateway.dataplane.http1 import _parsing_testing as parsing

BAD, NEED_DATA, WHOLE = -1, 0, 1
TRAILING = b"GET /next HTTP/1.1\r\nHost: other\r\n\r\n\x00"


def reads(text: bytes, parse: Any) -> tuple[int, dict[str, Any], int]:
    """Octet by octet, as an exchange does: parse at the first octet, at the first LF, and when an end is in sight."""
    scanned, has_line = 0, False
    for length in range(1, len(text) + 1):
        prefix = text[:length]
        had_line, has_line = has_line, has_line or prefix.endswith(b"\n")
        found, scanned = parsing.has_end(prefix, scanned)
        assert scanned <= length
        if length == 1 or found or has_line != had_line:
            verdict, head = parse(prefix)
            if verdict != NEED_DATA:
                return verdict, head, length
    return NEED_DATA, {}, len(text)


def three_ways(text: bytes, parse: Any) -> tuple[int, dict[str, Any]]:
    """The verdict, the same on three ways; prefixes never promise what the whole does not keep."""
    verdict, head = parse(text)
    slow_verdict, slow, length = reads(text, parse)
    assert slow_verdict == verdict
    if verdict == WHOLE:
        assert slow == head
        assert length == len(text) == head["length"]
        assert parse(text + TRAILING) == (WHOLE, head)
    elif verdict == BAD:
        assert {**slow, "fields": None} == {**head, "fields": None}
        behind = parse(text + TRAILING)
        assert (behind[0], behind[1]["cause"]) == (BAD, head["cause"])
    for cut in range(len(text)):
        early, what = parse(text[:cut])
        assert early != WHOLE
        if early == BAD:
            assert (verdict, what["cause"]) == (BAD, head["cause"]), text[:cut]
    return verdict, head


def accepted(text: bytes) -> dict[str, Any]:
    verdict, head = three_ways(text, parsing.request)
    assert verdict == WHOLE, head
    assert (head["status"], head["cause"]) == (0, "none")
    return head


def refused(text: bytes) -> tuple[int, str]:
    verdict, head = three_ways(text, parsing.request)
    assert verdict == BAD, head
    return head["status"], head["cause"]


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def with_host(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return get(b"Host: a.example", *fields, line=line)
