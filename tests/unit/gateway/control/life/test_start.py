"""What a start waits for, and for how long."""

from gateway.control.life.start import FIRST_ROUND_S
from tests.unit.gateway.control.helpers import identity
from tests.unit.gateway.control.life.test_ready import settle


def test_a_source_of_routes_is_waited_for_without_end(scene):
    """Else its routes' requests would be seen where wider routes lead."""
    ready, parts = scene
    settle(parts)
    parts.merge.silent = ["folder"]
    parts.clock.now += 10 * FIRST_ROUND_S
    assert ready.start.obstacles() == ["source folder: not heard yet"]


def test_the_first_round_has_an_end(scene, caplog):
    ready, parts = scene
    settle(parts)
    parts.prober.unjudged = [identity()]
    parts.publisher.is_due = True  # without end: a cluster that changes all the time
    assert ready.start.obstacles() == ["table: what was last said is not in it yet", "first probe round: 1 endpoints to go"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.start.obstacles() == []
    assert "first probe round not done in time" in caplog.text


def test_the_first_round_begins_when_the_last_cluster_has_spoken(scene):
    """One that answers late is not served from before anybody has looked at its endpoints."""
    ready, parts = scene
    settle(parts)
    parts.sources.waiting = ["fra"]
    parts.prober.unjudged = [identity()]
    parts.clock.advance(FIRST_ROUND_S + 1)
    assert ready.start.obstacles()[0] == "cluster in fra: not synced yet"
    parts.sources.waiting = []
    assert ready.start.obstacles() == ["first probe round: 1 endpoints to go"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.start.obstacles() == []


def test_databases_on_a_disk_that_hangs_are_not_waited_for_for_ever(scene):
    ready, parts = scene
    settle(parts)
    parts.geo.has_looked = False
    assert ready.start.obstacles() == ["geoip: databases not read yet"]
    parts.clock.advance(FIRST_ROUND_S)
    assert ready.start.obstacles() == []


def test_the_first_round_is_over_only_when_all_endpoints_can_be_known(scene):
    ready, parts = scene
    parts.geo.has_looked = True
    parts.prober.unjudged = parts.merge.silent = []
    assert "cluster in fra: not synced yet" in ready.start.obstacles()
    parts.prober.unjudged = [identity()]  # the cluster's
    parts.sources.waiting = []
    parts.sources.resolver.answers.clear()
    assert ready.start.obstacles() == ["first probe round: 1 endpoints to go"]
    parts.prober.unjudged = []
    parts.publisher.is_due = True  # with endpoints that no probe knows of yet
    assert ready.start.obstacles() == ["table: what was last said is not in it yet"]
    parts.publisher.is_due = False
    assert ready.start.obstacles() == []
    parts.prober.unjudged = [identity()]  # came later
    parts.publisher.is_due = True
    assert ready.start.obstacles() == []
