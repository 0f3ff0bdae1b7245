"""What of a head goes on, and what the gateway adds."""

import re
import socket
from pathlib import Path

import pytest

from gateway.dataplane import Settings
from gateway.dataplane.http1 import _parsing_testing as parsing
from tests.support.dataplane import ANSWER, head_and_body, received

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sent_for(bench, *lines, start=b"GET /x HTTP/1.1", client_address="127.0.0.1"):
    """Start line and fields of what goes up."""
    client, upstream = bench.client(client_address), bench.upstream()
    sent = bench.ask(client, upstream, b"\r\n".join((start, *lines)) + b"\r\n\r\n")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client)
    start, fields, body = head_and_body(sent)
    assert body == b""
    names = [line.split(b":")[0].lower() for line in sent.split(b"\r\n")[1:-2]]
    assert len(names) == len(set(names)) or b"a" in names, "no field twice but those that came so"
    return start, fields


def test_what_is_added_to_a_plain_request(bench):
    start, fields = sent_for(bench, b"Host: shop.example:8080", b"a: 1", b"b: 2", client_address="2001:db8::7")
    assert start == b"GET /x HTTP/1.1"
    assert {name: fields[name] for name in ("host", "a", "b")} == {"host": "shop.example:8080", "a": "1", "b": "2"}
    assert fields["x-forwarded-for"] == "2001:db8::7" and fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-host"] == "shop.example:8080" and fields["via"] == "1.1 isochrone"
    assert re.fullmatch("[0-9a-f]{32}", fields["x-request-id"])
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", fields["traceparent"])


def test_hop_by_hop_fields_go(bench):
    _, fields = sent_for(
        bench, b"Host: a", b"Connection: close, X-Mine, X-Forwarded-For", b"Keep-Alive: 5", b"Proxy-Connection: x", b"TE: trailers",
        b"Upgrade: h2c", b"X-Mine: secret", b"X-Isochrone-Pop: nyc", b"Last: kept",
    )  # fmt: skip
    assert set(fields) == {
        "host", "last", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "traceparent", "via",
    }  # fmt: skip


@pytest.mark.parametrize("dropped", range(4))
def test_dropped_fields_may_stand_anywhere(bench, dropped):
    lines = [b"Host: a", b"b: 1", b"c: 2"]
    lines.insert(dropped, b"X-Real-IP: 192.0.2.1")
    _, fields = sent_for(bench, *lines)
    assert "x-real-ip" not in fields and fields["b"] == "1" and fields["c"] == "2"


@pytest.mark.parametrize(
    ("target", "origin", "host"),
    [
        (b"http://b.example/p?q=1", b"/p?q=1", "b.example"),
        (b"http://b.example:81", b"/", "b.example:81"),
        (b"http://b.example?q", b"/?q", "b.example"),
        (b"HTTP://[2001:db8::1]:8/a", b"/a", "[2001:db8::1]:8"),
    ],
)
def test_absolute_form_overwrites_host(bench, target, origin, host):
    start, fields = sent_for(bench, b"Host: other", b"a: b", start=b"GET " + target + b" HTTP/1.1")
    assert start == b"GET " + origin + b" HTTP/1.1"
    assert fields["host"] == host and fields["x-forwarded-host"] == host and fields["a"] == "b"


def test_asterisk_form(bench):
    assert sent_for(bench, b"Host: a", start=b"OPTIONS * HTTP/1.1")[0] == b"OPTIONS * HTTP/1.1"
    assert sent_for(bench, b"Host: a", start=b"OPTIONS http://b HTTP/1.1")[0] == b"OPTIONS * HTTP/1.1"


def test_http_1_0_without_host_goes_on_as_1_1(bench):
    start, fields = sent_for(bench, b"a: b", start=b"GET /x HTTP/1.0")
    assert start == b"GET /x HTTP/1.1" and "x-forwarded-host" not in fields
    assert fields["host"] == "localhost"  # a unix socket; of TCP the address that the client connected to


def test_what_a_trusted_hop_says_is_kept(trusting):
    lines = (
        b"Host: a", b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 192.0.2.2", b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: front", b"X-Forwarded-Port: 443", b"X-Real-IP: 192.0.2.2", b"X-Request-Id: id-1",
    )  # fmt: skip
    _, fields = sent_for(trusting, *lines)
    assert fields["x-forwarded-for"] == "192.0.2.1, 192.0.2.2, 127.0.0.1"
    assert fields["x-forwarded-proto"] == "https" and fields["x-forwarded-host"] == "front" and fields["x-forwarded-port"] == "443"
    assert "forwarded" not in fields and fields["x-real-ip"] == "192.0.2.2" and fields["x-request-id"] == "id-1"
    _, fields = sent_for(trusting, *lines, client_address="198.51.100.1")  # of anyone else, nothing
    assert fields["x-forwarded-for"] == "198.51.100.1" and fields["x-forwarded-proto"] == "http" and fields["x-forwarded-host"] == "a"
    assert not {"forwarded", "x-real-ip", "x-forwarded-port"} & set(fields) and fields["x-request-id"] != "id-1"


