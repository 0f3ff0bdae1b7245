"""Places are of the whole gateway; what a worker that hangs keeps of them is nobody's, until it turns again."""

from functools import partial

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received
from tests.unit.gateway.dataplane.test_accept import connect, listening
from tests.unit.gateway.dataplane.test_calls import answers, arrived, asks, crew_of
from tests.unit.gateway.dataplane.test_holders import open_ones

UPGRADE = b"GET /x HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def make_crew(make_bench):
    return partial(crew_of, make_bench)


def hang(bench, others=(0,), ms=2100):
    """All workers but these stand still, for longer than one may be silent."""
    for _ in range(ms // 100):
        bench.turn(100, workers=others)


def test_connections_of_a_worker_that_hangs_are_nobodys(make_crew):
    crew = make_crew(connections_per_endpoint=1, queue_ms=60_000)
    stuck = asks(crew, 1)
    far = arrived(crew)
    waits = asks(crew, 0)
    hang(crew, ms=1500)
    assert arrived(crew) is None, "it may only be slow"
    hang(crew)
    end = arrived(crew)
    assert end is not None
    more = crew.client()
    more.send(REQUEST)
    crew.turn(turns=2, workers=[0])
    assert arrived(crew) is None, "not more of them than may be"
    end.send(ANSWER)
    crew.turn(turns=4, workers=[0])
    assert received(waits) == ANSWER and received(end).startswith(b"GET /x ")
    crew.turn()
    answers(crew, far)
    assert received(stuck) == ANSWER
    end.send(ANSWER)
    crew.turn(100, turns=4)
    assert received(more) == ANSWER
    crew.pass_ms(300)
    assert crew.figures.read_endpoint(crew.rows[0][0])["connections"] <= 1, "there are as many as may be again"


def test_tunnels_of_a_worker_that_hangs_free_no_place(make_crew):
    crew = make_crew(connections_per_endpoint=1)
    tunnel = crew.client(worker=1)
    tunnel.send(UPGRADE)
    crew.turn(turns=2)
    arrived(crew).send(SWITCHES)
    crew.turn(turns=2)
    assert received(tunnel).startswith(b"HTTP/1.1 101 ")
    hang(crew)
    first, second = crew.client(), crew.client()
    for client in (first, second):
        client.send(REQUEST)
    crew.turn(turns=2, workers=[0])
    assert arrived(crew) is not None and arrived(crew) is None


def test_who_waits_at_a_worker_that_hangs_takes_no_place_in_the_queue(make_crew):
    crew = make_crew(connections_per_endpoint=1, queue_per_endpoint=1, queue_ms=60_000)
    asks(crew, 0)
    assert arrived(crew) is not None
    asks(crew, 1)
    refused = asks(crew, 0)
    assert received(refused).startswith(b"HTTP/1.1 503 ")
    hang(crew)
    waits, refused = crew.client(), crew.client()
    for client in (waits, refused):
        client.send(REQUEST)
        crew.turn(turns=2, workers=[0])
    assert received(waits) is None and received(refused).startswith(b"HTTP/1.1 503 ")


def test_clients_of_a_worker_that_hangs_are_not_counted_at_the_listener(make_bench):
    bench = make_bench(Settings(connections_per_listener=4), n_workers=2, listeners=[listening()])
    bench.turn()
    stuck = [bench.client(f"192.0.2.{n}", worker=1) for n in range(3)]
    hang(bench)
    new = []
    for _ in range(5):
        new.append(connect(bench.ends[0]))
        bench.ends.append(new[-1])
        bench.turn(turns=2, workers=[0])
    assert len(open_ones(new)) == 4 and bench.figures_read["evicted"] == 1
    bench.turn(100, turns=2)
    bench.pass_ms(300)
    assert sum(bench.counters.read()["n_open"]) <= 4 and stuck, "there are as many as may be again"


def test_whoever_went_on_just_now_judges_nobody(make_crew):
    """All were stopped: the first to turn has heard of no other yet."""
    crew = make_crew(connections_per_endpoint=1, queue_ms=60_000)
    asks(crew, 1)
    assert arrived(crew) is not None
    asks(crew, 0)
    before_us = crew.now_us
    crew.now_us += 10_000_000
    crew.workers[0].turn(crew.now_us, before_us)
    crew.workers[0].turn(crew.now_us + 200_000, crew.now_us + 100_000)
    assert arrived(crew) is None


@pytest.mark.parametrize("n_idle", [0, 3])
def test_a_lower_limit_of_an_endpoint_holds_for_what_is_open(make_crew, n_idle):
    crew = make_crew(connections_per_endpoint=6)
    clients = [asks(crew, n % 2) for n in range(6)]
    ends = [arrived(crew) for _ in clients]
    for end in ends[:n_idle]:
        end.send(ANSWER)
    crew.turn(turns=4)
    crew.reload(Settings(connections_per_endpoint=2))
    crew.pass_ms(200)
    assert crew.figures.read_endpoint(crew.rows[0][0])["connections"] == max(6 - n_idle, 2), "idle ones go at once"
    for end in ends[n_idle:]:
        end.send(ANSWER)
        crew.turn(turns=4)
    assert [received(client) for client in clients] == [ANSWER] * 6
    assert crew.figures.read_endpoint(crew.rows[0][0])["connections"] == 2, "busy ones once they have answered"
    assert sum(received(end) is None for end in ends) == 2


def test_a_lower_limit_of_a_listener_holds_for_what_is_open(make_bench):
    bench = make_bench(Settings(connections_per_listener=8), n_workers=2)
    upstreams = [bench.upstream(worker=n % 2) for n in range(4)]
    busy = [bench.client(f"192.0.2.{n}", worker=n % 2) for n in range(4)]
    for client in busy:
        client.send(REQUEST)
    bench.turn(turns=2)
    idle = [bench.client(f"192.0.2.{n}", worker=n % 2) for n in range(4, 8)]
    bench.reload(Settings(connections_per_listener=2))
    bench.pass_ms(200)
    assert open_ones(idle) == [] and open_ones(busy) == [0, 1, 2, 3], "idle ones go at once"
    ended = []
    for end in upstreams:
        assert received(end).startswith(b"GET /x ")
        end.send(ANSWER)
        bench.turn(turns=4)
        client, answer = next((client, answer) for client in busy if (answer := received(client)))
        busy.remove(client)
        ended.append(b"connection: close" in answer.lower())
        assert received(client) == (b"" if ended[-1] else None) and b"hello" in answer
        if ended[-1]:
            client.close()
            bench.turn(turns=2)
    assert ended == [True, True, False, False], "busy ones once they have answered, which says so"
