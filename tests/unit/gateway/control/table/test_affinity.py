import base64
import errno
import os
import stat
import tempfile
import threading

import pytest

from gateway.control.table.affinity import FILE, KEY_BYTES, LEAST_BYTES, KeyUnusable, cookie_value, load_key
from gateway.errors import StartError
from gateway.model import Config
from tests.support.unprivileged import unprivileged
from tests.unit.gateway.control.helpers import config_of


def config_with(**paths) -> Config:
    return config_of(**{key: str(path) for key, path in paths.items()})


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


# The key


def test_the_configured_key_is_taken_as_it_is(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"\x00" * LEAST_BYTES + b"\n")
    assert load_key(config_with(affinity_key=path)) == b"\x00" * LEAST_BYTES + b"\n"
    assert mode_of(path) == 0o644  # nobody else's file is touched


def test_a_configured_key_wins_over_the_folder_which_is_made_all_the_same(tmp_path):
    (tmp_path / "key").write_bytes(b"k" * LEAST_BYTES)
    folder = tmp_path / "var" / "isochrone"
    assert load_key(config_with(affinity_key=tmp_path / "key", state_dir=folder)) == b"k" * LEAST_BYTES
    assert mode_of(folder) == 0o700
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"k" * (LEAST_BYTES - 1)])
def test_a_short_key_is_refused_with_its_length(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyUnusable, match=rf"{path}: must have at least 16 bytes, got {len(content)}$") as refused:
        load_key(config_with(affinity_key=path))
    assert isinstance(refused.value, StartError)  # exit status 1, one line


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_one_that_cannot_be_read_is_refused_with_why(tmp_path, make):
    make(tmp_path / "key")
    with pytest.raises(KeyUnusable, match=r"affinity key .*/key: (No such file or directory|Is a directory)$"):
        load_key(config_with(affinity_key=tmp_path / "key"))


def test_without_a_place_each_process_has_its_own():
    first, second = load_key(config_of()), load_key(config_of())
    assert len(first) == len(second) == KEY_BYTES
    assert first != second


def test_the_folder_keeps_one_that_only_its_owner_reads(tmp_path):
    config = config_with(state_dir=tmp_path / "a" / "b")
    umask = os.umask(0)
    try:
        key = load_key(config)
    finally:
        os.umask(umask)
    assert len(key) == KEY_BYTES
    assert mode_of(tmp_path / "a" / "b") == 0o700
    assert mode_of(tmp_path / "a" / "b" / FILE) == 0o600
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [FILE]
    assert load_key(config) == key


def test_one_that_is_there_is_read_even_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / FILE).write_bytes(b"old" * LEAST_BYTES)
    (tmp_path / FILE).chmod(0o600)
    (tmp_path / f".{FILE}.left").write_bytes(b"")  # of a process that was killed on the way

    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    assert load_key(config_with(state_dir=tmp_path)) == b"old" * LEAST_BYTES


def test_a_folder_that_cannot_be_used_is_refused_with_why(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyUnusable, match=r"^state_dir .*/file: File exists$"):
        load_key(config_with(state_dir=tmp_path / "file"))
    with pytest.raises(KeyUnusable, match=r"^state_dir .*/file/x: Not a directory$"):
        load_key(config_with(state_dir=tmp_path / "file" / "x"))
    (tmp_path / FILE).mkdir()
    with pytest.raises(KeyUnusable, match="Is a directory"):
        load_key(config_with(state_dir=tmp_path))


def test_a_folder_that_lets_nobody_in_is_refused_with_why():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own are for the owner alone
        os.mkdir(closed := f"{folder}/closed", mode=0)
        with unprivileged(), pytest.raises(KeyUnusable, match="can't be made: Permission denied"):
            load_key(config_with(state_dir=closed))
        os.chmod(closed, 0o700)


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyUnusable, match=r"can't be made: No space left on device$"):
        load_key(config_with(state_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(load_key(config_with(state_dir=tmp_path))) == KEY_BYTES


def test_of_several_that_start_at_once_one_makes_it(tmp_path):
    """Each of them has seen that there is none."""
    barrier = threading.Barrier(8)
    found = []

    def start():
        barrier.wait(10)
        found.append(load_key(config_with(state_dir=tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_who_loses_the_race_reads_the_winners(tmp_path, monkeypatch):
    link = os.link

    def lose(name, path):
        path.write_bytes(b"winner" * 4)
        path.chmod(0o600)
        link(name, path)

    monkeypatch.setattr(os, "link", lose)
    assert load_key(config_with(state_dir=tmp_path)) == b"winner" * 4
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


# The cookie


def test_a_value_is_the_name_and_a_signature():
    value = cookie_value(b"k" * 32, "fra")
    name, mac = value.rsplit(".", 1)
    assert name == "fra"
    assert len(base64.urlsafe_b64decode(mac + "==")) == 16
    assert set(value) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")  # no quotes needed in a cookie


def test_it_never_changes_for_a_key_and_a_pop():
    """Cookies outlive a process, and gateways with one key share them: a change here is a change for every client."""
    assert cookie_value(bytes(range(32)), "fra") == "fra.VcZ3vD-nOuFtZt1eBT7wQQ"


def test_it_differs_for_each_pop_and_key():
    pops, keys = ["fra", "fr", "fra2", "nyc", "a.b"], [b"k" * 16, b"k" * 17, b"l" * 16]
    macs = {cookie_value(key, pop).rsplit(".", 1)[1] for key in keys for pop in pops}
    assert len(macs) == len(pops) * len(keys)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604])
def test_a_key_of_the_folder_that_others_may_read_or_write_is_refused(tmp_path, mode):
    config = config_with(state_dir=tmp_path)
    load_key(config)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(KeyUnusable, match=r"affinity key .*/affinity.key: others may read or write it \(mode 06[0-9]{2}\): chmod 600$"):
        load_key(config)
