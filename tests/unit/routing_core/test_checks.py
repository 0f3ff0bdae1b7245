"""Through a table, whose parts all go through these."""

import dataclasses

import pytest

from routing_core import Figures, Table
from tests.unit.routing_core.tables import spec_of


def refusal(**changes):
    figures = Figures(1)
    with pytest.raises(ValueError, match="must") as refused:
        Table(dataclasses.replace(spec_of(figures), **changes), figures)
    return str(refused.value)


@pytest.mark.parametrize("generation", [-1, True, 1.0, "1", 1 << 63])
def test_a_whole_number_is_one_in_its_range(generation):
    assert refusal(generation=generation) == f"generation: must be a whole number from 0 to {1 << 62}, got {generation!r}"


@pytest.mark.parametrize("ms", [-0.1, 1000.1, float("nan"), "1", None])
def test_a_number_is_one_in_its_range(ms):
    assert refusal(intercept_ms=ms) == f"intercept_ms: must be a number from 0 to 1000, got {ms!r}"


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("",), "name must be a text of at least one character, got ''"),
        ((7,), "name must be"),
        (("a", "a"), "names must differ, got 'a' twice"),
    ],
)
def test_a_name_is_a_text_of_its_own(names, what):
    pops = spec_of(Figures(1)).pops
    named = tuple(dataclasses.replace(pop, name=name) for pop, name in zip(pops, names, strict=False))
    assert what in refusal(pops=(*named, *pops[len(named) :]))
