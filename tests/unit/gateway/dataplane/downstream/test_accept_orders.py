"""Listeners that come, pause and go while workers run: who still takes whom, and that nobody knows a descriptor that is closed."""

import os
import random
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import REQUEST, received
from tests.support.raw import ask_on
from tests.unit.gateway.dataplane.downstream.test_accept import connect, listening

STRESS_S = 1.5


@pytest.fixture(params=["IPv4", "unix"])
def door(request, tmp_path):
    """What a successor has as well."""
    opened = listening() if request.param == "IPv4" else listening(socket.AF_UNIX, str(tmp_path / "door"))
    yield opened
    opened.close()


def order(bench, duty, door=None, number=0):
    return bench.snapshots.order_listener(number, duty, -1 if door is None else door.fileno())


def arrive(bench, door, n=1):
    made = [connect(door) for _ in range(n)]
    bench.ends += made
    return made


def accepted(bench):
    return bench.figures_read["accepted"]


def taken(door):
    """By a successor: all that wait."""
    n = 0
    with suppress(BlockingIOError):
        while True:
            door.accept()[0].close()
            n += 1
    return n


def watched():
    """Descriptors that an epoll of this process watches, and how many do."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if "eventpoll" in os.readlink(link):
                lines = Path("/proc/self/fdinfo", link.name).read_text().splitlines()
                found += [int(line.split()[1]) for line in lines if line.startswith("tfd:")]
    return found


def test_one_comes_pauses_comes_back_and_goes(make_bench, door):
    bench = make_bench(n_workers=2)
    arrive(bench, door)
    bench.turn(100)
    assert accepted(bench) == 0
    order(bench, "accept", door)
    bench.turn()  # they begin at its end
    bench.turn()
    assert accepted(bench) == 1, "who had come before is told too"
    order(bench, "leave")
    bench.turn()
    arrive(bench, door, 5)
    bench.pass_ms(500)
    assert accepted(bench) == 1 and door.fileno() not in watched(), "nor by the tick"
    order(bench, "accept", door)
    bench.turn(turns=6)
    assert accepted(bench) == 6
    version = order(bench, "empty")
    bench.turn(workers=[0])
    assert bench.counters.read()["versions"] == [version, version - 1]
    bench.turn()
    arrive(bench, door, 3)
    bench.pass_ms(500)
    assert bench.counters.read()["versions"] == [version] * 2 and accepted(bench) == 6 and door.fileno() not in watched()
    assert bench.counters.read()["idle"][0] == 6, "its connections go on"
    assert taken(door) == 3


@pytest.mark.parametrize(("duty", "n"), [("leave", 2), ("empty", 10)])
def test_who_leaves_takes_one_at_most_and_who_empties_takes_all(make_bench, door, duty, n):
    bench = make_bench()
    order(bench, "accept", door)
    bench.turn()
    arrive(bench, door, 10)
    order(bench, duty)
    bench.turn()  # one by its event, and what it takes as it leaves
    assert (accepted(bench), taken(door)) == (n, 10 - n)


def test_one_of_whom_a_worker_alone_was_told_is_not_left_behind(make_bench, door):
    """Its event is in hand, behind more than a turn takes: so the worker leaves before it is that one's turn."""
    bench = make_bench()
    order(bench, "accept", door)
    bench.turn()
    clients = [bench.client() for _ in range(70)]
    bench.turn(turns=3)
    before = accepted(bench)
    for client in clients:
        client.send(REQUEST[:5])
    arrive(bench, door)
    order(bench, "leave")
    bench.turn()
    assert (accepted(bench) - before, taken(door)) == (1, 0)


def test_nobody_is_invited_to_what_is_to_be_left(make_bench, door):
    """By one that does not know of it yet: the invited one has left, and would be told for ever."""
    bench = make_bench(n_workers=2)
    order(bench, "accept", door)
    bench.turn()
    for _ in range(10):
        bench.client(worker=0)
    order(bench, "leave")
    bench.turn(workers=[1])
    arrive(bench, door)
    bench.turn(workers=[0])
    assert bench.counters.read()["n_open"] == [11, 0], "it has taken one, and has more than the other"
    assert door.fileno() not in watched()
    bench.turn()
    arrive(bench, door)
    for _ in range(3):
        assert [worker.turn(bench.now_us) for worker in bench.workers] == [0, 0]
    assert taken(door) == 1


def test_who_is_invited_before_it_knows_of_a_listener_waits_until_it_does(make_bench, door):
    bench = make_bench(n_workers=2)
    bench.turn()
    for _ in range(10):
        bench.client(worker=0)
    order(bench, "accept", door)
    bench.turn(workers=[0])
    arrive(bench, door, 2)
    bench.turn(workers=[0])
    assert watched().count(door.fileno()) == 1, "it has left the door to the other one"
    bench.turn(workers=[1], turns=2)
    assert bench.counters.read()["n_open"] == [11, 1]


