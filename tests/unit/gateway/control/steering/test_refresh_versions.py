import itertools

import pytest

from gateway.control.steering.pacing import N_VERSIONS, UNITS
from routing_core import Table, explain
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.refreshing import FRA, NYC, answer, read, scene_of, started

CONFIG = config_of()


def times_written(bench, pool, since=0):
    """(version, service_ms) of each write of the pool's times."""
    row = bench.rows.pool(*pool)
    return [(values["version"], values["service_ms"]) for of, values in bench.figures.written[since:] if of == row and "version" in values]


def turns(bench, refresh, config, spec, seconds):
    for _ in range(round(seconds * 10)):
        bench.clock.advance(0.1)
        refresh.turn(config, spec)


def both(bench, refresh, config, spec, seconds, ms, n=100, nyc_ms=None):
    """So many answers a turn in each PoP."""
    for _ in range(round(seconds * 10)):
        answer(bench, FRA, ms, n)
        answer(bench, NYC, ms if nyc_ms is None else nyc_ms, n)
        turns(bench, refresh, config, spec, 0.1)


def service_ms(bench, pool):
    return read(bench, pool)["service_ms"]


def test_while_it_starts_an_estimate_is_in_force_at_once():
    bench, refresh, spec, _ = scene_of(CONFIG)
    for ms in (10, 60):
        answer(bench, FRA, ms, 100_000)
        bench.clock.advance(1)
        refresh.turn(CONFIG, spec)
    written = times_written(bench, FRA)
    assert [version for version, _ in written] == [None, None]
    assert written[1][1] > 35


def test_what_is_first_known_of_a_pool_is_in_force_at_once():
    bench, refresh, spec, _ = started(CONFIG)
    since = len(bench.figures.written)
    answer(bench, FRA, 20)
    bench.clock.advance(0.1)
    refresh.turn(CONFIG, spec)
    assert times_written(bench, FRA, since) == times_written(bench, NYC, since) == [(None, pytest.approx(20))]


def test_a_later_one_is_written_into_the_version_that_begins_and_the_next_ones_begin_as_that():
    bench, refresh, spec, _ = started(CONFIG)
    both(bench, refresh, CONFIG, spec, 0.1, 20)
    since = len(bench.figures.written)
    both(bench, refresh, CONFIG, spec, 5, 100, 20_000, nyc_ms=20)
    written = times_written(bench, FRA, since)
    first = written[0][0]
    assert first is not None
    assert [version for version, _ in written] == list(range(first, first + len(written)))
    assert written[-1][1] == pytest.approx(100, rel=0.05) and service_ms(bench, NYC) == pytest.approx(20, rel=0.05)
    since = len(bench.figures.written)
    both(bench, refresh, CONFIG, spec, 10, 100, 100, nyc_ms=20)
    assert times_written(bench, FRA, since) == times_written(bench, NYC, since) == []
    # All versions that are drawn from are that one by now.
    shares = [one.service_ms for one in explain(Table(spec, bench.figures.figures), 0, (50.1, 8.6, 10.0)).candidates]
    assert shares == pytest.approx([100, 20], rel=0.05)


@pytest.mark.parametrize(("pace", "n"), [("10%", 7), ("50%", 35)])
def test_a_faster_pace_has_more_versions(pace, n):
    config = config_of(steering=f"{{pace: {pace}}}")
    bench, refresh, spec, _ = started(config)
    turns(bench, refresh, config, spec, 0.1)
    since = len(bench.figures.phases)
    turns(bench, refresh, config, spec, 10)
    assert len({phase // UNITS for phase, _ in bench.figures.phases[since:]}) - 1 in (n - 1, n, n + 1)


def test_the_phase_follows_the_versions():
    """A request that draws the newest version finds it."""
    bench, refresh, spec, _ = started(CONFIG)
    for ms in (20, 40, 80, 160, 320, 640, 1280):
        both(bench, refresh, CONFIG, spec, 3, ms)
    n_seen, found = 0, set()
    for phase, n_before in bench.figures.phases:
        versions = {values["version"] for _, values in bench.figures.written[n_seen:n_before] if values.get("version") is not None}
        assert versions <= {phase // UNITS}
        found |= versions
        n_seen = n_before
    assert len(found) > 4 and min(found) > N_VERSIONS
    assert [phase for phase, _ in bench.figures.phases] == sorted(phase for phase, _ in bench.figures.phases)
    assert n_seen == len(bench.figures.written)  # nothing after the last phase of a turn


@pytest.mark.parametrize(
    ("more", "ms", "expected"), [("{}", 20.9, 20), ("{}", 21.1, 21.1), ("{margin: 20%}", 23.9, 20), ("{margin: 0}", 20.6, 20.6)]
)
def test_within_the_margin_the_level_stays(more, ms, expected):
    config = config_of(steering=more)
    bench, refresh, spec, _ = started(config)
    both(bench, refresh, config, spec, 0.1, 20, 1)
    both(bench, refresh, config, spec, 2, ms, 20_000)
    assert [service_ms(bench, pool) for pool in (FRA, NYC)] == pytest.approx([expected] * 2, abs=0.01)


@pytest.mark.parametrize(
    ("more", "ms", "is_other"), [("{}", 20.9, False), ("{}", 23, True), ("{margin: 20%}", 23.9, False), ("{margin: 0}", 22, True)]
)
def test_within_the_margin_of_its_level_a_pop_is_at_it(more, ms, is_other):
    """What two differ by each is half of."""
    config = config_of(steering=more)
    bench, refresh, spec, _ = started(config)
    both(bench, refresh, config, spec, 0.1, 20, 1)
    both(bench, refresh, config, spec, 4, ms, 20_000, nyc_ms=20)
    fra, nyc = service_ms(bench, FRA), service_ms(bench, NYC)
    assert (fra, nyc) == (pytest.approx((ms, 20), abs=0.1) if is_other else (nyc, fra))


def test_latency_alone_moves_a_tenth_a_second():
    """The shares as the decision works them out, of a client near FRA, whose PoP slows down by 300 ms."""
    bench, refresh, spec, _ = started(CONFIG)
    answer(bench, FRA, 20)
    answer(bench, NYC, 20)
    turns(bench, refresh, CONFIG, spec, 0.1)
    table = Table(spec, bench.figures.figures)
    shares = []
    for _ in range(150):
        answer(bench, FRA, 320)
        answer(bench, NYC, 20)
        turns(bench, refresh, CONFIG, spec, 0.1)
        found = explain(table, 0, (50.1, 8.6, 10.0)).candidates
        shares.append(sum(one.share for one in found if one.pop == "fra"))
    assert shares[0] == pytest.approx(1)
    assert max(before - after for before, after in zip(shares, shares[10:], strict=False)) < 0.101
    assert shares[120] < 0.1  # 90 % within 12 s
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(shares))
