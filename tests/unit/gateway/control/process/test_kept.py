import os

import pytest

from gateway.control.process.kept import read, write


def test_the_file_is_replaced_whole_and_is_private(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"before")
    path.chmod(0o644)
    reader = path.open("rb")
    write(path, b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert reader.read() == b"before"  # another file: nobody sees half of one
    reader.close()


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write(path, b"before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("mode", "is_secret", "fault"),
    [
        (0o600, True, None),
        (0o400, True, None),
        (0o644, False, None),
        (0o640, True, "others may read or write it (mode 0640): chmod 600"),
        (0o604, True, "others may read or write it (mode 0604): chmod 600"),
        (0o602, False, "others may write it (mode 0602): chmod 600"),
        (0o660, False, "others may write it (mode 0660): chmod 600"),
    ],
)
def test_what_others_may_touch_is_not_read(tmp_path, mode, is_secret, fault):
    path = tmp_path / "x"
    write(path, b"content")
    path.chmod(mode)
    if fault is None:
        assert read(path, is_secret=is_secret) == b"content"
    else:
        with pytest.raises(PermissionError) as refused:
            read(path, is_secret=is_secret)
        assert refused.value.strerror == fault


@pytest.mark.parametrize(
    ("folder_mode", "mode", "fault"),
    [
        (0o2770, 0o660, None),  # as kubelet leaves a volume with fsGroup
        (0o2770, 0o664, "others may read or write it"),
        (0o2777, 0o660, "others may read or write it"),
        (0o770, 0o660, "others may read or write it"),
    ],
)
def test_the_group_of_a_volume_is_nobody_else(tmp_path, folder_mode, mode, fault):
    path = tmp_path / "key"
    write(path, b"content")
    path.chmod(mode)
    tmp_path.chmod(folder_mode)
    if fault is None:
        assert read(path, is_secret=True) == b"content"
    else:
        with pytest.raises(PermissionError, match=fault):
            read(path, is_secret=True)


def test_a_group_that_this_process_is_not_in_is_somebody_else(tmp_path, monkeypatch):
    path = tmp_path / "key"
    write(path, b"content")
    path.chmod(0o660)
    tmp_path.chmod(0o2770)
    monkeypatch.setattr(os, "getegid", lambda: path.stat().st_gid + 1)
    monkeypatch.setattr(os, "getgroups", list)
    with pytest.raises(PermissionError, match="others may write it"):
        read(path)


def test_what_belongs_to_somebody_else_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write(path, b"content")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:
        assert read(path) == b"content"  # root's is anybody's to trust
        path.chmod(0o600)
        os.chown(path, 12345, 12345)
    with pytest.raises(PermissionError, match="somebody else"):
        read(path)
