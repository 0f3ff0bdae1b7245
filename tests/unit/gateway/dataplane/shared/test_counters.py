"""Counters: a column a worker, summed when read; names as the enums have them."""

import re
from pathlib import Path

import pytest

from gateway.dataplane import Counters, Worker
from gateway.dataplane.shared._counters import ANSWER_NAMES, CAUSE_NAMES, FIGURE_NAMES, FORCED_NAMES
from routing_core import Figures


def enum_names(path, name, prefix=""):
    body = re.search(rf"cdef enum {name}:.*?\n((?:    .*\n)+)", Path(path).read_text())[1]
    names = re.findall(rf"^    {prefix}(\w+)", body, re.MULTILINE)
    return tuple(found.lower() for found in names if not found.startswith("N_"))


def test_names_stand_in_the_order_of_the_enums():
    assert enum_names("gateway/dataplane/shared/_counters.pxd", "Figure") == FIGURE_NAMES
    assert enum_names("gateway/dataplane/shared/_counters.pxd", "Forced", "FORCED_") == FORCED_NAMES
    own = enum_names("gateway/dataplane/shared/_counters.pxd", "Cause", "CAUSE_")
    parsers = enum_names("gateway/dataplane/http1/_words.pxd", "RejectCause", "CAUSE_")
    assert parsers + own == CAUSE_NAMES and len(CAUSE_NAMES) <= 64
    assert parsers + enum_names("gateway/dataplane/shared/_counters.pxd", "BadAnswer", "BAD_") == ANSWER_NAMES and len(ANSWER_NAMES) <= 32


@pytest.mark.parametrize("n", [0, -1, 65])
def test_number_of_workers(n):
    with pytest.raises(ValueError, match=f"n_workers: must be from 1 to 64, got {n}"):
        Counters(n)


def test_memory():
    from routing_core import _memory

    _memory.refuse(True)
    try:
        with pytest.raises(MemoryError):
            Counters(2)
    finally:
        _memory.refuse(False)


def test_sums_over_workers(bench):
    counters, figures = Counters(3), Figures(3)
    workers = [Worker(n, bench.snapshots, figures, counters, now_us=5_000_000) for n in (0, 2)]
    for worker in workers:
        worker.turn(7_000_000)
    read = counters.read()
    assert read["figures"]["turns"] == 2 and read["beats_ms"] == [7000, 0, 7000] and read["generations"] == [1, 0, 1]
    assert read["phases"] == ["serving"] * 3
    for worker in workers:
        worker.close()
