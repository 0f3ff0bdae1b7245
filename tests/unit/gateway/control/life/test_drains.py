import asyncio
import json
import logging
import threading
from dataclasses import replace

import pytest

from gateway.control.life import drains as module
from gateway.control.life.drains import DrainsUnusable, PopDrains, UnknownPop, absent, load, path_of
from gateway.control.process import kept
from tests.unit.gateway.control.helpers import TWO_POPS, Clock, FailingConnects, config_of, publisher_of

EDGE, OTHER = "edge-1", "edge-2"


@pytest.fixture
def scene():
    clock = Clock()
    publisher = publisher_of(config_of(), clock)
    return PopDrains(publisher, FailingConnects(publisher.figures), clock), publisher, clock


def busy(drains, n):
    drains.figures.pops[drains.publisher.rows.pop("fra")] = n


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


def test_what_runs_for_a_service_that_a_reload_took_away_is_waited_for(scene):
    drains, publisher, _ = scene
    busy(drains, 1)
    publisher.publish_config(config_of(TWO_POPS.replace("shop", "store")), publisher.locator)
    assert drains.drain("fra").in_flight == 1
    busy(drains, 0)
    assert drains.progress("fra").is_done


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
    publisher.config = replace(publisher.config, pops=publisher.config.pops[1:])
    drains.turn()
    drains.turn()
    assert [record.message for record in caplog.records] == ["pop drains"]


def kept_scene(path, gateway=EDGE, config=None):
    """As the gateway makes it at its start."""
    clock = Clock()
    publisher = publisher_of(called(gateway, config or config_of()), clock)
    publisher.world.drained = load(path, gateway)
    publisher.publish()
    return PopDrains(publisher, FailingConnects(publisher.figures), clock, path)


def called(name, config):
    return replace(config, gateway=replace(config.gateway, name=name))


def test_the_word_outlives_the_process(tmp_path):
    path = tmp_path / "drains.json"
    drains = kept_scene(path)
    assert drains.progress("fra").is_kept  # not drained, and no file says otherwise
    assert not drains.drain("fra").is_kept
    asyncio.run(drains.keep())
    assert drains.progress("fra").is_kept
    assert json.loads(path.read_text()) == {"drained": ["fra"], "by_gateway": {EDGE: ["fra"]}}
    assert path.stat().st_mode & 0o777 == 0o600
    again = kept_scene(path)
    progress = again.progress("fra")
    assert (progress.is_drained, progress.since_s, progress.is_kept) == (True, 0.0, True)
    assert [pop.is_drained for pop in again.publisher.table.spec.pops] == [True, False]
    again.undrain("fra")
    asyncio.run(again.keep())
    assert load(path, EDGE) == set()
    assert [one.name for one in tmp_path.iterdir()] == ["drains.json"]


def test_gateways_that_share_a_folder_have_drains_of_their_own(tmp_path):
    """What one is told is no word on another: that keeps its drain, and says so truly."""
    path = tmp_path / "drains.json"
    one, other = kept_scene(path), kept_scene(path, OTHER)
    for gateway in (one, other):
        asyncio.run(gateway.keep_on())
        gateway.drain("fra")
        asyncio.run(gateway.keep())
    other.undrain("fra")
    asyncio.run(other.keep())
    assert (one.progress("fra").is_kept, load(path, EDGE)) == (True, {"fra"})
    assert (other.progress("fra").is_kept, load(path, OTHER)) == (True, set())
    one.drain("nyc")
    asyncio.run(one.keep())
    assert (load(path, EDGE), load(path, OTHER)) == ({"fra", "nyc"}, set())


