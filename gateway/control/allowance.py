"""Allowance: the memory that this process may have, by its machine and its cgroup. Must not know what it is for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

UNKNOWN = 1 << 30  # where neither says anything
ROOT = Path("/sys/fs/cgroup")


def memory_bytes(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """The least of what the machine has and what each cgroup above this process may take."""
    return min(_of_machine(), *_of_cgroups(root, own))


def _of_machine() -> int:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size if pages > 0 and size > 0 else UNKNOWN


def _of_cgroups(root: Path, own: Path) -> Iterator[int]:
    """Both versions. A container sees its own cgroup as the root, or a path that leads nowhere in there, so all above it are looked at."""
    yield 1 << 62
    for path, name in _places(root, own):
        try:
            yield int((path / name).read_text())
        except (OSError, ValueError):  # no such place, or "max"
            pass


def _places(root: Path, own: Path) -> Iterator[tuple[Path, str]]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "1:memory:/", *lines]:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        steps = [step for step in path.split("/") if step not in ("", "..")]
        if number == "0":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        for n in range(len(steps) + 1):
            yield base.joinpath(*steps[:n]), name
