"""What a machine and its cgroups leave to this process, whichever version they are of."""

import os

import pytest

from gateway.control.process.allowance import memory_bytes, n_cpus

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def cgroups(folder, own, files):
    if own is not None:
        (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup", folder / "own"


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
    assert memory_bytes(*cgroups(tmp_path, own, files)) == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (None, {}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "10000 100000"}, 1),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),  # as CPUQuota= of a slice
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("4:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, 8),
        ("4:cpuset:/a", {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cpus_by_affinity_and_quota(tmp_path, monkeypatch, own, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    assert n_cpus(*cgroups(tmp_path, own, files)) == expected


def test_a_machine_that_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert memory_bytes(tmp_path, tmp_path / "own") == 1 << 30


def test_this_machine():
    assert MIB < memory_bytes() <= MACHINE
