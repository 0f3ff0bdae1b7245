import pytest

from gateway.control.table.rows import Rows
from routing_core import Figures
from tests.unit.gateway.control.helpers import FailingConnects


@pytest.fixture
def rows():
    return Rows(FailingConnects(Figures(1)))


def test_one_identity_one_row(rows):
    assert rows.endpoint("a") == rows.endpoint("a")
    assert rows.endpoint("a") != rows.endpoint("b")
    assert len({rows.endpoint("x"), rows.pool("x", "fra"), rows.service("x"), rows.pop("x")}) == 4
    assert rows.pop("x") == rows.pop("x") == rows.find("pop", "x")
    assert rows.find("endpoint", "a") == rows.endpoint("a")
    assert rows.find("endpoint", "nobody") is None


def test_a_row_is_given_back_only_when_no_snapshot_contains_it(rows):
    row = rows.endpoint("a")
    rows.keep([("endpoint", "a")], generation=1)
    rows.keep([], generation=2)
    assert rows.collect([1]) == []
    assert rows.collect([2]) == [("endpoint", "a")]
    assert rows.find("endpoint", "a") is None
    with pytest.raises(IndexError):
        rows.figures.read_endpoint(row)


@pytest.mark.parametrize("busy", [{"in_flight": 1}, {"connections": 1}])
def test_a_row_with_something_open_stays(rows, busy):
    row = rows.endpoint("a")
    rows.keep([], generation=2)
    rows.figures.busy[row] = busy
    assert rows.collect([9]) == []
    rows.figures.busy.clear()
    assert rows.collect([9]) == [("endpoint", "a")]


def test_a_pool_with_something_in_flight_stays(rows):
    row = rows.pool("shop", "fra")
    rows.keep([], generation=2)
    rows.figures.pools[row] = {"in_flight": 1}
    assert rows.collect([9]) == []
    rows.figures.pools.clear()
    assert rows.collect([9]) == [("pool", ("shop", "fra"))]


def test_a_pop_with_something_in_flight_stays(rows):
    row = rows.pop("fra")
    rows.keep([], generation=2)
    rows.figures.pops[row] = 1
    assert rows.collect([9]) == []
    rows.figures.pops.clear()
    assert rows.collect([9]) == [("pop", "fra")]
    with pytest.raises(IndexError):
        rows.figures.read_pop(row)


def test_who_comes_back_in_time_keeps_row_and_figures(rows):
    row = rows.endpoint("a")
    rows.keep([], generation=2)
    rows.keep([("endpoint", "a")], generation=3)
    assert rows.collect([9]) == []
    assert rows.endpoint("a") == row


def test_absence_counts_from_the_first_table_without(rows):
    rows.endpoint("a")
    rows.keep([], generation=5)
    rows.keep([], generation=9)
    assert rows.collect([4]) == []
    assert rows.collect([5]) == [("endpoint", "a")]


def test_what_changed_is_told_without_all_the_others(rows):
    for name in "abc":
        rows.endpoint(name)
    rows.keep([("endpoint", name) for name in "abc"], generation=1)
    rows.change([], [("endpoint", "a"), ("endpoint", "b")], generation=2)
    rows.change([("endpoint", "b")], [], generation=3)
    assert rows.collect([3]) == [("endpoint", "a")]
    assert rows.find("endpoint", "b") is not None


def test_a_snapshot_that_a_worker_keeps_keeps_no_rows_that_came_later(rows):
    """As it was from 2 on: a worker hangs there, and endpoints come and go."""
    rows.endpoint("old")
    rows.keep([("endpoint", "old")], 2)
    for generation in range(3, 203):
        rows.endpoint(generation)
        rows.change([("endpoint", generation)], [("endpoint", generation - 1)] if generation > 3 else [("endpoint", "old")], generation)
        gone = rows.collect([2, generation])
        assert gone == ([("endpoint", generation - 1)] if generation > 3 else [])
    assert set(rows.rows) == {("endpoint", "old"), ("endpoint", 202)}
    assert rows.collect([202]) == [("endpoint", "old")] and set(rows.since) == {("endpoint", 202)}
