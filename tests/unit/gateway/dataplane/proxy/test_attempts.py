"""Playbooks of an exchange: what arrives, what is sent, turn by turn, on a fake clock."""

import contextlib
import socket

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec, RuleSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, head_and_body, received

POST = b"POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello"
PUT = POST.replace(b"POST", b"PUT")


def test_request_and_answer_whole(bench):
    client, upstream = bench.client(), bench.upstream()
    for _ in range(3):
        client.send(REQUEST)
        bench.turn()
        start, fields, body = head_and_body(received(upstream))
        assert start == b"GET /x HTTP/1.1" and body == b""
        assert fields["host"] == "shop.example" and fields["x-forwarded-for"] == "127.0.0.1"
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER


def test_byte_by_byte(bench):
    client, upstream = bench.client(), bench.upstream()
    for byte in POST[:-6]:
        client.send(bytes([byte]))
        bench.turn()
        assert received(upstream) is None
    for byte in POST[-6:]:
        client.send(bytes([byte]))
        bench.turn()
    sent = received(upstream)
    assert sent.endswith(b"\r\n\r\nhello")
    got = b""
    for byte in ANSWER:
        upstream.send(bytes([byte]))
        bench.turn()
        got += received(client) or b""
    assert got == ANSWER


def test_pipelined_answers_come_in_order(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"".join(REQUEST.replace(b"/x", b"/%d" % i) for i in range(5)))
    for i in range(5):
        bench.turn()
        assert received(upstream).startswith(b"GET /%d " % i)
        upstream.send(ANSWER.replace(b"hello", b"hell%d" % i))
        bench.turn()
        assert received(client).endswith(b"hell%d" % i)


def test_pipelined_beyond_the_buffer(bench):
    client, upstream = bench.client(), bench.upstream()
    n = 400
    client.send(REQUEST * n)
    for _ in range(n):
        bench.turn()
        assert received(upstream).startswith(b"GET /x ")
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER


def test_refused_pipelined_requests_do_not_recurse(make_bench):
    bench = make_bench(endpoints=((), ()))
    client = bench.client()
    client.send(REQUEST * 1000)
    got = b""
    for _ in range(200):
        bench.turn(10)
        got += received(client) or b""
    assert got.count(b"HTTP/1.1 503") == 1000


def test_both_endpoints_refuse(bench):
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=5)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_endpoint(bench.rows[0][0])["connect_failures"] == 1
    assert not bench.figures.read_endpoint(bench.rows[0][0])["is_admitting"]
    client.send(REQUEST)  # the gates are shut now, at once and for all; but who has no other asks once more, as in the panic to come
    bench.turn(turns=5)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_endpoint(bench.rows[0][0])["attempts"] == 2


def test_refused_connect_goes_to_the_next_pop_with_any_method(bench):
    client, other = bench.client(), bench.upstream(pop=1)
    client.send(POST)
    bench.turn(turns=4)
    assert received(other).endswith(b"\r\n\r\nhello")
    other.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[1])["reasons"] == {"failover": 1}
    assert bench.figures.read_service(bench.service_row)["good"] == 1


def test_a_pop_that_was_drained_since_is_no_fallback(bench):
    client, first, other = bench.client(), bench.upstream(), bench.upstream(pop=1)
    assert bench.ask(client, first)
    bench.pops = ({}, {"is_drained": True})
    bench.publish()
    first.close()
    bench.turn(turns=4)  # its own endpoint refuses now
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert received(other) is None


@pytest.mark.parametrize(("request_", "is_retried"), [(REQUEST, True), (PUT, True), (POST, False)])
def test_reset_without_answer_is_retried_for_idempotent_methods_only(bench, request_, is_retried):
    server = bench.listen()
    client, first = bench.client(), bench.upstream()
    client.send(request_)
    bench.turn()
    assert received(first)
    first.close()
    bench.turn(turns=4)
    if not is_retried:
        assert received(client).startswith(b"HTTP/1.1 502 ")
        assert bench.figures.read_service(bench.service_row)["unsafe"] == 1
        return
    second = bench.accepted(server)  # the same endpoint, on a fresh connection
    assert second.recv(65536).endswith(request_[-4:])
    second.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER


@pytest.mark.parametrize("max_retries", [0, 1, 2])
@pytest.mark.parametrize("is_well", [True, False])
def test_a_connection_that_ended_as_it_was_used_takes_no_try(make_bench, max_retries, is_well):
    """Whoever was kept at this PoP stays, where it is well; where it is not, the try is still there."""
    bench = make_bench(Settings(max_retries=max_retries))
    servers = [bench.listen(0), bench.listen(1)]
    client, pooled = bench.client(), bench.upstream(0)
    assert bench.ask(client, pooled)
    if not is_well:
        servers[0].close()
    pooled.close()
    bench.turn(turns=6)
    if max_retries == 0:
        assert received(client).startswith(b"HTTP/1.1 502 ")
        return
    fresh = bench.accepted(servers[0 if is_well else 1])
    assert fresh.recv(65536).startswith(b"GET /x ")
    fresh.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER


