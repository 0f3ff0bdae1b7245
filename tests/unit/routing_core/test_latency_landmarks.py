"""Round trips between PoPs, written or measured, in what a client's path to a PoP is taken for."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import BordersSpec, Figures, RouteSpec, Table, explain
from tests.unit.routing_core.tables import LONDON, pool_rows, table_of

FRA, NYC, SIN, PAR = range(4)
NEAR_PARIS = (48.5, 2.0, 0.0)


def by_pop(explained):
    return {candidate.pop: candidate for candidate in explained.candidates}


def paths_of(table, at=NEAR_PARIS, route=0, **facts):
    return {name: found.path_ms for name, found in by_pop(explain(table, route, at, **facts)).items()}


def prior_ms(one, other):
    """Of tables_of(), by what the decision itself takes for the distance."""
    table = table_of(Figures(1), [("a", *one), ("b", *other)])
    return paths_of(table, (*one, 0.0))["b"]


PLACES = {"fra": (50.11, 8.68), "nyc": (40.71, -74.01), "par": (48.86, 2.35)}


def test_a_path_between_pops_tells_of_a_client_nearby():
    """By hand: the one landmark that knows the way, and the client next to it."""
    plain = paths_of(table_of(Figures(1)))
    found = paths_of(table_of(Figures(1), paths=((PAR, NYC, 90.0),)))
    # New York is a landmark too, for the way back: it knows nothing of the way from itself, and its word on Paris hardly counts.
    weight, back = math.exp(-plain["par"] / 20), math.exp(-plain["nyc"] / 20)
    ratio = 90 / prior_ms(PLACES["par"], PLACES["nyc"])
    to_paris = plain["par"] * (1 + back * ratio) / (1 + back)
    to_new_york = plain["nyc"] * (1 + weight * ratio) / (1 + weight)
    part = math.exp(-to_paris / 40)
    assert found["par"] == pytest.approx(to_paris, rel=1e-5)
    assert found["nyc"] == pytest.approx((1 - part) * to_new_york + part * (to_paris + 90), rel=1e-5)
    assert (found["fra"], found["sin"]) == (plain["fra"], plain["sin"])
    assert found["nyc"] < plain["nyc"]


def test_it_is_said_of_what_an_estimate_was_made():
    """The line, what the border adds, and what paths between PoPs change; of a path that is measured nothing."""
    of_pops, borders = {"par": {"country": "FR"}, "nyc": {"country": "US"}}, BordersSpec(("FR", "US"), ((0,), (20, 0)))
    routes = [RouteSpec("r", 0), RouteSpec("g", 0, leg="gateway-pop")]
    options = {"of_pops": of_pops, "borders": borders, "abroad_ms": 5.0, "routes": routes, "gateway": NEAR_PARIS[:2]}
    figures = Figures(1)
    table = table_of(figures, paths=((PAR, NYC, 90.0),), **options)
    figures.set_pool(pool_rows(table)[NYC], path_ms=33.0)
    found = by_pop(explain(table, 0, NEAR_PARIS, country="FR"))
    assert {name: one.border_ms for name, one in found.items()} == {"par": 0, "nyc": 25, "fra": 5, "sin": 5}
    for one in found.values():
        assert one.path_ms == pytest.approx(10 + 0.02 * one.distance_km + one.border_ms + one.by_paths_ms)
    assert found["nyc"].by_paths_ms < -10 and found["fra"].by_paths_ms == found["sin"].by_paths_ms == 0
    drained = by_pop(explain(table_of(Figures(1), paths=((PAR, NYC, 90.0),), drained=["nyc"], **options), 0, NEAR_PARIS, country="FR"))
    assert drained["nyc"].by_paths_ms == found["nyc"].by_paths_ms
    measured = by_pop(explain(table, 1, NEAR_PARIS, country="FR"))["nyc"]
    assert (measured.path_ms, measured.border_ms, measured.by_paths_ms) == (33, 0, 0)


def test_a_path_holds_for_the_way_back_unless_that_is_there_too():
    there, back = (paths_of(table_of(Figures(1), paths=(path,))) for path in ((PAR, NYC, 70.0), (NYC, PAR, 70.0)))
    both = paths_of(table_of(Figures(1), paths=((PAR, NYC, 70.0), (NYC, PAR, 300.0))))
    assert there == back
    assert both["nyc"] == pytest.approx(there["nyc"], abs=0.5) and both["par"] > there["par"]


def test_who_takes_over_is_known_by_the_paths_of_the_pop_that_is_gone():
    """As if from Paris the way to Frankfurt led around the world: a drained PoP, and one without endpoints, are landmarks all the same."""
    paths = ((PAR, FRA, 200.0), (PAR, NYC, 62.0), (PAR, SIN, 180.0))
    for options in ({"drained": ["par"]}, {"n_endpoints": [1, 1, 1, 0]}):
        assert explain(table_of(Figures(1), **options), 0, NEAR_PARIS).pop == "fra"
        assert explain(table_of(Figures(1), paths=paths, **options), 0, NEAR_PARIS).pop == "nyc"
    assert explain(table_of(Figures(1), paths=paths), 0, NEAR_PARIS).pop == "par"


def test_what_this_gateway_measures_is_its_pops_path():
    """And counts before what is written of it."""
    figures = Figures(1)
    table = table_of(figures, paths=((PAR, NYC, 200.0),), gateway_pop=PAR)
    rows = pool_rows(table)
    written = paths_of(table)
    figures.set_pool(rows[NYC], path_ms=80.0)
    measured = paths_of(table)
    assert measured == pytest.approx(paths_of(table_of(Figures(1), paths=((PAR, NYC, 80.0), (NYC, PAR, 200.0)))))
    assert measured["nyc"] < written["nyc"]
    figures.set_pool(rows[SIN], path_ms=11.0)
    assert paths_of(table)["sin"] < 0.6 * measured["sin"]
    figures.set_pool(rows[PAR], path_ms=500.0)  # to where it stands: no path at all
    assert paths_of(table)["nyc"] == measured["nyc"]
    assert {found.evidence for found in explain(table, 0, NEAR_PARIS).candidates} == {"prior"}


def test_what_it_measures_moves_no_more_traffic_at_once_than_any_estimate():
    """Each request is decided by one of the versions of the last seconds: of the gateway's own paths as of everything else."""
    figures = Figures(1)
    table = table_of(figures, gateway_pop=PAR)
    before = paths_of(table)
    figures.set_pool(pool_rows(table)[NYC], path_ms=4.0, version=7)
    figures.set_phase(7 * 1024)
    assert paths_of(table)["nyc"] < before["nyc"]  # the newest
    figures.set_phase(8 * 1024)
    assert paths_of(table)["nyc"] == before["nyc"]  # the one before, which an older request draws


