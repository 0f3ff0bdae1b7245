import asyncio
import socket

import pytest

from gateway.control.process.tasks import Tasks
from gateway.control.sources import resolver as module
from gateway.control.sources.resolver import INTERVAL_S, RETRY_S, Resolver, lookup
from tests.unit.gateway.control.helpers import Clock


class Names:
    """A name server under the test's thumb."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.hangs = set()

    async def __call__(self, name):
        self.asked.append(name)
        if name in self.hangs:
            await asyncio.Event().wait()
        answer = self.answers.get(name, OSError("unknown name"))
        if isinstance(answer, BaseException):
            raise answer
        return answer


def scene():
    changes = []
    clock, names = Clock(), Names()
    tasks = Tasks()
    return Resolver(tasks, clock, lambda: changes.append(clock()), names), names, clock, changes, tasks


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_all_addresses_in_one_order_whatever_the_answers_order():
    async def scenario():
        resolver, names, clock, changes, _ = scene()
        names.answers["web"] = ("192.0.2.2", "2001:db8:0::1", "192.0.2.1", "192.0.2.1")
        resolver.want(["web"])
        resolver.turn()
        await settle()
        assert resolver.addresses("web") == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
        assert len(changes) == 1
        names.answers["web"] = ("192.0.2.1", "192.0.2.2", "2001:db8::1")
        clock.advance(INTERVAL_S)
        resolver.turn()
        await settle()
        assert names.asked == ["web", "web"]
        assert len(changes) == 1

    asyncio.run(scenario())


def test_asked_again_in_time_and_not_before():
    async def scenario():
        resolver, names, clock, _, _ = scene()
        names.answers["web"] = ("192.0.2.1",)
        resolver.want(["web"])
        for seconds in (0, INTERVAL_S - 0.1, 0.1):
            clock.advance(seconds)
            resolver.turn()
            await settle()
        assert names.asked == ["web", "web"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "failure", [OSError("refused"), TimeoutError(), (), ("nonsense",), socket.gaierror(-2, "Name or service not known")]
)
def test_the_last_good_answer_stays_and_the_fault_is_said_once(failure, caplog):
    async def scenario():
        resolver, names, clock, changes, _ = scene()
        names.answers["web"] = ("192.0.2.1",)
        resolver.want(["web"])
        resolver.turn()
        await settle()
        names.answers["web"] = failure
        clock.advance(INTERVAL_S)
        for _ in range(3):
            resolver.turn()
            await settle()
            clock.advance(RETRY_S)
        assert resolver.addresses("web") == ("192.0.2.1",)
        assert len(names.asked) == 4
        assert len(changes) == 1
        assert [record.message for record in caplog.records].count("name not resolved") == 1
        names.answers["web"] = ("192.0.2.9",)
        resolver.turn()
        await settle()
        assert resolver.addresses("web") == ("192.0.2.9",)
        assert resolver.answers["web"].error is None

    asyncio.run(scenario())


def test_a_name_that_hangs_holds_up_no_other():
    async def scenario():
        resolver, names, clock, _, tasks = scene()
        names.hangs.add("slow")
        names.answers["web"] = ("192.0.2.1",)
        resolver.want(["slow", "web"])
        resolver.turn()
        await settle()
        clock.advance(INTERVAL_S)
        resolver.turn()
        await settle()
        assert names.asked == ["slow", "web", "web"]  # never twice at once
        assert resolver.addresses("slow") == ()
        await tasks.stop(1)

    asyncio.run(scenario())


def test_first_waits_for_good_and_bad_answers_but_not_for_ever():
    async def scenario():
        resolver, names, _, _, tasks = scene()
        names.answers["web"] = ("192.0.2.1",)
        await resolver.first(["web", "bad"], 5)
        assert resolver.addresses("web") == ("192.0.2.1",)
        assert resolver.answers["bad"].error == "unknown name"
        assert not resolver.answers["bad"].is_new
        names.hangs.add("slow")
        await resolver.first(["slow"], 0.02)
        assert resolver.answers["slow"].is_new
        await tasks.stop(1)

    asyncio.run(scenario())


def test_names_of_no_more_use_are_forgotten_also_with_an_answer_under_way():
    async def scenario():
        resolver, names, _, changes, _ = scene()
        names.answers["web"] = ("192.0.2.1",)
        resolver.want(["web"])
        resolver.turn()
        resolver.want([])
        await settle()
        assert resolver.addresses("web") == ()
        assert changes == []

    asyncio.run(scenario())


def test_the_machines_own_resolver(monkeypatch):
    assert "127.0.0.1" in asyncio.run(lookup("localhost"))

    def fail(*_args, **_more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(module.socket, "getaddrinfo", fail)
    with pytest.raises(socket.gaierror):
        asyncio.run(lookup("nowhere.invalid"))


def test_names_that_hang_hold_up_the_others_for_a_round_and_no_more_threads_than_that():
    async def scenario():
        resolver, names, clock, _, _ = scene()
        everyone = [f"n{n:03d}" for n in range(100)]
        names.answers["web"] = ("192.0.2.1",)
        deadline = asyncio.Event()

        async def ask(name):
            names.asked.append(name)
            if name != "web":
                await deadline.wait()
                raise TimeoutError
            return names.answers[name]

        resolver.ask = ask
        resolver.want(everyone)
        resolver.turn()
        await settle()
        assert len(names.asked) == module.AT_ONCE
        resolver.want([*everyone, "web"])
        for _ in range(4):
            deadline.set()
            await settle()
            deadline.clear()
            clock.advance(0.1)
            resolver.turn()
            await settle()
        assert set(names.asked) == {*everyone, "web"} and resolver.addresses("web") == ("192.0.2.1",)
        deadline.set()
        await settle()

    asyncio.run(scenario())


def test_no_thread_is_a_failure_like_others():
    async def scenario():
        resolver, names, clock, _, _ = scene()
        names.answers["web"] = RuntimeError("can't start new thread")
        resolver.want(["web"])
        resolver.turn()
        await settle()
        assert (resolver.answers["web"].error, resolver.answers["web"].due) == ("can't start new thread", clock() + RETRY_S)

    asyncio.run(scenario())


def test_of_a_name_only_what_can_be_reached_from_here_counts(monkeypatch):
    both = [(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 0, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    ways = {"2001:db8::1": False, "127.0.0.1": True}
    monkeypatch.setattr(module, "has_way", ways.__getitem__)
    assert asyncio.run(lookup("web")) == ("127.0.0.1",)
    ways["127.0.0.1"] = False  # no way anywhere: that will change, and is no word on the name
    assert asyncio.run(lookup("web")) == ("2001:db8::1", "127.0.0.1")


def test_a_name_that_is_back_has_what_it_had_until_it_is_answered():
    async def scenario():
        resolver, names, clock, _, _ = scene()
        names.answers["old"] = ("192.0.2.1",)
        resolver.want(["old"])
        resolver.turn()
        await settle()
        resolver.want(["new"])
        assert resolver.addresses("old") == ()
        names.answers.clear()
        await resolver.first(["old"], 1.0)
        assert resolver.addresses("old") == ("192.0.2.1",)
        assert resolver.answers["old"].error == "unknown name"
        names.answers["old"] = ("192.0.2.2",)
        clock.advance(RETRY_S)
        resolver.turn()
        await settle()
        assert resolver.addresses("old") == ("192.0.2.2",)
        resolver.want([])
        clock.advance(module.LEFT_S)
        resolver.want(["old"])
        assert resolver.addresses("old") == ()

    asyncio.run(scenario())
