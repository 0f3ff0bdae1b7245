import asyncio
import threading

import pytest

from gateway.control.process.blocking import has_ended, in_thread


def test_result_comes_from_another_thread():
    async def scenario():
        return await in_thread("t", threading.current_thread, 5)

    thread = asyncio.run(scenario())
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name == "t"


def test_failure_is_raised_to_the_one_who_waits():
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(in_thread("t", fail, 5))


@pytest.mark.parametrize("fails", [False, True])
def test_deadline_holds_and_a_late_end_is_nobodys(fails):
    release = threading.Event()
    ended = threading.Event()

    def block():
        release.wait(5)
        ended.set()
        if fails:
            raise OSError("late")

    async def scenario():
        with pytest.raises(TimeoutError):
            await in_thread("t", block, 0.01)
        release.set()
        while not ended.is_set():
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_an_end_after_the_loop_has_closed_is_nobodys():
    release = threading.Event()
    threads = []

    def block():
        threads.append(threading.current_thread())
        release.wait(5)

    with pytest.raises(TimeoutError):
        asyncio.run(in_thread("t", block, 0.01))
    release.set()
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_a_cancellation_that_comes_with_the_result_is_not_lost():
    """asyncio.wait_for of Python 3.11 returned the result then, and a task that was to end went on for ever."""

    async def scenario():
        loop = asyncio.get_running_loop()

        def cancel_when_settled(thread):
            thread.join(5)
            task.cancel()

        task = asyncio.ensure_future(in_thread("t", lambda: loop.call_soon_threadsafe(cancel_when_settled, threading.current_thread()), 5))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_without_a_thread_it_is_said_as_other_lacks_are(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(OSError, match="no thread can be started: can't start new thread"):
        asyncio.run(in_thread("t", list, 5))


def test_threads_are_waited_for_without_another_one(monkeypatch):
    release = threading.Event()
    thread = threading.Thread(target=release.wait, args=(5,), daemon=True)
    thread.start()
    monkeypatch.delattr(threading.Thread, "start")

    async def scenario():
        assert not await has_ended([thread], 0.01)
        release.set()
        return await has_ended([thread], 5)

    assert asyncio.run(scenario())
