"""Bytes that pods send and load generators check: any piece can be made, and recognised, from its offset alone."""

import random

# A prime length: a chunk that is lost, doubled or out of order can't land on bytes that look right.
UNIT = random.Random(20_261).randbytes(65_521)


def piece(offset: int, length: int) -> bytes:
    """Bytes `offset` to `offset + length` of the endless payload."""
    start = offset % len(UNIT)
    repeats = (start + length) // len(UNIT) + 1
    return (UNIT * repeats)[start : start + length]
