"""Whose request it is: peer or forwarded address, at any number of hops; as the log tells."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, Bench, received


def client_of(bench, *lines, address="127.0.0.1"):
    """Whom the gateway took the request to come from."""
    client, upstream = bench.client(address), bench.upstream()
    bench.ask(client, upstream, b"\r\n".join((b"GET /x HTTP/1.1", b"Host: a", *lines)) + b"\r\n\r\n")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    return bench.worker.read_log()[-1]["client"]


def trusting(make_bench, **more):
    return make_bench(Settings(trusted=("127.0.0.0/8", "2001:db8:ffff::/48"), log_share=1.0, **more))


@pytest.mark.parametrize(
    ("hops", "field", "client"),
    [
        (1, b"192.0.2.1", "192.0.2.1"),
        (1, b"192.0.2.9, 192.0.2.1", "192.0.2.1"),
        (2, b"192.0.2.9, 192.0.2.1", "192.0.2.9"),
        (2, b"192.0.2.8, 192.0.2.9, 192.0.2.1", "192.0.2.9"),
        (2, b"192.0.2.1", "127.0.0.1"),  # fewer than configured: the peer
        (0, b"192.0.2.1", "127.0.0.1"),
        (1, b"192.0.2.1:8080", "192.0.2.1"),
        (1, b"[2001:db8::1]:80", "2001:db8::1"),
        (1, b"2001:db8::1", "2001:db8::1"),
        (1, b"::ffff:192.0.2.1", "192.0.2.1"),
        (1, b" \t192.0.2.1 ", "192.0.2.1"),
        (2, b"192.0.2.9 \t, 192.0.2.1", "192.0.2.9"),
        (1, b"unknown", "127.0.0.1"),
        (1, b"", "127.0.0.1"),
        (1, b"192.0.2.1,", "127.0.0.1"),
        (1, b"[192.0.2.1", "127.0.0.1"),
        (1, b"1" * 60, "127.0.0.1"),
        # A quote is no more than an octet here: what a client wrote ahead of its hop can't swallow the comma.
        (1, b'198.51.100.1:", 192.0.2.1', "192.0.2.1"),
        (1, b'"198.51.100.1, 192.0.2.1', "192.0.2.1"),
        (2, b'198.51.100.1:", 192.0.2.9, 192.0.2.1', "192.0.2.9"),
        (1, b'"192.0.2.1"', "127.0.0.1"),
        # An address is one to its last octet.
        (1, b"192.0.2.1:", "127.0.0.1"),
        (1, b"192.0.2.1:80x", "127.0.0.1"),
        (1, b"192.0.2.1:808080", "127.0.0.1"),
        (1, b'192.0.2.1:"', "127.0.0.1"),
        (1, b"[2001:db8::1]", "2001:db8::1"),
        (1, b"[2001:db8::1]:", "127.0.0.1"),
        (1, b"[2001:db8::1]x", "127.0.0.1"),
        (1, b"[2001:db8::1]:80]", "127.0.0.1"),
        (1, b"[192.0.2.1]", "127.0.0.1"),
        (1, b"[]", "127.0.0.1"),
    ],
)
def test_nth_from_the_right(make_bench, hops, field, client):
    bench = trusting(make_bench, forwarded_hops=hops)
    assert client_of(bench, b"X-Forwarded-For: " + field) == client
    assert client_of(bench, b"X-Forwarded-For: " + field, address="198.51.100.1") == "198.51.100.1", "untrusted"
    assert client_of(bench, b"Forwarded: for=" + field) == "127.0.0.1", "not the field that is configured"


@pytest.mark.parametrize(
    ("field", "client"),
    [
        (b"for=192.0.2.1", "192.0.2.1"),
        (b"For=192.0.2.1;proto=http;by=10.0.0.1", "192.0.2.1"),
        (b"proto=http; FOR=192.0.2.1", "192.0.2.1"),
        (b'for="[2001:db8::1]:80"', "2001:db8::1"),
        (b'for="_a,b\\",c", for=192.0.2.1', "192.0.2.1"),
        (b"for=192.0.2.9, proto=http", "127.0.0.1"),
        (b"for=_hidden", "127.0.0.1"),
        (b"for=", "127.0.0.1"),
        (b'for="', "127.0.0.1"),
        (b"", "127.0.0.1"),
        (b'for="198.51.100.1, for=192.0.2.1', "192.0.2.1"),
        (b'for=198.51.100.1;x=", for=192.0.2.1', "192.0.2.1"),
        (b'for="198.51.100.1\\", for="192.0.2.1:80"', "192.0.2.1"),
        (b'for="[2001:db8::1]x"', "127.0.0.1"),
        (b'for=198.51.100.1, for=192.0.2.1"', "127.0.0.1"),
        (b'for=198.51.100.1, x"y", for=192.0.2.1;z"', "127.0.0.1"),
        (b'for=192.0.2.1;host="a,b\\",c"', "192.0.2.1"),
        (b'for=192.0.2.1;host="', "127.0.0.1"),
    ],
)
def test_forwarded(make_bench, field, client):
    assert client_of(trusting(make_bench, forwarded_header="forwarded"), b"Forwarded: " + field) == client


def test_fields_count_together_and_prefixes_of_any_length_are_trusted(make_bench):
    bench = trusting(make_bench, forwarded_hops=2)
    assert client_of(bench, b"X-Forwarded-For: 192.0.2.3, 192.0.2.1", b"X-Forwarded-For: 192.0.2.2") == "192.0.2.1"
    assert client_of(bench, b"X-Forwarded-For: 192.0.2.1, 192.0.2.2", address="2001:db8:ffff:1::1") == "192.0.2.1"
    assert client_of(bench, b"X-Forwarded-For: 192.0.2.1, 192.0.2.2", address="2001:db8:fffe:1::1") == "2001:db8:fffe:1::1"
    for prefix, inside, outside in (("10.0.0.0/9", "10.127.0.1", "10.128.0.1"), ("192.0.2.4/31", "192.0.2.5", "192.0.2.6")):
        bench = make_bench(Settings(trusted=(prefix,), log_share=1.0))
        assert client_of(bench, b"X-Forwarded-For: 198.51.100.1", address=inside) == "198.51.100.1"
        assert client_of(bench, b"X-Forwarded-For: 198.51.100.1", address=outside) == outside


@pytest.mark.parametrize("prefix", ["::/0", "::/1", "::/80"])
def test_a_prefix_of_ipv6_is_of_ipv6_clients(make_bench, prefix):
    """Although ::ffff:0:0/96 lies in it."""
    bench = make_bench(Settings(trusted=(prefix,), log_share=1.0))
    assert client_of(bench, b"X-Forwarded-For: 198.51.100.1", address="::7") == "198.51.100.1"
    assert client_of(bench, b"X-Forwarded-For: 198.51.100.1", address="10.0.0.1") == "10.0.0.1"


def test_what_connection_names_is_not_believed(make_bench):
    assert client_of(trusting(make_bench), b"Connection: X-Forwarded-For", b"X-Forwarded-For: 192.0.2.1") == "127.0.0.1"


@given(st.text(alphabet='0123456789abcdef.:[]",; =fFor\\\t', max_size=70), st.integers(0, 3), st.booleans())
def test_no_field_makes_it_anything_but_an_address(text, hops, is_forwarded):
    bench = Bench(
        Settings(
            trusted=("127.0.0.0/8",),
            log_share=1.0,
            forwarded_hops=hops,
            forwarded_header="forwarded" if is_forwarded else "x-forwarded-for",
        )
    )
    found = client_of(bench, b"Forwarded: for=" + text.encode(), b"X-Forwarded-For: " + text.encode())
    assert ipaddress.ip_address(found)
    bench.close()


FORGED = st.text(alphabet='0123456789abcdef.:[]",; =forhst\\\t', max_size=60)


@pytest.mark.parametrize("written", [b"192.0.2.1", b"192.0.2.1:8080", b"[2001:db8::1]:80", b"2001:db8::1", b"unknown"])
@pytest.mark.parametrize("behind", [0, 1])
@given(forged=FORGED, is_own_line=st.booleans(), is_forwarded=st.booleans())
def test_what_a_client_writes_ahead_of_its_hops_changes_nothing(written, behind, forged, is_own_line, is_forwarded):
    name = "forwarded" if is_forwarded else "x-forwarded-for"
    appended = b", ".join(b'for="%s"' % one if is_forwarded else one for one in [written, *[b"10.0.0.9"] * behind])
    bench = Bench(Settings(trusted=("127.0.0.0/8",), log_share=1.0, forwarded_hops=1 + behind, forwarded_header=name))
    honest = client_of(bench, name.encode() + b": " + appended)
    lines = [forged.encode(), appended] if is_own_line else [forged.encode() + b", " + appended]
    assert client_of(bench, *(name.encode() + b": " + line for line in lines)) == honest
    bench.close()


def test_located_behind_a_trusted_hop_per_request_and_else_per_connection(make_bench):
    bench = trusting(make_bench)
    client, here, there = bench.client(), bench.upstream(0), bench.upstream(1)
    for field, upstream in ((b"192.0.2.1", here), (b"203.0.113.5", there), (b"127.0.0.1", here)):
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + field + b"\r\n\r\n")
        bench.turn()
        assert received(upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
    assert sum(bench.counters.read()["lookups"].values()) == 3
    bench = make_bench()
    client, upstream = bench.client(), bench.upstream()
    for _ in range(3):
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.turn()
    assert sum(bench.counters.read()["lookups"].values()) == 1