@pytest.mark.parametrize("location", [None, LONDON])
def test_they_are_nothing_to_the_gateways_own_leg_nor_to_who_has_no_place(location):
    routes = [RouteSpec("r", 0), RouteSpec("g", 0, leg="gateway-pop")]
    plain, known = (
        table_of(Figures(1), routes=routes, gateway=LONDON[:2], paths=paths) for paths in ((), ((PAR, NYC, 8.0), (FRA, NYC, 9.0)))
    )
    assert paths_of(plain, location, 1) == paths_of(known, location, 1)
    assert (paths_of(plain, location) == paths_of(known, location)) == (location is None)


COUNTRIES = st.sampled_from([None, "DE", "FR", "US"])
PLACE = st.tuples(st.floats(-80, 80), st.floats(-180, 180))
MS = st.floats(0, 400)


@given(st.lists(PLACE, min_size=2, max_size=9), PLACE, st.data())
def test_a_longer_path_never_brings_nearer_and_light_is_never_beaten(places, at, data):
    """Of one PoP while the landmark next to the client stays the same, which nothing is known of here but the one path."""
    figures = Figures(1)
    pops = [(str(number), *place) for number, place in enumerate(places)]
    one, other = data.draw(st.permutations(range(len(places))))[:2]
    low, high = sorted((data.draw(MS), data.draw(MS)))
    others = tuple((one, k, data.draw(MS)) for k in range(len(places)) if k not in (one, other) and data.draw(st.booleans()))
    nearer, farther = (
        by_pop(explain(table_of(figures, pops, paths=((one, other, ms), (other, one, 50.0), *others)), 0, (*at, 0.0), country=None))[
            str(other)
        ]
        for ms in (low, high)
    )
    assert nearer.path_ms <= farther.path_ms * (1 + 1e-9)
    for found in (nearer, farther):
        assert found.path_ms >= max(2, 0.0105 * found.distance_km) * (1 - 1e-9)


@given(st.lists(PLACE, min_size=2, max_size=8), PLACE, MS)
def test_it_is_the_same_whichever_end_says_it(places, at, ms):
    pops = [(str(number), *place) for number, place in enumerate(places)]
    there, back = (paths_of(table_of(Figures(1), pops, paths=(path,)), (*at, 0.0)) for path in ((0, 1, ms), (1, 0, ms)))
    assert there == back


def test_only_the_nearest_landmarks_have_a_say():
    """Five: a sixth farther off changes nothing."""
    pops = [(str(n), 50.0, float(n)) for n in range(8)]
    paths = tuple((n, 7, 60.0) for n in range(5))
    five, six = (paths_of(table_of(Figures(1), pops, paths=of), (50.0, 0.0, 0.0)) for of in (paths, (*paths, (5, 7, 900.0))))
    assert five["6"] == six["6"] and five["7"] == six["7"]


def test_a_drain_keeps_them_and_so_does_a_change_of_endpoints():
    figures = Figures(1)
    table = table_of(figures, paths=((PAR, NYC, 90.0), (PAR, SIN, 9.0)))
    found = paths_of(table)
    pools = (dataclasses.replace(table.spec.services[0].pools[0], total=9), *table.spec.services[0].pools[1:])
    services = (dataclasses.replace(table.spec.services[0], pools=pools),)
    after = Table(dataclasses.replace(table.spec, services=services), figures, table)
    pops = (dataclasses.replace(table.spec.pops[0], is_drained=True), *table.spec.pops[1:])
    drained = Table(dataclasses.replace(after.spec, pops=pops), figures, after)
    moved = Table(dataclasses.replace(drained.spec, pops=(*pops[:3], dataclasses.replace(pops[3], lat=10.0))), figures, drained)
    del table
    assert paths_of(after) == paths_of(drained) == found
    assert paths_of(moved) == paths_of(Table(moved.spec, figures)) != found
