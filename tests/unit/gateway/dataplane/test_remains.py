"""A tunnel outlives its table: reloads leave nothing behind it, and at its end it still knows whose it was."""

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec, _memory
from tests.support.dataplane import SWITCH, UPGRADE, open_tunnel, received, to_and_fro

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
