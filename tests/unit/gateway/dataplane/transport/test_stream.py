"""Streams that are looked at again without an event: in which order, and what becomes of them at an end."""

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, REQUEST, received

NOWHERE_TO_GO = (RouteSpec("other", 0, hosts=("other",)),)


def test_who_came_first_is_looked_at_again_first(make_bench):
    """Three have a second request in their buffers behind one that is refused at once, and there is one connection for all."""
    bench = make_bench(Settings(connections_per_endpoint=1), routes=NOWHERE_TO_GO)
    upstream = bench.upstream()
    clients = [bench.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(REQUEST + b"GET /%d HTTP/1.1\r\nHost: other\r\n\r\n" % number)
    bench.turn(turns=2)
    for number, client in enumerate(clients):
        assert received(upstream).startswith(b"GET /%d " % number)
        upstream.send(ANSWER)
        bench.turn(turns=2)
        assert received(client).endswith(ANSWER)


def test_all_have_the_same_share_of_a_turn(make_bench):
    bench = make_bench(routes=NOWHERE_TO_GO)
    clients = [bench.client() for _ in range(5)]
    for client in clients:
        client.send(REQUEST * 500)
    for _ in range(3):
        bench.turn()
        counts = [received(client).count(b"HTTP/1.1 404 ") for client in clients]
        assert 0 < min(counts) == max(counts) < 500


@pytest.mark.parametrize("turns", range(1, 5))
def test_end_of_the_worker_with_connections_to_be_looked_at_again(make_bench, turns):
    bench = make_bench(routes=NOWHERE_TO_GO)
    client = bench.client()
    client.send(REQUEST * 1000)  # all refused, a few rounds a turn
    bench.turn(turns=turns)
    assert len(received(client)) < 100_000, "not yet through"


def test_cut_while_it_waits_to_be_looked_at_again(make_bench):
    bench = make_bench(routes=NOWHERE_TO_GO)
    client = bench.client()
    client.send(REQUEST * 1000)  # all refused: one turn does not get through
    bench.snapshots.order("aborting")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 404 ") and received(client) == b""
    again = bench.client()
    bench.turn(turns=2)
    assert received(again) is None and bench.counters.read()["idle"][0] == 1