def test_a_body_beyond_the_replay_buffer_is_not_sent_again(bench):
    client, first, second = bench.client(), bench.upstream(), bench.upstream(pop=1)
    client.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 90000)
    while received(first):
        bench.turn()
    first.close()
    bench.turn(turns=4)
    assert received(second) is None
    assert received(client).startswith(b"HTTP/1.1 502 ")


def test_never_retried_after_a_byte_of_the_answer(bench):
    client, first, second = bench.client(), bench.upstream(), bench.upstream(pop=1)
    client.send(REQUEST)
    bench.turn()
    received(first)
    first.send(b"HTTP/1.1 200")
    first.close()
    bench.turn(turns=4)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert received(second) is None


def test_retry_budget(make_bench):
    bench = make_bench(Settings(budget_share=0.0, budget_floor_per_s=2 / 70))
    server = bench.listen()
    outcomes = []
    for _ in range(4):
        client, first = bench.client(), bench.upstream()
        client.send(REQUEST)
        bench.turn()
        received(first)
        first.close()
        bench.turn(turns=4)
        outcomes.append(received(client))
        client.close()
        bench.turn(turns=2)
    assert [outcome is None for outcome in outcomes] == [True, True, False, False], "two in a minute, then none"
    assert outcomes[2].startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_service(bench.service_row)["no_budget"] == 2
    assert bench.accepted(server).recv(65536).startswith(b"GET /x ")


