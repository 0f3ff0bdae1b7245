"""Events of connections that ended meanwhile, and of more than a turn takes."""

import socket

import pytest

from tests.support.dataplane import ANSWER, REQUEST, received


@pytest.mark.parametrize("gone", ["client", "upstream"])
def test_an_event_of_a_connection_that_ended_in_the_same_batch(bench, gone):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    (client if gone == "client" else upstream).close()
    upstream.close()
    bench.turn(turns=2)
    bench.assert_at_rest()


def test_more_events_than_a_turn_takes(bench):
    clients = [bench.client() for _ in range(200)]
    upstreams = [bench.upstream() for _ in range(200)]
    for client in clients:
        client.send(REQUEST)
    bench.turn(turns=7)
    assert all(received(upstream) for upstream in upstreams)


def test_who_waits_to_be_accepted_has_a_turn_in_each_of_these(make_bench):
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        bench = make_bench(listeners=[door])
        clients = [bench.client() for _ in range(200)]
        bench.turn()
        waiting = [socket.create_connection(door.getsockname()) for _ in range(5)]
        before = bench.figures_read["accepted"]
        for client in clients:
            client.send(REQUEST[:1])
        bench.turn()
        assert bench.figures_read["accepted"] - before == 4, "201 events in turns of 64"
        bench.turn()
        assert bench.figures_read["accepted"] - before == 5
        for each in waiting:
            each.close()