def documented(heading):
    """The names that docs/operations.md lists behind a heading of its table, `*` made a name."""
    text = Path("docs/operations.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| {heading} |"))
    return [name.replace("*", "any") for name in re.findall("`([a-z0-9*-]+)`", row)]


ADDRESSES, OTHERS = documented("the client's address"), documented("anything else")
OURS = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "http", "x-forwarded-host": "a"}


def test_all_that_only_a_hop_may_say_is_documented():
    assert sorted(parsing.hop_names()) == sorted(
        name for name in (*ADDRESSES, *OTHERS) if name not in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded")
    )


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_nothing_that_a_client_says_of_itself_goes_on(make_bench, header):
    bench = make_bench(Settings(trusted=("127.0.0.0/8",), forwarded_header=header))
    names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", *ADDRESSES, *OTHERS]
    assert len(names) > 50
    for name in names:
        for spelt in (name, name.title(), name.upper()):
            _, fields = sent_for(bench, b"Host: a", b"x: y", spelt.encode() + b": 192.0.2.66", client_address="198.51.100.1")
            assert "192.0.2.66" not in fields.values(), name
            assert {name: fields[name] for name in OURS} == OURS and fields["x"] == "y"
            assert fields.get("forwarded") == ("for=198.51.100.1" if header == "forwarded" else None)


