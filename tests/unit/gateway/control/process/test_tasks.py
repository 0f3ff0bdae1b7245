import asyncio
import logging

import pytest

from gateway.control.process.tasks import Tasks, cancel


def test_tasks_are_named_and_kept_until_they_end():
    async def scenario():
        tasks = Tasks()
        gate = asyncio.Event()
        task = tasks.start("one", gate.wait())
        assert tasks.names == ["one"]
        gate.set()
        assert await task is True
        await asyncio.sleep(0)
        assert tasks.names == []

    asyncio.run(scenario())


def test_failure_is_logged_once_with_the_name(caplog):
    async def fail():
        raise ValueError("broken")

    async def scenario():
        tasks = Tasks()
        tasks.start("two", fail())
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    (record,) = caplog.records
    assert record.task == "two"
    assert record.levelno == logging.ERROR
    assert "broken" in record.exc_text


def test_stop_cancels_all_and_names_what_does_not_end(caplog):
    async def stubborn(release):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    async def scenario():
        tasks = Tasks()
        release = asyncio.Event()
        meek = tasks.start("meek", asyncio.Event().wait())
        late = tasks.start("late", stubborn(release))
        await asyncio.sleep(0)
        await tasks.stop(0.01)
        assert meek.cancelled()
        assert not late.done()
        release.set()
        await late

    asyncio.run(scenario())
    assert [record.task for record in caplog.records] == ["late"]


def test_a_turn_that_fails_does_not_end_the_loop_and_is_said_once(caplog):
    async def scenario():
        tasks = Tasks()
        count = 0
        enough = asyncio.Event()

        async def turn():
            nonlocal count
            count += 1
            if count == 5:
                enough.set()
            elif count != 3:
                raise OSError("same fault")

        task = tasks.repeat("loop", turn, 0)
        async with asyncio.timeout(5):
            await enough.wait()
        await cancel(task)
        assert task.cancelled()

    asyncio.run(scenario())
    # Turns 1 and 2 fail alike: one line. Turn 3 is well, so 4 is news.
    assert len([record for record in caplog.records if record.getMessage() == "turn failed"]) == 2


def test_cancel_takes_none_and_ended_tasks():
    async def scenario():
        await cancel(None)
        tasks = Tasks()
        task = tasks.start("done", asyncio.sleep(0))
        await task
        await cancel(task)
        with pytest.raises(asyncio.CancelledError):
            blocked = tasks.start("blocked", asyncio.Event().wait())
            await cancel(blocked)
            blocked.result()

    asyncio.run(scenario())
