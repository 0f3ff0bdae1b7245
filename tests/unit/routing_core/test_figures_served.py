"""Service times as workers count them, and what is published beside them."""

import pytest

from routing_core import Figures
from routing_core._testing import add_to_pool, hang


def served(figures, row):
    """By groups: sums in us and counts; and the squares of all in us^2."""
    found = figures.read_pool_served(row)
    return found[:8], found[8:16], found[16]


def test_service_times_are_counted_by_group_and_all_workers_are_added_up():
    figures = Figures(3)
    row, other = figures.acquire("pool"), figures.acquire("pool")
    assert figures.read_pool_served(row) == (0,) * 17
    for worker in range(3):
        add_to_pool(figures, row, worker, served_us=6400, served_by=5)
    add_to_pool(figures, row, 1, served_us=64_000, served_n=10)  # eight groups in turn, and two of them once more
    hang(figures, 1)  # what it has counted has been
    sums, counts, squares = served(figures, row)
    assert counts == (2, 2, 1, 1, 1, 4, 1, 1)
    assert sums == (128_000, 128_000, 64_000, 64_000, 64_000, 64_000 + 3 * 6400, 64_000, 64_000)
    assert squares == 3 * 6400**2 + 10 * 64_000**2
    assert figures.read_pool_served(other) == (0,) * 17


def test_a_service_time_is_less_the_path_and_never_below_0():
    figures = Figures(1)
    row = figures.acquire("pool")
    add_to_pool(figures, row, 0, served_us=10_000, served_by=0)  # no path is known
    figures.set_pool(row, path_ms=4)
    add_to_pool(figures, row, 0, served_us=10_000, served_by=1)
    add_to_pool(figures, row, 0, served_us=3000, served_by=2)
    assert served(figures, row)[:2] == ((10_000, 6000, 0, 0, 0, 0, 0, 0), (1, 1, 1, 0, 0, 0, 0, 0))


def test_one_that_took_far_longer_than_others_do_counts_for_so_much_and_no_more():
    figures = Figures(1)
    row = figures.acquire("pool")
    figures.set_pool(row, path_ms=4, most_ms=64)
    for us in (67_999, 68_001, 60_000_000):
        add_to_pool(figures, row, 0, served_us=us, served_by=3)
    sums, _, squares = served(figures, row)
    assert sums[3] == 63_999 + 2 * 64_000
    assert squares == pytest.approx(3 * 64_000**2, rel=0.01)
    figures.set_pool(row, most_ms=0)
    add_to_pool(figures, row, 0, served_us=60_000_000, served_by=4)
    assert served(figures, row)[0][4] == 60_000_000 - 4000


def test_what_stands_behind_the_times_is_set_apart_from_them():
    figures = Figures(1)
    row = figures.acquire("pool")
    figures.set_pool(row, service_ms=20, path_ms=3, spread_ms=1.5, hope_ms=12.25, most_ms=160, usual=7)
    figures.set_pool(row, samples=3)
    names = ("service_ms", "path_ms", "spread_ms", "hope_ms", "most_ms", "usual", "samples")
    assert [figures.read_pool(row)[name] for name in names] == [20, 3, 1.5, 12.25, 160, 7, 3]
    figures.set_pool(row, hope_ms=-1, most_ms=0)  # enough is known; no bound
    assert [figures.read_pool(row)[name] for name in names] == [20, 3, 1.5, -1, 0, 7, 3]
    figures.release(row)
    assert figures.acquire("pool") == row
    assert [figures.read_pool(row)[name] for name in names] == [0, -1, 0, -1, 0, 0, 0]