def test_what_gets_the_number_of_a_closed_descriptor_is_left_alone(make_bench):
    bench = make_bench(n_workers=2)
    first = listening()
    order(bench, "accept", first)
    bench.turn()
    order(bench, "empty")
    bench.turn()
    number = first.fileno()
    first.close()
    trap = listening()
    bench.ends.append(trap)
    assert trap.fileno() == number
    arrive(bench, trap)
    bench.pass_ms(1000)
    assert accepted(bench) == 0 and taken(trap) == 1 and number not in watched()


def test_nor_by_a_worker_that_is_closed_later(make_bench):
    """The listeners have gone before, at the end of a gateway."""
    bench = make_bench()
    first = listening()
    order(bench, "accept", first)
    bench.turn()
    number = first.fileno()
    first.close()
    trap = socket.socket()
    assert trap.fileno() == number
    trap.close()
    bench.worker.close()


def test_another_socket_under_the_same_number_has_the_same_figures(make_bench):
    bench = make_bench(Settings(connections_per_listener=3))
    first, second = listening(), listening()
    bench.ends += [first, second]
    order(bench, "accept", first, 3)
    bench.turn()
    old = arrive(bench, first, 2)
    bench.turn(turns=2)
    order(bench, "leave", number=3)
    bench.turn()
    order(bench, "accept", second, 3)
    bench.turn()
    arrive(bench, second, 2)
    bench.turn(turns=3)
    assert bench.counters.read()["idle"][3] == 3 and received(old[0]) == b"", "who makes room is of both"


def test_one_that_can_not_be_watched_costs_the_others_a_tick(make_bench, door):
    bench = make_bench()
    with open(os.devnull) as not_a_socket:
        order(bench, "accept", door)
        bench.turn()
        order(bench, "accept", not_a_socket, 1)
        bench.turn()
        order(bench, "leave", number=1)
        bench.turn()
    arrive(bench, door)
    bench.turn(100)
    bench.turn()
    assert accepted(bench) == 1


def test_one_that_another_process_has_shut_down_keeps_nobody_awake(make_bench):
    """Epoll tells of it without end, and there is nobody to accept. Who listens again, as HAProxy behind a pause, is found by the tick."""
    bench, door = make_bench(n_workers=2), listening()
    bench.ends.append(door)
    order(bench, "accept", door)
    bench.turn()
    with door.dup() as others:
        others.shutdown(socket.SHUT_RDWR)
    bench.turn(turns=2)
    for _ in range(3):
        bench.turn(100)
        assert [worker.turn(bench.now_us) for worker in bench.workers] == [0, 0]
    door.listen(10)
    arrive(bench, door, 2)
    bench.pass_ms(200)
    assert accepted(bench) == 2
    order(bench, "leave")
    bench.turn()
    assert door.fileno() not in watched()


def test_a_listener_comes_and_goes_under_load_and_nobody_is_lost(make_bench, door):
    """As descriptors that are closed each time, of a socket that somebody keeps: what gets their numbers meanwhile is not touched."""
    rng = random.Random(7)
    bench = make_bench(n_workers=3)
    threads = [threading.Thread(target=worker.run) for worker in bench.workers]
    seen, has_ended = [], threading.Event()
    clients = [threading.Thread(target=ask_on, args=(door, seen, seen, has_ended)) for _ in range(6)]
    for thread in (*threads, *clients):
        thread.start()

    def act(duty, descriptor=None):
        version = order(bench, duty, descriptor)
        end = time.monotonic() + 10
        for worker in bench.workers:
            if rng.random() < 0.8:
                worker.wake()
        while min(bench.counters.read()["versions"]) < version:
            assert time.monotonic() < end, "a worker does not act"

    rounds, traps = 0, []
    began = time.monotonic()
    try:
        while time.monotonic() - began < STRESS_S or len(seen) < 50:
            descriptor = door.dup()
            act("accept", descriptor)
            n, end = len(seen), time.monotonic() + 10
            while len(seen) < n + rng.randrange(20):
                assert time.monotonic() < end, "nobody is served"
            if rng.random() < 0.5:
                order(bench, "leave")  # and at once again
                act("accept", descriptor)
            act("leave")
            assert descriptor.fileno() not in watched()
            descriptor.close()
            trap = listening()
            traps.append((trap, connect(trap)))
            rounds += 1
            if rng.random() < 0.5:
                for trap, end in traps:
                    end.close()
                    assert taken(trap) == 1, "it was accepted from"
                    trap.close()
                traps.clear()
        order(bench, "accept", door)  # who waits now is served
    finally:
        has_ended.set()
        for client in clients:
            client.join(20)
        for worker in bench.workers:
            worker.stop()
        for thread in threads:
            thread.join(10)
        for each in traps:
            for end in each:
                end.close()
    assert not any(thread.is_alive() for thread in (*threads, *clients))
    assert rounds > 5 and {answer for answer in seen if answer[:9] != b"HTTP/1.1 "} == set(), (rounds, len(seen))
