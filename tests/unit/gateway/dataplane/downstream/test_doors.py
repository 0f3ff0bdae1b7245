"""Who is told of new connections: they come to who has fewest, and nobody who waits is forgotten."""

import os
import random
import select
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.gateway.dataplane.downstream.test_accept import connect, listening


@pytest.fixture
def make_crew(make_bench):
    """Workers behind one listener."""

    def make(n_workers):
        crew = make_bench(n_workers=n_workers, listeners=[listening()])
        crew.door = crew.ends[0]
        crew.clients = []
        return crew

    return make


def arrive(crew, n=1):
    made = [connect(crew.door) for _ in range(n)]
    crew.clients += made
    crew.ends += made


def n_open(crew):
    return crew.counters.read()["n_open"]


def are_even(counts):
    return max(counts) - min(counts) <= max(5, 0.1 * min(counts))


@pytest.mark.parametrize("n_workers", [2, 4])
@pytest.mark.parametrize("at_once", [1, 40])
def test_new_connections_come_to_who_has_fewest(make_crew, n_workers, at_once):
    crew = make_crew(n_workers)
    for _ in range(400 // at_once):
        arrive(crew, at_once)
        crew.turn(turns=at_once)
    assert sum(n_open(crew)) == 400 and are_even(n_open(crew)), n_open(crew)


def test_who_has_become_light_is_told_again(make_crew):
    crew = make_crew(2)
    arrive(crew, 40)
    crew.turn(turns=40)
    before = n_open(crew)
    for end in crew.clients[::2]:
        end.close()
    crew.turn()
    arrive(crew, 60)
    crew.turn(turns=60)
    assert min(before) >= 16 and sum(n_open(crew)) == 80 and are_even(n_open(crew)), n_open(crew)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_who_waits_is_forgotten(make_crew, seed):
    """Arrivals, ends and turns in any order, and not one tick."""
    rng = random.Random(seed)
    crew = make_crew(rng.choice((2, 3, 5)))
    for _ in range(300):
        what = rng.random()
        if what < 0.4 and len(crew.clients) - crew.figures_read["accepted"] < 60:
            arrive(crew, rng.choice((1, 1, 5)))
        elif what < 0.6 and crew.clients:
            rng.choice(crew.clients).close()
        else:
            crew.turn(workers=[rng.randrange(len(crew.workers))])
    crew.turn(turns=len(crew.clients))
    assert crew.figures_read["accepted"] == len(crew.clients)


def test_the_tick_finds_who_was_told_to_one_that_does_not_run(make_crew):
    crew = make_crew(2)
    arrive(crew, 20)
    crew.turn(turns=20, workers=[0])  # until it has some more than the other, whom it leaves the door to
    taken = n_open(crew)[0]
    assert 0 < taken < 10 and n_open(crew)[1] == 0
    crew.turn(100, workers=[0])
    crew.turn(workers=[0])
    assert n_open(crew)[0] == taken + 1, "one a tick while the other may yet come"
    for _ in range(4):
        crew.turn(100, workers=[0])
    crew.turn(turns=20, workers=[0])
    assert n_open(crew) == [20, 0], "all, when it does not"
    crew.turn(workers=[1])
    crew.turn(100, workers=[0])
    arrive(crew, 30)
    crew.turn(turns=30, workers=[1, 0])
    assert sum(n_open(crew)) == 50 and are_even(n_open(crew)), "and it is told again when it does"


def test_one_that_ends_leaves_the_door_to_the_others(make_crew):
    crew = make_crew(3)
    for _ in range(3):
        arrive(crew, 10)
        crew.turn(turns=10)
    crew.workers.pop(1).close()
    arrive(crew, 30)
    crew.turn(turns=30)
    assert crew.figures_read["accepted"] == 60


def test_who_takes_no_more_is_not_told(make_crew):
    """Behind the end of a drain; and the listener may be closed then."""
    crew = make_crew(2)
    arrive(crew, 10)
    crew.turn(turns=10)
    crew.snapshots.order_listener(0, "empty")
    crew.turn(workers=[1])
    arrive(crew, 20)
    crew.turn(turns=20, workers=[0])
    with socket.create_connection(crew.door.getsockname()):
        crew.turn(500)
        assert crew.figures_read["accepted"] == 30 and [worker.turn(crew.now_us) for worker in crew.workers] == [0, 0]


def epolls():
    """Those of this process, by their numbers."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if "eventpoll" in os.readlink(link):
                found.add(int(link.name))
    return found


def test_the_tick_enters_a_door_anew_whatever_its_bit_says(make_bench):
    """Two that invited a worker at once, one of whom took it off again behind the other's back."""
    before = epolls()
    bench = make_bench(listeners=[listening()])
    door, (number,) = bench.ends[0], epolls() - before
    with select.epoll.fromfd(os.dup(number)) as epoll:
        epoll.unregister(door.fileno())
    bench.ends.append(connect(door))
    bench.turn()
    assert bench.counters.read()["n_open"] == [0]
    bench.turn(100)
    assert bench.counters.read()["n_open"] == [1]
    bench.ends.append(connect(door))
    bench.turn()
    assert bench.counters.read()["n_open"] == [2], "no tick was in between"
