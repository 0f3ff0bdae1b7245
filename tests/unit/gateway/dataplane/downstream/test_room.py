"""Limits of a listener are the whole gateway's: who goes for a new connection is judged over all workers."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import REQUEST, received
from tests.unit.gateway.dataplane.downstream.test_accept import connect, listening
from tests.unit.gateway.dataplane.downstream.test_holders import open_ones


@pytest.fixture
def make_full(make_bench):
    """Two workers behind one listener that may have so many connections; the first to turn takes who comes next."""

    def make(limit):
        bench = make_bench(Settings(connections_per_listener=limit), n_workers=2, listeners=[listening()])
        bench.turn()
        return bench

    return make


def newcomer(bench, worker=0):
    """A new connection, from this machine, which this worker meets; then all turn."""
    end = connect(bench.ends[0])
    bench.ends.append(end)
    bench.turn(workers=[worker])
    bench.turn()
    return end


def half_head(bench, address, worker):
    end = bench.client(address, worker=worker)
    end.send(REQUEST[:9])
    bench.turn()
    return end


def test_idle_ones_stay_until_the_whole_gateway_is_full(make_full):
    bench = make_full(8)
    here = [bench.client(f"192.0.2.{n}") for n in range(4)]
    new = [newcomer(bench, 1) for _ in range(4)]
    assert len(open_ones([*here, *new])) == 8 and bench.causes == {}
    last = newcomer(bench, 1)
    assert received(last) is None and len(open_ones([*here, *new])) == 7
    assert bench.causes == {"too_many_connections": 1} and bench.figures_read["evicted"] == 1


def test_who_holds_most_goes_whichever_worker_has_it(make_full):
    bench = make_full(6)
    polite = [half_head(bench, f"192.0.2.{n}", 0) for n in range(2)]
    hostile = [half_head(bench, "198.51.100.1", 1) for _ in range(4)]
    new = [newcomer(bench) for _ in range(3)]
    assert open_ones(polite) == [0, 1] and open_ones(hostile) == [3] and open_ones(new) == [0, 1, 2]
    assert bench.figures_read["evicted"] == 3 and sum(bench.counters.read()["n_open"]) == 6


def test_who_has_nothing_to_close_has_another_worker_close_what_is_idle(make_full):
    bench = make_full(3)
    busy = half_head(bench, "192.0.2.1", 0)
    idle = [bench.client(f"192.0.2.{n}", worker=1) for n in (2, 3)]
    new = newcomer(bench)
    assert received(new) is received(busy) is None and open_ones(idle) == [1], "the oldest went"


def test_one_that_is_to_go_goes_alone_though_a_tick_comes_between(make_full):
    """For a moment there is one more than may be: nobody here goes for it as well."""
    bench = make_full(5)
    hostile = [half_head(bench, "198.51.100.1", 1) for _ in range(4)]
    idle = bench.client("192.0.2.1")
    new = connect(bench.ends[0])
    bench.ends.append(new)
    bench.turn(100, workers=[0])
    bench.turn()
    assert received(idle) is received(new) is None and len(open_ones(hostile)) == 3 and bench.figures_read["evicted"] == 1


def test_where_none_can_go_the_new_one_goes(make_full):
    bench = make_full(4)
    busy = [half_head(bench, f"192.0.2.{n}", n % 2) for n in range(4)]
    refused = [newcomer(bench, n % 2) for n in range(4)]
    assert open_ones(busy) == [0, 1, 2, 3] and open_ones(refused) == [] and bench.figures_read["evicted"] == 0


def test_what_others_have_called_for_is_not_called_for_again(make_full):
    """One idle connection makes room for one, however many come before its worker turns."""
    bench = make_full(3)
    half_head(bench, "192.0.2.1", 0)
    half_head(bench, "192.0.2.2", 0)
    idle = bench.client("192.0.2.3", worker=1)
    new = []
    for _ in range(3):
        new.append(connect(bench.ends[0]))
        bench.ends.append(new[-1])
        new[-1].send(REQUEST[:9])
        bench.turn(turns=2, workers=[0])
    bench.turn()
    assert received(idle) == b"" and open_ones(new) == [0]


def test_a_worker_that_hangs_is_not_called(make_full):
    bench = make_full(3)
    half_head(bench, "192.0.2.1", 0)
    idle = [bench.client(f"192.0.2.{n}", worker=1) for n in (2, 3)]
    for _ in range(4):
        bench.turn(100, workers=[0])
    new = connect(bench.ends[0])
    bench.ends.append(new)
    bench.turn(turns=2, workers=[0])
    assert received(new) == b"" and open_ones(idle) == [0, 1]
