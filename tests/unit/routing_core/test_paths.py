import pytest

from routing_core import BordersSpec, Figures
from tests.unit.routing_core.tables import table_of


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
