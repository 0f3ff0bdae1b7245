"""Who waits for a connection to an endpoint, and when it is whose turn."""

import contextlib
import itertools

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received
from tests.unit.gateway.dataplane.upstream.test_pools import ONE_POP


def test_a_wait_is_one_however_often_it_is_looked_at(make_bench):
    bench = make_bench(Settings(queue_ms=700), endpoints=ONE_POP, max_in_flight=1)
    one, two, upstream = bench.client(), bench.client(), bench.upstream()
    assert bench.ask(one, upstream)
    two.send(REQUEST)
    bench.pass_ms(1000)
    assert received(two).startswith(b"HTTP/1.1 503 ") and bench.causes == {"queue_timeout": 1}


def test_who_leaves_from_the_middle_of_a_queue_leaves_the_others_in_order(make_bench):
    bench = make_bench(endpoints=ONE_POP, max_in_flight=1)
    clients = [bench.client() for _ in range(5)]
    upstream = bench.upstream()
    assert bench.ask(clients[0], upstream)
    for client in clients[1:]:
        client.send(REQUEST)
        bench.turn()
    clients[2].close()
    clients[3].close()
    bench.turn()
    for before, client in itertools.pairwise((clients[0], clients[1], clients[4])):
        upstream.send(ANSWER)
        bench.turn(turns=2)
        assert received(before) == ANSWER and received(client) is None
        assert received(upstream).startswith(b"GET /x")
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(clients[4]) == ANSWER and received(upstream) is None


def six_of_whom_five_wait(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1), endpoints=ONE_POP)
    server, upstream = bench.listen(), bench.upstream()
    clients = [bench.client() for _ in range(6)]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    for client in clients[1:3]:
        client.close()  # who goes leaves the queue
    bench.turn()
    assert received(upstream)
    return bench, server, upstream, clients


def test_all_who_wait_go_on_when_a_reload_makes_room_for_all(make_bench):
    bench, server, _, clients = six_of_whom_five_wait(make_bench)
    bench.reload(Settings(connections_per_endpoint=6))
    bench.pass_ms(200)
    made = [bench.accepted(server) for _ in clients[3:]]
    bench.turn(turns=2)
    assert all(end.recv(65536).startswith(b"GET /x") for end in made)


def test_who_comes_when_there_is_room_again_wakes_who_has_waited(make_bench):
    """Without a tick."""
    bench = make_bench(Settings(connections_per_endpoint=1), endpoints=ONE_POP)
    server, upstream = bench.listen(), bench.upstream()
    first, waits, last = (bench.client() for _ in range(3))
    assert bench.ask(first, upstream)
    waits.send(asking(b"/waits"))
    bench.turn()
    bench.reload(Settings(connections_per_endpoint=2))
    last.send(asking(b"/last"))
    bench.turn(turns=3)
    made = bench.accepted(server)
    assert made.recv(65536).startswith(b"GET /waits ")
    made.send(ANSWER)
    bench.turn(turns=2)
    assert received(waits) == ANSWER and made.recv(65536).startswith(b"GET /last ")


def test_who_waits_at_a_gate_that_has_shut_waits_on_where_nobody_else_is(make_bench):
    bench, server, upstream, clients = six_of_whom_five_wait(make_bench)
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    bench.pass_ms(200)
    assert [received(client) for client in clients[3:]] == [None] * 3
    server.settimeout(0)
    answers = []
    for _ in range(4):
        upstream.send(ANSWER)
        bench.turn(turns=3)
        answers += filter(None, map(received, (clients[0], *clients[3:])))
        with contextlib.suppress(BlockingIOError):  # the next one may have a connection of its own
            upstream = bench.accepted(server)
    assert answers == [ANSWER] * 4 and bench.causes == {}
    assert bench.figures.read_pool(bench.pool_rows[0])["reasons"]["panic"] == 3


def asking(path):
    return REQUEST.replace(b"/x", path)


def test_a_turn_is_for_one_try(make_bench):
    """Who waited, had its turn and failed waits anew behind those who are there."""
    bench = make_bench(
        Settings(connections_per_endpoint=1, max_retries=3), endpoints=((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ())
    )
    (first, second) = bench.rows[0]
    clients = [bench.client() for _ in range(4)]
    ends = bench.upstream(0, 0), bench.upstream(0, 1)

    def ask_at(number, row):
        """With the other endpoint's gate shut, for no longer than that."""
        other = second if row == first else first
        bench.figures.set_endpoint(other, state="shut")
        clients[number].send(asking(b"/%d" % number))
        bench.turn()
        bench.figures.set_endpoint(other, state="admitting")

    ask_at(0, first)
    ask_at(1, first)  # waits
    ask_at(2, second)
    ask_at(3, second)  # waits
    assert received(ends[0]).startswith(b"GET /0 ") and received(ends[1]).startswith(b"GET /2 ")
    ends[0].send(ANSWER)
    bench.turn(turns=2)
    assert received(clients[0]) == ANSWER and received(ends[0]).startswith(b"GET /1 ")
    ends[0].close()  # its other tries find a port that refuses, and then the queue of the second endpoint
    bench.turn(turns=8)
    ends[1].send(ANSWER)
    bench.turn(turns=2)
    assert received(ends[1]).startswith(b"GET /3 ")
