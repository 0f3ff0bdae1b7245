"""Places are of the whole gateway; what a worker that hangs keeps of them is nobody's, until it turns again."""

import socket
from functools import partial

import pytest

from gateway.dataplane import CompiledSettings, Settings
from tests.support.dataplane import ANSWER, REQUEST, received
from tests.unit.gateway.dataplane.downstream.test_accept import connect, listening
from tests.unit.gateway.dataplane.downstream.test_holders import open_ones
from tests.unit.gateway.dataplane.downstream.test_room import half_head
from tests.unit.gateway.dataplane.shared.test_calls import ONE_POP, answers, arrived, asks, crew_of

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


def test_what_a_worker_that_hangs_was_called_for_is_no_room(make_bench):
    """It was to close one for a newcomer, and hangs: where the limit is lowered then, the others have as many as may be."""
    bench = make_bench(Settings(connections_per_listener=4), n_workers=2, listeners=[listening()])
    bench.turn()
    busy = half_head(bench, "192.0.2.1", 0)
    stuck = [bench.client(f"192.0.2.{n}", worker=1) for n in (2, 3, 4)]
    new = connect(bench.ends[0])
    bench.ends.append(new)
    bench.turn(workers=[0])
    hang(bench)
    assert received(new) is received(busy) is None and open_ones(stuck) == [0, 1, 2]
    bench.compiled = CompiledSettings(Settings(connections_per_listener=1), 2)
    bench.snapshots.publish(bench.table(), bench.locator, bench.compiled)
    bench.turn(100, turns=2, workers=[0])
    assert received(new) == b"" and received(busy) is None and bench.figures_read["evicted"] == 1


def asks_here(bench, client, upstream):
    """While the others stand still: what the upstream got."""
    client.send(REQUEST)
    bench.turn(turns=2, workers=[0])
    return received(upstream)


def in_flight(bench):
    return bench.figures.read_pool(bench.pool_rows[0])["in_flight"]


def test_what_a_worker_that_hangs_has_in_flight_fills_no_endpoint(make_bench):
    """`max_in_flight`: the one request that may be is stuck, and is back when its worker is."""
    bench = make_bench(Settings(queue_ms=60_000), endpoints=ONE_POP, n_workers=2, max_in_flight=1)
    far, near = bench.upstream(worker=1), bench.upstream()
    stuck, other, late = bench.client(worker=1), bench.client(), bench.client()
    bench.ask(stuck, far)
    assert bench.ask(other, near) is None, "it waits"
    hang(bench, ms=1500)
    assert received(near) is None, "it may only be slow"
    hang(bench)
    assert received(near) is not None and in_flight(bench) == 1
    bench.turn()
    assert in_flight(bench) == 2, "both, as there are"
    near.send(ANSWER)
    bench.turn(turns=2)
    assert received(other) == ANSWER and in_flight(bench) == 1
    assert bench.ask(late, near) is None, "not more than may be"
    far.send(ANSWER)
    bench.pass_ms(200)
    assert received(stuck) == ANSWER and received(near) is not None
    near.send(ANSWER)
    bench.turn(turns=2)
    assert received(late) == ANSWER
    bench.assert_at_rest()


@pytest.mark.parametrize("of", ["pool", "pop"])
def test_what_a_worker_that_hangs_has_in_flight_fills_no_capacity(make_bench, of):
    limits = {"high": 2} if of == "pool" else {"pops": ({"high": 2}, {})}
    bench = make_bench(n_workers=2, **limits)
    for _ in range(2):
        bench.ask(bench.client(worker=1), bench.upstream(worker=1))
    near, spilled = bench.upstream(), bench.upstream(pop=1)
    assert bench.ask(bench.client(), spilled) is not None, "to the next PoP"
    hang(bench)
    assert asks_here(bench, bench.client(), near) is not None, "there is room"
    bench.turn()
    bench.upstream()
    assert bench.ask(bench.client(), bench.upstream(pop=1)) is not None, "and none as it turns again"


@pytest.mark.parametrize(("what", "cap"), [("connections", {"client_connections": 2}), ("exchanges", {"client_exchanges": 2})])
def test_what_a_client_has_at_a_worker_that_hangs_is_nothing_of_its_cap(make_bench, what, cap):
    bench, address = make_bench(Settings(**cap), n_workers=2), "192.0.2.1"

    def more(worker=0):
        """Whether it may have one more."""
        upstream = bench.upstream(worker=worker)
        try:
            client = bench.client(address, worker=worker)
        except OSError:
            return False
        sent = asks_here(bench, client, upstream) if worker == 0 else bench.ask(client, upstream)
        if sent is None:
            return False
        kept.append((client, upstream))
        return True

    kept = []
    assert [more(1), more(1), more(0)] == [True, True, False]
    hang(bench)
    assert [more(0), more(0), more(0)] == [True, True, False], "as many as it may have"
    bench.turn()
    assert not more(0) and not more(1), "all are counted again"
    for client, upstream in kept[:3]:
        upstream.send(ANSWER)
        bench.turn()
        client.close()
    bench.turn(turns=2)
    assert [more(1), more(0)] == [True, False], "once each"


def test_what_was_waited_for_at_a_worker_that_hangs_is_no_backlog(make_bench):
    """What control judges PoPs by: it reads what the decision reads. Rows are another matter."""
    bench = make_bench(n_workers=2)
    bench.ask(bench.client(worker=1), bench.upstream(worker=1))
    figures, pool, pop = bench.figures, bench.pool_rows[0], bench.pop_rows[0]

    def seen():
        times = figures.read_pool_times(pool)
        of_endpoint = figures.read_endpoint(bench.rows[0][0])
        return (
            times[0],
            times[5],
            figures.read_pop(pop),
            sum(figures.read_waiting(pool)),
            of_endpoint["connections"],
            of_endpoint["awaiting"],
        )

    assert seen() == (1, 1, 1, 1, 1, 1)
    counted = figures.read_pool_outcomes(pool)
    hang(bench)
    assert seen() == (0, 0, 0, 0, 0, 0)
    assert figures.read_pool_outcomes(pool) == counted, "what it has done is done"
    assert figures.in_use(pool) == figures.in_use(pop) == 1 and figures.in_use(bench.rows[0][0]) == 2
    bench.turn()
    assert seen() == (1, 1, 1, 1, 1, 1)


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


def test_a_connect_that_fails_at_once_gives_its_place_back(make_bench, tmp_path):
    """Without a server a unix socket refuses before connect() returns."""
    path = str(tmp_path / "socket")
    bench = make_bench(Settings(connections_per_endpoint=1), endpoints=(((path, 0),), ()))
    for _ in range(3):
        refused = bench.client()
        refused.send(REQUEST)
        bench.turn()
        assert received(refused).startswith(b"HTTP/1.1 502 ")
        bench.forgive()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        client = bench.client()
        client.send(REQUEST)
        bench.turn()
        with server.accept()[0] as end:
            assert received(end).startswith(b"GET /x ")
            end.send(ANSWER)
            bench.turn()
            assert received(client) == ANSWER


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
