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