def test_answer_cut_short_is_not_made_whole(bench):
    for framed in (b"Content-Length: 11\r\n\r\nhel", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"):
        client, upstream = bench.client(), bench.upstream()
        client.send(REQUEST)
        bench.turn()
        received(upstream)
        upstream.send(b"HTTP/1.1 200 OK\r\n" + framed)
        bench.turn()
        upstream.close()
        bench.turn()
        got = received(client)
        assert got.endswith(b"hel") and received(client) == b""
        assert b"0\r\n\r\n" not in got


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40000,
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_garbage_from_upstream_is_502_and_the_connection_is_gone(bench, answer):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    received(upstream)
    upstream.send(answer)
    bench.turn(turns=3)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert received(upstream) == b""


def test_more_than_announced_ends_the_upstream_connection_only(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    received(upstream)
    upstream.send(ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsmuggled!")
    bench.turn()
    assert received(client) == ANSWER
    assert received(upstream) == b""


def test_early_answer_with_unread_body_ends_both_sides(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
    bench.turn()
    received(upstream)
    upstream.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 413 ")
    assert received(client) == b"" and received(upstream) == b""


def test_client_that_goes_takes_its_upstream_along(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    assert received(upstream)
    client.close()
    bench.turn(turns=2)
    assert received(upstream) == b""
    assert bench.figures.read_pool(bench.pool_rows[0])["codes"] == {"499": 1}
    assert bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 0


def test_half_close_still_gets_its_answer(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    client.shutdown(socket.SHUT_WR)
    bench.turn()
    assert received(upstream).startswith(b"GET /x ")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    bench.turn(turns=2)
    assert received(client) == b""


def test_truncated_upload_is_not_passed_off_as_whole(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    client.shutdown(socket.SHUT_WR)
    bench.turn(turns=2)
    assert received(upstream).endswith(b"abc") and received(upstream) == b""


def test_timeouts(make_bench):
    bench = make_bench(Settings(first_byte_ms=500, body_progress_ms=300))
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    received(upstream)
    bench.pass_ms(700)
    assert received(client).startswith(b"HTTP/1.1 504 ")
    assert received(upstream) == b""
    client, upstream = bench.client(), bench.upstream()  # a body that stops on its way up
    client.send(POST[:-2])
    bench.turn()
    bench.pass_ms(500)
    assert received(client).startswith(b"HTTP/1.1 408 ")
    client, upstream = bench.client(), bench.upstream()  # and one on its way down
    client.send(REQUEST)
    bench.turn()
    upstream.send(ANSWER[:-2])
    bench.turn()
    bench.pass_ms(500)
    assert received(client).endswith(b"hel") and received(client) == b""


@pytest.fixture
def unreachable():
    """A listener whose queue is full: a connect to it is neither made nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()


def assert_is_connecting_until(bench, client, ms):
    """Neither refused nor blamed before its own time is over; then both."""
    row = bench.rows[0][0]
    bench.pass_ms(ms - 200)
    assert received(client) is None
    assert bench.figures.read_endpoint(row)["is_admitting"] and bench.figures.read_endpoint(row)["connect_failures"] == 0
    bench.pass_ms(400)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_endpoint(row)["connect_failures"] == 1


def test_the_wait_in_a_queue_does_not_end_the_connecting_behind_it(make_bench, unreachable):
    bench = make_bench(Settings(connections_per_endpoint=1, queue_ms=1000, connect_ms=2000), endpoints=((unreachable,), ()))
    first, upstream, second = bench.client(), bench.upstream(), bench.client()
    assert bench.ask(first, upstream)
    second.send(REQUEST)
    bench.pass_ms(900)
    upstream.send(ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    bench.turn(turns=3)
    assert received(first).endswith(b"hello") and received(second) is None
    assert_is_connecting_until(bench, second, 2000)


def test_the_wait_for_a_body_does_not_end_the_connecting_of_its_retry(make_bench, unreachable):
    bench = make_bench(Settings(body_progress_ms=1000, connect_ms=2000), endpoints=((unreachable,), ()))
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, PUT[:-2])
    bench.pass_ms(900)
    upstream.close()
    bench.turn(turns=3)
    assert_is_connecting_until(bench, client, 2000)


def test_a_body_that_stops_after_connecting_is_the_clients_lateness(make_bench):
    bench = make_bench(Settings(body_progress_ms=1000, connect_ms=2000), endpoints=((("127.0.0.1", NOWHERE),), ()))
    server = bench.listen()
    client = bench.client()
    client.send(PUT[:-2])
    bench.turn(turns=3)
    assert bench.accepted(server).recv(65536).endswith(b"hel")
    bench.pass_ms(1200)
    assert received(client).startswith(b"HTTP/1.1 408 ") and bench.causes == {"slow_body": 1}
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0


def test_no_route_is_404_and_the_connection_lives_on(make_bench):
    bench = make_bench(routes=(RouteSpec("shop", 0, hosts=("shop.example",)),))
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST.replace(b"shop.", b"sho."))
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 404 ")
    client.send(REQUEST)
    bench.turn()
    assert received(upstream).startswith(b"GET /x ")
    assert bench.counters.read()["causes"]["no_route"] == 1


def test_jurisdiction_fails_closed(make_bench):
    bench = make_bench(routes=(RouteSpec("none", 0, rules=(RuleSpec(frozenset()),)),))
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 503 ")
    assert received(upstream) is None
    assert bench.counters.read()["causes"]["no_permitted_pop"] == 1


def test_full_endpoint_makes_requests_wait_in_order_then_refuses(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1, queue_per_endpoint=2, queue_ms=400), endpoints=((("127.0.0.1", NOWHERE),), ()))
    upstream = bench.upstream()
    clients = [bench.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.send(REQUEST.replace(b"/x", b"/%d" % number))
        bench.turn()
    assert received(upstream).startswith(b"GET /0 ")
    assert received(clients[3]).startswith(b"HTTP/1.1 503 ")
    assert bench.counters.read()["causes"]["queue_full"] == 1
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(clients[0]) == ANSWER
    assert received(upstream).startswith(b"GET /1 ")
    bench.pass_ms(600)
    assert received(clients[2]).startswith(b"HTTP/1.1 503 ")
    assert bench.counters.read()["causes"]["queue_timeout"] == 1
    upstream.send(ANSWER)
    bench.turn()
    assert received(clients[1]) == ANSWER


def test_table_swap_leaves_the_exchange_alone(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    received(upstream)
    assert bench.snapshots.publish(bench.table(generation=2), bench.locator, bench.compiled) == 1
    bench.turn()
    assert bench.snapshots.reclaim() == 1, "held by the exchange"
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert bench.snapshots.reclaim() == 0


@pytest.mark.parametrize("grants", range(12))
@pytest.mark.parametrize("is_answered", [False, True])
def test_out_of_memory_anywhere_ends_no_more_than_the_exchange(bench, grants, is_answered):
    from routing_core import _memory

    client, upstream = bench.client(), bench.upstream()
    try:
        if is_answered:
            client.send(REQUEST)
            bench.turn()
        _memory.refuse(True, grants)
        (upstream if is_answered else client).send(ANSWER if is_answered else REQUEST)
        bench.turn(turns=3)
    finally:
        _memory.refuse(False)
    client.close()
    bench.turn(turns=2)
    again, fresh = bench.client(), bench.upstream()
    again.send(REQUEST)
    bench.turn(turns=2)
    received(fresh)
    fresh.send(ANSWER)
    bench.turn(turns=2)
    assert (received(again) or b"").startswith(b"HTTP/1.1 ")
    assert bench.counters.read()["figures"]["bad_transitions"] == 0
