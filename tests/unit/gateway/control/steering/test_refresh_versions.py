import itertools

import pytest

from gateway.control.steering.pacing import N_VERSIONS, UNITS
from routing_core import Table, explain
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.refreshing import FRA, NYC, scene_of, started

CONFIG = config_of()


def times_written(bench, pool, since=0):
    """(version, service_ms) of each write of the pool's times."""
    row = bench.rows.pool(*pool)
    return [(values["version"], values["service_ms"]) for of, values in bench.figures.written[since:] if of == row and "version" in values]


def answer(bench, pool, ms, n=100):
    """Traffic's: n first bytes after ms each."""
    of = bench.figures.pools.setdefault(bench.rows.pool(*pool), {"first_byte_us": 0, "first_bytes": 0})
    of["first_bytes"] += n
    of["first_byte_us"] += int(n * ms * 1000)


def turns(bench, refresh, config, spec, seconds):
    for _ in range(round(seconds * 10)):
        bench.clock.advance(0.1)
        refresh.turn(config, spec)


def test_while_it_starts_an_estimate_is_in_force_at_once():
    bench, refresh, spec, _ = scene_of(CONFIG)
    for ms in (10, 200):
        answer(bench, FRA, ms, 100_000)
        bench.clock.advance(1)
        refresh.turn(CONFIG, spec)
    written = times_written(bench, FRA)
    assert [version for version, _ in written] == [None, None]
    assert written[1][1] > 100


def test_what_is_first_known_of_a_pool_is_in_force_at_once():
    bench, refresh, spec, _ = started(CONFIG)
    since = len(bench.figures.written)
    answer(bench, FRA, 20)
    bench.clock.advance(0.1)
    refresh.turn(CONFIG, spec)
    assert times_written(bench, FRA, since) == [(None, pytest.approx(20))]


def test_a_later_one_is_written_into_each_version_as_it_begins():
    bench, refresh, spec, _ = started(CONFIG)
    answer(bench, FRA, 20)
    turns(bench, refresh, CONFIG, spec, 0.1)
    since = len(bench.figures.written)
    answer(bench, FRA, 100, 1_000_000)
    turns(bench, refresh, CONFIG, spec, 10)  # at 10 % a second seven versions
    written = times_written(bench, FRA, since)
    first = written[0][0]
    assert [version for version, _ in written] == list(range(first, first + len(written)))
    assert len(written) in (7, 8)
    assert all(ms == pytest.approx(100, rel=0.01) for _, ms in written)


def test_a_faster_pace_has_more_versions():
    config = config_of(steering="{pace: 50%}")
    bench, refresh, spec, _ = started(config)
    answer(bench, FRA, 20)
    turns(bench, refresh, config, spec, 0.1)
    since = len(bench.figures.written)
    turns(bench, refresh, config, spec, 10)
    assert len(times_written(bench, FRA, since)) in (34, 35, 36)


def test_the_phase_follows_the_versions():
    """A request that draws the newest version finds it."""
    bench, refresh, spec, _ = started(CONFIG)
    answer(bench, FRA, 20)
    turns(bench, refresh, CONFIG, spec, 5)
    newest = 0
    n_seen = 0
    for phase, n_before in bench.figures.phases:
        for row, values in bench.figures.written[n_seen:n_before]:
            if values.get("version") is not None and row == bench.rows.pool(*FRA):
                newest = values["version"]
        n_seen = n_before
        assert newest == 0 or phase // UNITS == newest
    assert newest >= N_VERSIONS
    assert [phase for phase, _ in bench.figures.phases] == sorted(phase for phase, _ in bench.figures.phases)
    assert n_seen == len(bench.figures.written)  # nothing after the last phase of a turn


@pytest.mark.parametrize(
    ("more", "ms", "expected"), [("{}", 20.9, 20), ("{}", 21.1, 21.1), ("{margin: 20%}", 23.9, 20), ("{margin: 0}", 20.6, 20.6)]
)
def test_within_the_margin_the_estimate_stays(more, ms, expected):
    config = config_of(steering=more)
    bench, refresh, spec, _ = started(config)
    answer(bench, FRA, 20, 1)
    turns(bench, refresh, config, spec, 0.1)
    answer(bench, FRA, ms, 100_000_000)
    turns(bench, refresh, config, spec, 2)
    assert bench.figures.figures.read_pool(bench.rows.pool(*FRA))["service_ms"] == pytest.approx(expected, abs=0.01)


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
