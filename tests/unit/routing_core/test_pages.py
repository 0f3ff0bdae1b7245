"""Blocks of pages: each is its taker's alone, and what is given back is the system's at once."""

import ctypes
import os
import random
import threading
from itertools import pairwise

import pytest

from routing_core._testing import give_block, take_block

KIB, MIB = 1 << 10, 1 << 20
SIZES = [KIB << step for step in (2, 3, 4, 5, 6)]
IS_FROM_HEAP = "libasan" in os.environ.get("LD_PRELOAD", "")


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("size", SIZES)
def test_blocks_do_not_meet_and_hold_what_is_written(size):
    rng = random.Random(size)
    held = {}
    for turn in range(3000):
        if held and rng.random() < 0.45:
            address, mark = held.popitem() if rng.random() < 0.5 else (first := next(iter(held)), held.pop(first))
            assert ctypes.string_at(address, 1) == ctypes.string_at(address + size - 1, 1) == bytes([mark])
            give_block(address)
        else:
            address = take_block(size)
            assert address % KIB == 0 and address not in held
            mark = turn % 256
            ctypes.memset(address, mark, size)
            held[address] = mark
    starts = sorted(held)
    assert all(after - before >= size for before, after in pairwise(starts))
    for address, mark in held.items():
        assert ctypes.string_at(address, size) == bytes([mark]) * size
        give_block(address)


@pytest.mark.skipif(IS_FROM_HEAP, reason="under ASan blocks are the heap's")
@pytest.mark.skipif(os.environ.get("VARIANT") == "tsan", reason="TSan's shadow of what was written stays")
@pytest.mark.parametrize("size", SIZES[1:])
def test_what_is_given_back_is_not_resident_whatever_lies_between(size):
    before = resident()
    blocks = [take_block(size) for _ in range(64 * MIB // size)]
    for address in blocks:
        ctypes.memset(address, 1, size)
    assert resident() - before > 60 * MIB
    for number, address in enumerate(blocks):
        if number % 50:
            give_block(address)
    assert resident() - before < 8 * MIB
    for address in blocks[::50]:
        give_block(address)
    assert resident() - before < 4 * MIB


def test_threads_take_and_give_what_others_took():
    taken, faults = [], []

    def work(seed):
        rng = random.Random(seed)
        for _ in range(3000):
            size = rng.choice(SIZES)
            address = take_block(size)
            ctypes.memset(address, seed, size)
            taken.append((address, size, seed))
            try:
                other, length, mark = taken.pop(rng.randrange(len(taken)))
            except (IndexError, ValueError):
                continue
            if ctypes.string_at(other, length) != bytes([mark]) * length:
                faults.append((other, length))
            give_block(other)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for address, _, _ in taken:
        give_block(address)
    assert faults == []
