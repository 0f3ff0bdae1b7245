import asyncio
import threading

import pytest

from gateway.control.operator import scrapes as module
from gateway.control.operator.scrapes import SHARED_S, Scrapes
from gateway.control.process.tasks import Tasks
from tests.unit.gateway.control.helpers import Clock

OPEN = "application/openmetrics-text; version=1.0.0"


class Source:
    """Readings that count, and may be held up while they are written."""

    def __init__(self):
        self.read_n = self.written_n = self.at_once = self.most_at_once = 0
        self.go = threading.Event()
        self.go.set()
        self.fails = False

    def read(self):
        self.read_n += 1
        return self

    def render(self, accept):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.go.wait(10)
        self.at_once -= 1
        self.written_n += 1
        if self.fails:
            raise OSError("broken")
        return f"{accept} {self.read_n}".encode(), "text/plain"


def scene(scenario):
    async def whole():
        source, tasks, clock = Source(), Tasks(), Clock(100.0)
        try:
            async with asyncio.timeout(20):
                await scenario(source, Scrapes(source.read, tasks, clock), clock)
        finally:
            source.go.set()
            await tasks.stop(5)

    asyncio.run(whole())


def test_all_who_ask_within_a_second_get_one_text():
    async def scenario(source, scrapes, clock):
        source.go.clear()
        asked = [asyncio.ensure_future(scrapes.text("")) for _ in range(500)]
        await asyncio.sleep(0)
        source.go.set()
        assert {await one for one in asked} == {(b" 1", "text/plain")}
        clock.advance(SHARED_S - 0.01)
        assert await scrapes.text("") == (b" 1", "text/plain")
        assert (source.read_n, source.written_n) == (1, 1)
        clock.advance(0.01)
        assert await scrapes.text("") == (b" 2", "text/plain")

    scene(scenario)


def test_those_who_leave_cost_nothing_and_take_nothing_away():
    async def scenario(source, scrapes, clock):
        source.go.clear()
        leaving = [asyncio.ensure_future(scrapes.text("")) for _ in range(900)]
        honest = asyncio.ensure_future(scrapes.text(""))
        await asyncio.sleep(0)
        for one in leaving:
            one.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        source.go.set()
        assert await honest == (b" 1", "text/plain")
        assert source.written_n == 1

    scene(scenario)


def test_each_format_has_its_own_and_one_is_written_at_a_time():
    async def scenario(source, scrapes, clock):
        source.go.clear()
        asked = [asyncio.ensure_future(scrapes.text(accept)) for accept in ("", OPEN, "*/*", "nonsense")]
        await asyncio.sleep(0)
        source.go.set()
        texts = await asyncio.gather(*asked)
        assert texts[0] == texts[2] == texts[3]
        assert texts[1][0].startswith(OPEN.encode())
        assert (source.written_n, source.most_at_once) == (2, 1)

    scene(scenario)


def test_one_that_takes_longer_than_a_second_is_still_shared():
    async def scenario(source, scrapes, clock):
        source.go.clear()
        first = asyncio.ensure_future(scrapes.text(""))
        await asyncio.sleep(0)
        clock.advance(10 * SHARED_S)
        second = asyncio.ensure_future(scrapes.text(""))
        await asyncio.sleep(0)
        source.go.set()
        assert await first == await second
        assert source.written_n == 1

    scene(scenario)


def test_a_failure_is_not_kept():
    async def scenario(source, scrapes, clock):
        source.fails = True
        with pytest.raises(OSError, match="broken"):
            await scrapes.text("")
        source.fails = False
        assert (await scrapes.text(""))[0] == b" 2"

    scene(scenario)


def test_a_text_that_is_not_written_in_time(monkeypatch):
    monkeypatch.setattr(module, "WRITE_S", 0.01)

    async def scenario(source, scrapes, clock):
        source.go.clear()
        with pytest.raises(TimeoutError):
            await scrapes.text("")

    scene(scenario)


def test_there_are_two_formats_whatever_a_client_says_it_accepts():
    async def scenario(source, scrapes, clock):
        asked = [f"application/openmetrics-text; version=1.0.{n}" for n in range(50)] + ["application/OpenMetrics-text;version=abc"]
        asked += [f"text/plain; version=1.0.{n}" for n in range(50)]
        texts = {(await scrapes.text(one))[0] for one in asked}
        assert texts == {f"{OPEN} 1".encode(), b" 2"}
        assert source.written_n == 2

    scene(scenario)
