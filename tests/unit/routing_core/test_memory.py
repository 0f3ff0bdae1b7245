import pytest

from routing_core import Figures, live_blocks
from routing_core._memory import refuse


def test_blocks_are_counted_by_kind(nothing_left):
    before = live_blocks()["figures"]
    figures = Figures(1)
    figures.acquire("pool")
    assert live_blocks()["figures"] > before
    del figures
    assert live_blocks()["figures"] == before


def test_refusing_starts_after_the_grants():
    figures = Figures(1)
    refuse(True, after=2)  # a block of rows and the list of blocks
    try:
        figures.acquire("pool")
        with pytest.raises(MemoryError):
            figures.acquire("endpoint")
    finally:
        refuse(False)
    assert figures.acquire("endpoint") != figures.acquire("endpoint")
