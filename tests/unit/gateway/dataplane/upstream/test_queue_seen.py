"""Who waits in an endpoint's queue: where that is seen, and where it goes."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

ONE_POP = ((("127.0.0.1", NOWHERE),), ())


def assert_in_pools(bench, here, there=(0, 0)):
    """In flight and waiting, of each PoP's pool."""
    seen = [bench.figures.read_pool(row) for row in bench.pool_rows]
    assert [(one["in_flight"], one["waiting"]) for one in seen] == [here, there]
    assert [bench.figures.read_pop(row) for row in bench.pop_rows] == [here[0], there[0]]


def test_who_waits_in_a_queue_is_in_flight_and_waits(make_bench):
    bench = make_bench(endpoints=ONE_POP, max_in_flight=1)
    clients, upstream = [bench.client() for _ in range(3)], bench.upstream()
    assert bench.ask(clients[0], upstream)
    for client in clients[1:]:
        client.send(REQUEST)
    bench.turn()
    assert_in_pools(bench, (3, 3))
    assert bench.figures.in_use(bench.rows[0][0]) == 1 + 1 + 2, "in flight, its connection, and who waits: the row is nobody else's"
    clients[1].close()
    bench.turn()
    assert_in_pools(bench, (2, 2))
    bench.turn(400)
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(upstream)
    assert_in_pools(bench, (1, 1))
    bench.turn(100)
    upstream.send(ANSWER)
    bench.turn()
    seen = bench.figures.read_pool(bench.pool_rows[0])
    assert seen["first_byte_us"] == 400_000 + 500_000  # the wait in the queue is the PoP's time
    assert bench.figures.read_endpoint(bench.rows[0][0])["first_byte_us"] == 400_000 + 100_000  # and not the endpoint's
    bench.assert_at_rest()


def test_a_wait_that_is_over_goes_to_the_next_pop_and_is_no_time_of_that_one(make_bench):
    bench = make_bench(Settings(queue_ms=500), max_in_flight=1)
    here, there = bench.upstream(0), bench.upstream(1)
    clients = [bench.client() for _ in range(3)]
    assert bench.ask(clients[0], here)
    clients[1].send(REQUEST)
    bench.turn(200)
    assert_in_pools(bench, (2, 2))
    bench.pass_ms(600)
    assert received(there).startswith(b"GET /x ")
    assert_in_pools(bench, (1, 1), (1, 1))
    clients[2].send(REQUEST)  # there it waits as long again
    bench.pass_ms(700)
    assert_in_pools(bench, (1, 1), (2, 2))
    bench.pass_ms(500)
    assert received(clients[2]).startswith(b"HTTP/1.1 503 ") and bench.causes == {"queue_timeout": 1}
    there.send(ANSWER)
    bench.turn()
    assert received(clients[1]) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[1])["first_byte_us"] < 1_500_000
    here.send(ANSWER)
    bench.turn()
    bench.assert_at_rest()


def test_those_who_wait_spread_over_the_endpoints_queues(make_bench):
    bench = make_bench(endpoints=((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ()), max_in_flight=1)
    upstreams = [bench.upstream(0, number) for number in range(2)]
    clients = [bench.client() for _ in range(6)]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    for _ in range(3):  # each endpoint has its half to the end
        for upstream in upstreams:
            assert received(upstream)
            upstream.send(ANSWER)
        bench.turn(turns=2)
    assert [received(client) for client in clients] == [ANSWER] * 6


@pytest.mark.parametrize("max_queue", [0, 1])
def test_what_lies_idle_at_another_worker_is_no_queue(make_bench, max_queue):
    """Two connections, both idle at the first worker; one request after another at the second."""
    settings = Settings(connections_per_endpoint=2, queue_per_endpoint=max_queue)
    bench = make_bench(settings, endpoints=ONE_POP, n_workers=2)
    server = bench.listen()
    idle, client = [bench.upstream(worker=0) for _ in range(2)], bench.client(worker=1)
    client.send(REQUEST)
    bench.turn(turns=4)
    upstream = bench.accepted(server)
    assert sorted(received(one) is None for one in idle) == [False, True]  # one of them went for it
    assert upstream.recv(65536).startswith(b"GET /x ")
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER and bench.causes == {}


def test_but_with_all_in_use_none_may_wait(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1, queue_per_endpoint=0), endpoints=ONE_POP, n_workers=2)
    first, client, upstream = bench.client(worker=0), bench.client(worker=1), bench.upstream(worker=0)
    assert bench.ask(first, upstream)
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 503 ") and bench.causes == {"queue_full": 1}


def test_nor_where_the_endpoint_is_at_its_limit_and_has_idle_ones(make_bench):
    bench = make_bench(Settings(queue_per_endpoint=0), endpoints=ONE_POP, n_workers=2, max_in_flight=1)
    first, client, idle, upstream = bench.client(), bench.client(worker=1), bench.upstream(worker=1), bench.upstream()
    assert bench.ask(first, upstream)
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 503 ") and received(idle) is None
