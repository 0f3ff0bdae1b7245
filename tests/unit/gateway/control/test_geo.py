import asyncio
import logging
import threading

import pytest

from gateway.control.geo import DatabasesRefused, Geo
from geoip import DatabaseFiles
from tests.unit.gateway.control.helpers import Clock, config_of
from tests.unit.geoip.mmdb import city, write

ONE = write({"1.0.0.0/8": city(1.0, 2.0)})
TWO = write({"1.0.0.0/8": city(3.0, 4.0)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "city.mmdb"


def geo_of(path, **more):
    config = config_of(geoip=f"{{city: {path}}}", **more)
    found = []
    return Geo(config, Clock(), found.append), found, config


def turns(geo, n=1):
    async def scenario():
        for _ in range(n):
            await geo.turn()

    asyncio.run(scenario())


def test_no_database_is_legal_and_overrides_hold():
    config = config_of(
        geoip="{overrides: [{prefix: 10.1.0.0/16, lat: 48.1, lon: 11.6, country: DE}]}", gateway="{location: {lat: 50, lon: 8}}"
    )
    geo = Geo(config, Clock())
    turns(geo)
    assert geo.missing == []
    assert geo.statuses == ()
    assert geo.locator.locate("10.1.2.3").lat == 48.1
    assert geo.locator.locate("127.0.0.1").lat == 50
    assert geo.locator.locate("1.2.3.4").source == "unknown"


def test_a_file_is_loaded_then_left_alone_then_loaded_again_when_it_changed(path, caplog):
    caplog.set_level(logging.INFO, "isochrone.geoip")
    path.write_bytes(ONE)
    geo, found, _ = geo_of(path)
    assert geo.missing == [f"{path}: not loaded yet"]
    turns(geo, 3)
    assert geo.missing == []
    assert len(found) == 1
    assert geo.locator.locate("1.2.3.4").lat == 1
    beside = path.with_suffix(".new")
    beside.write_bytes(TWO)
    beside.rename(path)
    geo.clock.advance(10)
    turns(geo, 3)
    assert [locator.locate("1.2.3.4").lat for locator in found] == [1, 3]
    assert [record.message for record in caplog.records] == ["database loaded", "database loaded"]


def test_a_broken_file_keeps_the_last_good_one_and_is_said_once(path, caplog):
    path.write_bytes(ONE)
    geo, found, _ = geo_of(path)
    turns(geo)
    path.write_bytes(b"garbage")
    turns(geo, 5)
    assert len(found) == 1
    assert geo.locator.locate("1.2.3.4").lat == 1
    assert geo.missing == []  # one is open
    (record,) = caplog.records
    assert (record.message, record.database, record.is_kept) == ("database refused", str(path), True)
    path.unlink()
    turns(geo, 3)
    assert len(caplog.records) == 2
    assert "No such file" in caplog.records[1].error


def test_a_file_that_was_never_good_is_missing_with_the_reason(path, caplog):
    geo, found, _ = geo_of(path)
    turns(geo, 3)
    assert geo.missing == [f"{path}: No such file or directory"]
    assert found == []
    assert [record.is_kept for record in caplog.records] == [False]
    path.write_bytes(ONE)
    turns(geo, 3)
    assert geo.missing == []


def test_prepare_with_the_same_files_reads_none_and_takes_the_new_overrides(path):
    path.write_bytes(ONE)
    geo, _, _ = geo_of(path)
    turns(geo)
    new = config_of(geoip=f"{{city: {path}, overrides: [{{prefix: 1.2.0.0/16, lat: 7, lon: 8}}]}}")
    prepared = asyncio.run(geo.prepare(new))
    assert prepared.files is geo.files
    locator = prepared.locator()
    assert (locator.locate("1.2.3.4").lat, locator.locate("1.9.3.4").lat) == (7, 1)
    assert geo.locator.locate("1.2.3.4").lat == 1  # not in use yet
    geo.use(prepared, locator)
    assert geo.locator is locator


def test_prepare_refuses_new_files_that_cannot_be_used(path, tmp_path):
    path.write_bytes(ONE)
    geo, _, _ = geo_of(path)
    turns(geo)
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(b"garbage")
    with pytest.raises(DatabasesRefused, match=r"geoip: .*bad\.mmdb"):
        asyncio.run(geo.prepare(config_of(geoip=f"{{city: {bad}}}")))
    good = tmp_path / "two.mmdb"
    good.write_bytes(TWO)
    prepared = asyncio.run(geo.prepare(config_of(geoip=f"{{city: {good}}}")))
    assert prepared.locator().locate("1.2.3.4").lat == 3


def test_prepare_with_the_same_files_does_not_mind_that_one_is_broken_now(path):
    path.write_bytes(ONE)
    geo, _, config = geo_of(path)
    turns(geo)
    path.write_bytes(b"garbage")
    turns(geo, 3)
    assert asyncio.run(geo.prepare(config)).locator().locate("1.2.3.4").lat == 1


def test_a_reload_leads_away_from_a_disk_that_hangs(path, tmp_path, monkeypatch):
    path.write_bytes(ONE)
    geo, _, _ = geo_of(path)
    let_go, check, old = threading.Event(), DatabaseFiles.check, geo.files
    monkeypatch.setattr(DatabaseFiles, "check", lambda files, now: let_go.wait(20) if files is old else check(files, now))

    async def scenario():
        looking = asyncio.create_task(geo.turn())
        other = tmp_path / "other.mmdb"
        other.write_bytes(TWO)
        async with asyncio.timeout(10):
            prepared = await geo.prepare(config_of(geoip=f"{{city: {other}}}"))
        assert prepared.locator().locate("1.2.3.4").lat == 3
        let_go.set()
        await looking

    asyncio.run(scenario())
