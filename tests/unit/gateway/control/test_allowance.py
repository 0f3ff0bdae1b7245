"""What a machine and its cgroups leave to this process, whichever version they are of."""

import os

import pytest

from gateway.control.allowance import memory_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (None, {}, MACHINE),
        ("0::/", {"memory.max": "max\n"}, MACHINE),
        ("0::/", {"memory.max": f"{64 * MIB}\n"}, 64 * MIB),
        ("0::/a/b", {"a/memory.max": f"{96 * MIB}", "a/b/memory.max": "max"}, 96 * MIB),
        ("0::/a/b", {"a/memory.max": f"{96 * MIB}", "a/b/memory.max": f"{32 * MIB}"}, 32 * MIB),
        ("0::/../a", {"a/memory.max": f"{96 * MIB}"}, 96 * MIB),
        ("5:cpu,memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": f"{48 * MIB}"}, 48 * MIB),
        ("5:memory:/not/seen/in/here", {"memory/memory.limit_in_bytes": f"{48 * MIB}"}, 48 * MIB),
        ("5:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("5:cpu:/a\nnonsense", {"memory.max": "nonsense"}, MACHINE),
    ],
)
def test_the_least_of_all_that_hold(tmp_path, own, files, expected):
    if own is not None:
        (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_bytes(tmp_path / "cgroup", tmp_path / "own") == expected


def test_a_machine_that_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert memory_bytes(tmp_path, tmp_path / "own") == 1 << 30


def test_this_machine():
    assert MIB < memory_bytes() <= MACHINE
