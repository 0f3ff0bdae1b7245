from types import SimpleNamespace

import pytest

from gateway.control.life.lifecycle import Phase
from gateway.control.life.ready import FIRST_ROUND_S, Ready
from gateway.control.sources.resolver import Answer
from tests.unit.gateway.control.helpers import Clock, identity


@pytest.fixture
def scene():
    """Everything that is asked, as it is at the start of a gateway that has much to wait for."""
    parts = SimpleNamespace(
        lifecycle=SimpleNamespace(phase=Phase.STARTING, state="starting"),
        geo=SimpleNamespace(missing=["city.mmdb: not loaded yet"], has_looked=False),
        sources=SimpleNamespace(waiting=["fra"], asked=[], resolver=SimpleNamespace(answers={"web": Answer()})),
        publisher=SimpleNamespace(is_due=False),
        workers=SimpleNamespace(silent=[]),
        merge=SimpleNamespace(silent=["folder"]),
        prober=SimpleNamespace(unjudged=[identity(), identity("192.0.2.2")]),
        clock=Clock(),
    )
    parts.sources.unsynced = lambda deadline: parts.sources.asked.append(deadline) or parts.sources.waiting
    ready = Ready(**vars(parts), sync_deadline_s=lambda: 30.0)
    return ready, parts


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


def test_a_source_of_routes_is_waited_for_without_end(scene):
    """Else its routes' requests would be seen where wider routes lead."""
    ready, parts = scene
    settle(parts)
    parts.merge.silent = ["folder"]
    parts.clock.now += 10 * FIRST_ROUND_S
    assert ready.obstacles() == ["source folder: not heard yet"]


def test_ready_once_it_serves_and_nothing_is_left(scene):
    ready, parts = scene
    settle(parts)
    assert ready.obstacles() == []
    assert ready.reasons() == ["starting"]
    parts.lifecycle.phase = Phase.SERVING
    assert ready.reasons() == []


def test_a_missing_database_holds_readiness_back_but_not_the_service(scene):
    ready, parts = scene
    settle(parts)
    parts.geo.missing = ["city.mmdb: broken"]
    assert ready.obstacles() == []
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


def test_the_first_round_has_an_end(scene, caplog):
    ready, parts = scene
    settle(parts)
    parts.prober.unjudged = [identity()]
    parts.publisher.is_due = True  # without end: a cluster that changes all the time
    assert ready.obstacles() == ["table: what was last said is not in it yet", "first probe round: 1 endpoints to go"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.obstacles() == []
    assert "first probe round not done in time" in caplog.text


def test_the_first_round_begins_when_the_last_cluster_has_spoken(scene):
    """One that answers late is not served from before anybody has looked at its endpoints."""
    ready, parts = scene
    settle(parts)
    parts.sources.waiting = ["fra"]
    parts.prober.unjudged = [identity()]
    parts.clock.advance(FIRST_ROUND_S + 1)
    assert ready.obstacles()[0] == "cluster in fra: not synced yet"
    parts.sources.waiting = []
    assert ready.obstacles() == ["first probe round: 1 endpoints to go"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.obstacles() == []


def test_databases_on_a_disk_that_hangs_are_not_waited_for_for_ever(scene):
    ready, parts = scene
    settle(parts)
    parts.geo.has_looked = False
    assert ready.obstacles() == ["geoip: databases not read yet"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.obstacles() == []


def test_the_first_round_is_over_only_when_all_endpoints_can_be_known(scene):
    ready, parts = scene
    parts.geo.has_looked = True
    parts.prober.unjudged = parts.merge.silent = []
    assert "cluster in fra: not synced yet" in ready.obstacles()
    parts.prober.unjudged = [identity()]  # the cluster's
    parts.sources.waiting = []
    parts.sources.resolver.answers.clear()
    assert ready.obstacles() == ["first probe round: 1 endpoints to go"]
    parts.prober.unjudged = []
    parts.publisher.is_due = True  # with endpoints that no probe knows of yet
    assert ready.obstacles() == ["table: what was last said is not in it yet"]
    parts.publisher.is_due = False
    assert ready.obstacles() == []
    parts.prober.unjudged = [identity()]  # came later
    parts.publisher.is_due = True
    assert ready.obstacles() == []
