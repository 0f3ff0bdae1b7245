"""A connection's life: its buffer, its end."""

import os

import pytest

import routing_core
from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received


def blocks():
    return routing_core.live_blocks()


def test_what_ends_is_used_again(bench):
    for _ in range(5):
        client, upstream = bench.client(), bench.upstream()
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.turn()
        client.close()
        upstream.close()
        bench.turn(turns=2)
    assert blocks()["connection"] == 2 and blocks()["exchange"] == 1 and blocks()["buffer"] <= 4
    assert bench.figures_read["closed"] == 10


def test_an_idle_connection_holds_no_buffer(bench):
    upstream = bench.upstream()
    for client in [bench.client() for _ in range(10)]:
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
    assert blocks()["buffer"] <= 4 and blocks()["exchange"] == 1


def half_heads(bench, n, size):
    clients = [bench.client() for _ in range(n)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * size)
    bench.turn()
    return clients


def test_what_a_burst_leaves_is_given_back_bit_by_bit(bench):
    for client in half_heads(bench, 40, 9000):
        client.close()
    bench.turn(turns=2)
    left = blocks()["buffer"]
    assert left >= 40
    bench.pass_ms(1000)
    assert 0 < blocks()["buffer"] < left * 2 // 3, "a part of it in a second"
    bench.pass_ms(9000)
    assert blocks()["buffer"] == 0


def test_what_is_needed_again_and_again_is_kept(bench):
    client, upstream = bench.client(), bench.upstream()
    seen = []
    for _ in range(50):
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.pass_ms(100)
        assert received(client) == ANSWER
        seen.append(blocks()["buffer"])
    assert min(seen) == max(seen) > 0


@pytest.mark.parametrize(("size", "bound"), [(5000, 8), (9000, 16), (20_000, 32), (31_000, 32)])
def test_a_head_takes_the_buffer_that_fits_it(bench, size, bound):
    """And the smaller ones that it has outgrown serve the next head."""
    before = blocks()["buffer"]
    half_heads(bench, 10, size)
    steps = {8: 0, 16: 1, 32: 2}[bound]
    assert blocks()["buffer"] - before == 10 + steps


def test_end_of_the_worker_with_everything_under_way(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=3, log_share=1.0))
    for what in (REQUEST, REQUEST[:9], b"", b"BAD\r\n\r\n", REQUEST * 3, REQUEST, REQUEST, REQUEST):
        client, _ = bench.client(), bench.upstream()
        client.send(what)
        bench.turn()
    bench.client().send(REQUEST * 1000)
    bench.turn()
    assert blocks()["exchange"]


def test_a_descriptor_that_a_child_has_too_speaks_for_nobody_else(bench):
    """Closed here it stays watched until the child that was just forked has closed it as well."""
    ours, theirs = bench.pair()
    of_child = os.dup(theirs)
    bench.worker.adopt_downstream(theirs, "127.0.0.1")
    ours.send(b" \r\n\r\n")
    bench.turn(turns=2)
    assert received(ours).startswith(b"HTTP/1.1 400 ")
    bench.pass_ms(60_000)
    assert bench.figures_read["closed"] == 1
    client, upstream = bench.client(), bench.upstream()
    ours.close()
    bench.turn(turns=2)
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    os.close(of_child)
