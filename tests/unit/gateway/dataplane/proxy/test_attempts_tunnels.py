"""Tunnels after a 101: both ways, early bytes, half-closes, idleness; and what does not become one."""

import socket

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, PATTERN, REQUEST, SWITCH, SWITCHED, UPGRADE, open_tunnel, pour, received, reset, to_and_fro


@pytest.fixture(params=[False, True], ids=["pair", "tcp"])
def tunnel(bench, request):
    return open_tunnel(bench, request.param)


def test_both_ways(bench, tunnel):
    client, upstream = tunnel
    for _ in range(3):
        to_and_fro(bench, client, upstream)
    assert pour(bench, client, upstream, PATTERN) == PATTERN
    assert pour(bench, upstream, client, PATTERN) == PATTERN


def test_first_bytes_of_either_side_come_with_its_head(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPGRADE + b"early up")
    assert received(upstream) is None, "not before it is a tunnel"
    upstream.send(SWITCH + b"early down")
    bench.turn()
    assert received(upstream) == b"early up"
    assert received(client) == SWITCHED + b"early down"


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_half_close_lets_the_other_side_finish(bench, tunnel, first):
    client, upstream = tunnel
    one, other = (client, upstream) if first == "client" else (upstream, client)
    one.send(b"last words")
    one.shutdown(socket.SHUT_WR)
    bench.turn()
    assert received(other) == b"last words" and received(other) == b""
    for _ in range(3):
        other.send(b"more")
        bench.turn()
        assert received(one) == b"more"
    other.send(b"done")
    other.close()  # its data and its end arrive as one
    bench.turn(turns=2)
    assert received(one) == b"done" and received(one) == b""
    one.close()
    bench.turn(turns=2)
    bench.assert_at_rest()
    assert bench.counters.read()["idle"][0] == 0
    assert bench.figures.read_pool(bench.pool_rows[0])["codes"] == {"101": 1}


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_reset_ends_both(bench, who):
    client, upstream = open_tunnel(bench, is_tcp=True)
    reset(client if who == "client" else upstream)
    bench.turn(turns=3)
    other = upstream if who == "client" else client
    assert received(other) == b""
    other.close()
    bench.turn(turns=2)
    bench.assert_at_rest()
    assert bench.counters.read()["idle"][0] == 0


def test_an_upstream_that_takes_no_more_may_still_finish(bench):
    client, upstream = open_tunnel(bench)
    upstream.send(b"last words")
    upstream.shutdown(socket.SHUT_RDWR)
    client.send(b"x")
    bench.turn(turns=3)
    assert received(client) == b"last words" and received(client) == b""
    bench.assert_at_rest()


def test_idle_tunnel_ends_and_traffic_in_one_direction_keeps_it(make_bench):
    bench = make_bench(Settings(tunnel_idle_ms=2000, first_byte_ms=500, body_progress_ms=500))
    for talker in ("client", "upstream"):
        client, upstream = open_tunnel(bench)
        one, other = (client, upstream) if talker == "client" else (upstream, client)
        for _ in range(5):
            bench.pass_ms(1500)
            one.send(b"x")
            bench.turn()
            assert received(other) == b"x"
        other.shutdown(socket.SHUT_WR)  # and after a half-close too
        bench.turn()
        for _ in range(5):
            bench.pass_ms(1500)
            one.send(b"x")
            bench.turn()
            assert received(other) == b"x"
        bench.pass_ms(2500)
        assert received(one) == b"" and received(other) == b""
        bench.assert_at_rest()


def test_without_a_101_what_follows_is_no_request(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(UPGRADE + REQUEST)
    bench.turn()
    assert received(upstream).startswith(b"GET /chat ")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert received(client) == b""
    assert received(upstream) is None


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        UPGRADE.replace(b"1.1", b"1.0"),
        UPGRADE.replace(b"websocket", b"h2c"),
        UPGRADE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n"),  # not all of it is said yet
    ],
)
def test_an_unasked_101_is_502(bench, request_):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, request_)
    upstream.send(SWITCH)
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 502 ") and received(upstream) == b""


def test_drain_leaves_a_tunnel_until_it_is_cut(bench):
    client, upstream = open_tunnel(bench)
    for phase in ("lameduck", "closing"):
        bench.snapshots.order(phase, 1.0)
        bench.turn(turns=2)
        client.send(b"x")
        bench.turn()
        assert received(upstream) == b"x" and received(client) is None
    bench.snapshots.order("aborting")
    bench.turn()
    assert received(client) == b"" and received(upstream) == b""
    assert bench.counters.read()["forced"] == {"request": 0, "tunnel": 1, "idle": 0}
    bench.assert_at_rest()


def test_tunnels_leave_room_for_requests(make_bench):
    """Silent WebSockets of one client must not hold an endpoint's connections."""
    bench = make_bench(max_in_flight=2)
    tunnels = [open_tunnel(bench) for _ in range(5)]
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 5
    for ours, theirs in tunnels:
        ours.close()
        theirs.close()
    bench.turn(turns=2)
    bench.assert_at_rest()


def test_requests_are_bounded_beside_tunnels_and_go_on_when_a_tunnel_begins(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1))
    server = bench.listen()
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPGRADE)
    waiting = bench.client()
    waiting.send(REQUEST)
    bench.turn()
    assert bench.figures.read_pool(bench.pool_rows[0])["attempts"] == 1, "it waits"
    upstream.send(SWITCH)
    bench.turn(turns=3)
    assert bench.accepted(server).recv(65536).startswith(b"GET /x ")
    last = bench.client()
    last.send(REQUEST)
    bench.turn()
    assert bench.figures.read_pool(bench.pool_rows[0])["attempts"] == 2, "the second waits, tunnel or not"


@pytest.mark.parametrize("asked", [REQUEST, REQUEST[:-2] + b"Connection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n"])
@pytest.mark.parametrize("upgrade", [b"Upgrade: websocket", b"Upgrade: websocket, TLS/1.0"])
def test_who_is_told_to_upgrade_is_told_to_what(bench, asked, upgrade):
    """RFC 9110 15.5.22, 7.8: though the field is of one hop, the tunnel would be of both."""
    client, upstream = bench.client(), bench.upstream()
    assert b"pgrade" not in bench.ask(client, upstream, asked), "h2c is not spoken here, so nothing is asked for"
    upstream.send(b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\n" + upgrade + b"\r\nContent-Length: 2\r\n\r\nno")
    bench.turn()
    told = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nconnection: upgrade\r\n" + upgrade + b"\r\n\r\nno"
    assert received(client) == told
    assert bench.ask(client, upstream), "the connection goes on"
    upstream.send(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\n" + upgrade + b"\r\n\r\n"))
    bench.turn()
    assert received(client) == ANSWER, "of any other answer it is the upstream's affair"


def test_a_426_that_names_nothing_goes_on_as_it_came(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    answer = ANSWER.replace(b"200 OK", b"426 Upgrade Required")
    upstream.send(answer)
    bench.turn()
    assert received(client) == answer
