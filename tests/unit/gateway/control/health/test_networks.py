import pytest

from gateway.control.health.networks import Unanswered, Window, beyond_one, cell_of, count, counts_since, is_of_most, shared_part, since
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
    ("counts", "n"), [((0,) * 8, 0), ((40, 0, 0, 0, 0, 0, 0, 0), 40), ((40, 3, 7, 0, 0, 0, 0, 0), 33), ((9, 9, 1, 0, 0, 0, 0, 0), 0)]
)
def test_what_one_network_has_more_than_any_other(counts, n):
    assert beyond_one(counts) == n


def test_how_many_each_group_had_since():
    assert counts_since(by_group(5, 2, 0, 1), by_group(5, 1, (1 << 32) - 1)) == (0, 1, 1, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("answered", "bad", "part"),
    [
        ((90, 100, 100, 100), (10, 0, 0, 0), 0),  # a poisoned request
        ((0, 100, 100, 100), (1000, 0, 0, 0), 0),  # one that asks for nothing else, and more than all others
        ((90, 90, 90, 90), (10, 10, 10, 10), 1),
        ((90, 98, 98, 98), (10, 2, 2, 2), 10 / 16),  # what is beyond twice the share of the others
        ((50, 50, 50, 50, 50, 50, 50, 50), (50, 50, 0, 0, 0, 0, 0, 0), 0.5),  # of two clients' each is what the others have met
        ((10, 0, 0), (10, 0, 0), 1),  # the only one that asks
        ((10, 10, 10), (0, 0, 0), 1),
        ((0, 0, 0), (0, 0, 0), 1),
        ((0, 0), (3, 3), 1),
        ((100, 100, 100), (1, 0, 0), 0),  # the first one: who else meets it is not known yet
    ],
)
def test_what_is_no_single_networks_own(answered, bad, part):
    assert shared_part(answered, bad) == pytest.approx(part)


def test_the_shared_part_is_of_the_last_windows():
    window = Window()
    window.begin((by_group(90, 90), 0, by_group(10, 10)), 0.0)
    window.begin((by_group(90, 90), 0, by_group(10, 10)), 10.0)
    assert window.shared_part((by_group(99, 99), 0, by_group(11, 11))) == 1
    assert window.shared_part((by_group(99, 100), 0, by_group(11, 10))) == 0


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


@pytest.mark.parametrize(
    ("asked", "met", "n"), [(0, by_group(1), 1), (by_group(1, 1), by_group(1), 0), (by_group(1, 1, 1), by_group(0, 1, 1), 2), (0, 0, 0)]
)
def test_how_many_where_it_is_most(asked, met, n):
    assert Window().count_most(met, (asked, 0, 0)) == n


def test_who_has_waited_since_the_last_answer():
    unanswered = Unanswered()
    for turn in range(3):
        unanswered.turn([0] * turn + [5] + [0] * (7 - turn), turn * 9.0)
    assert unanswered.met == by_group(1, 1, 1)
    unanswered.turn((0, 0, 0, 0, 0, 0, 0, 2), 29.0)  # the others are forgotten
    assert unanswered.met == by_group(0, 0, 0, 0, 0, 0, 0, 1)
    unanswered.end()
    assert unanswered.met == 0


def test_a_window_forgets_what_is_older_than_two_of_its_lengths():
    window = Window()
    cells = (by_group(1, 1, 1, 1), by_group(1, 1, 1, 1), 0)
    for at in (0.0, 10.0):
        assert window.is_over(at)
        window.begin(cells, at)
        assert not window.is_over(at + 9.9)
        assert window.is_limited(cells) == (at == 0.0)
    assert window.is_limited((by_group(2, 2, 2, 2), by_group(2, 2, 2, 0), 0))
