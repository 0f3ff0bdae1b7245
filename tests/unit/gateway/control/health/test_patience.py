import asyncio

import pytest

from gateway.control.health.patience import LATE_S, MOST_S, SLICE_S, Patience
from tests.unit.gateway.control.helpers import Clock, play


class Waiting:
    """Somebody who waits for what never comes."""

    def __init__(self, seconds):
        self.clock = Clock(0.0)
        self.patience = Patience(seconds, self.clock)
        self.task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self):
        async with self.patience:
            await asyncio.Event().wait()

    async def pass_s(self, loop, seconds, held_up_s=0.0):
        """Time goes by in which the loop turns, or only the clock does."""
        self.clock.advance(seconds + held_up_s)
        await loop.advance(seconds)
        await loop.advance(0)  # what the timer has started
        return self.task.done()


def test_it_ends_when_all_of_it_was_waited():
    async def scenario(loop):
        waiting = Waiting(1.125)
        await loop.advance(0)
        assert [await waiting.pass_s(loop, SLICE_S) for _ in range(4)] == [False] * 4
        assert await waiting.pass_s(loop, 0.125)
        assert waiting.patience.is_exhausted and not waiting.patience.was_late
        with pytest.raises(TimeoutError):
            await waiting.task

    play(scenario)


def test_a_time_in_which_the_loop_stood_counts_for_nothing():
    async def scenario(loop):
        waiting = Waiting(1.0)
        await loop.advance(0)
        assert not await waiting.pass_s(loop, SLICE_S, held_up_s=5.0)
        assert waiting.patience.was_late
        assert [await waiting.pass_s(loop, SLICE_S) for _ in range(4)] == [False] * 3 + [True]
        with pytest.raises(TimeoutError):
            await waiting.task

    play(scenario)


def test_a_loop_that_stands_all_the_time_ends_it_unexhausted():
    async def scenario(loop):
        waiting = Waiting(1.0)
        await loop.advance(0)
        assert await waiting.pass_s(loop, SLICE_S, held_up_s=MOST_S + 1.0)
        assert not waiting.patience.is_exhausted
        with pytest.raises(TimeoutError):
            await waiting.task

    play(scenario)


def test_that_it_is_late_is_known_before_its_timer_fires():
    async def scenario(loop):
        waiting = Waiting(1.0)
        await loop.advance(0)
        assert not waiting.patience.was_late
        waiting.clock.advance(SLICE_S + 2 * LATE_S)
        assert waiting.patience.was_late
        waiting.task.cancel()

    play(scenario)


def test_what_comes_in_time_ends_it_and_leaves_no_timer():
    async def scenario(loop):
        async with Patience(1.0, Clock(0.0)) as patience:
            pass
        assert not patience.is_exhausted
        await loop.advance(10)
        await asyncio.sleep(0)

    play(scenario)
