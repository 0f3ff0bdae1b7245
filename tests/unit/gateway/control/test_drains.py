import logging

import pytest

from gateway.control.drains import PopDrains, UnknownPop
from tests.unit.gateway.control.helpers import Clock, FailingConnects, config_of, publisher_of


@pytest.fixture
def scene():
    clock = Clock()
    publisher = publisher_of(config_of(), clock)
    return PopDrains(publisher, FailingConnects(publisher.figures), clock), publisher, clock


def busy(drains, n):
    drains.figures.pools[drains.publisher.rows.pool("shop", "fra")] = {"in_flight": n}


def test_new_requests_go_elsewhere_at_once_and_progress_is_seen(scene, caplog):
    caplog.set_level(logging.INFO, "isochrone.drain")
    drains, publisher, clock = scene
    busy(drains, 2)
    generation = publisher.generation
    progress = drains.drain("fra")
    assert (progress.is_drained, progress.in_flight, progress.is_done) == (True, 2, False)
    assert publisher.generation == generation + 1  # published before the answer
    assert [pop.is_drained for pop in publisher.table.spec.pops] == [True, False]
    clock.advance(3)
    drains.turn()
    busy(drains, 0)
    for _ in range(3):
        drains.turn()
    assert drains.progress("fra").is_done
    assert drains.progress("fra").since_s == 3
    assert [record.message for record in caplog.records] == ["pop drains", "pop drained"]
    assert caplog.records[1].took_s == 3


def test_asked_twice_is_asked_once(scene):
    drains, publisher, clock = scene
    drains.drain("fra")
    generation = publisher.generation
    clock.advance(5)
    assert drains.drain("fra").since_s == 5
    assert publisher.generation == generation


def test_undrain_takes_it_back(scene):
    drains, publisher, _ = scene
    drains.undrain("fra")
    drains.drain("fra")
    progress = drains.undrain("fra")
    assert (progress.is_drained, progress.since_s) == (False, None)
    assert not publisher.table.spec.pops[0].is_drained
    drains.turn()


def test_an_unknown_name_is_told_the_known_ones(scene):
    drains, _, _ = scene
    for ask in (drains.drain, drains.undrain, drains.progress):
        with pytest.raises(UnknownPop, match="there is no PoP 'lon'; there is: fra, nyc") as caught:
            ask("lon")
        assert caught.value.status == 404


def test_a_pop_that_a_reload_took_away_is_no_longer_watched(scene, caplog):
    caplog.set_level(logging.INFO, "isochrone.drain")
    drains, publisher, _ = scene
    busy(drains, 1)
    drains.drain("fra")
    publisher.config = publisher.config.model_copy(update={"pops": publisher.config.pops[1:]})
    drains.turn()
    drains.turn()
    assert [record.message for record in caplog.records] == ["pop drains"]
