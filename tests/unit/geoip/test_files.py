import os
import resource

import pytest

from geoip import DatabaseFiles, Locator
from geoip import files as files_module
from geoip.files import agree, compare, sample_addresses
from tests.unit.geoip.mmdb import Raw, city, write

ONE = write({"1.0.0.0/8": city(1.0, 2.0)}, metadata={"build_epoch": 1000})
TWO = write({"1.0.0.0/8": city(3.0, 4.0)}, metadata={"build_epoch": 2000})
ASN = write({"1.0.0.0/8": {"autonomous_system_number": 7}})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "city.mmdb"
    path.write_bytes(ONE)
    return path


def replace(path, content):
    """As update programs do: beside it, then over it."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.rename(path)


def overwrite(path, content):
    """In place: same inode, and the worst case for its times."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def lat_of(files):
    return Locator(files.cities, files.asns).locate("1.2.3.4").lat


def test_the_first_check_loads(path, tmp_path):
    asn = tmp_path / "asn.mmdb"
    asn.write_bytes(ASN)
    files = DatabaseFiles([path], [asn])
    assert files.cities == ()
    assert files.check(5.0)
    assert lat_of(files) == 1.0
    assert Locator(files.cities, files.asns).locate("1.2.3.4").asn == 7
    city_status, asn_status = files.statuses
    assert (city_status.path, city_status.role, city_status.kind) == (str(path), "city", "city")
    assert (city_status.build_epoch, city_status.loaded_at, city_status.error) == (1000, 5.0, None)
    assert (asn_status.role, asn_status.kind) == ("asn", "asn")


def test_nothing_new_is_not_read_again(path, monkeypatch):
    files = DatabaseFiles([path])
    files.check(1.0)
    monkeypatch.setattr(files_module, "_read", None)  # would raise
    assert not any(files.check(float(now)) for now in range(2, 6))
    assert files.statuses[0].loaded_at == 1.0


@pytest.mark.parametrize("change", [replace, overwrite])
def test_a_new_file_is_taken_when_it_is_stable(path, change):
    files = DatabaseFiles([path])
    files.check(1.0)
    change(path, TWO)
    assert not files.check(2.0)
    assert lat_of(files) == 1.0
    assert files.check(3.0)
    assert lat_of(files) == 3.0
    assert (files.statuses[0].build_epoch, files.statuses[0].loaded_at) == (2000, 3.0)


def test_a_copy_under_way_is_left_alone(path):
    files = DatabaseFiles([path])
    files.check(1.0)
    for size in range(100, len(TWO), 300):
        overwrite(path, TWO[:size])
        assert not files.check(float(size))
        assert files.statuses[0].error is None
    overwrite(path, TWO)
    assert not files.check(2000.0)
    assert files.check(2001.0)


def test_a_link_that_moves(tmp_path):
    for name, content in (("one", ONE), ("two", TWO)):
        (tmp_path / name).write_bytes(content)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "one")
    files = DatabaseFiles([link])
    files.check(1.0)
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert [files.check(2.0), files.check(3.0)] == [False, True]
    assert lat_of(files) == 3.0


