"""Pacing: a request is decided by one of the last versions of the estimates, so that no change of them moves all requests at once."""

import itertools

import pytest

from routing_core import AffinitySpec, Figures, RouteSpec, draw, explain
from tests.unit.routing_core.tables import HERE, pool_rows, set_admits, set_times, shares_of, surprises, table_of, together

N = 40_000
STEPS = 7  # versions' times until a change has reached every request
SCALE = 1024


@pytest.fixture
def figures():
    return Figures(1)


def eight(figures, **options):
    """Version v alone makes PoP v the fastest: who decided is seen from who serves."""
    names = [f"v{number}" for number in range(8)]
    table = table_of(figures, together(*names), **{"routes": [RouteSpec("r", 0, window_ms=1)], **options})
    for version in range(8):
        set_times(figures, table, version, **{name: 100.0 * (number != version) for number, name in enumerate(names)})
    return table


def decided_by(phase):
    """By version number modulo eight: that of `age` ago, drawn evenly from seven versions' times. One that just began decides nothing."""
    out = {}
    for age in range(1, STEPS * SCALE + 1):
        name = f"v{(phase + 8 * SCALE - age) // SCALE % 8}"
        out[name] = out.get(name, 0) + 1 / (STEPS * SCALE)
    return out


@pytest.mark.parametrize("phase", [0, 1, 512, 1023, 1024, 7 * 1024 + 300, 8 * 1024, 1000 * 1024 + 700, (1 << 40) + 5])
def test_each_version_decides_its_part(figures, phase):
    table = eight(figures)
    figures.set_phase(phase)
    counts = draw(table, 0, HERE, N)
    assert not surprises(counts, decided_by(phase))
    assert not surprises(counts, shares_of(explain(table, 0, HERE)))
    assert sum(shares_of(explain(table, 0, HERE)).values()) == pytest.approx(1, abs=1e-9)


def pair(figures, **options):
    table = table_of(figures, together("old", "new"), **options)
    set_times(figures, table, old=10, new=50)
    return table


def test_a_change_reaches_one_request_after_the_other(figures):
    table = pair(figures)
    figures.set_phase(SCALE - 1)
    set_times(figures, table, 1, old=50, new=10)
    figures.set_phase(SCALE)
    assert draw(table, 0, HERE, N) == {"old": N}
    assert shares_of(explain(table, 0, HERE)) == pytest.approx({"old": 1.0}, abs=1e-9)
    shares = []
    for step in range(1, 8 * 4 + 1):
        number, quarter = divmod(step, 4)
        if quarter == 0:
            set_times(figures, table, number + 1, old=50, new=10)
        figures.set_phase(step * SCALE // 4 + SCALE)
        shares.append(shares_of(explain(table, 0, HERE)).get("new", 0.0))
    # Version 1 began at phase 1024; a quarter of a version's time later a twenty-eighth of the requests is decided by it.
    assert shares == pytest.approx([min(1.0, step / (4 * STEPS)) for step in range(1, 33)], abs=1e-9)


def test_no_step_moves_more_than_its_part_whatever_happens(figures):
    """The estimates change places with every version: between any two moments at most the time that passed moves."""
    table = pair(figures)
    before = shares_of(explain(table, 0, HERE))
    for step in range(1, 40):
        version, part = divmod(step, 2)
        if part == 0:
            slow = 50 if version % 3 else 10
            set_times(figures, table, version, old=slow, new=60 - slow)
        figures.set_phase(step * SCALE // 2)
        after = shares_of(explain(table, 0, HERE))
        assert sum(after.values()) == pytest.approx(1, abs=1e-9)
        moved = sum(abs(after.get(name, 0) - before.get(name, 0)) for name in ("old", "new")) / 2
        assert moved <= 0.5 / STEPS + 1e-6
        before = after


def test_requests_move_once(figures):
    """Under affinity a client is decided by the new estimates from some moment on, and never again by the old ones."""
    table = pair(figures, routes=[RouteSpec("r", 0, affinity=AffinitySpec("client"))])
    set_times(figures, table, 1, old=50, new=10)
    seen = {key: [] for key in range(1, 300)}
    for step in range(29):
        number, quarter = divmod(step, 4)
        if quarter == 0:
            set_times(figures, table, number + 1, old=50, new=10)
        figures.set_phase(SCALE + step * SCALE // 4)
        for key, pops in seen.items():
            (pop,) = draw(table, 0, HERE, 5, step, client_key=key)
            pops.append(pop)
    assert all([pop for pop, _ in itertools.groupby(pops)] in (["old", "new"], ["new"]) for pops in seen.values())
    half = [pops[14] for pops in seen.values()]  # three and a half versions' times after the change
    assert not surprises({name: half.count(name) for name in ("old", "new")}, {"old": 0.5, "new": 0.5})


def test_without_a_version_all_are_written(figures):
    """At start, and for who never came to pacing."""
    table = eight(figures)
    set_times(figures, table, **{f"v{number}": 10.0 * (number != 5) for number in range(8)})
    for phase in (0, 300, 5000):
        figures.set_phase(phase)
        assert draw(table, 0, HERE, 1000) == {"v5": 1000}


def test_health_is_not_paced(figures):
    table = pair(figures)
    figures.set_phase(3000)
    set_admits(figures, table, old=0)
    assert draw(table, 0, HERE, 1000) == {"new": 1000}
    set_admits(figures, table, old=1)
    assert draw(table, 0, HERE, 1000) == {"old": 1000}


def test_capacity_is_not_paced(figures):
    table = pair(figures)
    figures.set_phase(3000)
    figures.set_pool(pool_rows(table)[0], admit=0.25, shed=0.25)
    assert not surprises(draw(table, 0, HERE, N), {"old": 0.25, "new": 0.75})


def test_a_penalty_counts_in_all_versions_at_once(figures):
    table = pair(figures)
    figures.set_phase(3000)
    figures.set_pool(pool_rows(table)[0], penalty_ms=5000)
    assert draw(table, 0, HERE, 1000) == {"new": 1000}
    figures.set_pool(pool_rows(table)[0], penalty_ms=0)
    assert draw(table, 0, HERE, 1000) == {"old": 1000}


def test_path_and_service_time_of_one_version_are_read_together(figures):
    table = table_of(figures, together("a", "b"), routes=[RouteSpec("r", 0, leg="gateway-pop", window_ms=0)])
    a, b = pool_rows(table)
    figures.set_pool(b, path_ms=20, service_ms=0)
    figures.set_pool(a, path_ms=30, service_ms=0)
    for version in range(1, 8):
        figures.set_pool(a, path_ms=5, service_ms=10, version=version)
    figures.set_phase(7 * SCALE + 512)  # half of a version's time is left of version 0
    found = {each.pop: each for each in explain(table, 0, HERE).candidates}
    assert (found["a"].path_ms, found["a"].service_ms, found["a"].estimate_ms) == (5, 10, 15)
    assert not surprises(draw(table, 0, HERE, N), {"a": 6.5 / 7, "b": 0.5 / 7})


def test_the_newest_version_is_explained(figures):
    table = pair(figures)
    set_times(figures, table, 1, old=50, new=10)
    figures.set_phase(SCALE + 1)
    found = {each.pop: each for each in explain(table, 0, HERE).candidates}
    assert (found["old"].service_ms, found["new"].service_ms) == (50, 10)
    assert found["new"].share == pytest.approx(1 / (STEPS * SCALE), rel=1e-6)
    assert found["old"].share == pytest.approx(1 - 1 / (STEPS * SCALE), rel=1e-6)
