"""Where a request goes when its pool has nobody for it."""

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

DRAINED = {"is_drained": True}
ALONE = ((("127.0.0.1", NOWHERE),), ())
TWO = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ())


def answered(bench, client, upstream):
    assert upstream.recv(65536).startswith(b"GET /x ")
    upstream.send(ANSWER)
    bench.turn(turns=2)
    return received(client)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_came_up_since_the_decision_is_found_by_another(bench, is_there):
    """nyc was down when the request was decided for fra, so it is no fallback. What is down now is no panic's."""
    bench.figures.set_pool(bench.pool_rows[1], admit=0, availability=0)
    server, client, here = bench.listen(1), bench.client(), bench.upstream(0)
    assert bench.ask(client, here)
    if is_there:
        bench.figures.set_pool(bench.pool_rows[1], admit=1, availability=1)
    here.close()
    bench.turn(turns=6)  # its endpoint refuses
    if is_there:
        assert answered(bench, client, bench.accepted(server)) == ANSWER
        assert bench.figures.read_pool(bench.pool_rows[1])["reasons"] == {"failover": 1}
    else:
        assert received(client).startswith(b"HTTP/1.1 502 ")
        assert bench.figures.read_pool(bench.pool_rows[1])["attempts"] == 0


def test_what_has_a_little_left_is_asked_before_a_request_is_lost(bench):
    """Too little for a decision of its own, so it is no fallback; but its endpoint admits."""
    bench.figures.set_pool(bench.pool_rows[1], admit=0.3, availability=0.3, answering=1)
    server, client = bench.listen(1), bench.client()
    client.send(REQUEST)
    bench.turn(turns=6)
    assert answered(bench, client, bench.accepted(server)) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[1])["reasons"] == {"failover": 1}


def test_in_a_panic_all_begin_again_with_whoever_there_is(make_bench):
    """Everybody has been left out by then."""
    bench = make_bench()
    for row in bench.pool_rows:
        bench.figures.set_pool(row, admit=0, availability=0, answering=1)
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=3)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert sum(bench.figures.read_endpoint(row)["attempts"] for rows in bench.rows for row in rows) == 2
    bench.assert_at_rest()


@pytest.mark.parametrize("n_pops", [1, 2])
def test_a_retry_leaves_a_pop_that_was_drained_since(make_bench, n_pops):
    bench = make_bench(endpoints=((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), (("127.0.0.1", NOWHERE),) * (n_pops - 1)))
    ours, there = [bench.upstream(0, number) for number in range(2)], bench.listen(1) if n_pops == 2 else None
    client = bench.client()
    client.send(REQUEST)
    bench.turn()
    has_it, other = sorted(ours, key=lambda upstream: received(upstream) is None)
    bench.pops = (DRAINED, {})
    bench.publish()
    has_it.close()
    bench.turn(turns=4)
    assert received(other) is None
    if there is not None:
        assert answered(bench, client, bench.accepted(there)) == ANSWER
    else:
        assert received(client).startswith(b"HTTP/1.1 502 ")


def test_who_waits_in_a_queue_leaves_a_pop_that_was_drained_since(make_bench):
    bench = make_bench(Settings(queue_ms=5000, connections_per_endpoint=4), max_in_flight=1)
    here, there = bench.upstream(0), bench.upstream(1)
    clients = [bench.client() for _ in range(3)]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    assert received(here) and received(there) is None
    bench.pops = (DRAINED, {})
    bench.publish()
    bench.pass_ms(200)  # a tick
    for client in clients[1:]:
        assert answered(bench, client, there) == ANSWER
        bench.turn(turns=2)
    here.send(ANSWER)
    bench.turn()
    assert received(clients[0]) == ANSWER and received(here) is None
    bench.assert_at_rest()


