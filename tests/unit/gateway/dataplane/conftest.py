"""Every test of the data plane gives all memory back."""

import gc

import pytest

import routing_core
from tests.support.dataplane import Bench


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test gives all memory back."""
    yield
    if any(routing_core.live_blocks().values()):  # a collection takes longer than most tests
        gc.collect()
    assert set(routing_core.live_blocks().values()) == {0}, routing_core.live_blocks()


@pytest.fixture
def make_bench():
    made = []

    def make(*arguments, **options):
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    made.clear()


@pytest.fixture
def bench(make_bench):
    return make_bench()
