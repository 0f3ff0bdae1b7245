"""Allowance: the memory and the CPUs that this process may have, by its machine and its cgroups. Must not know what they are for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

UNKNOWN = 1 << 30  # where neither says anything
ROOT = Path("/sys/fs/cgroup")


def memory_bytes(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """The least of what the machine has and what each cgroup above this process may take."""
    return min(_of_machine(), *_of_cgroups(root, own))


def n_cpus(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that this process may use: those it may run on, and no more than the quota of any cgroup above it, rounded up. More threads
    than that would only be throttled together."""
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, _quotas(root, own))]))


def _of_machine() -> int:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size if pages > 0 and size > 0 else UNKNOWN


def _of_cgroups(root: Path, own: Path) -> Iterator[int]:
    """Both versions. A container sees its own cgroup as the root, or a path that leads nowhere in there, so all above it are looked at."""
    yield 1 << 62
    for path, is_v2 in _places(root, own, "memory"):
        try:
            yield int((path / ("memory.max" if is_v2 else "memory.limit_in_bytes")).read_text())
        except (OSError, ValueError):  # no such place, or "max"
            pass


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """In CPUs."""
    for path, is_v2 in _places(root, own, "cpu"):
        try:
            if is_v2:
                quota, period = map(int, (path / "cpu.max").read_text().split())
            else:
                quota, period = (int((path / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:  # -1 says that there is none
            yield quota / period


def _places(root: Path, own: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Where this process's cgroups and all above them say something of it, and whether that is by version 2."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", f"1:{controller}:/", *lines]:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        steps = [step for step in path.split("/") if step not in ("", "..")]
        if number == "0":
            base = root
        elif controller in controllers.split(","):
            base = root / controller
        else:
            continue
        for n in range(len(steps) + 1):
            yield base.joinpath(*steps[:n]), number == "0"
