import pytest

from gateway.control.networks import Window, cell_of, count, is_of_most, since
from tests.unit.gateway.control.helpers import by_group


@pytest.mark.parametrize(
    ("counts", "n"), [((), 0), ((1,), 1), ((255,), 1), ((0, 1), 1), ((1, 0, 0, 0, 0, 0, 0, 1 << 31), 2), ((256,) * 8, 8)]
)
def test_groups_that_had_any(counts, n):
    assert count(by_group(*counts)) == n


@pytest.mark.parametrize("grown", [1, 255, 256, 512, 65536])
def test_a_group_that_had_any_since_had_some_however_many_they_were(grown):
    assert count(since(by_group(254 + grown, 7), by_group(254, 7))) == 1
    assert count(since(by_group(0, 7 + grown), by_group(0, 7))) == 1


def test_a_cell_of_what_each_has():
    assert cell_of((5, 0, 1, 0, 0, 0, 0, 300)) == by_group(1, 0, 1, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("met", "asked", "is_most"), [(0, 0, False), (1, 1, True), (1, by_group(1, 1), False), (by_group(1, 1), by_group(1, 1, 1), True)]
)
def test_most_is_more_than_half(met, asked, is_most):
    assert is_of_most(met, asked) == is_most


@pytest.mark.parametrize(
    ("asked", "limited", "is_it"),
    [
        (by_group(1), by_group(1), False),
        (by_group(1, 1), by_group(1, 1), False),
        (by_group(1, 1, 1), by_group(1, 1, 1), True),
        (by_group(1, 1, 1, 1, 1), by_group(1, 1, 1), True),
        (by_group(1, 1, 1, 1, 1, 1), by_group(1, 1, 1), False),
        (by_group(*[1] * 8), by_group(*[1] * 8), True),
    ],
)
def test_several_and_most(asked, limited, is_it):
    assert Window().is_limited((asked, limited, 0)) == is_it
    assert Window().is_of_many(limited, (asked, 0, 0)) == is_it


def test_a_window_forgets_what_is_older_than_two_of_its_lengths():
    window = Window()
    cells = (by_group(1, 1, 1, 1), by_group(1, 1, 1, 1), 0)
    for at in (0.0, 10.0):
        assert window.is_over(at)
        window.begin(cells, at)
        assert not window.is_over(at + 9.9)
        assert window.is_limited(cells) == (at == 0.0)
    assert window.is_limited((by_group(2, 2, 2, 2), by_group(2, 2, 2, 0), 0))