def test_a_line_names_no_endpoint_of_a_table_that_is_gone(make_bench):
    """Sent to one, then to the one that replaced it, then in the queue of a third."""
    bench = make_bench(Settings(log_share=1.0, queue_ms=1000), endpoints=((("127.0.0.1", NOWHERE),), ()), max_in_flight=1)
    client, other = bench.client(), bench.client()
    first = bench.listen()
    client.send(REQUEST)
    bench.turn(turns=2)
    end = bench.accepted(first)
    assert end.recv(65536).startswith(b"GET /x ")
    bench.rows[0][0] = bench.figures.acquire("endpoint")
    second = bench.listen()
    end.close()
    bench.turn(turns=3)
    end = bench.accepted(second)
    assert end.recv(65536).startswith(b"GET /x ")
    bench.rows[0][0] = bench.figures.acquire("endpoint")
    third = bench.listen()
    other.send(REQUEST)
    bench.turn(turns=2)
    assert bench.accepted(third).recv(65536).startswith(b"GET /x ")
    end.close()
    bench.turn(turns=3)
    bench.snapshots.reclaim()
    bench.pass_ms(1200)
    assert received(client).startswith(b"HTTP/1.1 503 ") and bench.causes == {"queue_timeout": 1}
    (record,) = bench.worker.read_log()
    assert record["endpoint"] is None


def test_nor_forgets_one_that_is_still_there(make_bench):
    bench = make_bench(Settings(log_share=1.0, queue_ms=500), endpoints=TWO, max_in_flight=1)
    here, _ = bench.upstream(0, 0), bench.upstream(0, 1)
    client = bench.client()
    bench.figures.set_endpoint(bench.rows[0][1], state="shut")
    assert bench.ask(client, here)
    bench.figures.set_endpoint(bench.rows[0][1], state="admitting")
    other = bench.client()
    other.send(REQUEST)
    bench.turn()
    here.close()  # the other one is busy: it waits there
    bench.turn(turns=3)
    bench.publish()
    bench.pass_ms(700)
    assert received(client).startswith(b"HTTP/1.1 503 ")
    (record,) = bench.worker.read_log()
    assert record["endpoint"].startswith("127.0.0.1:")


BOTH = ("shop", "store")


def in_flight(bench):
    """Of the near pool of each service."""
    return [bench.figures.read_pool(rows[0])["in_flight"] for _, rows in bench.services.values()]


@pytest.mark.parametrize("apart_ms", [0, 1])
def test_newer_tables_draw_nobody_of_a_split_anew_while_its_service_has_a_share(make_bench, apart_ms):
    routes = (RouteSpec("all", 0, split=((0, 1), (1, 1))),)
    bench = make_bench(Settings(queue_ms=10_000), services=BOTH, routes=routes, endpoints=ALONE, max_in_flight=1)
    has_it, clients = bench.upstream(), [bench.client() for _ in range(16)]
    for client in clients:
        client.send(REQUEST)
        bench.turn(apart_ms)
    assert received(has_it)
    before = in_flight(bench)
    assert sum(before) == 16 and min(before) > 0
    for _ in range(5):
        bench.publish()
        bench.pass_ms(200)
    assert in_flight(bench) == before
    bench.routes = (RouteSpec("all", 0, split=((0, 0), (1, 1))),)
    bench.publish()
    bench.pass_ms(200)
    assert in_flight(bench)[1] >= 15, "all but the one that is not in a line"


def test_who_waits_while_its_route_is_refused_goes_nowhere(make_bench):
    """As a new request would: the route's rules are no longer known."""
    bench = make_bench(Settings(queue_ms=10_000), endpoints=ALONE, max_in_flight=1)
    here, first, second = bench.upstream(), bench.client(), bench.client()
    assert bench.ask(first, here)
    second.send(REQUEST)
    bench.turn()
    bench.routes = (RouteSpec("all", None), RouteSpec("wide", 0))
    bench.publish()
    bench.pass_ms(200)
    here.send(ANSWER)
    bench.turn(turns=3)
    assert received(first) == ANSWER, "what has gone up ends there"
    assert received(second).startswith(b"HTTP/1.1 500 ") and received(here) is None
    assert bench.causes == {"route_refused": 1}
    bench.assert_at_rest()


def test_tables_that_go_on_changing_make_no_wait_longer(make_bench):
    """At most one in each PoP that it was decided for."""
    bench = make_bench(Settings(queue_ms=1000), max_in_flight=1)
    clients = []
    for pop, admit in ((1, 0), (0, 1)):
        bench.figures.set_pool(bench.pool_rows[0], admit=admit, availability=admit)
        clients.append(bench.client())
        assert bench.ask(clients[-1], bench.upstream(pop))
    client = bench.client()
    client.send(REQUEST)
    for _ in range(35):
        bench.publish()
        bench.pass_ms(100)
    assert received(client).startswith(b"HTTP/1.1 503 ") and bench.causes == {"queue_timeout": 1}
