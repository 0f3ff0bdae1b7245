"""Automatic drain: of the PoPs that a request may use, those of which too little is ready; never more than half, and never into a panic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import LONDON, candidate_of, set_admits, shares_of, surprises, table_of, together

N = 20_000
POOR = 0.28  # a fifth is ready


@pytest.fixture
def figures():
    return Figures(3)


def only(*numbers):
    """Fra, nyc, sin and par are 0 to 3."""
    return {"routes": [RouteSpec("r", 0, rules=(RuleSpec(frozenset(numbers)),))]}


def test_a_poor_pop_is_left_to_the_others(figures):
    table = table_of(figures)
    set_admits(figures, table, par=POOR)
    assert draw(table, 0, LONDON, 1000) == {"fra": 1000}
    explained = explain(table, 0, LONDON)
    found = candidate_of(explained, "par")
    assert (found.available, found.share, found.why_not) == (False, 0, "drained automatically: availability 0.28")
    assert (explained.reason, explained.fallbacks) == ("failover", ("nyc", "sin"))
    set_admits(figures, table, par=0.35)  # a quarter
    assert set(draw(table, 0, LONDON, 1000)) == {"fra", "par"}


@pytest.mark.parametrize("how", [only(0, 3), {"drained": ["nyc", "sin"]}])
def test_what_the_request_may_not_use_counts_for_nothing(figures, how):
    """Neither as dead, which would keep a poor one in, nor as alive, which would take both out."""
    table = table_of(figures, **how)
    set_admits(figures, table, nyc=0, sin=0, par=POOR)
    assert draw(table, 0, LONDON, 1000) == {"fra": 1000}
    set_admits(figures, table, nyc=1, sin=1, fra=POOR)
    counts = draw(table, 0, LONDON, N)  # 0.56 in all: no panic, each takes what it can
    assert explain(table, 0, LONDON).reason in ("fastest", "spill")
    assert set(counts) == {"fra", "par"}
    assert not surprises(counts, shares_of(explain(table, 0, LONDON)))


def test_before_a_panic_those_left_out_are_used_by_what_is_ready(figures):
    table = table_of(figures, **only(0, 1, 3))
    set_admits(figures, table, par=POOR, fra=0, nyc=0.375)  # without par it would be a panic
    explained = explain(table, 0, LONDON)
    assert explained.reason != "panic"
    assert candidate_of(explained, "par").available
    assert not surprises(draw(table, 0, LONDON, N), {"par": POOR, "nyc": 1 - POOR} | shares_of(explained))
    set_admits(figures, table, par=0.1)
    assert explain(table, 0, LONDON).reason == "panic"


def test_the_poorest_go_first_and_of_some_alike_the_last(figures):
    table = table_of(figures, together("a", "b", "c", "d", "e"))
    here = (0.0, 0.0, 0.0)
    set_admits(figures, table, a=0.25, b=0.125, c=0.25, d=0.25)
    assert {each.pop for each in explain(table, 0, here).candidates if not each.available} == {"b", "d"}
    set_admits(figures, table, b=0.3)
    assert {each.pop for each in explain(table, 0, here).candidates if not each.available} == {"c", "d"}


@given(st.lists(st.integers(0, 1024), min_size=1, max_size=9), st.integers(0, 2**20))
def test_never_more_than_half_and_never_into_a_panic(availabilities, seed):
    figures = Figures(1)
    names = [f"p{number}" for number in range(len(availabilities))]
    table = table_of(figures, together(*names))
    set_admits(figures, table, **{name: value / 1024 for name, value in zip(names, availabilities, strict=True)})
    explained = explain(table, 0, (0.0, 0.0, 0.0), seed)
    known = dict(zip(names, availabilities, strict=True))
    out = {each.pop for each in explained.candidates if not each.available and known[each.pop] > 0}
    assert all(known[name] < 358 for name in out)
    if out:
        assert len(out) + availabilities.count(0) <= len(names) // 2
        assert sum(value for name, value in known.items() if name not in out) >= 512
        assert max(known[name] for name in out) <= min((value for name, value in known.items() if value and name not in out), default=1024)
    assert (explained.reason == "panic") == (sum(availabilities) < 512)
