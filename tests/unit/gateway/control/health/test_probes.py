import asyncio
import contextlib
import errno
import itertools
import random
import socket
from dataclasses import replace

import pytest
import uvloop

from gateway.control.health import probes as module
from gateway.control.health.probes import Prober, Result, most_of, probe
from gateway.control.process.tasks import Tasks
from tests.support.said import health
from tests.unit.gateway.control.helpers import Bench, config_of, identity

ONE, TWO = identity("192.0.2.1"), identity("192.0.2.2")
HTTP = health(path="/healthz?x=1", host="shop.example.com", timeout="300ms")
TCP = health(timeout="300ms")


# One probe


@contextlib.asynccontextmanager
async def endpoint(answer=b"", path=None):
    """A server that reads a head and says `answer`; None: says nothing. Yields its identity and what it was sent."""
    seen = []
    handlers = []

    async def serve(reader, writer):
        handlers.append(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is None:
                await reader.read()  # until the prober has enough
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await (asyncio.start_unix_server(serve, path) if path else asyncio.start_server(serve, "127.0.0.1", 0))
    try:
        yield identity(path or "127.0.0.1", 0 if path else server.sockets[0].getsockname()[1]), seen
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*handlers), 5)


def ask(answer, health, path=None):
    async def scenario():
        async with endpoint(answer, path) as (target, seen):
            return await probe(target, health), seen, target

    return asyncio.run(scenario())


