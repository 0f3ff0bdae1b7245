"""A connection's life: its deadline, its buffer, its end, its place among the idle."""

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


@pytest.mark.parametrize("is_tcp", [False, True])
def test_linger_reads_on_until_the_client_ends_or_time_is_up(make_bench, is_tcp):
    bench = make_bench(Settings(linger_ms=1000))
    for ends in (True, False):
        client = bench.client(is_tcp=is_tcp)
        client.send(b"BAD\r\n\r\n")
        bench.turn()
        assert received(client).startswith(b"HTTP/1.1 400 ") and received(client) == b""
        for _ in range(8):
            client.send(b"x" * 100_000)  # what was under way does no harm to the answer
            bench.turn(turns=2)
        assert bench.counters.read()["idle"][0] == 1
        if ends:
            client.close()
            bench.turn(turns=2)
        else:
            bench.pass_ms(1300)
        assert bench.counters.read()["idle"][0] == 0


def test_end_of_the_worker_with_everything_under_way(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=3, log_share=1.0))
    for what in (REQUEST, REQUEST[:9], b"", b"BAD\r\n\r\n", REQUEST * 3, REQUEST, REQUEST, REQUEST):
        client, _ = bench.client(), bench.upstream()
        client.send(what)
        bench.turn()
    bench.client().send(REQUEST * 1000)
    bench.turn()
    assert blocks()["exchange"]


@pytest.mark.parametrize("turns", range(1, 5))
def test_end_of_the_worker_with_connections_to_be_looked_at_again(bench, turns):
    client = bench.client()
    client.send(REQUEST * 1000)  # all refused, a few rounds a turn
    bench.turn(turns=turns)
    client.close()
    bench.turn()
    assert blocks()["connection"]