@pytest.mark.parametrize("said", ["192.0.2.66", "", "x" * 300, "2001:db8:1111:2222:3333:4444:5555:6666"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_behind_a_trusted_hop_every_address_is_the_one_believed(trusting, name, said):
    line = name.encode() + b":" + said.encode()
    _, fields = sent_for(trusting, b"Host: a", b"x: y", line, b"X-Forwarded-For: 192.0.2.66, 127.0.0.99", b"z: y")
    assert fields[name] == "127.0.0.99" and fields["x"] == fields["z"] == "y"
    _, fields = sent_for(trusting, b"Host: a", line, b"X-Forwarded-For: 192.0.2.66, what")  # malformed: the hop itself
    assert fields[name] == "127.0.0.1"


def test_what_else_a_trusted_hop_says_is_kept(trusting):
    for name in OTHERS:
        assert sent_for(trusting, b"Host: a", name.encode() + b": 7")[1][name] == "7"


def test_more_addresses_than_anyone_needs_are_dropped(make_bench):
    bench = make_bench(Settings(trusted=("127.0.0.1",), max_fields=128))
    client, upstream = bench.client(), bench.upstream()
    lines = [b"x-real-ip:"] * 120
    address = b"2001:db8:1111:2222:3333:4444:5555:6666"
    sent = bench.ask(client, upstream, b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", b"X-Forwarded-For: " + address, *lines, b"", b"")))
    assert sent.count(b"x-real-ip: " + address + b"\r\n") == sent.count(b"x-real-ip:") == 16


def believing(make_bench, *lines):
    bench = make_bench(Settings(trusted=("127.0.0.0/8",), forwarded_header="forwarded"))
    return sent_for(bench, b"Host: a", b"X-Forwarded-For: 192.0.2.66", b"X-Forwarded-Proto: gopher", b"X-Forwarded-Host: evil", *lines)[1]


def test_behind_a_hop_that_writes_forwarded_the_others_agree(make_bench):
    fields = believing(make_bench, b'Forwarded: for=192.0.2.66;host=evil, for="[2001:db8::5]:80";proto=https;host="shop.example:8443"')
    assert fields["x-forwarded-for"] == "2001:db8::5, 127.0.0.1"
    assert fields["x-forwarded-proto"] == "https" and fields["x-forwarded-host"] == "shop.example:8443"
    assert fields["forwarded"] == (
        'for=192.0.2.66;host=evil, for="[2001:db8::5]:80";proto=https;host="shop.example:8443", for=127.0.0.1'
    )  # fmt: skip


@pytest.mark.parametrize(
    "element",
    [
        "",
        "for=192.0.2.7",
        f"for=192.0.2.7;proto={'x' * 9000}",
        'for=192.0.2.7;proto="";host=""',
        'for=192.0.2.7;proto="a b";host="a/b"',
        'for=192.0.2.7;proto="h\\"";host="@"',
    ],
)
def test_what_forwarded_does_not_say_well_is_what_came_here(make_bench, element):
    fields = believing(make_bench, *([b"Forwarded: " + element.encode()] if element else []))
    assert fields["x-forwarded-for"] == ("192.0.2.7, 127.0.0.1" if element else "127.0.0.1")
    assert fields["x-forwarded-proto"] == "http" and fields["x-forwarded-host"] == "a"
    assert fields["forwarded"] == (element + ", " if element else "") + "for=127.0.0.1"


def test_an_ipv6_peer_stands_in_quotes_in_forwarded(make_bench):
    bench = make_bench(Settings(trusted=("127.0.0.0/8",), forwarded_header="forwarded"))
    assert sent_for(bench, b"Host: a", client_address="2001:db8::7")[1]["forwarded"] == 'for="[2001:db8::7]"'


def test_a_field_that_connection_names_is_gone_before_ours_is_added(trusting):
    _, fields = sent_for(trusting, b"Host: a", b"Connection: X-Forwarded-For, X-Forwarded-Proto", b"X-Forwarded-For: 192.0.2.1",
                         b"X-Forwarded-Proto: https")  # fmt: skip
    assert fields["x-forwarded-for"] == "127.0.0.1" and fields["x-forwarded-proto"] == "http"


STATE = (b"Tracestate: a=1,b=2", b"tracestate: c=3")


@pytest.mark.parametrize(
    ("method", "came", "goes"),
    [
        (b"OPTIONS", b"10", b"9"),
        (b"OPTIONS", b" 1 ", b"0"),
        (b"OPTIONS", b"007", b"6"),
        (b"OPTIONS", b"999999999999999999", b"999999999999999998"),
        (b"OPTIONS", b"9" * 19, b"9" * 19),
        (b"OPTIONS", b"ten", b"ten"),
        (b"OPTIONS", b"1, 2", b"1, 2"),
        (b"GET", b"10", b"10"),
        (b"GET", b"0", b"0"),
        (b"DELETE", b"1", b"1"),
    ],
)
def test_max_forwards_counts_the_hops_of_options(bench, method, came, goes):
    client, upstream = bench.client(), bench.upstream()
    sent = bench.ask(client, upstream, method + b" /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + came + b"\r\nx: y\r\n\r\n")
    assert sent.startswith(method + b" /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + goes + b"\r\nx: y\r\nx-forwarded-for")


def test_a_head_that_does_not_fit_with_what_is_added(make_bench):
    bench = make_bench(Settings(head_bytes=60 * 1024, name="n" * 124, trusted=("127.0.0.1",)))
    host = b"h" * 250 + b":12345"
    for size, is_served in ((7100, True), (7168, True), (8100, True), (8192, True), (60000, True)):
        _, fields = sent_for(bench, b"Host: " + host, b"X-Request-Id: " + b"i" * 128, b"x: " + b"x" * (size - 420))
        assert is_served and fields["x-forwarded-host"] == host.decode()


def test_http_1_0_without_host_gets_the_address_it_came_to(bench):
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")):
        with socket.socket(family) as server:
            server.bind((host.strip("[]"), 0))
            server.listen()
            client = socket.create_connection(server.getsockname()[:2])
            theirs = server.accept()[0]
            port = theirs.getsockname()[1]
        bench.ends.append(client)
        theirs.setblocking(False)
        bench.worker.adopt_downstream(theirs.detach())
        upstream = bench.upstream()
        sent = bench.ask(client, upstream, b"GET /x HTTP/1.0\r\n\r\n")
        assert f"\r\nhost: {host}:{port}\r\n".encode() in sent


@pytest.mark.parametrize(
    "lines",
    [
        [b"Via: 1.1 edge-1"], [b"Via: 1.0 fred, 1.1 edge-1 (isochrone)"], [b"via: HTTP/1.1\tedge-1\t(x), 2 p.example"],
        [b"Via: 1.1 other", b"Via: ,, 1.1  edge-1,"], [b"Connection: Via", b"Via: 1.1 edge-1"],
    ],
)  # fmt: skip
def test_a_request_that_has_been_here_is_508(make_bench, lines):
    bench = make_bench(Settings(name="edge-1"))
    client, upstream = bench.client(), bench.upstream()
    client.send(b"\r\n".join((b"GET /x HTTP/1.1", b"Host: a", *lines, b"", b"")))
    bench.turn()
    start, fields, body = head_and_body(received(client))
    assert start == b"HTTP/1.1 508 Loop Detected" and body == b"Loop Detected\n" and "connection" not in fields
    assert received(upstream) is None and bench.causes == {"loop": 1}
    bench.assert_at_rest()


@pytest.mark.parametrize(
    "via", [b"", b"1.1 edge-10", b"1.1 edge", b"1.1 (edge-1)", b"edge-1", b"1.1 x edge-1", b"edge-1 1.1", b"1.1 Edge-1", b"1.1 "]
)
def test_others_on_the_way_are_no_loop(make_bench, via):
    bench = make_bench(Settings(name="edge-1"))
    client, upstream = bench.client(), bench.upstream()
    sent = bench.ask(client, upstream, b"GET /x HTTP/1.1\r\nHost: a\r\nVia: " + via + b"\r\n\r\n")
    assert sent.startswith(b"GET /x ") and b"\r\nvia: 1.1 edge-1\r\n" in sent and b"\r\nVia: " + via + b"\r\n" in sent
