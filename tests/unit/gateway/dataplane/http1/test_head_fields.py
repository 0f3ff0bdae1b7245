"""Fields of heads: those that are refused, those that mean something, and what they cost."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.http1 import _parsing_testing as parsing
from tests.unit.gateway.dataplane.heads import WHOLE, accepted, get, refused, three_ways, with_host


@pytest.mark.parametrize(
    ("status", "cause", "field"),
    [
        (400, "field_name", b"X : a"),
        (400, "field_name", b"X\t: a"),
        (400, "field_name", b": a"),
        (400, "field_name", b"X"),
        (400, "field_name", b"X Y: a"),
        (400, "field_name", b"X\x00: a"),
        (400, "field_name", b"X\x80: a"),
        (400, "field_name", b"X(: a"),
        (400, "field_name", b'"X": a'),
        (400, "field_name", b"\x00"),
        (400, "fold", b" X: a"),
        (400, "fold", b"\tX: a"),
        (400, "fold", b"X: a\r\n folded"),
        (400, "fold", b"X: a\r\n\tfolded"),
        (400, "field_value", b"X: a\x00b"),
        (400, "field_value", b"X: \x00"),
        (400, "field_value", b"X: a\x01"),
        (400, "field_value", b"X: a\x0bb"),
        (400, "field_value", b"X: a\x0cb"),
        (400, "field_value", b"X: a\x1b[0m"),
        (400, "field_value", b"X: a\x7f"),
        (400, "field_value", b"X: long enough for a word of eight \x7f and on"),
        (400, "content_length", b"Content-Length: "),
        (400, "content_length", b"Content-Length: +5"),
        (400, "content_length", b"Content-Length: -1"),
        (400, "content_length", b"Content-Length: 0x5"),
        (400, "content_length", b"Content-Length: 1_0"),
        (400, "content_length", b"Content-Length: 5 5"),
        (400, "content_length", b"Content-Length: 5, 5"),
        (400, "content_length", b"Content-Length: 5,6"),
        (400, "content_length", b"Content-Length: 5.0"),
        (400, "content_length", b"Content-Length: \xd9\xa5"),
        (400, "content_length", b"Content-Length: 9223372036854775808"),
        (400, "content_length", b"Content-Length: 18446744073709551621"),
        (400, "content_length", b"Content-Length: 5\r\nContent-Length: 5"),
        (400, "content_length", b"Content-Length: 5\r\ncontent-length: 6"),
        (400, "connection", b"Connection: close, Expect\r\nExpect: 100-continue"),
        (400, "content_length", b"Content-Length: 0\r\nContent-Length: 6"),
        (400, "both_lengths", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (400, "both_lengths", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (400, "both_lengths", b"Content-Length: 5\r\nTransfer-Encoding: identity"),
        (400, "transfer_encoding", b"Transfer-Encoding: "),
        (400, "transfer_encoding", b"Transfer-Encoding: gzip"),
        (400, "transfer_encoding", b"Transfer-Encoding: identity"),
        (400, "transfer_encoding", b"Transfer-Encoding: xchunked"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunkedx"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked, gzip"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked, chunked"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked, identity"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"),
        (400, "transfer_encoding", b"Transfer-Encoding: ,chunked"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked,"),
        (400, "transfer_encoding", b"Transfer-Encoding: ,"),
        (400, "transfer_encoding", b"Transfer-Encoding: chunked;q=1"),
        (400, "transfer_encoding", b'Transfer-Encoding: "chunked"'),
        (400, "transfer_encoding", b"Transfer-Encoding: gzip chunked"),
        (400, "field_value", b"Transfer-Encoding: \x0bchunked"),
        (400, "field_name", b"Transfer-Encoding : chunked"),
        (501, "coding_unknown", b"Transfer-Encoding: gzip, chunked"),
        (501, "coding_unknown", b"Transfer-Encoding: foo,chunked"),
        (400, "connection", b"Connection: close, Content-Length\r\nContent-Length: 5"),
        (400, "connection", b"Connection: host"),
        (400, "connection", b"Connection: Transfer-Encoding"),
        (400, "connection", b"Connection: a b"),
        (400, "connection", b"Connection: close; x"),
        (400, "connection", b"Connection: " + b"a," * 64),
        (417, "expect", b"Expect: 200-ok"),
        (417, "expect", b"Expect: "),
        (417, "expect", b"Expect: 100-continue, 100-continue"),
        (417, "expect", b"Expect: 100-continue\r\nExpect: 100-continue"),
    ],
)
def test_field_is_refused(status: int, cause: str, field: bytes) -> None:
    assert refused(with_host(field)) == (status, cause)


@pytest.mark.parametrize("octet", [b"\x00", b"\x1f", b"\x7f", b"\t", b" ", b"~", b"\x80", b"\xff"])
def test_an_octet_is_seen_at_every_place_in_a_value(octet: bytes) -> None:
    """Values are looked at eight octets at a time."""
    for before in range(1, 18):
        value = b"a" * before + octet + b"\x80\x21" * 5
        if octet in b"\x00\x1f\x7f":
            assert refused(with_host(b"X: " + value)) == (400, "field_value")
        else:
            assert accepted(with_host(b"X: " + value))["fields"][1][:2] == (b"X", value)


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b" CHUNKED\t"])
def test_chunked(value: bytes) -> None:
    head = accepted(with_host(b"Transfer-Encoding:" + value))
    assert (head["is_chunked"], head["content_length"]) == (True, -1)
    assert refused(with_host(b"Transfer-Encoding:" + value, line=b"POST / HTTP/1.0")) == (400, "transfer_encoding")


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"5", 5), (b"007", 7), (b"999999999999999999", 10**18 - 1)])
def test_content_length(value: bytes, length: int) -> None:
    head = accepted(with_host(b"Content-Length: " + value))
    assert (head["is_chunked"], head["content_length"]) == (False, length)
    assert accepted(with_host())["content_length"] == -1


@pytest.mark.parametrize(
    ("minor", "fields", "close", "keep_alive"),
    [
        (1, [], False, False),
        (0, [], True, False),
        (1, [b"Connection: close"], True, False),
        (1, [b"connection: Foo ,, CLOSE,"], True, False),
        (1, [b"Connection: closed"], False, False),
        (1, [b"Connection: keep-alive", b"Connection: close"], True, True),
        (0, [b"Connection: Keep-Alive"], False, True),
        (0, [b"Connection: keep-alive, close"], True, True),
        (0, [b"Proxy-Connection: keep-alive"], True, False),
        (1, [b"Connection: "], False, False),
    ],
)
def test_connection(minor: int, fields: list[bytes], close: bool, keep_alive: bool) -> None:
    head = accepted(with_host(*fields, line=b"GET / HTTP/1.%d" % minor))
    assert (head["close"], head["keep_alive_asked"]) == (close, keep_alive)


def test_fields_that_connection_names() -> None:
    fields = [b"x-forwarded-for: 1", b"X-B: 2", b"Connection: close, X-Forwarded-For", b"X-C: 3", b"connection: upgrade,x-c,te",
              b"TE: trailers", b"Upgrade: websocket", b"X-Forwarded-Fo: 4", b"X-C: 5"]  # fmt: skip
    head = accepted(with_host(*fields))
    assert [name for name, _, _, named, _ in head["fields"] if named] == [b"x-forwarded-for", b"X-C", b"TE", b"X-C"]
    assert head["is_upgrade"]


@pytest.mark.parametrize(
    ("minor", "fields", "is_upgrade"),
    [
        (1, [b"Connection: upgrade", b"Upgrade: websocket"], True),
        (1, [b"Connection: keep-alive, Upgrade", b"upgrade: foo/1, websocket"], True),
        (1, [b"Upgrade: websocket"], False),
        (1, [b"Connection: upgrade"], False),
        (0, [b"Connection: upgrade", b"Upgrade: websocket"], False),
        (1, [b"Connection: upgrade, http2-settings", b"Upgrade: h2c"], False),
        (1, [b"Connection: upgrade", b"Upgrade: websocket, H2C"], False),
        (1, [b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"], False),
    ],
)
def test_upgrade(minor: int, fields: list[bytes], is_upgrade: bool) -> None:
    assert accepted(with_host(*fields, line=b"GET / HTTP/1.%d" % minor))["is_upgrade"] == is_upgrade


def test_expectation() -> None:
    assert accepted(with_host(b"Expect: 100-Continue", b"Content-Length: 3"))["expects_continue"]
    assert not accepted(with_host(b"Expect: 100-continue", line=b"POST / HTTP/1.0"))["expects_continue"]
    assert not accepted(with_host())["expects_continue"]


def test_fields_as_they_stand() -> None:
    head = accepted(with_host(b"X-Empty:", b"X-Space: \t ", b"a:\t b\tc \t", b"X: \x80\xff", b"!#$%&'*+-.^`|~9: :"))
    assert head["fields"] == [
        (b"Host", b"a.example", "host", False, b"Host: a.example\r\n"),
        (b"X-Empty", b"", "other", False, b"X-Empty:\r\n"),
        (b"X-Space", b"", "other", False, b"X-Space: \t \r\n"),
        (b"a", b"b\tc", "other", False, b"a:\t b\tc \t\r\n"),
        (b"X", b"\x80\xff", "other", False, b"X: \x80\xff\r\n"),
        (b"!#$%&'*+-.^`|~9", b":", "other", False, b"!#$%&'*+-.^`|~9: :\r\n"),
    ]
    assert head["fields_at"] == len(b"GET / HTTP/1.1\r\n")


def test_every_known_field_is_known() -> None:
    values = {"host": b"a", "content-length": b"1", "expect": b"100-continue", "transfer-encoding": b"chunked", "connection": b"close"}
    names = {name: name for name in parsing.FIELDS[1:] if name not in ("address", "of-hop", "underscored")}
    names |= {"x-real-ip": "address", "x-original-forwarded-for": "address", "client-cert": "of-hop", "x-ssl-any": "of-hop"}
    for name, known_as in names.items():
        full = (name + "x" if name.endswith("-") else name).encode()
        for spelt in (full, full.upper(), full.title()):
            line = spelt + b": " + values.get(name, b"x")
            head = accepted(get(line, line=b"GET / HTTP/1.0") if name == "host" else with_host(line))
            assert head["fields"][-1][2] == known_as
        for other in (b"y" + full[1:], full[:-1] + b"y", full + b"y", full[:-1]):
            known = accepted(with_host(other + b": x"))["fields"][-1][2]
            begins = {b"x-isochrone-": "x-isochrone-", b"x-forwarded-": "of-hop", b"x-original-": "of-hop", b"x-ssl-": "of-hop"}
            assert known == next((begins[begin] for begin in begins if other.startswith(begin) and other != begin), "other")


# As CGI reads it, with - for _, each is a field that means something to proxies or to the framing.
READ_AS_KNOWN = [
    b"Content_Length",
    b"transfer_encoding",
    b"X_Real_IP",
    b"x-forwarded_for",
    b"X_Forwarded_" + b"x" * 100,
    b"Host_"[:-1] + b"_",
]


@pytest.mark.parametrize("name", [b"X_Y", b"_", b"a_b_c", b"x" * 200 + b"_", *READ_AS_KNOWN])
def test_underscores_in_names(name: bytes) -> None:
    text = with_host(b"A: 1", name + b": 5", b"B: 2")
    assert parsing.request(text, underscores="refuse")[1]["cause"] == "field_name"
    verdict, head = parsing.request(text, underscores="drop")
    assert (verdict, [field[2] for field in head["fields"]]) == (1, ["host", "other", "underscored", "other"])
    assert (head["content_length"], head["is_chunked"]) == (-1, False)
    verdict, head = parsing.request(text, underscores="pass")
    assert verdict == 1 and head["fields"][2][0] == name
    assert head["fields"][2][2] == ("underscored" if name in READ_AS_KNOWN[:-1] else "other")
    for cut in range(len(text)):
        assert parsing.request(text[:cut], underscores="drop")[0] == 0
    for bad in (name + b" : 5", name + b"\x80: 5", name + b"(: 5", name):
        for underscores in parsing.UNDERSCORES:
            assert parsing.request(with_host(bad), underscores=underscores)[1]["cause"] == "field_name"


def test_field_count() -> None:
    head = accepted(with_host(*[b"X: a"] * 127))
    assert len(head["fields"]) == 128
    assert refused(with_host(*[b"X: a"] * 128)) == (431, "too_many_fields")


def test_response_fields() -> None:
    text = b"HTTP/1.1 200 OK\r\nDate: x\r\nServer: y\r\nX-Isochrone-Pop: z\r\nX-A: b\r\nConnection: x-a\r\n\r\n"
    verdict, head = three_ways(text, parsing.response)
    assert verdict == WHOLE
    assert [(field[2], field[3]) for field in head["fields"]] == [
        ("date", False), ("server", False), ("x-isochrone-", False), ("other", True), ("connection", False)]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_values_are_judged_octet_by_octet(value: bytes) -> None:
    """Words of eight octets at a time must find what a loop finds."""
    verdict, _ = parsing.request(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + value + b"\r\n\r\n")
    clean = all(octet == 9 or (octet >= 32 and octet != 127) for octet in value)
    assert (verdict == WHOLE) == clean or (value.startswith(b"\r\n") or b"\r\n" in value)


def least_s(*texts, rounds=50):
    """The least time of each, taken in turns: what else the machine does falls on all alike."""
    least = [math.inf] * len(texts)
    for _ in range(rounds):
        for number, text in enumerate(texts):
            began = time.thread_time()
            assert parsing.request(text)[0] == WHOLE
            least[number] = min(least[number], time.thread_time() - began)
    return least


@pytest.mark.parametrize("n", [1, 3, 40])
def test_places_for_fields_that_a_head_does_not_have_are_not_written(n: int) -> None:
    """They are 2 KiB: to clear them would cost as much as to parse a small head. One more may be begun."""
    fields = b"".join(b"f%d: x\r\n" % i for i in range(n - 1))
    assert n <= parsing.fields_written(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n") <= n + 1
    assert n <= parsing.fields_written(b"HTTP/1.1 200 OK\r\nServer: a\r\n" + fields + b"\r\n", is_response=True) <= n + 1


def test_connection_options_cost_what_a_head_costs() -> None:
    """Options and fields of one length that differ in their last octets, so that each must be read to its end."""
    names = [b"x" * 360 + b"%02d" % i for i in range(40)]
    fields = [name + b": y" for name in names]
    others = [b"x" * 360 + b"%02d" % i for i in range(40, 80)]
    _, named = parsing.request(with_host(b"Connection: " + b",".join(others), b"Connection: " + names[7].upper(), *fields))
    assert [field[0] for field in named["fields"] if field[3]] == [names[7]]
    half, whole = least_s(*(with_host(b"Connection: " + b",".join(others[:n]), *fields[:n]) for n in (20, 40)))
    assert whole < 3 * half, "each option read with each field would be four times as much"
