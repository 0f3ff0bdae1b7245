import os

import pytest

from gateway.control.kept import write


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
