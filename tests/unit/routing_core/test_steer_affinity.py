"""Affinity: a client stays on its PoP. It beats latency, and loses to health, drains, capacity and jurisdiction."""

import pytest

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, draw, explain
from tests.unit.routing_core.tables import (
    CLIENT,
    COOKIE,
    HASHED,
    HEADER,
    HERE,
    LONDON,
    count,
    kept_table,
    load,
    places,
    set_admits,
    set_sheds,
    set_times,
    surprises,
    table_of,
    together,
)


@pytest.fixture
def figures():
    return Figures(2)


def outcome(table, location=LONDON, seed=1, **facts):
    explained = explain(table, 0, location, seed, **facts)
    return explained.pop, explained.reason


# --- By cookie ---


@pytest.mark.parametrize("location", [LONDON, None])
def test_a_cookie_beats_latency_and_order(figures, location):
    table = kept_table(figures)
    set_times(figures, table, sin=900)
    assert outcome(table, location, kept="sin") == ("sin", "affinity")
    assert draw(table, 0, location, 500, kept="sin") == {"sin": 500}
    assert explain(table, 0, location, kept="sin").fallbacks == (("par", "fra") if location else ("fra", "nyc"))


def test_who_has_no_cookie_is_decided_as_anyone(figures):
    assert outcome(kept_table(figures)) == ("par", "fastest")


def test_a_cookie_counts_only_where_the_route_says_so(figures):
    for affinity in (None, HEADER, CLIENT):
        assert outcome(kept_table(figures, affinity), kept="sin") == ("par", "fastest")


def test_a_cookie_loses_to_a_drain(figures):
    assert outcome(kept_table(figures, drained=["sin"]), kept="sin") == ("par", "fastest")


def test_a_cookie_loses_to_jurisdiction(figures):
    rules = (RuleSpec(frozenset({0, 3})),)
    table = table_of(figures, routes=[RouteSpec("r", 0, affinity=COOKIE, rules=rules)])
    assert outcome(table, kept="sin") == ("par", "fastest")


def test_a_cookie_loses_to_unavailability_until_that_ends(figures):
    table = kept_table(figures)
    set_admits(figures, table, sin=0)
    assert outcome(table, kept="sin") == ("par", "fastest")
    set_admits(figures, table, sin=1)
    assert outcome(table, kept="sin") == ("sin", "affinity")
    assert outcome(kept_table(figures, n_endpoints=[2, 2, 0, 2]), kept="sin") == ("par", "fastest")


@pytest.mark.parametrize("of", ["of_pops", "of_pools"])
def test_a_cookie_loses_to_a_full_pop(figures, of):
    table = kept_table(figures, **{of: {"sin": {"high": 5}}})
    load(figures, table, "sin", 4)
    assert outcome(table, kept="sin") == ("sin", "affinity")
    load(figures, table, "sin", 1, worker=1)
    assert outcome(table, kept="sin") == ("par", "fastest")


@pytest.mark.parametrize("set_gate", [set_admits, set_sheds])
def test_a_cookie_loses_to_what_is_shed(figures, set_gate):
    table = kept_table(figures)
    set_gate(figures, table, sin=0.5)
    assert not surprises(draw(table, 0, LONDON, 20_000, kept="sin"), {"sin": 0.5, "par": 0.5})


@pytest.mark.parametrize("affinity", [COOKIE, CLIENT])
def test_the_same_clients_are_shed_first(figures, affinity):
    """Whether a client is passed over depends on who it is alone; the deeper the shedding, the more of them, and none comes back."""
    table = kept_table(figures, affinity)
    kept_by = {}
    for admit in (0.75, 0.5, 0.375):
        set_admits(figures, table, par=admit)
        outcomes = {key: draw(table, 0, LONDON, 20, seed=key, kept="par", client_key=key) for key in range(1, 2000)}
        assert all(len(counts) == 1 for counts in outcomes.values())
        kept_by[admit] = {key for key, counts in outcomes.items() if "par" in counts}
        assert not surprises({"par": len(kept_by[admit]), "fra": 1999 - len(kept_by[admit])}, {"par": admit, "fra": 1 - admit})
    assert kept_by[0.375] < kept_by[0.5] < kept_by[0.75]


