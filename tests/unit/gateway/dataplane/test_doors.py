"""Who is told of new connections: they come to who has fewest, and nobody who waits is forgotten."""

import contextlib
import random
import socket

import pytest

from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
from routing_core import Figures
from tests.unit.gateway.dataplane.test_accept import connect, listening


class Crew:
    """Workers of one gateway behind one listener, in one thread: each turns when it is told to."""

    def __init__(self, bench, n, settings=None):
        self.door = listening()
        self.figures, self.counters = Figures(n), Counters(n)
        self.snapshots = Snapshots(bench.table(), bench.locator, CompiledSettings(settings or Settings(), n))
        self.now_us = bench.now_us
        doors = [(self.door.fileno(), 0)]
        self.workers = [Worker(number, self.snapshots, self.figures, self.counters, doors, now_us=self.now_us) for number in range(n)]
        self.ends = []

    def arrive(self, n=1):
        self.ends += (connect(self.door) for _ in range(n))

    def turn(self, *numbers, after_ms=0):
        """All of them, or those."""
        self.now_us += after_ms * 1000
        for number in numbers or range(len(self.workers)):
            self.workers[number].turn(self.now_us)

    @property
    def n_open(self):
        return self.counters.read()["n_open"]

    @property
    def n_accepted(self):
        return self.counters.read()["figures"]["accepted"]

    def close(self):
        for end in (*self.ends, self.door):
            end.close()
        for worker in self.workers:
            worker.close()
        self.__dict__.clear()  # pytest keeps it for a while


@pytest.fixture
def make_crew(bench):
    with contextlib.ExitStack() as stack:
        yield lambda n, settings=None: stack.enter_context(contextlib.closing(Crew(bench, n, settings)))


def are_even(n_open):
    return max(n_open) - min(n_open) <= 0.1 * min(n_open)


@pytest.mark.parametrize("n_workers", [2, 4])
@pytest.mark.parametrize("at_once", [1, 40])
def test_new_connections_come_to_who_has_fewest(make_crew, n_workers, at_once):
    crew = make_crew(n_workers)
    for _ in range(400 // at_once):
        crew.arrive(at_once)
        for _ in range(at_once):
            crew.turn()
    assert sum(crew.n_open) == 400 and are_even(crew.n_open), crew.n_open


def test_who_has_become_light_is_told_again(make_crew):
    crew = make_crew(2)
    crew.arrive(40)
    for _ in range(40):
        crew.turn()
    before = crew.n_open
    for end in crew.ends[:40:2]:
        end.close()
    crew.turn()
    crew.arrive(60)
    for _ in range(60):
        crew.turn()
    assert min(before) >= 16 and sum(crew.n_open) == 80 and abs(crew.n_open[0] - crew.n_open[1]) <= 5, crew.n_open


@pytest.mark.parametrize("seed", range(20))
def test_nobody_who_waits_is_forgotten(make_crew, seed):
    """Arrivals, ends and turns in any order, and not one tick."""
    rng = random.Random(seed)
    crew = make_crew(rng.choice((2, 3, 5)))
    numbers = range(len(crew.workers))
    for _ in range(300):
        what = rng.random()
        if what < 0.4 and len(crew.ends) - crew.n_accepted < 60:
            crew.arrive(rng.choice((1, 1, 5)))
        elif what < 0.6 and crew.ends:
            rng.choice(crew.ends).close()
        else:
            crew.turn(rng.choice(numbers))
    for _ in range(len(crew.ends)):
        crew.turn()
    assert crew.n_accepted == len(crew.ends)


def test_the_tick_finds_who_was_told_to_one_that_does_not_run(make_crew):
    crew = make_crew(2)
    crew.arrive(20)
    for _ in range(20):
        crew.turn(0)  # until it has some more than the other, whom it leaves the door to
    taken = crew.n_open[0]
    assert 0 < taken < 10 and crew.n_open[1] == 0
    crew.turn(0, after_ms=100)
    crew.turn(0)
    assert crew.n_open[0] == taken + 1, "one a tick while the other may yet come"
    for _ in range(4):
        crew.turn(0, after_ms=100)
    for _ in range(20):
        crew.turn(0)
    assert crew.n_open == [20, 0], "all, when it does not"
    crew.turn(1)
    crew.turn(0, after_ms=100)
    crew.arrive(30)
    for _ in range(30):
        crew.turn(1, 0)
    assert sum(crew.n_open) == 50 and abs(crew.n_open[0] - crew.n_open[1]) <= 5, "and it is told again when it does"


def test_one_that_ends_leaves_the_door_to_the_others(make_crew):
    crew = make_crew(3)
    for _ in range(3):
        crew.arrive(10)
        for _ in range(10):
            crew.turn()
    crew.workers.pop(1).close()
    crew.arrive(30)
    for _ in range(30):
        crew.turn()
    assert crew.n_accepted == 60


def test_who_takes_no_more_is_not_told(make_crew):
    """Behind the end of a drain; and the listener may be closed then."""
    crew = make_crew(2)
    crew.arrive(10)
    for _ in range(10):
        crew.turn()
    crew.snapshots.order("sealed")
    crew.turn(1)
    crew.arrive(20)
    for _ in range(20):
        crew.workers[0].turn(crew.now_us)
    crew.turn(0)
    late = socket.create_connection(crew.door.getsockname())
    crew.turn(after_ms=500)
    assert crew.n_accepted == 30 and [worker.turn(crew.now_us) for worker in crew.workers] == [0, 0]
    late.close()
