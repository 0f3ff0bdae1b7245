"""What all tests share: the count of blocks, the loud skip, the search profiles."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

IN_CI = os.environ.get("CI") == "true"

# A test that needs more says so itself; HYPOTHESIS_PROFILE=deep is for `make test-all`. No deadline: the machine is shared.
settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("deep", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_finish() -> None:
    """What is there by now stays to the end. To go through it twice for each test of `nothing_left` took longer than the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test gives back every block it took from the allocator; name it before the fixtures that hold some."""
    from routing_core._memory import live_blocks

    gc.collect()
    before = live_blocks()
    yield
    gc.collect()
    assert live_blocks() == before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI nothing may be skipped: what a test needs is installed there, or the run has failed."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped in CI: {call.excinfo.value if call.excinfo else report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a module that skips itself whole."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skipped in CI: {report.longrepr}"
    return report
