"""Heads: request and status lines, targets, hosts, ends and limits; every row of the smuggling table that is of these."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.http1 import _parsing_testing as parsing
from tests.unit.gateway.dataplane.heads import BAD, NEED_DATA, TRAILING, WHOLE, accepted, get, refused, three_ways, with_host


@pytest.mark.parametrize(
    ("status", "cause", "line"),
    [
        (400, "start_line", b"GET /"),
        (400, "start_line", b"GET"),
        (400, "start_line", b"GET / "),
        (400, "start_line", b"GET  / HTTP/1.1"),
        (400, "start_line", b"GET /  HTTP/1.1"),
        (400, "start_line", b"GET / HTTP/1.1 "),
        (400, "start_line", b" GET / HTTP/1.1"),
        (400, "start_line", b"GET\t/ HTTP/1.1"),
        (400, "target", b"GET /\tHTTP/1.1"),
        (400, "start_line", b"GET HTTP/1.1"),
        (400, "start_line", b"GET / http/1.1"),
        (400, "start_line", b"GET / HTTP/1.1x"),
        (400, "start_line", b"GET / HTTP/11"),
        (400, "start_line", b"GET / HTTP/1.10"),
        (400, "start_line", b"GET / HTTP/01.1"),
        (400, "start_line", b"GET / HTTP/1,1"),
        (400, "start_line", b"GET / HTTP/-1.1"),
        (400, "start_line", b"GET / HTTP 1.1"),
        (400, "start_line", b"GET / HTTPS/1.1"),
        (400, "start_line", b"GET /a b HTTP/1.1"),
        (400, "start_line", b"G(T / HTTP/1.1"),
        (400, "start_line", b"\x16\x03\x01\x02\x00\x01"),
        (400, "start_line", b"G\x00T / HTTP/1.1"),
        (505, "version", b"GET / HTTP/2.0"),
        (505, "version", b"GET / HTTP/0.9"),
        (505, "version", b"GET / HTTP/9.9"),
        (505, "version", b"PRI * HTTP/2.0"),
        (501, "method_unknown", b"FOO / HTTP/1.1"),
        (501, "method_unknown", b"get / HTTP/1.1"),
        (501, "method_unknown", b"GETX / HTTP/1.1"),
        (501, "method_unknown", b"GE / HTTP/1.1"),
        (501, "method_unknown", b"PURGE / HTTP/1.1"),
        (501, "method_unknown", b"A" * 25 + b" / HTTP/1.1"),
        (405, "method_refused", b"CONNECT a.example:443 HTTP/1.1"),
        (405, "method_refused", b"TRACE / HTTP/1.1"),
        (400, "target", b"GET /a#b HTTP/1.1"),
        (400, "target", b"GET /?a#b HTTP/1.1"),
        (400, "target", b"GET /\xc3\xa9 HTTP/1.1"),
        (400, "target", b"GET /\x00 HTTP/1.1"),
        (400, "target", b"GET /\x7f HTTP/1.1"),
        (400, "start_line", b"GET /\rx HTTP/1.1"),
        (400, "target", b"GET * HTTP/1.1"),
        (400, "target", b"OPTIONS ** HTTP/1.1"),
        (400, "target", b"GET a HTTP/1.1"),
        (400, "target", b"GET a.example:80 HTTP/1.1"),
        (400, "target", b"GET ?a HTTP/1.1"),
        (400, "target", b"GET ftp://a.example/ HTTP/1.1"),
        (400, "target", b"GET http:/a.example/ HTTP/1.1"),
        (400, "target", b"GET http HTTP/1.1"),
        (400, "host", b"GET http:// HTTP/1.1"),
        (400, "host", b"GET http:///a HTTP/1.1"),
        (400, "host", b"GET http://?a HTTP/1.1"),
        (400, "host", b"GET http://u@a.example/ HTTP/1.1"),
        (400, "host", b"GET http://a.example:x/ HTTP/1.1"),
        (400, "host", b"GET http://a%41/ HTTP/1.1"),
        (400, "path", b"GET http://a.example\\/ HTTP/1.1"),
        (400, "path", b"GET /a\\b HTTP/1.1"),
        (400, "path", b"GET /%00 HTTP/1.1"),
        (400, "path", b"GET /%0a HTTP/1.1"),
        (400, "path", b"GET /%0A HTTP/1.1"),
        (400, "path", b"GET /%0d%0a HTTP/1.1"),
        (400, "path", b"GET /%0D HTTP/1.1"),
        (400, "path", b"GET http://a.example/%00 HTTP/1.1"),
    ],
)
def test_request_line_is_refused(status: int, cause: str, line: bytes) -> None:
    assert refused(with_host(line=line)) == (status, cause)


@pytest.mark.parametrize(
    ("status", "cause", "text"),
    [
        (400, "line_end", b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        (400, "line_end", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        (400, "line_end", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"),
        (400, "line_end", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "line_end", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "line_end", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "line_end", b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
)
def test_line_ends_are_crlf(status: int, cause: str, text: bytes) -> None:
    assert refused(text) == (status, cause)


@pytest.mark.parametrize(
    "value",
    [
        b"", b" ", b"a b", b"a/b", b"a,b", b"a, a", b"u@a", b"u:p@a", b"a:b", b"a:1:2", b":80", b"a:65536", b"a:123456", b"a:-1", b"a:+1",
        b"a?b", b"a#b", b"a\\b", b"a%41", b"a%00", b"\xc3\xa9", b"http://a", b"[", b"[]", b"[::1", b"::1", b"[1]", b"[::1]x", b"[::g]",
        b"[fe80::1%25eth0]", b"[v1.a]", b"[0:1:2:3:4:5:6:7:8:9]", b"a" * 256, b"a'b", b"a(b", b"*", b"a;b", b"a=b",
    ],
)  # fmt: skip
def test_bad_host_is_refused(value: bytes) -> None:
    assert refused(get(b"Host: " + value)) == (400, "host")
    # Neither does a good target excuse it, nor HTTP/1.0 (RFC 9112 3.2).
    assert refused(get(b"Host: " + value, line=b"GET http://a/ HTTP/1.1")) == (400, "host")
    assert refused(get(b"Host: " + value, line=b"GET / HTTP/1.0")) == (400, "host")


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"a.example", b"a.example"), (b"A.Example:8080", b"A.Example"), (b"a:", b"a"), (b"a:65535", b"a"), (b"a:0", b"a"),
        (b"192.0.2.1:80", b"192.0.2.1"), (b"[::1]", b"[::1]"), (b"[2001:db8::1]:443", b"[2001:db8::1]"),
        (b"[::ffff:192.0.2.1]", b"[::ffff:192.0.2.1]"),
        (b"a_b-c.d~e.", b"a_b-c.d~e."), (b"xn--bcher-kva.example", b"xn--bcher-kva.example"), (b"a" * 255, b"a" * 255),
    ],
)  # fmt: skip
def test_host(value: bytes, host: bytes) -> None:
    head = accepted(get(b"Host:  " + value + b" \t"))
    assert (head["host"], head["authority"]) == (host, value)
    head = accepted(get(b"Host: other", line=b"GET http://" + value + b"/x HTTP/1.1"))
    assert (head["host"], head["authority"], head["path"]) == (host, value, b"/x")


def test_one_host_on_1_1() -> None:
    assert refused(get(b"X: a")) == (400, "host_absent")
    assert refused(get()) == (400, "host_absent")
    assert refused(get(line=b"GET http://a.example/ HTTP/1.1")) == (400, "host_absent")
    assert refused(with_host(b"host: a.example")) == (400, "host_repeated")
    assert refused(with_host(b"Host: b.example")) == (400, "host_repeated")
    head = accepted(get(b"X: a", line=b"GET / HTTP/1.0"))
    assert (head["host"], head["authority"]) == (b"", b"")


@pytest.mark.parametrize(
    ("target", "path", "query", "authority"),
    [
        (b"/", b"/", b"", b"a.example"),
        (b"/?", b"/", b"", b"a.example"),
        (b"/a/b?c=d?e", b"/a/b", b"c=d?e", b"a.example"),
        (b"//b.example/../%2f%5C;x=%zz%", b"//b.example/../%2f%5C;x=%zz%", b"", b"a.example"),
        (b"/%0", b"/%0", b"", b"a.example"),
        (b"/?%00%0a\\", b"/", b"%00%0a\\", b"a.example"),
        (b'/"<>[]^`{|}@:', b'/"<>[]^`{|}@:', b"", b"a.example"),
        (b"http://b.example", b"", b"", b"b.example"),
        (b"HTTP://b.example:80/a?b", b"/a", b"b", b"b.example:80"),
        (b"https://b.example?a/b", b"", b"a/b", b"b.example"),
        (b"hTTps://[::1]:1/", b"/", b"", b"[::1]:1"),
    ],
)
def test_target(target: bytes, path: bytes, query: bytes, authority: bytes) -> None:
    head = accepted(with_host(line=b"GET " + target + b" HTTP/1.1"))
    assert (head["target"], head["path"], head["query"], head["authority"]) == (target, path, query, authority)
    assert head["is_absolute"] == (not target.startswith(b"/"))
    assert not head["is_asterisk"]


@pytest.mark.parametrize("target", [b"*", b"http://b.example", b"http://b.example?"])
def test_options_for_the_server(target: bytes) -> None:
    assert accepted(with_host(line=b"OPTIONS " + target + b" HTTP/1.1"))["is_asterisk"]
    assert not accepted(with_host(line=b"OPTIONS /* HTTP/1.1"))["is_asterisk"]
    assert not accepted(with_host(line=b"OPTIONS http://b.example?a HTTP/1.1"))["is_asterisk"]


@pytest.mark.parametrize("name", [*parsing.METHODS[1:8], "PROPFIND", "QUERY", "UPDATEREDIRECTREF", "ACL", "VERSION-CONTROL"])
def test_method(name: str) -> None:
    head = accepted(with_host(line=name.encode() + b" / HTTP/1.1"))
    assert head["method"] == name.encode()
    assert head["method_id"] == (name if name in parsing.METHODS else "other")


def test_idempotent_methods() -> None:
    assert [name for name in parsing.METHODS if parsing.is_idempotent(name)] == ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]


@pytest.mark.parametrize(("version", "minor"), [(b"1.0", 0), (b"1.1", 1), (b"1.2", 1), (b"1.9", 1)])
def test_version(version: bytes, minor: int) -> None:
    assert accepted(with_host(line=b"GET / HTTP/" + version))["minor"] == minor


@pytest.mark.parametrize("target", [b"/caf\xc3\xa9?\xff=\xfe", b"/\x80", b"http://a.example/\xe9"])
def test_octets_beyond_ascii_in_a_target(target: bytes) -> None:
    text = get(b"Host: a.example", line=b"GET " + target + b" HTTP/1.1")
    assert parsing.request(text)[1]["cause"] == "target"
    verdict, head = parsing.request(text, takes_non_ascii=True)
    assert (verdict, head["target"]) == (1, target)
    for cut in range(len(text)):
        assert parsing.request(text[:cut], takes_non_ascii=True)[0] == 0
    for bad in (b"\x80", b"http://\xe9/", b"/\x7f", b"/\xe9\\", b"/\xe9%00", b"/\xe9#"):
        line = b"GET " + bad + b" HTTP/1.1"
        assert parsing.request(get(b"Host: a.example", line=line), takes_non_ascii=True)[0] == -1, bad


def test_an_empty_line_may_come_first() -> None:
    head = accepted(b"\r\n" + with_host(b"X: a"))
    assert (head["method"], head["host"], head["fields"][1][4]) == (b"GET", b"a.example", b"X: a\r\n")
    assert head["length"] == 2 + len(with_host(b"X: a"))


def test_limits() -> None:
    text = with_host(b"X: " + b"a" * 50)
    assert parsing.request(text, len(text))[0] == WHOLE
    assert parsing.request(text + TRAILING, len(text))[0] == WHOLE
    for limit in range(len(text)):
        verdict, head = parsing.request(text, limit)
        assert verdict == BAD
        assert (head["status"], head["cause"]) == ((414, "target_too_long") if limit < 16 else (431, "head_too_large"))
        assert parsing.request(text[:limit], limit)[0] == BAD  # no more is read before it is refused
        assert parsing.request(text[: max(limit - 1, 0)], limit)[0] == (NEED_DATA if limit else BAD)
    assert parsing.request(b"GET /" + b"a" * 100, 64)[1]["status"] == 414
    assert parsing.request(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a" * 70000, 1 << 20)[1]["cause"] == "head_too_large"
    assert parsing.response(b"HTTP/1.1 200 OK\r\n\r\n", 18)[1]["cause"] == "head_too_large"


RESPONSES_REFUSED = [
    ("start_line", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1 099 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1 2x0 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1\r\n\r\n"),
    ("start_line", b"http/1.1 200 OK\r\n\r\n"),
    ("start_line", b"ICY 200 OK\r\n\r\n"),
    ("start_line", b"<html>\r\n\r\n"),
    ("start_line", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("start_line", b"HTTP/1.1 200 O\x00K\r\n\r\n"),
    ("version", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("version", b"HTTP/0.9 200 OK\r\n\r\n"),
    ("line_end", b"HTTP/1.1 200 OK\n\n"),
    ("line_end", b"HTTP/1.1 200 OK\rX: a\r\n\r\n"),
    ("line_end", b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n"),
    ("fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"),
    ("field_name", b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n"),
    ("field_name", b"HTTP/1.1 200 OK\r\nX\r\n\r\n"),
    ("field_value", b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n"),
    ("content_length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    ("content_length", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
    ("content_length", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n"),
    ("content_length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    ("both_lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("transfer_encoding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("transfer_encoding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("transfer_encoding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ,chunked\r\n\r\n"),
    ("coding_unknown", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    ("connection", b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n"),
    ("too_many_fields", b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 129 + b"\r\n"),
]


@pytest.mark.parametrize(("cause", "text"), RESPONSES_REFUSED)
def test_response_is_refused(cause: str, text: bytes) -> None:
    verdict, head = three_ways(text, parsing.response)
    assert (verdict, head["cause"]) == (BAD, cause)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", {"status": 200, "reason": b"OK", "minor": 1, "close": False, "content_length": -1}),
        (b"HTTP/1.1 200 \r\n\r\n", {"status": 200, "reason": b""}),
        (b"HTTP/1.1 200\r\n\r\n", {"status": 200, "reason": b""}),
        (b"HTTP/1.1 404 Not\tfound \xe9\r\n\r\n", {"status": 404, "reason": b"Not\tfound \xe9"}),
        (b"HTTP/1.0 999 x\r\n\r\n", {"status": 999, "minor": 0, "close": True}),
        (b"HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n", {"close": False}),
        (b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n", {"close": True}),
        (b"HTTP/1.1 100 Continue\r\n\r\n", {"status": 100}),
        (b"HTTP/1.1 200 x\r\nContent-Length: 12\r\n\r\n", {"content_length": 12, "is_chunked": False}),
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", {"content_length": -1, "is_chunked": True}),
        (b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", {"is_upgrade": True}),
        (b"HTTP/1.1 200 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", {"is_upgrade": False}),
        (b"HTTP/1.1 101 x\r\n\r\n", {"is_upgrade": False}),
        (b"HTTP/1.1 200 x\r\nHost: a, b\r\nHost: c\r\nExpect: x\r\nX_Y: a\r\n\r\n", {"status": 200}),  # mean nothing here
    ],
)
def test_response(text: bytes, expected: dict[str, Any]) -> None:
    verdict, head = three_ways(text, parsing.response)
    assert verdict == WHOLE
    assert {name: head[name] for name in expected} == expected


def test_has_end_finds_any_empty_line_and_no_other() -> None:
    for text in (b"a\r\n\r\n", b"a\n\n", b"a\r\n\n", b"a\n\r\n"):
        assert parsing.has_end(text)[0], text
        assert reads_end(text) == len(text)
    for text in (b"", b"a", b"\r\n", b"a\r\n", b"a\r\n\r", b"a\r\r\n", b"a\r\nb\r\n", b"a\n\rb\n", b"\r\na\r\n"):
        assert not parsing.has_end(text)[0], text
        assert reads_end(text) == 0


def reads_end(text: bytes) -> int:
    """After how many octets, one by one, the end was seen; 0: never."""
    scanned = 0
    for length in range(1, len(text) + 1):
        found, scanned = parsing.has_end(text[:length], scanned)
        if found:
            return length
    return 0


@settings(max_examples=200, deadline=None)
@given(st.text("\r\na", max_size=12).map(str.encode), st.integers(0, 12))
def test_has_end_against_a_naive_search(text: bytes, cut: int) -> None:
    expected = any(end in text for end in (b"\n\n", b"\n\r\n"))
    assert parsing.has_end(text)[0] == expected
    found, scanned = parsing.has_end(text[:cut])
    assert found or parsing.has_end(text, scanned)[0] == expected
