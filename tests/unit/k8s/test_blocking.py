"""Blocking calls beside the loop: one at a time, shared, with a deadline, and nothing holds the process at its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from k8s._blocking import Blocking


def test_result_and_error_come_from_a_daemon_thread() -> None:
    def who() -> str:
        assert threading.current_thread().daemon
        return threading.current_thread().name

    def fail() -> str:
        raise KeyError("x")

    async def main() -> None:
        blocking: Blocking[str] = Blocking("a-name")
        assert await blocking.call(who, 5.0) == "a-name"
        with pytest.raises(KeyError):
            await blocking.call(fail, 5.0)
        assert await blocking.call(who, 5.0) == "a-name"

    asyncio.run(main())


def test_all_who_ask_meanwhile_share_one_call() -> None:
    async def main() -> None:
        release, calls = threading.Event(), []

        def work() -> int:
            calls.append(1)
            assert release.wait(5.0)
            return len(calls)

        blocking: Blocking[int] = Blocking("x")
        asked = [asyncio.ensure_future(blocking.call(work, 5.0)) for _ in range(5)]
        await asyncio.sleep(0)
        asked.pop().cancel()  # one who gives up takes nothing from the others
        release.set()
        assert await asyncio.gather(*asked) == [1] * 4

    asyncio.run(main())


def test_a_deadline_leaves_the_call_and_starts_no_second() -> None:
    async def main() -> None:
        release, calls = threading.Event(), []

        def work() -> str:
            calls.append(1)
            release.wait(5.0)
            return "late"

        blocking: Blocking[str] = Blocking("x")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await blocking.call(work, 0.005)
        assert len(calls) == 1
        release.set()
        assert await blocking.call(work, 5.0) == "late"

    asyncio.run(main())


def test_an_answer_after_the_loop_has_closed_is_dropped() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(5.0)
        ended.set()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await Blocking[None]("late").call(work, 0.001)

    asyncio.run(main())
    (thread,) = [t for t in threading.enumerate() if t.name == "late"]
    release.set()
    assert ended.wait(5.0)
    thread.join(5.0)  # an exception in it would be a warning, and warnings are errors
    assert not thread.is_alive()


def test_a_cancellation_that_comes_with_the_result_is_not_lost() -> None:
    """asyncio.wait_for of Python 3.11 returned the result then, and a watch that was to end went on for ever."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def cancel_when_settled(thread: threading.Thread) -> None:
            thread.join(5.0)
            loop.call_soon(loop.call_soon, task.cancel)  # the result is two steps away, with the shield

        def work() -> object:
            return loop.call_soon_threadsafe(cancel_when_settled, threading.current_thread())

        task = asyncio.ensure_future(Blocking[object]("x").call(work, 5.0))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