@pytest.mark.parametrize("what", ["garbage", "open to a group"])
def test_what_cannot_be_read_may_be_anothers_and_stays(tmp_path, what):
    path = tmp_path / "drains.json"
    one, other = kept_scene(path), kept_scene(path, OTHER)
    one.drain("fra")
    asyncio.run(one.keep())
    whole = path.read_bytes()
    if what == "garbage":
        path.write_text("{")
    else:
        path.chmod(0o660)
    other.drain("nyc")
    asyncio.run(other.keep())
    progress = other.progress("nyc")
    assert (progress.is_drained, progress.is_kept) == (True, False)
    assert progress.not_kept.startswith(f"drains {path}: ")
    path.write_bytes(whole)
    path.chmod(0o600)
    asyncio.run(other.keep_on())
    assert other.progress("nyc").is_kept
    assert (load(path, EDGE), load(path, OTHER)) == ({"fra"}, {"nyc"})


def test_who_is_renamed_by_a_reload_takes_its_drains_along(tmp_path):
    path = tmp_path / "drains.json"
    one = kept_scene(path)
    one.drain("fra")
    asyncio.run(one.keep())
    other = kept_scene(path, "another")
    other.undrain("fra")
    asyncio.run(other.keep())
    one.publisher.config = called(OTHER, one.publisher.config)
    asyncio.run(one.keep_on())
    assert load(path, OTHER) == {"fra"}
    one.undrain("fra")
    asyncio.run(one.keep())
    assert load(path, OTHER) == set()


def test_who_is_not_in_the_file_starts_by_the_last_word_of_any(tmp_path):
    """As after another name (a pod's, say), or with a file of the release before; from then on these are its own."""
    path = tmp_path / "drains.json"
    path.write_text('{"drained": ["fra"]}')
    path.chmod(0o600)
    one, new = kept_scene(path), kept_scene(path, OTHER)
    for gateway in (one, new):
        assert gateway.progress("fra").is_drained
        asyncio.run(gateway.keep_on())
    one.undrain("fra")
    asyncio.run(one.keep())
    assert (load(path, EDGE), load(path, OTHER), load(path, "a third")) == (set(), {"fra"}, set())
    asyncio.run(kept_scene(path, OTHER).keep_on())
    assert load(path, "a third") == set(), "a start is no word of an operator's"
    new.drain("nyc")
    asyncio.run(new.keep())
    assert load(path, "a third") == {"nyc"}


def test_a_word_is_written_once_also_where_nobody_waited_for_it(tmp_path, monkeypatch):
    """Who asked for a drain has gone, or has waited for long enough: what the process after this one was told since stays."""
    path, begun, hanging, write = tmp_path / "drains.json", threading.Event(), threading.Event(), kept.write
    one, other = kept_scene(path), kept_scene(path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "KEEP_S", 0.02)
        patch.setattr(kept, "write", lambda *what: (begun.set(), hanging.wait(20), write(*what)))
        one.drain("fra")
        asyncio.run(one.keep())
        assert begun.wait(20)
        hanging.set()
        with one._writing:
            assert load(path, EDGE) == {"fra"}
    other.publisher.world.drained = load(path, EDGE)
    other.undrain("fra")
    asyncio.run(other.keep())
    asyncio.run(one.keep_on())
    one.drain("nyc")
    asyncio.run(one.keep())
    assert load(path, EDGE) == {"nyc"}


def test_a_word_that_cannot_be_written_holds_and_says_so(tmp_path, caplog):
    drains = kept_scene(tmp_path / "gone" / "drains.json")
    drains.drain("fra")
    asyncio.run(drains.keep())
    progress = drains.progress("fra")
    assert (progress.is_drained, progress.is_kept) == (True, False)
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert (record.message, record.error) == ("drains not kept: a restart forgets them", "No such file or directory")


