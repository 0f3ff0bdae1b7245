"""Who waits in an endpoint's line, and goes: in its order, and past who may not."""

import threading
import time

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

TWO = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ())
ONE_EACH = Settings(connections_per_endpoint=1, queue_ms=10_000, max_retries=2)


def ask(bench, n=1):
    clients = [bench.client() for _ in range(n)]
    for client in clients:
        client.send(REQUEST)
        bench.turn(after_ms=1)  # who waits at two endpoints since one millisecond is before nobody
    return clients


def behind_one_who_was_refused(make_bench, settings=ONE_EACH, **limits):
    """The first of an endpoint's line has met the other's refusal, and so many wait behind it."""
    bench = make_bench(settings, endpoints=TWO, **limits)
    taken = bench.upstream(0, 0)
    bench.figures.set_endpoint(bench.rows[0][1], state="shut")
    ask(bench)
    assert received(taken)
    bench.figures.set_endpoint(bench.rows[0][1], state="admitting")
    first = ask(bench)
    bench.turn(turns=3)
    assert bench.figures.read_endpoint(bench.rows[0][1])["connect_failures"] == 1
    others = ask(bench, 3)
    server = bench.listen(0, 1)
    return bench, taken, server, first + others


def serve_all(bench, server, clients):
    """Whom the endpoint behind it has answered, in that order."""
    server.settimeout(0)
    ends, answered = [], []
    for _ in range(60):
        bench.pass_ms(100)
        try:
            ends.append(server.accept()[0])
            ends[-1].setblocking(False)
            bench.ends.append(ends[-1])
        except BlockingIOError:
            pass
        for end in ends:
            if received(end):
                end.send(ANSWER)
        bench.turn(turns=2)
        answered += [number for number, client in enumerate(clients) if received(client) == ANSWER]
    return answered


BY_REQUESTS = Settings(queue_ms=10_000, max_retries=2), 1


@pytest.mark.parametrize(("settings", "max_in_flight"), [(ONE_EACH, 0), BY_REQUESTS])
def test_who_was_refused_is_served_there_once_that_one_is_back(make_bench, settings, max_in_flight):
    bench, taken, server, clients = behind_one_who_was_refused(make_bench, settings, max_in_flight=max_in_flight)
    bench.forgive()
    assert serve_all(bench, server, clients) == [0, 1, 2, 3]
    assert received(taken) is None


@pytest.mark.parametrize(("limits", "max_in_flight"), [({"connections_per_endpoint": 1}, 0), ({}, 1)])
def test_those_behind_one_who_has_no_try_left_go_past_it(make_bench, limits, max_in_flight):
    settings = Settings(queue_ms=10_000, max_retries=1, **limits)
    bench, taken, server, clients = behind_one_who_was_refused(make_bench, settings, max_in_flight=max_in_flight)
    bench.forgive()
    assert serve_all(bench, server, clients) == [1, 2, 3]
    taken.send(ANSWER)
    bench.turn(turns=2)
    assert received(clients[0]) is None and received(taken)


@pytest.mark.parametrize("n", [5, 20])
def test_who_would_stay_stays_in_line(make_bench, n):
    """As long as the other one is not back nobody moves."""
    bench, taken, _, clients = behind_one_who_was_refused(make_bench)
    clients += ask(bench, n)
    bench.pass_ms(500)
    assert [received(client) for client in clients] == [None] * len(clients)
    for client in clients:
        taken.send(ANSWER)
        bench.turn(turns=3)
        assert received(client) is None or received(taken) is not None


def line_at_a_shut_endpoint(make_bench):
    """So many wait there since the same millisecond, in a panic: it is asked though its gate is shut, and all it may have is taken."""
    bench = make_bench(ONE_EACH)
    bench.now_us = time.monotonic_ns() // 1000  # whoever runs it goes on from there
    bench.turn()
    taken = bench.upstream()
    bench.figures.set_endpoint(bench.rows[0][0], state="shut", has_answered=True)
    bench.figures.set_endpoint(bench.rows[1][0], state="shut")
    clients = [bench.client() for _ in range(5)]
    for client in clients:
        client.send(REQUEST)
    bench.turn()
    assert received(taken)
    return bench, taken, clients


@pytest.mark.parametrize("n_ticks", range(4))
def test_those_of_one_millisecond_wait_in_the_order_in_which_they_came(make_bench, n_ticks):
    bench, taken, clients = line_at_a_shut_endpoint(make_bench)
    bench.pass_ms(100 * n_ticks)
    for client in clients:
        taken.send(ANSWER)
        bench.turn(turns=3)
        assert received(client) == ANSWER
        received(taken)


def test_a_worker_rests_while_they_wait(make_bench):
    """They look round at each tick, and wait on: that one has been looked at moves nobody else."""
    bench, _, _ = line_at_a_shut_endpoint(make_bench)
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        begun, turns = time.monotonic(), bench.figures_read["turns"]
        while time.monotonic() < begun + 0.4 or bench.figures_read["turns"] == turns:
            thread.join(0.05)
        assert bench.figures_read["turns"] - turns < 200, "some a tick"
    finally:
        bench.worker.stop()
        thread.join(5)
