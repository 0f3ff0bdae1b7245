"""What a stream socket does with what the transport asks of it, seen from both of its peers."""

import socket

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received

POST = b"POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize("is_tcp", [False, True])
def test_one_part_and_two_arrive_in_order(bench, is_tcp):
    client, upstream = bench.client(is_tcp=is_tcp), bench.upstream(is_tcp=is_tcp)
    head = bench.ask(client, upstream, POST)  # one
    assert head.endswith(b"\r\n\r\n")
    client.send(b"hello")
    bench.turn()
    assert received(upstream) == b"hello"
    upstream.send(ANSWER)
    bench.turn()
    assert received(client).endswith(b"hello")
    assert bench.ask(client, upstream, POST + b"again").endswith(b"\r\n\r\nagain")  # two


@pytest.mark.parametrize("is_tcp", [False, True])
def test_what_does_not_go_at_once_goes_when_the_peer_has_read(make_bench, is_tcp):
    bench = make_bench(Settings())
    client, upstream = bench.client(is_tcp=is_tcp), bench.upstream(is_tcp=is_tcp)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    bench.ask(client, upstream)
    body = bytes(range(256)) * 2048
    upstream.setblocking(False)
    rest = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    got = b""
    while rest or not got.endswith(body):
        if rest:
            try:
                rest = rest[upstream.send(rest) :]
            except BlockingIOError:
                pass
        bench.turn()
        got += received(client) or b""
        assert len(got) < 2 * len(body)
    assert got.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("is_tcp", [False, True])
def test_a_peer_that_ends_is_told_from_one_that_is_not_there(bench, is_tcp):
    client = bench.client(is_tcp=is_tcp)
    client.send(REQUEST[:10])
    bench.turn()
    assert received(client) is None  # nothing to read is no end
    client.shutdown(socket.SHUT_WR)
    bench.turn(turns=2)
    assert received(client) == b""