def test_without_affinity_everybody_is_shed_at_times(figures):
    table = table_of(figures)
    set_admits(figures, table, par=0.5)
    assert all(len(draw(table, 0, LONDON, 40, client_key=key)) == 2 for key in range(1, 50))


def test_whom_two_pops_shed_are_not_the_same(figures):
    """Or all that the first sheds the second would shed as well."""
    table = kept_table(figures, CLIENT)
    set_admits(figures, table, par=0.5, fra=0.5)
    counts = count(places(table, "client_key", location=LONDON))
    assert not surprises(counts, {"par": 0.5, "fra": 0.25, "nyc": 0.25})


def test_a_cookie_holds_in_panic_where_something_is_available(figures):
    table = kept_table(figures, n_endpoints=[2, 2, 2, 0])
    set_admits(figures, table, fra=0, nyc=0, sin=0)
    assert outcome(table, kept="sin")[1] == "panic"  # or each of its requests would try a dead one first
    assert outcome(table, kept="par")[1] == "panic"
    set_admits(figures, table, sin=0.25)
    assert draw(table, 0, LONDON, 500, kept="sin") == {"sin": 500}  # health is ignored, the draws against it too


def test_an_unknown_cookie_is_an_error_of_the_caller(figures):
    with pytest.raises(ValueError, match="kept and left_out: must be PoPs of the table, got 'ams'"):
        explain(kept_table(figures), 0, LONDON, kept="ams")


# --- By header, by client: where in the window is rendezvous's affair ---


@pytest.mark.parametrize(("affinity", "fact"), HASHED)
def test_another_key_is_not_looked_at(figures, affinity, fact):
    table = kept_table(figures, affinity, together("a", "b"))
    load(figures, table, "a", 1)
    other = "client_key" if fact == "header_key" else "header_key"
    counts = draw(table, 0, HERE, 20_000, **{other: 5})
    assert not surprises(counts, {"a": 0.5, "b": 0.5})
    assert explain(table, 0, HERE, **{other: 5}).reason == "window"


def test_beyond_the_window_nobody_is_kept_unless_within_says_so(figures):
    near, far = ("near", 50.0, 8.0), ("far", 50.0, 16.0)  # 11.4 ms
    for by in ("header", "client"):
        fact = f"{by}_key"
        plain = AffinitySpec(by, "x" if by == "header" else "")
        assert set(places(kept_table(figures, plain, [near, far]), fact).values()) == {"near"}
        wide = AffinitySpec(by, "x" if by == "header" else "", within_ms=40)
        table = kept_table(figures, wide, [near, far])
        assert not surprises(count(places(table, fact)), {"near": 0.5, "far": 0.5})
        assert explain(table, 0, HERE, **{fact: 1}).window_ms == 40
        narrow = AffinitySpec(by, "x" if by == "header" else "", within_ms=1)
        assert explain(kept_table(figures, narrow, [near, far]), 0, HERE, **{fact: 1}).window_ms == 5


def test_within_is_for_those_who_are_kept(figures):
    """A request without the header, and one that goes by a cookie, is decided as anyone."""
    near, far = ("near", 50.0, 8.0), ("far", 50.0, 16.0)
    for affinity in (AffinitySpec("header", "x", within_ms=40), AffinitySpec("cookie", "x", within_ms=40)):
        table = kept_table(figures, affinity, [near, far])
        assert draw(table, 0, HERE, 2000, client_key=5) == {"near": 2000}


def test_alone_in_its_window_there_is_nothing_to_hash(figures):
    table = kept_table(figures, CLIENT)
    assert outcome(table, client_key=7) == ("par", "fastest")
    assert outcome(table, None, client_key=7) == ("fra", "order")
