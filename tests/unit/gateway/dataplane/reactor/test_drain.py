"""A drain, phase by phase (DRAINING 2(b)): who is told, who is still served, who is cut."""

import socket

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, head_and_body, received


def announces(answer):
    return head_and_body(answer)[1].get("connection") == "close"


def serve(bench, client, upstream):
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    return received(client)


@pytest.fixture
def door():
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


def connect(door):
    end = socket.create_connection(door.getsockname())
    end.setblocking(False)
    return end


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 20, 80), (1.0, 100, 100)])
def test_lameduck_serves_everyone_and_tells_a_share(bench, share, least, most):
    bench.snapshots.order("lameduck", share)
    told = 0
    for _ in range(100):
        client, upstream = bench.client(), bench.upstream()
        answer = serve(bench, client, upstream)
        assert answer.endswith(b"hello")
        told += announces(answer)
        assert received(client) == (b"" if announces(answer) else None)
        upstream.close()
        bench.turn()
    assert least <= told <= most
    assert bench.counters.read()["phases"] == ["lameduck"]


def test_the_last_of_pipelined_requests_is_told(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.snapshots.order("lameduck", 1.0)
    client.send(REQUEST * 3)
    for i in range(3):
        bench.turn()
        assert received(upstream)
        if i == 1:
            client.send(REQUEST[:20])  # one more begins to come, and lies on the socket
        if i == 2:
            client.send(REQUEST[20:])
        upstream.send(ANSWER)
        bench.turn()
        assert not announces(received(client))
    bench.turn()
    assert received(upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert announces(received(client)) and received(client) == b""


def test_who_filled_the_buffer_and_sends_no_more_is_told(bench):
    """A read that fills it has not shown the socket dry."""
    client, upstream = bench.client(), bench.upstream()
    bench.snapshots.order("lameduck", 1.0)
    padding = b"x" * (8192 - len(b"GET / HTTP/1.1\r\nHost: a\r\nx: \r\n\r\n"))
    assert b"Host: a" in bench.ask(client, upstream, b"GET / HTTP/1.1\r\nHost: a\r\nx: %s\r\n\r\n" % padding)
    upstream.send(ANSWER)
    bench.turn()
    assert announces(received(client)) and received(client) == b""


def test_the_gateways_own_answers_tell_too(bench):
    client = bench.client()
    bench.snapshots.order("lameduck", 1.0)
    client.send(REQUEST)
    bench.turn(turns=4)
    assert announces(received(client))


def test_undrain(make_bench, door):
    bench = make_bench(listeners=[door])
    client, upstream = bench.client(), bench.upstream()
    bench.snapshots.order("lameduck", 1.0)
    bench.turn()
    bench.snapshots.order("serving")
    assert not announces(serve(bench, client, upstream))
    bench.snapshots.order("closing")
    bench.turn()
    bench.snapshots.order("serving")
    bench.pass_ms(300)
    new = connect(door)
    bench.turn()
    assert serve(bench, new, upstream) == ANSWER
    new.close()


def test_closing_still_serves_who_was_on_the_way(make_bench, door):
    bench = make_bench(listeners=[door])
    upstream = bench.upstream()
    bench.snapshots.order("closing")
    bench.turn()
    late = connect(door)
    bench.turn()
    assert announces(serve(bench, late, upstream))
    late.close()


def test_the_end_takes_the_backlog_then_no_more(make_bench, door):
    bench = make_bench(Settings(linger_ms=1000), listeners=[door])
    used, upstream = bench.client(), bench.upstream()
    assert serve(bench, used, upstream) == ANSWER
    bench.pass_ms(1000)
    queued = [connect(door) for _ in range(70)]  # more than one turn has events for
    for client in queued[:5]:
        client.send(REQUEST)
    bench.snapshots.order("closing")
    bench.snapshots.order_listener(0, "empty")
    bench.turn(turns=2)
    assert bench.figures_read["accepted"] == 71
    late = connect(door)
    bench.turn(turns=2)
    assert bench.figures_read["accepted"] == 71
    assert received(used) == b"", "it has been served before: ends at once"
    answers = 0
    for _ in range(12):
        bench.turn(turns=2)
        if received(upstream):
            upstream.send(ANSWER)
            bench.turn(turns=2)
        upstream = upstream if upstream.fileno() < 0 or received(upstream) != b"" else bench.upstream()
    for client in queued[:5]:
        answer = received(client)
        answers += bool(answer) and announces(answer)
    assert answers >= 1
    assert received(queued[69]) is None, "it may be about to speak"
    bench.pass_ms(1300)
    assert received(queued[69]) == b""
    for client in (*queued, late):
        client.close()


def test_requests_that_a_turn_has_no_room_for_are_served_before_their_connections_end(make_bench):
    bench = make_bench(endpoints=((("127.0.0.1", NOWHERE),), ()))
    upstreams = [bench.upstream() for _ in range(100)]
    clients = [bench.client() for _ in range(100)]
    for client in clients:
        client.send(REQUEST)
    bench.turn(turns=4)
    for upstream in upstreams:
        assert received(upstream)
        upstream.send(ANSWER)
    bench.turn(turns=4)
    for client in clients:
        assert received(client) == ANSWER
        client.send(REQUEST)  # all of them at once, and one turn takes 64 events
    bench.snapshots.order("closing")
    bench.turn(turns=4)
    for upstream in upstreams:
        assert received(upstream)
        upstream.send(ANSWER)
    bench.turn(turns=4)
    assert all(announces(received(client)) for client in clients)


def test_closing_lets_what_is_under_way_finish(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    bench.snapshots.order("closing")
    bench.turn(turns=2)
    client.send(b"world")
    bench.turn()
    assert received(upstream).endswith(b"helloworld")
    upstream.send(ANSWER)
    bench.turn()
    assert announces(received(client)) and received(client) == b""


def test_aborting_cuts_what_is_left_and_counts_it(make_bench, door):
    bench = make_bench(listeners=[door])
    busy, upstream, idle = bench.client(), bench.upstream(), bench.client()
    pooled = bench.upstream(1)
    bench.ask(busy, upstream)
    bench.snapshots.order("aborting")
    bench.snapshots.order_listener(0, "leave")
    bench.turn()
    assert [received(end) for end in (busy, upstream, idle, pooled)] == [b""] * 4
    assert bench.counters.read()["forced"] == {"request": 1, "tunnel": 0, "idle": 1}
    assert bench.counters.read()["phases"] == ["aborting"]
    late = connect(door)
    bench.pass_ms(300)
    assert bench.figures_read["accepted"] == 2, "and nobody new comes in"
    late.close()
    bench.assert_at_rest()


def test_aborting_cuts_who_came_in_before_the_listeners_are_left(make_bench, door):
    """Before, the end waited two seconds for them, and nothing said that they were cut."""
    bench = make_bench(listeners=[door])
    bench.snapshots.order("aborting")
    bench.turn()
    with connect(door) as late:
        bench.turn()
        assert bench.figures_read["accepted"] == 1
        bench.snapshots.order_listener(0, "leave")
        bench.pass_ms(200)
        assert received(late) == b""
    assert bench.counters.read()["forced"]["idle"] == 1
    bench.assert_at_rest()


def test_closing_answers_all_that_was_already_read(make_bench):
    """More pipelined requests than one turn takes, each answered by ourselves at once."""
    bench = make_bench(routes=(RouteSpec("other", 0, hosts=("other.example",)),))
    client = bench.client()
    bench.turn()
    client.send(REQUEST * 40)
    bench.snapshots.order("closing")
    bench.turn(turns=4)
    answers = received(client).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"404"] * 40
    assert [b"connection: close" in answer for answer in answers] == [False] * 39 + [True]
    assert received(client) == b""


def test_who_always_has_the_next_request_on_the_way_is_told_after_a_second(make_bench):
    """What lay there when it began is answered, and what comes soon; then the end is said, and what came behind it is dropped."""
    bench = make_bench(Settings(linger_ms=500))
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST * 3)
    bench.turn()
    bench.snapshots.order("closing")
    answers = []
    while len(answers) < 40 and not (answers and announces(answers[-1])):
        assert received(upstream), len(answers)
        upstream.send(ANSWER)
        bench.turn(50, turns=2)
        answers.append(received(client))
        client.send(REQUEST)
    assert 20 <= len(answers) <= 22 and all(answer.endswith(b"hello") for answer in answers)
    bench.turn(turns=2)
    assert received(upstream) is None and received(client) == b""


def test_idle_connections_end_over_ticks(bench):
    upstream = bench.upstream()
    clients = [bench.client() for _ in range(600)]
    bench.turn(turns=12)
    for client in clients:
        assert serve(bench, client, upstream) == ANSWER
    bench.pass_ms(1000)
    bench.snapshots.order("closing")
    ended = []
    for _ in range(4):
        bench.turn()
        ended.append(sum(received(client) == b"" for client in clients))
        bench.pass_ms(100)
    assert ended[-1] == 600 and 0 < ended[0] < 300, ended


def test_who_waits_behind_many_idle_ones_is_ended_too(bench):
    """Those that have never spoken are not looked at again and again: their deadline is set."""
    silent = [bench.client() for _ in range(300)]
    bench.turn(turns=6)
    bench.snapshots.order("closing")
    bench.pass_ms(100)
    client = bench.client()
    upstream = bench.upstream()
    assert announces(serve(bench, client, upstream))
    bench.pass_ms(3000)
    assert all(received(one) == b"" for one in silent)


def test_who_was_just_answered_without_a_word_of_the_end_is_heard_for_a_second(bench):
    """Before, it was half-closed within a tick, with its next request on the way."""
    asks, silent, upstream = bench.client(), bench.client(), bench.upstream()
    for client in (asks, silent):
        assert serve(bench, client, upstream) == ANSWER
    bench.snapshots.order("closing")
    bench.pass_ms(900)
    assert received(silent) is None
    assert announces(serve(bench, asks, upstream))
    bench.pass_ms(200)
    assert received(silent) == b""


@pytest.mark.parametrize("comes", ["before", "in CLOSING", "with the body"])
def test_an_empty_line_behind_a_body_holds_no_drain_open(make_bench, comes):
    """Before, it held it for the time that a head may take."""
    bench = make_bench(Settings(linger_ms=1000))
    client, upstream = bench.client(), bench.upstream()
    line = b"\r\n"
    bench.ask(client, upstream, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok" + line * (comes == "with the body"))
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    if comes == "before":
        client.send(line)
        bench.turn()
    elif comes == "in CLOSING":
        client.send(line)
    bench.snapshots.order("closing")
    bench.turn()
    bench.pass_ms(1200)
    assert received(client) == b""
    client.close()
    bench.turn(turns=2)
    assert sum(bench.counters.read()["n_open"]) == 0


def test_nor_where_it_comes_with_more_than_a_turn_takes(make_bench):
    """The drain finds that something has come, before the worker is told."""
    bench = make_bench(Settings(linger_ms=1000))
    client, upstream, others = bench.client(), bench.upstream(), [bench.client() for _ in range(600)]
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    bench.turn(turns=2)
    for each in others:
        each.send(REQUEST[:1])
    client.send(b"\r\n")
    bench.snapshots.order("closing")
    bench.turn(100)
    bench.pass_ms(1300)
    assert received(client) == b""
