"""Where a request goes when its pool has nobody for it."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

DRAINED = {"is_drained": True}


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
