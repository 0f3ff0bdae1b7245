import pytest

from gateway.control.networks import Window, count, is_of_most, since


@pytest.mark.parametrize(("cell", "n"), [(0, 0), (1, 1), (0xFF, 1), (0x0100, 1), (0x8000000000000001, 2), (0xFFFFFFFFFFFFFFFF, 8)])
def test_groups_that_had_any(cell, n):
    assert count(cell) == n


def test_a_byte_that_began_anew_has_had_some():
    assert count(since(0x0003, 0x00FE)) == 1
    assert count(since(0x01FE, 0x00FE)) == 1


@pytest.mark.parametrize(("met", "asked", "is_most"), [(0, 0, False), (1, 1, True), (1, 0x0101, False), (0x0101, 0x010101, True)])
def test_most_is_more_than_half(met, asked, is_most):
    assert is_of_most(met, asked) == is_most


@pytest.mark.parametrize(
    ("asked", "limited", "is_it"),
    [
        (0x01, 0x01, False),
        (0x0101, 0x0101, False),
        (0x010101, 0x010101, True),
        (0x0101010101, 0x010101, True),
        (0x010101010101, 0x010101, False),
        (0x0101010101010101, 0x0101010101010101, True),
    ],
)
def test_several_and_most(asked, limited, is_it):
    assert Window().is_limited((asked, limited, 0)) == is_it


def test_a_window_forgets_what_is_older_than_two_of_its_lengths():
    window = Window()
    cells = (0x01010101, 0x01010101, 0)
    for at in (0.0, 10.0):
        assert window.is_over(at)
        window.begin(cells, at)
        assert not window.is_over(at + 9.9)
        assert window.is_limited(cells) == (at == 0.0)
    assert window.is_limited((0x02020202, 0x00020202, 0))
