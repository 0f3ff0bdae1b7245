import pytest

from gateway.control.life.lifecycle import Phase
from tests.unit.gateway.control.helpers import identity


def settle(parts):
    parts.geo.missing = parts.merge.silent = []
    parts.geo.has_looked = True
    parts.sources.waiting = []
    parts.sources.resolver.answers["web"].error = "unknown"  # a bad answer is one
    parts.prober.unjudged = []


def test_everything_it_waits_for_is_named(scene):
    ready, parts = scene
    assert ready.reasons() == [
        "source folder: not heard yet",
        "geoip: databases not read yet",
        "cluster in fra: not synced yet",
        "name web: not resolved yet",
        "first probe round: 2 endpoints to go",
        "geoip: city.mmdb: not loaded yet",
    ]
    assert parts.sources.asked == [30.0]


def test_ready_once_it_serves_and_nothing_is_left(scene):
    ready, parts = scene
    settle(parts)
    assert ready.start.obstacles() == []
    assert ready.reasons() == ["starting"]
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == []


def test_a_missing_database_holds_readiness_back_but_not_the_service(scene):
    ready, parts = scene
    settle(parts)
    parts.geo.missing = ["city.mmdb: broken"]
    assert ready.start.obstacles() == []
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == ["geoip: city.mmdb: broken"]
    parts.geo.missing = []
    assert ready.reasons() == []


def test_what_fails_later_takes_nothing_back(scene):
    ready, parts = scene
    settle(parts)
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == []
    parts.geo.missing = ["gone"]
    parts.sources.waiting = ["new"]
    parts.prober.unjudged = [identity()]
    assert ready.reasons() == []


def test_a_worker_that_hangs_is_a_reason_until_it_turns_again(scene):
    ready, parts = scene
    settle(parts)
    parts.lifecycle.phase = Phase.SERVING
    parts.workers.silent = ["worker-1"]
    assert ready.reasons() == ["worker-1: does not turn"]
    assert ready.reasons() == ["worker-1: does not turn"]
    parts.workers.silent = []
    assert ready.reasons() == []


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.LAMEDUCK, Phase.CLOSING, Phase.ABORTING, Phase.EXIT])
def test_a_drain_is_the_only_reason_then_and_undrain_takes_it_back(scene, phase):
    ready, parts = scene
    settle(parts)
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == []
    parts.lifecycle.phase, parts.lifecycle.state = phase, "lameduck"
    assert ready.reasons() == ["draining: lameduck"]
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == []
