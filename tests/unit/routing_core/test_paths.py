import pytest

from routing_core import BordersSpec, Figures, Table
from routing_core._memory import live_blocks, refuse
from tests.unit.routing_core.tables import spec_of, table_of


@pytest.mark.parametrize(
    ("subregions", "costs_ms", "fault"),
    [
        (("DE", "F"), ((0,), (0, 0)), "a country must be two capitals, got 'F'"),
        (("DE de",), ((0,),), "a country must be two capitals, got 'de'"),
        (("DE FR", "US FR"), ((0,), (0, 0)), "must have each country in one subregion, got 'FR' twice"),
        (("DE", "FR"), ((0,),), "must have a row of costs a subregion, each up to itself"),
        (("DE", "FR"), ((0,), (0, 0, 0)), "must have a row of costs a subregion, each up to itself"),
        (("DE", "FR"), ((0,), (-1, 0)), "must be a number from 0 to 1000, got -1"),
        (("DE",), ((float("nan"),),), "must be a number from 0 to 1000, got nan"),
        (("",) * 32, ((0,),), "must be of at most 31 subregions, got 32"),
    ],
)
def test_wrong_borders_are_refused(subregions, costs_ms, fault):
    with pytest.raises(ValueError, match=r"^borders: ") as refused:
        table_of(Figures(1), borders=BordersSpec(subregions, costs_ms))
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        (((0, 4, 10.0),), "must be a whole number from 0 to 3, got 4"),
        (((-1, 1, 10.0),), "must be a whole number from 0 to 3, got -1"),
        (((1, 1, 10.0),), "must be between two PoPs, each path once, got (1, 1)"),
        (((0, 1, 10.0), (0, 1, 11.0)), "must be between two PoPs, each path once, got (0, 1)"),
        (((0, 1, -0.1),), "must be a number from 0 to 10000, got -0.1"),
        (((0, 1, float("nan")),), "must be a number from 0 to 10000, got nan"),
        (((0, 1, 10001),), "must be a number from 0 to 10000, got 10001"),
    ],
)
def test_wrong_paths_are_refused(paths, fault, nothing_left):
    figures = Figures(1)
    with pytest.raises(ValueError, match=r"^paths: ") as refused:
        table_of(figures, paths=paths)
    assert fault in str(refused.value)
    del refused, figures


@pytest.mark.parametrize("pop", [-1, 4, "fra"])
def test_a_gateway_stands_in_a_pop_that_is_there(pop):
    with pytest.raises(ValueError, match=r"^gateway_pop: must be a whole number from 0 to 3"):
        table_of(Figures(1), gateway_pop=pop)


def test_memory_that_is_out_leaves_nothing(nothing_left):
    figures = Figures(1)
    spec = spec_of(figures, paths=((0, 1, 10.0),))
    before = live_blocks()
    refused = 0
    for granted in range(20):
        refuse(True, after=granted)
        try:
            Table(spec, figures)
        except MemoryError:
            refused += 1
        finally:
            refuse(False)
        assert live_blocks() == before
    assert refused > 3
    del figures