def test_further_fields_and_another_port():
    async def scenario():
        async with endpoint(b"HTTP/1.1 200 OK\r\n\r\n") as (target, seen):
            asked = health(port=target.port, headers={"authorization": "Bearer s", "user-agent": "mine"}, timeout="300ms")
            return await probe(identity("127.0.0.1", 9), asked), seen

    result, seen = asyncio.run(scenario())
    assert result.is_good
    assert seen[0] == (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\nAccept: */*\r\nauthorization: Bearer s\r\nuser-agent: mine\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "is_good", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True, "status 200"),
        (b"HTTP/1.0 399\r\n\r\n", True, "status 399"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False, "status 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False, "no HTTP status line"),  # an interim answer is none
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", True, "status 200"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 Unavailable\r\n\r\n", False, "status 503"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n", False, "no HTTP status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False, "status 101"),
        (b"HTTP/1.1 20 OK\r\n\r\n", False, "no HTTP status line"),
        (b"SSH-2.0-OpenSSH\r\n", False, "no HTTP status line"),
        (b"HTTP/1.1 200", False, "no HTTP status line"),
        (b"x" * 100_000, False, "no HTTP status line"),
        (b"", False, "no HTTP status line"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000, True, "status 200"),
        (None, False, "no answer within 300ms"),
    ],
)
def test_http(answer, is_good, detail):
    result, _, _ = ask(answer, HTTP)
    assert (result.is_good, result.detail) == (is_good, detail)
    assert result.has_answered == detail.startswith("status")
    assert result.is_silent == detail.startswith("no answer")
    assert 0 < result.connect_s < 1


def test_what_is_asked_and_of_whom():
    _, seen, _ = ask(b"HTTP/1.1 200 OK\r\n\r\n", HTTP)
    assert seen == [
        b"GET /healthz?x=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: isochrone-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ]
    _, seen, target = ask(b"HTTP/1.1 200 OK\r\n\r\n", health(path="/", timeout="300ms"))
    assert f"Host: {target}\r\n".encode() in seen[0]


def test_expected_statuses_are_the_operators():
    only = health(path="/", expect=(204,), timeout="300ms")
    assert not ask(b"HTTP/1.1 200 OK\r\n\r\n", only)[0].is_good
    assert ask(b"HTTP/1.1 204 No Content\r\n\r\n", only)[0].is_good


def test_over_a_unix_socket(tmp_path):
    result, seen, _ = ask(b"HTTP/1.1 200 OK\r\n\r\n", health(path="/", timeout="300ms"), str(tmp_path / "s"))
    assert result.is_good
    assert b"Host: localhost\r\n" in seen[0]


def test_tcp_asks_for_no_more_than_a_connection():
    async def scenario():
        async with endpoint(None) as (target, _):
            return await probe(target, TCP)

    result = asyncio.run(scenario())
    assert (result.is_good, result.detail, result.has_answered) == (True, "connected", True)


def test_nobody_there(tmp_path):
    result = asyncio.run(probe(identity(str(tmp_path / "none"), 0), TCP))
    assert (result.is_good, result.connect_s) == (False, None)
    assert "No such file" in result.detail


@pytest.mark.parametrize("is_emptied", [True, False])
def test_a_unix_socket_whose_queue_is_full_is_not_dead_before_its_time_is_up(tmp_path, is_emptied):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as hog:
        server.bind(path)
        server.listen(0)
        hog.connect(path)  # all that its queue holds

        async def ask():
            asking = asyncio.ensure_future(probe(identity(path, 0), TCP))
            await asyncio.wait([asking], timeout=0.05)
            assert not asking.done()
            if is_emptied:
                server.accept()[0].close()
            return await asking

        # As `serve` does: asyncio's own loop takes the refusal for a connection under way.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(ask())
    assert result.is_good == is_emptied
    assert is_emptied or "no connection within" in result.detail


@pytest.mark.parametrize("number", sorted(module.OURS))
def test_a_fault_of_this_machine_is_no_verdict(number, monkeypatch):
    async def fail(*_args, **_more):
        raise OSError(number, "ours")

    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert asyncio.run(probe(ONE, TCP)).is_good is None


def test_a_family_that_this_machine_lacks_is_a_verdict(monkeypatch):
    """The same number as where no port is left: the endpoint can't be reached from here, and waits for ever to be judged."""

    async def fail(*_, **__):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert asyncio.run(probe(ONE, TCP)).is_good is None
    monkeypatch.setattr(module, "has_way", lambda address: False)
    assert asyncio.run(probe(ONE, TCP)).is_good is False


def test_a_refused_connect_is_a_verdict(monkeypatch):
    async def fail(*_args, **_more):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert asyncio.run(probe(ONE, TCP)) == Result(False, "Connection refused", None)


@pytest.mark.parametrize("number", sorted(module.NOBODY))
def test_who_can_not_be_reached_is_silent(number, monkeypatch):
    async def fail(*_args, **_more):
        raise OSError(number, "nobody")

    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert asyncio.run(probe(ONE, TCP)) == Result(False, "nobody", None, is_silent=True)


def test_a_loop_that_was_held_up_is_no_verdict(monkeypatch):
    async def hang(*_args, **_more):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", hang)
    times = itertools.chain([0.0, 0.0, 0.0], itertools.repeat(99.0))
    assert asyncio.run(probe(ONE, health(timeout="10ms"), lambda: next(times))) == Result(None, "the control thread was held up")
    assert asyncio.run(probe(ONE, health(timeout="10ms"))) == Result(False, "no connection within 10ms", None, is_silent=True)


def test_a_connect_that_was_measured_late_is_no_path():
    """The answer came while the process was stopped, and is as good as ever."""

    async def scenario():
        async with endpoint(b"HTTP/1.1 200 OK\r\n\r\n") as (target, _):
            times = itertools.chain([0.0] * 3, itertools.repeat(2.0))
            return await probe(target, health(path="/", timeout="3s"), lambda: next(times))

    assert asyncio.run(scenario()) == Result(True, "status 200", None, has_answered=True)


# When


class Asked:
    """Stands for the endpoints: says what the test wants, when it wants."""

    def __init__(self, clock):
        self.clock = clock
        self.at = []
        self.result = Result(True, "fine", 0.001)
        self.gate = None
        self.silent = []

    async def __call__(self, target, health):
        self.at.append((self.clock(), target))
        if self.gate is not None:
            await self.gate.wait()
        began = self.clock()
        while target in self.silent and self.clock() - began < 2.0:
            await asyncio.sleep(0)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    def times(self, target=ONE):
        return [at for at, one in self.at if one == target]


def scene():
    bench = Bench(config_of().services[0])
    asked = Asked(bench.clock)
    paths = []
    tasks = Tasks()
    prober = Prober(
        gates=bench.gates,
        figures=bench.figures,
        tasks=tasks,
        clock=bench.clock,
        rng=random.Random(1),
        on_connect=lambda pool, s: paths.append((pool, s)),
        ask=asked,
    )
    return bench, prober, asked, paths, tasks


async def turns(bench, prober, seconds, step=0.1):
    for _ in range(round(seconds / step)):
        prober.turn()
        for _ in range(4):
            await asyncio.sleep(0)
        bench.clock.advance(step)


def begin(bench, prober, *chosen):
    bench.select(*chosen)
    prober.ask_all(bench.gates.all[one] for one in chosen)


def test_at_the_interval_with_jitter():
    async def scenario():
        bench, prober, asked, paths, _ = scene()
        begin(bench, prober, ONE)
        assert prober.unjudged == [ONE]
        await turns(bench, prober, 100)
        gaps = [b - a for a, b in zip(asked.times(), asked.times()[1:], strict=False)]
        assert 8 <= len(gaps) <= 11
        assert all(8.9 <= gap <= 11.2 for gap in gaps)
        assert max(gaps) - min(gaps) > 0.1
        assert prober.unjudged == []
        assert paths[0] == (("shop", "fra"), 0.001)

    asyncio.run(scenario())


def test_each_second_while_a_change_is_confirmed():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        begin(bench, prober, ONE)
        await turns(bench, prober, 1)
        bench.gates.begin()
        asked.result = Result(False, "dead")
        await turns(bench, prober, 14)
        gaps = [b - a for a, b in zip(asked.times()[1:], asked.times()[2:], strict=False)]
        assert gaps[:2] == pytest.approx([1.1, 1.1], abs=0.11)  # down after three
        assert bench.published(ONE)[0] == "shut"
        before = len(asked.at)
        asked.result = Result(True, "fine", 0.001)
        await turns(bench, prober, 15)
        assert bench.published(ONE)[0] == "admitting"
        assert len(asked.at) - before <= 5

    asyncio.run(scenario())


def test_asked_at_once_when_traffic_failed_also_with_a_probe_under_way():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        begin(bench, prober, ONE)
        await turns(bench, prober, 0.2)
        bench.gates.begin()
        asked.gate = asyncio.Event()
        bench.fail(ONE)
        prober.ask_all(bench.gates.turn())
        await turns(bench, prober, 0.3)
        assert len(asked.times()) == 2
        bench.fail(ONE)  # fails again: what is under way began too early
        bench.gates.turn()
        prober.ask_soon(bench.gates.all[ONE])
        asked.gate.set()
        await turns(bench, prober, 0.1)
        assert bench.published(ONE)[0] == "probing"
        await turns(bench, prober, 0.2)
        assert len(asked.times()) == 3
        assert bench.published(ONE)[0] == "admitting"
        assert bench.gates.all[ONE].forgiven == 2

    asyncio.run(scenario())


def test_no_verdict_changes_nothing_is_tried_again_soon_and_said_once(caplog):
    async def scenario():
        bench, prober, asked, _, _ = scene()
        begin(bench, prober, ONE)
        asked.result = Result(None, "Too many open files")
        await turns(bench, prober, 5)
        assert len(asked.at) >= 4
        assert bench.gates.all[ONE].bad_run == 0
        assert prober.unjudged == [ONE]
        asked.result = Result(True, "fine", 0.001)
        await turns(bench, prober, 2)
        assert prober.unjudged == []

    asyncio.run(scenario())
    assert [record.message for record in caplog.records].count("probes can't judge: the fault is on this side") == 1


@pytest.mark.parametrize(("descriptors", "most"), [(-1, 512), (1_048_576, 512), (1024, 64), (200, 12), (20, 2)])
def test_most_of_the_descriptors_are_for_others(descriptors, most):
    assert most_of(descriptors) == most


def test_no_more_at_once_than_descriptors_allow():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        prober.most = 4
        asked.gate = asyncio.Event()
        everyone = [identity(f"192.0.2.{n}") for n in range(1, 6)]
        begin(bench, prober, *everyone)
        await turns(bench, prober, 0.5)
        assert len(asked.at) == 2  # of one PoP
        asked.gate.set()
        await turns(bench, prober, 0.5)
        assert {target for _, target in asked.at} == set(everyone)

    asyncio.run(scenario())


def test_endpoints_that_swallow_probes_delay_those_of_no_other_pop():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        prober.most = 16
        asked.silent = [identity(f"192.0.2.{n}", pop=pop) for pop in ("fra", "nyc") for n in range(1, 100)]
        well = identity("192.0.2.1", pop="sin")
        begin(bench, prober, *asked.silent, well)
        await turns(bench, prober, 200)
        waits = [b - a for a, b in itertools.pairwise(asked.times(well))]
        assert len(waits) >= 17 and max(waits) <= 11.3, "its interval, with jitter"
        assert prober.late_s > 1.0, "theirs are late, which is told"
        asked.silent.clear()
        await turns(bench, prober, 60)
        assert prober.late_s == 0.0
        n = len(asked.at)
        await turns(bench, prober, 20)
        assert len(asked.at) - n >= 199, "and all have their turn"

    asyncio.run(scenario())


def test_a_shorter_interval_is_in_use_at_once():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        everyone = [identity(f"192.0.2.{n}") for n in range(1, 50)]
        begin(bench, prober, *everyone)
        await turns(bench, prober, 3)
        n = len(asked.at)
        for gate in bench.gates.all.values():
            gate.service = replace(gate.service, health=health(interval="1s"))
        prober.replan()
        prober.replan()
        await turns(bench, prober, 1.2)
        assert len(asked.at) - n >= 49, "each within the new interval"
        assert len({at for at, _ in asked.at[n : n + 49]}) >= 5, "and not all at once"

    asyncio.run(scenario())


def test_an_answer_to_an_older_question_is_no_verdict():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        asked.gate = asyncio.Event()
        begin(bench, prober, ONE)
        await turns(bench, prober, 0.1)
        bench.service = replace(bench.service, health=health(type="http", path="/other"))
        prober.ask_all([bench.gates.all[one] for one in bench.select(ONE)])
        asked.gate.set()
        await turns(bench, prober, 0.1)
        assert not bench.gates.all[ONE].is_judged
        await turns(bench, prober, 0.1)
        assert bench.gates.all[ONE].is_judged
        assert len(asked.at) == 2

    asyncio.run(scenario())


def test_parked_and_forgotten_ones_are_not_asked():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        begin(bench, prober, ONE, TWO)
        await turns(bench, prober, 0.1)
        bench.select(ONE)
        bench.gates.forget(TWO)
        await turns(bench, prober, 30)
        assert len(asked.times(TWO)) == 1
        bench.select()
        n = len(asked.times(ONE))
        await turns(bench, prober, 30)
        assert len(asked.times(ONE)) == n
        prober.ask_all(bench.gates.all[one] for one in bench.select(ONE))
        await turns(bench, prober, 30)
        assert len(asked.times(ONE)) >= n + 3  # and goes on

    asyncio.run(scenario())


def test_one_that_goes_and_comes_while_its_probe_runs_is_judged_anew():
    async def scenario():
        bench, prober, asked, _, _ = scene()
        begin(bench, prober, ONE)
        asked.gate = asyncio.Event()
        asked.result = Result(False, "of another life")
        await turns(bench, prober, 0.1)
        bench.select()
        bench.gates.forget(ONE)
        begin(bench, prober, ONE)
        asked.gate.set()
        await turns(bench, prober, 0.05, 0.05)
        assert not bench.gates.all[ONE].is_judged
        asked.result = Result(True, "fine", 0.001)
        await turns(bench, prober, 0.3)
        assert bench.gates.all[ONE].is_judged

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", ["ask", "on_connect"])
def test_a_probe_that_fails_in_a_way_nobody_foresaw_is_tried_again(caplog, broken):
    """Also where its result could not be taken."""

    async def scenario():
        bench, prober, _, _, _ = scene()
        begin(bench, prober, ONE)
        sound = getattr(prober, broken)
        setattr(prober, broken, lambda *args: {}["a bug"])
        await turns(bench, prober, 0.5)
        setattr(prober, broken, sound)
        await turns(bench, prober, 2)
        assert prober.unjudged == []

    asyncio.run(scenario())
    assert "a bug" in caplog.text
