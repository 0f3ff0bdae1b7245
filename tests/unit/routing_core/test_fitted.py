from geoip.countries import COUNTRIES, SUBREGIONS
from routing_core import PRIOR, Figures
from routing_core._fitted import COSTS_MS
from routing_core._fitted import SUBREGIONS as FITTED
from tests.unit.routing_core.tables import table_of


def test_every_country_is_in_the_subregion_that_geoip_has_it_in():
    assert [set(codes.split()) for codes in FITTED] == [
        {code for code, country in COUNTRIES.items() if country.subregion == name} for name in SUBREGIONS
    ]


def test_costs_are_a_triangle_of_whole_milliseconds_and_none_is_a_saving():
    assert [len(row) for row in COSTS_MS] == list(range(1, len(SUBREGIONS) + 1))
    costs = [ms for row in COSTS_MS for ms in row]
    assert all(type(ms) is int and 0 <= ms < 300 for ms in costs)
    assert len(set(costs)) > 20


def test_a_table_takes_it():
    figures = Figures(1)
    table = table_of(figures, **dict(zip(("intercept_ms", "slope_ms_per_km", "abroad_ms", "borders"), PRIOR, strict=True)))
    assert table.spec.borders is PRIOR[3]
