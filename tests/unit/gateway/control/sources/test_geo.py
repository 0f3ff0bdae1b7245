import asyncio
import logging
import threading

import pytest

import gateway.control.sources.geo as module
from gateway.control.sources.geo import DatabasesRefused, Geo, home_of, overrides_of, pins_of
from geoip import Locator
from geoip.files import WatchedFile
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


def hang(monkeypatch, file):
    """Its disk, until that is let go."""
    let_go, check = threading.Event(), WatchedFile.check
    monkeypatch.setattr(WatchedFile, "check", lambda one, now: let_go.wait(20) and check(one, now) if one is file else check(one, now))
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    return let_go


def test_a_disk_that_hangs_holds_up_its_own_file_alone(path, tmp_path, monkeypatch):
    """Before, no database was looked at any more, nor those of the next configuration."""
    other = tmp_path / "other.mmdb"
    path.write_bytes(ONE)
    other.write_bytes(ONE)
    config = config_of(geoip=f"{{city: [{path}, {other}]}}")
    found = []
    geo = Geo(config, Clock(), found.append)
    let_go = hang(monkeypatch, geo.files.watched[0])

    async def scenario():
        await geo.turn()
        assert not geo.has_looked
        assert [locator.locate("1.2.3.4").lat for locator in found] == [1]
        other.write_bytes(TWO)
        for _ in range(2):  # it is looked at twice before it is read
            await geo.turn()
        assert [locator.locate("1.2.3.4").lat for locator in found] == [1, 3]
        geo.use(await geo.prepare(config_of(geoip=f"{{city: {other}}}")), geo.locator)
        other.write_bytes(ONE)
        for _ in range(2):
            await geo.turn()
        assert [locator.locate("1.2.3.4").lat for locator in found] == [1, 3, 1]
        let_go.set()
        await asyncio.gather(*geo._looks.values())
        await geo.turn()
        assert (geo.has_looked, geo._looks) == (True, {})

    asyncio.run(scenario())


def test_a_reload_leads_away_from_a_disk_that_hangs(path, tmp_path, monkeypatch):
    path.write_bytes(ONE)
    geo, _, _ = geo_of(path)
    let_go = hang(monkeypatch, geo.files.watched[0])

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


def test_who_is_awaited_or_asked_for_is_looked_at_soon(path):
    geo, _, _ = geo_of(path)  # each ten seconds else
    turns(geo)
    assert geo.pause_s == module.SOON_S
    path.write_bytes(ONE)
    turns(geo)
    assert geo.pause_s == module.SOON_S
    turns(geo)
    assert geo.pause_s == geo.config.geoip.check_interval
    prepared = asyncio.run(geo.prepare(geo.config))
    geo.use(prepared, prepared.locator())
    assert geo.pause_s == module.SOON_S
    turns(geo)
    assert geo.pause_s == geo.config.geoip.check_interval


def test_one_file_in_both_roles_is_said_once_each(path, caplog):
    caplog.set_level(logging.INFO, "isochrone.geoip")
    path.write_bytes(ONE)  # of cities: no database of networks
    geo = Geo(config_of(geoip=f"{{city: {path}, asn: {path}}}"), Clock())
    turns(geo, 5)
    assert sorted(record.message for record in caplog.records) == ["database loaded", "database refused"]
    ((age_s, is_refused),) = geo.by_path(2e9).values()
    assert age_s > 0
    assert is_refused


def test_location_and_overrides():
    config = config_of(
        gateway="{location: {lat: 1, lon: 2}}", geoip="{overrides: [{prefix: 10.1.0.0/16, lat: 48.1, lon: 11.6, country: DE}]}"
    )
    assert home_of(config) == (1, 2)
    assert overrides_of(config) == [("10.1.0.0/16", 48.1, 11.6, "DE", None)]
    assert home_of(config_of()) is None


def test_a_gateway_without_a_location_is_where_its_pop_is():
    (fra, _) = config_of().pops
    assert home_of(config_of(gateway="{pop: fra}")) == (fra.lat, fra.lon)
    assert home_of(config_of(gateway="{pop: fra, location: {lat: 1, lon: 2}}")) == (1, 2)


def test_overrides_by_system_and_by_country():
    config = config_of(
        geoip="{overrides: [{asn: 64500, lat: 1, lon: 2, country: FR}, {asn: 64501, lat: 3, lon: 4}, {country: CH, lat: 5, lon: 6}]}"
    )
    assert overrides_of(config) == [(None, 1, 2, "FR", 64500), (None, 3, 4, None, 64501), (None, 5, 6, "CH", None)]
    Locator(overrides=overrides_of(config))


def test_pins_are_numbered_from_one():
    config = config_of(geoip="{pins: [{prefix: 10.1.0.0/16, pops: [nyc, fra]}, {prefix: '2001:db8::/32', pops: [fra]}]}")
    assert pins_of(config) == [("10.1.0.0/16", 1), ("2001:db8::/32", 2)]
    locator = Locator(pins=pins_of(config))
    assert [locator.locate(one).pin for one in ("10.1.2.3", "2001:db8::1", "192.0.2.1")] == [1, 2, 0]
    assert pins_of(config_of()) == []