def test_what_could_not_be_written_is_tried_again_until_it_is(tmp_path, caplog):
    """A volume that is full, or away for a moment. Of both words, that on a PoP and that which takes it back."""
    caplog.set_level(logging.INFO, "isochrone.drain")
    folder, away = tmp_path / "state", tmp_path / "away"
    folder.mkdir()
    drains = kept_scene(folder / "drains.json")
    for ask, kept_then in ((drains.drain, {"fra"}), (drains.undrain, set())):
        folder.rename(away)
        ask("fra")
        assert drains.progress("fra").not_kept == "not written yet"
        for again in (drains.keep, drains.keep_on, drains.keep_on):
            asyncio.run(again())
        assert drains.progress("fra").not_kept == "No such file or directory"
        away.rename(folder)
        asyncio.run(drains.keep_on())
        assert load(drains.path, EDGE) == kept_then
        assert (drains.progress("fra").is_kept, drains.progress("fra").not_kept) == (True, None)
    drains.path.unlink()
    asyncio.run(drains.keep_on())
    assert not drains.path.exists()  # nothing is left to be written
    said = [record.message for record in caplog.records if "kept" in record.message]
    assert said == ["drains not kept: a restart forgets them", "drains kept"] * 2


def test_a_disk_that_hangs_has_one_attempt_at_a_time(tmp_path, monkeypatch):
    hanging, written = threading.Event(), []
    monkeypatch.setattr(module, "KEEP_S", 0.02)
    begun = threading.Event()
    monkeypatch.setattr(kept, "write", lambda *what: (written.append(what), begun.set(), hanging.wait(20)))
    drains = kept_scene(tmp_path / "drains.json")
    drains.drain("fra")
    asyncio.run(drains.keep())
    assert begun.wait(20)
    for _ in range(2):
        asyncio.run(drains.keep_on())
    hanging.set()
    assert len(written) == 1


def test_a_disk_that_hangs_is_not_waited_for_and_writes_the_last_word_when_it_is_back(tmp_path, monkeypatch):
    hanging, write = threading.Event(), kept.write
    monkeypatch.setattr(module, "KEEP_S", 0.02)
    monkeypatch.setattr(kept, "write", lambda *what: (hanging.wait(20), write(*what)))
    drains = kept_scene(tmp_path / "drains.json")
    drains.drain("fra")
    asyncio.run(drains.keep())
    drains.drain("nyc")
    asyncio.run(drains.keep())
    assert not drains.progress("nyc").is_kept
    hanging.set()
    monkeypatch.setattr(module, "KEEP_S", 20.0)
    asyncio.run(drains.keep())
    assert load(drains.path, EDGE) == {"fra", "nyc"}


def test_without_a_state_dir_nothing_is_kept(scene):
    drains, _, _ = scene
    assert path_of(config_of()) is None
    assert load(None, EDGE) == set()
    drains.drain("fra")
    asyncio.run(drains.keep())
    assert not drains.progress("fra").is_kept


def test_a_drained_pop_that_a_configuration_lost_is_named():
    assert absent({"fra", "lon"}, ["fra", "nyc"], ["fra", "nyc"]) == []
    (line,) = absent({"fra", "lon"}, ["fra", "nyc"], ["nyc"])
    assert line == "pops: fra is drained and no longer in the configuration: the drain waits for that name"
    assert absent({"fra", "c"}, ["fra"], ["a", "b", "c"])[0].endswith("; new in it, not drained: a, b")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"drained": "fra"}', b'{"drained": [1]}', b"\xff"])
def test_a_file_that_says_nothing_stops_the_start(tmp_path, content):
    path = tmp_path / "drains.json"
    path.write_bytes(content)
    with pytest.raises(DrainsUnusable, match=r"drains .*drains\.json: must be \{\"drained\": \[names of PoPs\]\}"):
        load(path, EDGE)


def test_nor_is_one_guessed_that_cannot_be_read(tmp_path):
    with pytest.raises(DrainsUnusable, match="Is a directory"):
        load(tmp_path, EDGE)


def test_a_drain_without_a_table_is_none(scene, monkeypatch):
    drains, publisher, _ = scene
    for ask, drained in ((drains.drain, set()), (drains.undrain, {"nyc"})):
        publisher.world.drained = set(drained)
        monkeypatch.setattr(type(publisher), "publish", lambda self: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            ask("nyc")
        assert publisher.world.drained == drained
        monkeypatch.undo()