@pytest.mark.parametrize("bad", [b"", b"junk" * 1000, TWO[:-40], TWO[: len(TWO) // 2], ASN, write({"1.0.0.0/8": {}})])
def test_a_bad_file_keeps_the_last_good_one(path, bad, monkeypatch):
    files = DatabaseFiles([path])
    files.check(1.0)
    replace(path, bad)
    assert [files.check(2.0), files.check(3.0)] == [False, False]
    status = files.statuses[0]
    assert status.error.startswith(f"{path}: ")
    assert "\n" not in status.error
    assert (status.build_epoch, status.loaded_at, lat_of(files)) == (1000, 1.0, 1.0)
    with monkeypatch.context() as patch:  # it is not read again until it changes
        patch.setattr(files_module, "_read", None)
        assert not files.check(4.0)
    assert files.statuses[0] == status
    replace(path, TWO)
    assert [files.check(5.0), files.check(6.0)] == [False, True]
    assert files.statuses[0].error is None


def test_a_file_that_goes_and_comes(path):
    files = DatabaseFiles([path])
    files.check(1.0)
    path.unlink()
    assert not files.check(2.0)
    assert files.statuses[0].error == f"{path}: No such file or directory"
    assert lat_of(files) == 1.0
    path.write_bytes(TWO)
    assert [files.check(3.0), files.check(4.0)] == [False, True]
    assert files.statuses[0].error is None


def test_a_file_that_is_not_there_at_first_is_waited_for(tmp_path):
    path = tmp_path / "late.mmdb"
    files = DatabaseFiles([path])
    assert not files.check(1.0)
    assert files.statuses[0].error
    assert files.statuses[0].loaded_at is None
    path.write_bytes(ONE)
    assert [files.check(2.0), files.check(3.0)] == [False, True]


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    files = DatabaseFiles([tmp_path, tmp_path / "pipe"])
    assert not files.check(1.0)
    assert [status.error for status in files.statuses] == [f"{tmp_path}: not a regular file", f"{tmp_path / 'pipe'}: not a regular file"]


def test_what_is_too_large_to_be_one_is_not_read(path):
    """A gateway of 66 MB had 3.2 GB for a sparse file of 3 GiB, and was refused it then."""
    files = DatabaseFiles([path])
    assert files.check(1.0)
    kept = path.rename(path.with_suffix(".kept"))
    with path.open("wb") as large:
        large.truncate(3 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not files.check(2.0) and not files.check(3.0)
    assert files.statuses[0].error == f"{path}: must have at most 1024 MiB, got 3072"
    assert files.cities and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    kept.rename(path)
    files.check(4.0)
    files.check(5.0)
    assert files.statuses[0].error is None


def test_what_was_no_file_for_a_while_is_in_use_again(path):
    """As the link of a mounted volume may lead to a folder for one look."""
    files = DatabaseFiles([path])
    assert files.check(1.0)
    kept = path.rename(path.with_suffix(".kept"))
    path.mkdir()
    assert not files.check(2.0)
    assert "not a regular file" in files.statuses[0].error
    path.rmdir()
    kept.rename(path)
    files.check(3.0)
    files.check(4.0)
    assert files.statuses[0].error is None


def test_what_is_awaited(path, tmp_path):
    (file,) = DatabaseFiles([tmp_path / "late.mmdb"]).watched
    assert file.is_awaited
    file.check(1.0)
    assert file.is_awaited
    (tmp_path / "late.mmdb").write_bytes(path.read_bytes())
    file.check(2.0)
    assert file.is_awaited  # it may be written still
    file.check(3.0)
    assert not file.is_awaited
    overwrite(tmp_path / "late.mmdb", b"garbage")
    file.check(4.0)
    assert file.is_awaited
    file.check(5.0)
    assert not file.is_awaited  # read, and refused


def test_a_file_that_changes_while_it_is_read(path, monkeypatch):
    files = DatabaseFiles([path])
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_read", lambda path: (TWO, None))
        assert not files.check(1.0)
    assert "changed while it was read" in files.statuses[0].error
    assert files.check(2.0)
    assert files.statuses[0].error is None


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
def test_a_file_that_can_not_be_read(path, monkeypatch, error):
    def fail(path):
        raise error

    files = DatabaseFiles([path])
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_read", fail)
        assert not files.check(1.0)
    assert files.statuses[0].error in (f"{path}: Permission denied", f"{path}: not enough memory to load it")
    assert files.cities == ()
    assert files.check(2.0)


def test_one_bad_file_does_not_hinder_another(path, tmp_path):
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(b"junk")
    files = DatabaseFiles([bad, path], [path])
    assert files.check(1.0)
    assert len(files.cities) == 1
    assert files.asns == ()
    assert [bool(status.error) for status in files.statuses] == [True, False, True]
    assert "holds no AS numbers" in files.statuses[2].error


def test_no_file_at_all():
    files = DatabaseFiles()
    assert not files.check(1.0)
    assert (files.cities, files.asns, files.statuses) == ((), (), ())


def test_age():
    files = DatabaseFiles(["nowhere.mmdb"])
    assert files.statuses[0].age_s(5000.0) is None


def test_age_of_one_that_is_there(path):
    files = DatabaseFiles([path])
    files.check(1.0)
    assert files.statuses[0].age_s(1500.0) == 500.0
    assert files.statuses[0].age_s(10.0) == 0.0


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"lat": 1.0, "lon": 2.0}, {"location": {"latitude": 1.0, "longitude": 2.0}}, True),
        ({"lat": 1.0, "lon": 2.0}, {"latitude": 1.0, "longitude": 2.0}, True),
        ({"lat": 1.0, "lon": 2.0}, {"location": {"latitude": 1.0, "longitude": 2.1}}, False),
        ({}, {"location": {"latitude": 1.0, "longitude": 2.0}}, False),
        ({}, {"location": {"latitude": 0.0, "longitude": 0.0}}, True),
        ({"country": "DE"}, {"country": {"iso_code": "DE"}}, True),
        ({"country": "DE"}, {"country": {"iso_code": "FR"}}, False),
        ({"country": "DE"}, {"country_code": "de"}, True),
        ({}, {"country_code": "Germany"}, True),
        ({"asn": 7}, {"autonomous_system_number": 7}, True),
        ({"asn": 8}, {"autonomous_system_number": 7}, False),
        ({}, {}, True),
    ],
)
def test_agreement(ours, theirs, expected):
    found = Locator().locate("1.2.3.4")._replace(**ours)
    assert agree(found, theirs) == expected


def test_a_reader_that_differs_is_a_fault(monkeypatch, path):
    files = DatabaseFiles([path])
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "agree", lambda ours, theirs: False)
        files.check(1.0)
    assert "two readers differ on" in files.statuses[0].error


def test_a_file_that_the_other_reader_can_not_read_is_refused(path):
    # Ours passes over names; the other finds that this one is no UTF-8.
    path.write_bytes(write({"0.0.0.0/0": {"country_code": "DE", "name": Raw(b"\x41\xff")}}))
    files = DatabaseFiles([path])
    assert not files.check(1.0)
    assert files.statuses[0].error.startswith(f"{path}: maxminddb can't read it: ")


def test_the_sample_is_of_what_the_file_may_know():
    assert {address.version for address in sample_addresses(4)} == {4}
    assert {address.version for address in sample_addresses(6)} == {4, 6}
    assert sample_addresses(6) == sample_addresses(6)


def test_comparison_takes_whole_files_of_each_kind():
    from geoip import Database

    for content in (ONE, ASN, write({"0.0.0.0/0": {"country_code": "DE"}, "2000::/3": {"country_code": "FR"}})):
        compare(Database(content), content)
