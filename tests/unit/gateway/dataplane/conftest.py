"""Every test of the data plane gives all memory back."""

import gc

import pytest

import routing_core
from gateway.dataplane import Settings
from tests.support.dataplane import Bench


@pytest.fixture(scope="module")
def elsewhere():
    """Blocks that other tests of this process still hold."""
    gc.collect()
    return routing_core.live_blocks()


@pytest.fixture(autouse=True)
def nothing_left(elsewhere):
    """Every test gives all memory back."""
    yield
    if routing_core.live_blocks() != elsewhere:  # a collection takes longer than most tests
        gc.collect()
    assert routing_core.live_blocks() == elsewhere


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


@pytest.fixture
def trusting(make_bench):
    """One that takes this machine for a hop that speaks for others."""
    return make_bench(Settings(trusted=("127.0.0.0/8",)))
