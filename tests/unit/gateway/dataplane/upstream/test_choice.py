"""Which endpoint of a pool is asked where some have all the connections that they may have, and where those go who wait there."""

import contextlib

import pytest

from gateway.dataplane import Settings
from routing_core._testing import observe
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

TWO = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ())
ONE_EACH = Settings(connections_per_endpoint=1, queue_ms=10_000)


def differ(bench):
    """The first is the quicker one by far."""
    for row, us in zip(bench.rows[0], (1000, 100_000), strict=True):
        for worker in range(len(bench.workers)):
            observe(bench.figures, row, worker, us, bench.now_us // 1000)


def ask(bench, n, worker=0):
    clients = [bench.client(worker=worker) for _ in range(n)]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    return clients


def serve(bench, upstream, server, clients, ms=2000):
    """An endpoint of one connection, which may end and be made anew, answers whatever comes; returns how many clients got that in time."""
    server.settimeout(0)
    ends = [upstream]
    for _ in range(ms // 10):
        bench.turn(10)
        with contextlib.suppress(BlockingIOError):
            ends.append(server.accept()[0])
            ends[-1].setblocking(False)
            bench.ends.append(ends[-1])
        for end in ends:
            if received(end):
                end.send(ANSWER)
    bench.turn(turns=2)
    return [received(client) for client in clients].count(ANSWER)


def test_with_all_connections_of_the_quicker_one_taken_the_other_is_asked(make_bench):
    bench = make_bench(ONE_EACH, endpoints=TWO)
    quick, slow = bench.upstream(0, 0), bench.upstream(0, 1)
    differ(bench)
    ask(bench, 2)
    assert received(quick) and received(slow)


def test_a_connection_that_lies_idle_is_none_that_is_taken(make_bench):
    bench = make_bench(ONE_EACH, endpoints=TWO, n_workers=2)
    quick = bench.upstream(0, 0)
    bench.upstream(0, 1, worker=1)
    differ(bench)
    ask(bench, 1, worker=1)  # of the other worker's, which gives it up
    bench.turn(turns=3)
    assert received(quick) == b""


@pytest.mark.parametrize("n_workers", [1, 2])
def test_who_waits_goes_where_there_is_room_again(make_bench, n_workers):
    """Both are taken and have a line; one comes free, the other does not."""
    bench = make_bench(ONE_EACH, endpoints=TWO, n_workers=n_workers)
    server = bench.listen()
    free, taken = bench.upstream(0, 0), bench.upstream(0, 1)
    first = ask(bench, 2)
    assert received(free) and received(taken)
    clients = [client for worker in range(n_workers) for client in ask(bench, 8, worker)]
    assert {bench.figures.read_endpoint(row)["in_flight"] for row in bench.rows[0]} == {1}
    free.send(ANSWER)
    n_served = serve(bench, free, server, [*first, *clients])
    assert n_served == 1 + len(clients)
    assert received(taken) is None and bench.causes == {}


def test_they_keep_their_order(make_bench):
    bench = make_bench(ONE_EACH, endpoints=TWO)
    free, taken = bench.upstream(0, 0), bench.upstream(0, 1)
    ask(bench, 2)
    assert received(free) and received(taken)
    clients = []
    for _ in range(6):
        bench.turn(5)
        clients += ask(bench, 1)
    answered = []
    free.send(ANSWER)
    for _ in range(100):
        bench.turn(10)
        answered += [client for client in clients if received(client)]
        if received(free):
            free.send(ANSWER)
    assert len(answered) == len(clients)
    assert answered.index(clients[0]) <= 1 and answered.index(clients[-1]) >= 4, [clients.index(client) for client in answered]


def test_those_who_wait_in_full_lines_look_round_by_turns(make_bench):
    """A look at all of a pool costs what it is large: a tick has so many, and goes on next time where it ended."""
    n, per_look = 20, 40 * 32  # endpoints by workers
    bench = make_bench(ONE_EACH, endpoints=(tuple((f"127.0.1.{i}", NOWHERE) for i in range(2 * n)), ()), n_workers=32)
    for row in bench.rows[0][n:]:
        bench.figures.set_endpoint(row, state="shut")
    for number in range(n):
        bench.upstream(0, number)
    ask(bench, 2 * n)
    assert bench.figures.read_pool(bench.pool_rows[0])["waiting"] == 2 * n
    for row in bench.rows[0][n:]:
        bench.figures.set_endpoint(row, state="admitting")
    others = [bench.upstream(0, number) for number in range(n, 2 * n)]
    gone = []
    for _ in range(2):
        bench.turn(100, workers=[0])
        bench.turn(turns=2, workers=[0])  # whom the tick has woken
        gone.append(sum(received(end) is not None for end in others))
    assert gone == [-(-20_000 // per_look), n - -(-20_000 // per_look)]


def asking(path):
    return REQUEST.replace(b"/x", path)


def two_that_are_full(make_bench):
    """The one connection of each endpoint is taken. Returns what asks at one of them, by a path."""
    bench = make_bench(ONE_EACH, endpoints=TWO)
    ends = bench.upstream(0, 0), bench.upstream(0, 1)
    rows = bench.rows[0]

    def ask_at(number, path):
        bench.figures.set_endpoint(rows[1 - number], state="shut")
        client = bench.client()
        client.send(asking(path))
        bench.turn()
        bench.figures.set_endpoint(rows[1 - number], state="admitting")
        return client

    for number, end in enumerate(ends):
        ask_at(number, b"/first")
        assert received(end).startswith(b"GET /first ")
    return bench, ends, ask_at


def answer(bench, end):
    """What it is asked next."""
    end.send(ANSWER)
    bench.turn(turns=2)
    return received(end).split()[1]


@pytest.mark.parametrize("n_ticks", [1, 2, 3])
def test_who_would_be_as_late_elsewhere_stays(make_bench, n_ticks):
    """Two wait here and one there: with one more there they would be two."""
    bench, (there, here), ask_at = two_that_are_full(make_bench)
    ask_at(1, b"/here")
    ask_at(1, b"/behind")
    ask_at(0, b"/there")
    bench.pass_ms(100 * n_ticks)
    bench.turn()
    assert answer(bench, here) == b"/here"
    assert answer(bench, there) == b"/there"


def test_who_comes_from_another_queue_stands_where_its_wait_puts_it(make_bench):
    """Behind who has waited for longer there, before who came later."""
    bench, (here, there), ask_at = two_that_are_full(make_bench)
    for path, number in ((b"/longest", 1), (b"/moves", 0), (b"/latest", 1)):
        ask_at(number, path)
        bench.turn(10)
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    bench.pass_ms(200)
    assert [answer(bench, there) for _ in range(3)] == [b"/longest", b"/moves", b"/latest"]
    here.send(ANSWER)
    bench.turn()


@pytest.mark.parametrize("waits_at", ["sibling", "sibling that shuts", "same"])
def test_who_waits_goes_before_nobody_who_has_waited_longer_there(make_bench, waits_at):
    """The place that came free is for the other worker's, who has not turned yet. Before, this one's took it with its next tick."""
    bench = make_bench(Settings(connections_per_endpoint=1, queue_ms=1000), endpoints=TWO, n_workers=2)
    server = bench.listen(0, 1)
    ends = [bench.upstream(0, 0), bench.upstream(0, 1)]
    ask(bench, 2)
    assert all(received(end) for end in ends)
    clients = []
    for worker, shut in ((1, 0), (0, 0 if waits_at == "same" else 1)):
        bench.figures.set_endpoint(bench.rows[0][shut], state="shut")
        clients.append(bench.client(worker=worker))
        clients[-1].send(REQUEST)
        bench.turn(turns=2, workers=[worker])
        bench.figures.set_endpoint(bench.rows[0][shut], state="admitting")
        bench.pass_ms(200 * worker)  # longer than a worker's own come first by
    if waits_at == "sibling that shuts":
        bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    ends[1].send(ANSWER)
    bench.turn(workers=[0])
    for _ in range(4):  # it is not silent yet: another one's place would be lent
        bench.turn(60, workers=[0])
    assert bench.figures.read_endpoint(bench.rows[0][1])["in_flight"] == 0
    bench.turn(workers=[1])
    bench.turn(100)
    assert bench.figures.read_endpoint(bench.rows[0][1])["in_flight"] == 1
    assert serve(bench, ends[1], server, clients[:1], 1000) == 1
