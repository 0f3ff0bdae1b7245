import math

import pytest

from routing_core import Explained, Figures, RouteSpec, RuleSpec, draw, explain, match
from tests.unit.routing_core.tables import CITIES, LONDON, candidate_of, endpoint_rows, pool_rows, table_of


@pytest.fixture
def figures():
    return Figures(1)


def test_everything_that_was_asked_for_is_named(figures):
    table = table_of(figures, routes=[RouteSpec("shop-eu", 0, window_ms=1)])
    explained = explain(table, 0, LONDON)
    assert explained[:10] == (
        "shop-eu",
        "shop",
        (("shop", 1.0),),
        0,
        "client-pop",
        None,
        "par",
        explained.endpoint,
        "fastest",
        ("fra", "nyc"),
    )
    assert explained.endpoint in {"10.0.3.1:8080", "10.0.3.2:8080"}
    assert explained.window_ms == 1
    assert isinstance(explained, Explained)


def test_candidates_stand_best_first_then_drained_then_denied(figures):
    routes = [RouteSpec("r", 0, rules=(RuleSpec(frozenset({0, 1, 3})),))]
    found = explain(table_of(figures, drained=["par"], routes=routes), 0, LONDON).candidates
    assert [(each.pop, each.permitted, each.drained, each.share, each.why_not) for each in found] == [
        ("fra", True, False, 1.0, None),
        ("nyc", True, False, 0.0, found[1].why_not),
        ("par", True, True, 0.0, "drained by the operator"),
        ("sin", False, False, 0.0, "outside the jurisdiction"),
    ]
    assert found[1].why_not == f"+{found[1].estimate_ms - found[0].estimate_ms:.1f} ms over the fastest"
    assert all(each.estimate_ms > 0 and each.distance_km > 0 for each in found)


def test_health_is_shown_with_its_reason(figures):
    table = table_of(figures, n_endpoints=[2, 0, 2, 2])
    for pool, admit in ((0, 0.0), (3, 0.625)):
        figures.set_pool(pool_rows(table)[pool], admit=admit, availability=admit)
    for seed in range(20):
        found = {each.pop: each for each in explain(table, 0, LONDON, seed).candidates}
        assert found["fra"].why_not == "not available: availability 0.00"
        assert found["nyc"].why_not == "no endpoint available"
        assert (found["nyc"].available, found["nyc"].availability) == (False, 0.0)
        assert (found["par"].available, found["par"].admit, found["par"].share) == (True, 0.625, pytest.approx(0.625))
        assert found["sin"].share == pytest.approx(0.375)
        is_passed = explain(table, 0, LONDON, seed).pop == "sin"
        assert found["par"].why_not == ("passed over: availability 0.62" if is_passed else None)


def test_in_order_the_later_ones_are_told_so(figures):
    found = explain(table_of(figures), 0, None).candidates
    assert [each.pop for each in found] == [name for name, _, _ in CITIES]
    assert [each.why_not for each in found] == [None, *["later in the configured order"] * 3]
    assert [each.distance_km for each in found] == [None] * 4


def test_an_endpoint_is_named_only_where_one_admits(figures):
    table = table_of(figures)
    for row in endpoint_rows(table, 3):
        figures.set_endpoint(row, state="shut")
    explained = explain(table, 0, LONDON)
    assert (explained.pop, explained.endpoint) == ("par", None)


def test_what_is_out_of_range_is_refused(figures):
    table = table_of(figures)
    for route in (-1, 1):
        with pytest.raises(IndexError, match="of 1"):
            explain(table, route, None)
        with pytest.raises(IndexError):
            draw(table, route, None, 1)
    for location in ((91, 0, 0), (0, 181, 0), (0, 0, -1), (math.nan, 0, 0), (0, 0, math.inf)):
        with pytest.raises(ValueError, match="location"):
            explain(table, 0, location)
    for call in (lambda: explain(None, 0, None), lambda: match(None, "h", "/"), lambda: draw(None, 0, None, 1)):
        with pytest.raises(TypeError):
            call()


def test_all_seeds_are_legal(figures):
    table = table_of(figures)
    assert {explain(table, 0, LONDON, seed).pop for seed in (-(2**63), -1, 0, 2**63 - 1)} == {"par"}


def test_facts_of_the_client_are_checked(figures):
    table = table_of(figures)
    with pytest.raises(TypeError, match="unknown facts: asn, land"):
        explain(table, 0, LONDON, land="DE", asn=3320)
    for fact in ("country", "continent"):
        for code in ("de", "D", "DEU", "", "\u00c4\u00d6", 7):
            with pytest.raises(ValueError, match=f"{fact}: must be two capitals, got"):
                explain(table, 0, LONDON, **{fact: code})
            with pytest.raises(ValueError, match=f"{fact}: must be two capitals, got"):
                draw(table, 0, LONDON, 1, **{fact: code})


def test_each_factor_and_penalty_is_shown(figures):
    table = table_of(figures, n_endpoints=[2, 2, 2, 0])
    figures.set_pool(pool_rows(table)[0], admit=0.125, availability=0.5, shed=0.5, ramp=0.5, penalty_ms=2.5, samples=9)
    found = candidate_of(explain(table, 0, LONDON), "fra")
    assert (found.admit, found.availability, found.shed, found.ramp) == (0.125, 0.5, 0.5, 0.5)
    assert (found.penalty_ms, found.samples, found.headroom) == (2.5, 9, None)
    assert found.estimate_ms == pytest.approx(found.path_ms + found.service_ms + 2.5)
    assert candidate_of(explain(table, 0, LONDON), "par").availability == 0  # nothing to send to, whatever was published
