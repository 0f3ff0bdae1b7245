"""A tunnel outlives its table: reloads leave nothing behind it, and at its end it still knows whose it was."""

import os
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec, _memory
from tests.support.dataplane import SWITCH, UPGRADE, open_tunnel, received, reset, to_and_fro

ROUTES = (RouteSpec("chat", 0),)


def test_reloads_leave_no_table_behind_it(make_bench):
    bench = make_bench(Settings(log_share=1.0), ROUTES)
    tunnels = []
    for _ in range(5):
        tunnels.append(open_tunnel(bench))
        bench.publish()
    assert bench.snapshots.reclaim() == 0
    assert bench.snapshots.oldest() == bench.snapshots.generation
    for client, upstream in tunnels:
        to_and_fro(bench, client, upstream)
    assert bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 5
    for client, upstream in tunnels:
        client.close()
        upstream.close()
    bench.turn(turns=3)
    bench.assert_at_rest()
    lines = bench.worker.read_log()
    assert len(lines) == 5
    for line in lines:
        told = {name: line[name] for name in ("status", "route", "service", "pop", "endpoint", "bytes_in", "bytes_out")}
        assert told == {
            "status": 101, "route": "chat", "service": "shop", "pop": "fra", "endpoint": "127.0.0.1:9", "bytes_in": 4, "bytes_out": 5
        }  # fmt: skip
    assert bench.figures.read_pool(bench.pool_rows[0])["codes"] == {"101": 5}


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: x\n\n\r\n"


@pytest.mark.parametrize(("head", "piece", "last", "is_long_lived"), [
    (EVENTS, EVENT, b"0\r\n\r\n", False),
    (EVENTS.replace(b"text/event-stream", b"text/plain"), EVENT, b"0\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"a", b"bcdefgh", False),
    (b"HTTP/1.1 200 OK\r\n\r\n", b"a", b"", False),
])  # fmt: skip
def test_reloads_leave_no_table_behind_a_long_answer(make_bench, head, piece, last, is_long_lived):
    """Where it is known to be long it lets go at once, else with the first byte behind a reload."""
    bench = make_bench(Settings(log_share=1.0), ROUTES, service={"is_long_lived": is_long_lived})
    streams = []
    for _ in range(3):
        client, upstream = bench.client(is_tcp=True), bench.upstream()  # no event tells that a client has read
        bench.ask(client, upstream)
        upstream.send(head)
        bench.turn()
        assert received(client).startswith(b"HTTP/1.1 200 OK")
        streams.append((client, upstream))
        bench.publish()
    assert bench.snapshots.reclaim() == (0 if is_long_lived or head == EVENTS else 3)
    for _ in range(3):
        for client, upstream in streams:
            upstream.send(piece)
            bench.turn()
            assert received(client) == piece
        bench.publish()
        assert bench.snapshots.reclaim() == 0
    assert bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 3
    for client, upstream in streams:
        if last:
            upstream.send(last)
        else:
            upstream.close()
        bench.turn(turns=2)
        assert received(client) == (last or b"")
    bench.assert_at_rest()
    lines = bench.worker.read_log()
    assert len(lines) == 3
    for line in lines:
        told = {name: line[name] for name in ("status", "route", "service", "pop", "endpoint", "ended_by")}
        assert told == {"status": 200, "route": "chat", "service": "shop", "pop": "fra", "endpoint": "127.0.0.1:9", "ended_by": None}
    assert bench.figures.read_pool(bench.pool_rows[0])["codes"] == {"200": 3}


def test_a_long_answer_that_lets_go_is_bounded_by_what_is_configured_now(make_bench):
    bench = make_bench(Settings(body_progress_ms=60_000))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(EVENTS)
    bench.turn()
    bench.reload(Settings(body_progress_ms=2000))
    upstream.send(EVENT)
    bench.turn()
    assert received(client).endswith(EVENT)
    bench.pass_ms(2500)
    assert received(client) == b"" and received(upstream) == b""
    bench.assert_at_rest()


def test_an_answer_that_lets_go_and_is_cut_is_a_failure_as_any_other(bench):
    client, upstream = bench.client(is_tcp=True), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na")
    bench.turn()
    bench.publish()
    upstream.send(b"b")
    bench.turn()
    assert bench.snapshots.reclaim() == 0 and received(client).endswith(b"ab")
    upstream.close()
    bench.turn()
    assert received(client) == b""
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 1
    bench.assert_at_rest()


def test_an_early_answer_to_an_upload_lets_go_too(bench):
    """Both ways go on: what the upload waits by is not the old table's."""
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    upstream.send(EVENTS)
    bench.turn()
    bench.publish()
    assert bench.snapshots.reclaim() == 0
    client.send(bytes(50_000))
    bench.turn()
    assert len(received(upstream)) == 50_000
    client.close()
    bench.turn(turns=2)
    bench.assert_at_rest()


@pytest.mark.parametrize("grants", range(3))
def test_a_long_answer_without_memory_lets_go_later(bench, grants):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(EVENTS)
    _memory.refuse(True, grants)
    try:
        bench.turn()
    finally:
        _memory.refuse(False)
    with suppress(BrokenPipeError):  # it had not even the memory for the answer
        upstream.send(EVENT + b"0\r\n\r\n")
    bench.publish()
    bench.turn()
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0
    client.close()


def test_its_idleness_is_what_is_configured_now(make_bench):
    bench = make_bench(Settings(tunnel_idle_ms=60_000))
    client, upstream = open_tunnel(bench)
    bench.reload(Settings(tunnel_idle_ms=2000))
    client.send(b"x")
    bench.turn()
    assert received(upstream) == b"x"
    bench.pass_ms(2500)
    assert received(client) == b"" and received(upstream) == b""
    bench.assert_at_rest()


@pytest.mark.parametrize("grants", range(3))
def test_without_memory_it_holds_its_table_on(bench, grants):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPGRADE)
    upstream.send(SWITCH)
    _memory.refuse(True, grants)
    try:
        bench.turn()
    finally:
        _memory.refuse(False)
    bench.publish()
    for end in (client, upstream):
        end.close()
    bench.turn(turns=3)
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0


def test_it_is_in_flight_until_its_last_figure_is_written(bench):
    """Whoever sees that nothing is in flight gives its rows to others. The close of its upstream connection, behind that, takes a while
    here: the socket has what its peer does not take in."""
    client = bench.client(is_tcp=True)
    far, near = bench.pair(is_tcp=True)
    with socket.socket(fileno=os.dup(near)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 20))
    bench.worker.adopt_upstream(near, bench.rows[0][0])
    bench.ask(client, far, b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n")
    far.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 101 ")
    for _ in range(200):
        with suppress(BlockingIOError):
            client.send(bytes(1 << 16))
        bench.turn()
    reset(client)
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        end = time.monotonic() + 10
        while (seen := bench.figures.read_pool(bench.pool_rows[0]))["in_flight"]:
            assert time.monotonic() < end
        assert seen["durations"] == 1
    finally:
        reset(far)
        bench.worker.stop()
        thread.join(30)
    assert not thread.is_alive()
