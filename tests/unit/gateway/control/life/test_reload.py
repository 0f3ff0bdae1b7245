import asyncio
import dataclasses
import logging
import threading

import pytest

from gateway.control.life import reload as module
from gateway.control.life.reload import Outcome, Reload, frozen_faults
from gateway.control.process.tasks import Tasks
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.geo import Geo
from gateway.control.sources.merge import Merge
from gateway.control.sources.resolver import Resolver
from gateway.errors import ConfigError, Fault
from gateway.model import Address, Listener, Loaded, Match, Objects, Route, Target
from tests.unit.gateway.control.helpers import TWO_POPS, Clock, config_of, publisher_of


class Scene:
    def __init__(self, config=None):
        self.clock = Clock()
        self.next = config or config_of()
        self.tasks = Tasks()
        self.told = []
        self.warnings = ()
        self.publisher = publisher_of(config_of(), self.clock)
        self.resolver = Resolver(self.tasks, self.clock, lambda: None, self.ask)
        self.sources = Sources(
            world=self.publisher.world, resolver=self.resolver, tasks=self.tasks, clock=self.clock, on_change=lambda _: None
        )
        self.geo = Geo(self.publisher.config, self.clock)
        self.reload = Reload(
            load=self.load,
            merge=Merge(self.publisher.config),
            publisher=self.publisher,
            sources=self.sources,
            resolver=self.resolver,
            geo=self.geo,
            on_config=[self.told.append],
        )
        self.sources.apply(self.publisher.config)
        self.publisher.publish()

    async def ask(self, name):
        if name == "nowhere.example.com":
            raise OSError("unknown")
        return ("192.0.2.77",)

    def load(self):
        if isinstance(self.next, BaseException):
            raise self.next
        return Loaded(self.next, self.warnings)

    def addresses(self):
        spec = self.publisher.table.spec
        return [endpoint.address for service in spec.services for pool in service.pools for endpoint in pool.endpoints]


def play(scenario, config=None):
    async def whole():
        scene = Scene(config)
        await scenario(scene)
        await scene.tasks.stop(1)

    asyncio.run(whole())


MOVED = TWO_POPS.replace("192.0.2.1:80", "192.0.2.9:80")


def test_a_new_configuration_is_in_use_when_it_returns():
    async def scenario(scene):
        rows = dict(scene.publisher.rows.rows)
        assert await scene.reload.run() == Outcome(True)
        assert scene.addresses() == ["192.0.2.9", "192.0.2.2", "192.0.2.3"]
        assert scene.publisher.config is scene.geo.config is scene.next
        assert scene.told == [scene.next]
        kept = {key: row for key, row in scene.publisher.rows.rows.items() if key in rows}
        assert kept == rows  # what was learned stays

    play(scenario, config_of(MOVED))


def test_names_that_are_new_are_resolved_before_the_swap():
    async def scenario(scene):
        assert (await scene.reload.run()).is_done
        assert scene.addresses() == ["192.0.2.77", "192.0.2.2", "192.0.2.3"]

    play(scenario, config_of(TWO_POPS.replace("192.0.2.1:80", "web.example.com:80")))


def test_a_name_without_an_answer_empties_no_pool_and_is_told():
    async def scenario(scene):
        outcome = await scene.reload.run()
        assert outcome.is_done and scene.addresses() == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert outcome.warnings == (
            "nowhere.example.com: no address for this name yet (unknown); a backend of which no endpoint is known keeps those it had",
        )

    play(scenario, config_of(TWO_POPS.replace("192.0.2.1:80", "nowhere.example.com:80")))


FAULTS = ConfigError([Fault("x.yaml", 3, "pops.fra.lat", "must be a number"), Fault("x.yaml", 9, "routes", "must be a list")])


def test_endpoints_that_are_refused_are_told():
    async def scenario(scene):
        async def ask(name):
            return ("127.0.0.1",)

        scene.resolver.ask = ask
        outcome = await scene.reload.run()
        assert outcome.is_done
        (line,) = [one for one in outcome.warnings if "refused" in one]
        assert line.startswith("service shop in fra: 1 refused, such as 127.0.0.1:80: loopback")
        assert line.endswith("; no endpoint is left there")
        assert not [one for one in (await scene.reload.run()).warnings if "refused" in one]  # as it was

    play(scenario, config_of(TWO_POPS.replace("192.0.2.1:80", "web.example.com:80")))


RENAMED = TWO_POPS.replace("fra", "fra1")


@pytest.mark.parametrize(("drained", "is_told"), [({"fra"}, True), ({"nyc"}, False), (set(), False), ({"fra", "lon"}, True)])
def test_a_drained_pop_that_is_no_longer_there_is_told_with_who_may_be_in_its_place(caplog, drained, is_told):
    async def scenario(scene):
        scene.publisher.world.drained = set(drained)
        line = "pops: fra is drained and no longer in the configuration: the drain waits for that name; new in it, not drained: fra1"
        assert (await scene.reload.run()).warnings == ((line,) if is_told else ())
        assert (line in caplog.messages) == is_told
        assert (await scene.reload.run()).warnings == ()  # once

    play(scenario, config_of(RENAMED))


LEFT = "pops: {} is drained: route shop: all clients: service shop can be served in no other PoP"
LESS = TWO_POPS.replace('      - {pop: nyc, endpoints: ["192.0.2.2:80", "192.0.2.3:80"]}\n', "")


@pytest.mark.parametrize(
    ("text", "drained", "told"),
    [(LESS, {"fra"}, ["fra"]), (LESS, {"nyc"}, []), (TWO_POPS, {"fra"}, []), (TWO_POPS, {"fra", "nyc"}, ["fra", "nyc"]), (LESS, set(), [])],
)
def test_a_route_that_is_left_drained_pops_alone_is_told(caplog, text, drained, told):
    async def scenario(scene):
        scene.publisher.world.drained = set(drained)
        outcome = await scene.reload.run()
        assert outcome.is_done
        assert [line for line in outcome.warnings if "is drained" in line] == [LEFT.format(pop) for pop in told]
        assert [line for line in caplog.messages if "is drained" in line] == [LEFT.format(pop) for pop in told]

    play(scenario, config_of(text))


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        (FAULTS, ("x.yaml:3: pops.fra.lat: must be a number", "x.yaml:9: routes: must be a list")),
        (
            config_of(TWO_POPS.replace("name: web", "name: other")),
            ("listeners: changed; a restart is needed, this reload changes nothing",),
        ),
        (config_of(geoip="{city: /nonexistent/x.mmdb}"), ("geoip: /nonexistent/x.mmdb: No such file or directory",)),
    ],
)
def test_a_refused_one_changes_nothing_and_each_fault_is_a_line(new, lines, caplog):
    async def scenario(scene):
        before = (scene.publisher.config, scene.publisher.table, scene.geo.files, dict(scene.resolver.answers))
        outcome = await scene.reload.run()
        assert outcome == Outcome(False, lines)
        assert (scene.publisher.config, scene.publisher.table, scene.geo.files, dict(scene.resolver.answers)) == before
        assert scene.told == []

    play(scenario, new)
    assert [record.message for record in caplog.records] == [f"reload refused: {line}" for line in lines]


def test_a_table_that_cannot_be_built_leaves_the_world_as_it_was(monkeypatch):
    async def scenario(scene):
        publish = type(scene.publisher).publish_config
        monkeypatch.setattr(type(scene.publisher), "publish_config", lambda *_: (_ for _ in ()).throw(ValueError("too many PoPs")))
        assert await scene.reload.run() == Outcome(False, ("too many PoPs",))
        monkeypatch.setattr(type(scene.publisher), "publish_config", publish)
        scene.publisher.publish()
        assert scene.addresses() == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

    play(scenario, config_of(MOVED))


def test_a_file_that_nobody_foresaw_is_named_where_it_fails(tmp_path):
    async def scenario(scene):
        scene.reload.load = (tmp_path / "gone").read_bytes
        assert await scene.reload.run() == Outcome(False, (f"{tmp_path}/gone: No such file or directory",))

    play(scenario)


def test_what_is_still_as_it_was_after_the_swap_is_a_warning(caplog, monkeypatch):
    async def scenario(scene):
        async def renewed(_, deadline_s):
            assert scene.publisher.config is scene.next and scene.reload.counts["applied"] == 1
            return [f"not within {deadline_s:g} s"]

        monkeypatch.setattr(Sources, "renewed", renewed)
        assert await scene.reload.run() == Outcome(True, warnings=("not within 3 s",))

    caplog.set_level(logging.WARNING)
    play(scenario, config_of(MOVED))
    assert [record.message for record in caplog.records] == ["not within 3 s"]


def test_without_a_thread_a_reload_is_refused(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    async def scenario(scene):
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert await scene.reload.run() == Outcome(False, ("no thread can be started: can't start new thread",))

    play(scenario)


def test_a_file_that_hangs_is_given_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(module, "READ_S", 0.02)

    async def scenario(scene):
        scene.reload.load = lambda: release.wait(5)
        assert await scene.reload.run() == Outcome(False, ("the files could not be read in time",))
        release.set()

    play(scenario)


def test_those_asked_for_while_one_is_under_way_are_one_that_reads_after_them():
    async def scenario(scene):
        is_reading, go_on = asyncio.Event(), threading.Event()
        loop, reads = asyncio.get_running_loop(), []

        def load():
            reads.append(scene.next)
            loop.call_soon_threadsafe(is_reading.set)
            go_on.wait(5)
            return Loaded(scene.next, ())

        scene.reload.load = load
        first = scene.tasks.start("first", scene.reload.run())
        await is_reading.wait()
        flood = [scene.tasks.start("more", scene.reload.run()) for _ in range(500)]
        await asyncio.sleep(0)
        scene.next = config_of(MOVED)
        go_on.set()
        outcomes = await asyncio.gather(first, *flood)
        assert all(outcome.is_done for outcome in outcomes)
        assert len(reads) == len(scene.told) == 2
        assert scene.addresses()[0] == "192.0.2.9"  # the later one read what came after the first had begun
        assert scene.reload.counts == {"applied": 2, "refused": 0}
        assert (await scene.reload.run()).is_done  # nothing is left of it

    play(scenario)


def test_one_that_is_cancelled_while_it_waits_leaves_the_way_free():
    async def scenario(scene):
        async with scene.reload._one_at_a_time:
            waiting = scene.tasks.start("waiting", scene.reload.run())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        assert (await scene.reload.run()).is_done

    play(scenario)


def test_those_that_share_one_share_what_nobody_foresaw(monkeypatch):
    """As what it is: a cancellation would end whoever waits without a word."""

    async def scenario(scene):
        async def fail():
            raise RuntimeError("a bug")

        async with scene.reload._one_at_a_time:
            monkeypatch.setattr(Reload, "_run", lambda _: fail())
            waiting = [asyncio.ensure_future(scene.reload.run()) for _ in range(3)]
            await asyncio.sleep(0)
        met = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in met] == ["a bug"] * 3
        monkeypatch.undo()
        assert (await scene.reload.run()).is_done

    play(scenario)


def test_one_that_is_cancelled_takes_nobody_with_it():
    async def scenario(scene):
        async with scene.reload._one_at_a_time:
            first, *others = [asyncio.ensure_future(scene.reload.run()) for _ in range(4)]
            await asyncio.sleep(0)
            first.cancel()
            others[0].cancel()
            await asyncio.wait([first, others[0]])
        met = await asyncio.gather(*others[1:])
        assert first.cancelled() and others[0].cancelled()
        assert [outcome.is_done for outcome in met] == [True, True]
        assert scene.reload.counts["applied"] == 1

    play(scenario)


def test_results_are_counted_with_their_time():
    async def scenario(scene):
        times = iter((2000.0, 3000.0, 4000.0))
        scene.reload.wall = lambda: next(times)
        began = scene.reload.ended_at["applied"]
        assert began > 1e9 and scene.reload.ended_at["refused"] == 0.0
        good, scene.next = scene.next, FAULTS
        await scene.reload.run()
        assert scene.reload.ended_at == {"applied": began, "refused": 2000.0}
        scene.next = good
        await scene.reload.run()
        assert scene.reload.ended_at == {"applied": 3000.0, "refused": 2000.0}
        assert scene.reload.counts == {"applied": 1, "refused": 1}

    play(scenario)


def test_warnings_are_those_of_check(caplog):
    warning = Fault("x.yaml", 7, "routes", "never matches")

    async def scenario(scene):
        scene.warnings = (warning,)
        assert (await scene.reload.run()).warnings == ("x.yaml:7: routes: never matches",)

    caplog.set_level(logging.WARNING)
    play(scenario)
    assert [record.message for record in caplog.records] == ["x.yaml:7: routes: never matches"]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"admin": '{bind: "127.0.0.1:9999"}'}, "admin"),
        ({"status": '{bind: "127.0.0.1:9998"}'}, "status"),
        ({"gateway": "{workers: 7}"}, "gateway.workers"),
    ],
)
def test_what_needs_a_restart(more, key):
    (fault,) = frozen_faults(config_of(), config_of(**more))
    assert fault == f"{key}: changed; a restart is needed, this reload changes nothing"


def test_everything_else_can_change(caplog):
    caplog.set_level(logging.INFO)
    more = {"gateway": "{name: other}", "drain": "{lameduck: 1s}", "limits": "{fields: 9}", "timeouts": "{connect: 1s}"}
    assert frozen_faults(config_of(), config_of(**more)) == []


def objects(service="shop", name="new"):
    return Objects(routes=(Route(name=name, source="folder", match=(Match(hosts=("new",)),), targets=(Target(service, 1),)),))


def routes(scene):
    return [(one.name, bool(one.targets)) for one in scene.publisher.config.routes]


def test_what_another_source_says_is_put_in_use_with_the_file_as_it_is(caplog):
    async def scenario(scene):
        say, scene.next = scene.reload.merge.add("folder"), FAULTS  # which is not read
        say(objects())
        await scene.reload.follow("folder")
        assert routes(scene) == [("shop", True), ("new", True)] and scene.told == [scene.publisher.config]
        say(objects("none"))
        await scene.reload.follow("folder")
        assert routes(scene) == [("shop", True), ("new", False)]
        assert scene.reload.counts == {"applied": 2, "refused": 0}

    play(scenario)
    assert caplog.messages == ["refused: route folder:new: there is no service none"]


def test_a_reload_keeps_what_others_said_and_a_refused_file_takes_nothing_of_it():
    async def scenario(scene):
        say, good = scene.reload.merge.add("folder"), scene.next
        say(objects("none"))
        await scene.reload.follow("folder")
        assert await scene.reload.run() == Outcome(True)  # what is refused is known
        assert routes(scene) == [("shop", True), ("new", False)] and scene.addresses()[0] == "192.0.2.9"
        scene.next = FAULTS
        say(objects())
        assert not (await scene.reload.run()).is_done
        assert routes(scene) == [("shop", True), ("new", False)]
        ended_at = dict(scene.reload.ended_at)
        await scene.reload.follow("folder")
        assert scene.reload.ended_at == ended_at  # the file is refused as before
        assert routes(scene) == [("shop", True), ("new", True)] and scene.addresses()[0] == "192.0.2.9"
        assert scene.reload.merge.in_use.file is good

    play(scenario, config_of(MOVED))


UNUSABLE = Objects(listeners=(Listener(name="more", source="folder", bind=Address("::1", 80)),))


def test_a_word_that_cant_be_used_is_no_reason_to_refuse_a_file():
    async def scenario(scene):
        say = scene.reload.merge.add("folder")
        say(objects())
        await scene.reload.follow("folder")
        say(UNUSABLE)
        await scene.reload.follow("folder")
        assert scene.reload.counts == {"applied": 1, "refused": 1}
        assert await scene.reload.run() == Outcome(True)
        assert routes(scene) == [("shop", True), ("new", True)] and scene.addresses()[0] == "192.0.2.9"

    play(scenario, config_of(MOVED))


def test_what_could_not_be_put_in_use_is_tried_again(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.0)

    async def scenario(scene):
        say = scene.reload.merge.add("folder")
        say(UNUSABLE)
        await scene.reload.follow("folder")
        assert scene.reload.counts == {"applied": 0, "refused": 1} and scene.reload.merge.silent == ["folder"]
        async with asyncio.timeout(5):
            await scene.reload.follow("folder")  # by itself
        assert scene.reload.counts == {"applied": 0, "refused": 2}
        say(objects())
        await scene.reload.follow("folder")
        assert scene.reload.counts == {"applied": 1, "refused": 2} and scene.reload.merge.silent == []

    play(scenario)


def test_however_often_a_source_says_what_cant_be_used_the_last_is_tried_again_once_at_a_time(monkeypatch):
    """Each word left a try behind that lasted for as long as the last of them could not be used: 20 words, 40 tries in 10 s."""
    monkeypatch.setattr(module, "AGAIN_S", 0.05)

    async def scenario(scene):
        say = scene.reload.merge.add("folder")
        for number in range(20):
            say(dataclasses.replace(UNUSABLE, routes=objects(name=str(number)).routes))
            await scene.reload.follow("folder")
        before, clock = scene.reload.counts["refused"], asyncio.get_running_loop().time
        begun = clock()
        for _ in range(3):
            await scene.reload.follow("folder")
        assert scene.reload.counts["refused"] == before + 3 and clock() - begun > 2 * 0.05

    play(scenario)


def test_a_word_is_tried_again_whatever_came_between(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.0)

    async def scenario(scene):
        scene.reload.merge.add("folder")(objects())
        with monkeypatch.context() as patch:
            patch.setattr(Sources, "plan", lambda self, config: {}["nobody foresaw this"])
            with pytest.raises(KeyError):
                await scene.reload.follow("folder")
        async with asyncio.timeout(5):
            await scene.reload.follow("folder")
        assert routes(scene) == [("shop", True), ("new", True)]

    play(scenario)


def test_a_word_that_cant_be_used_holds_up_no_other_sources():
    async def scenario(scene):
        say = scene.reload.merge.add("folder")
        scene.reload.merge.add("other")(UNUSABLE)
        await scene.reload.follow("other")
        say(objects())
        await scene.reload.follow("folder")
        assert routes(scene) == [("shop", True), ("new", True)] and scene.reload.merge.silent == ["other"]
        assert scene.reload.counts == {"applied": 1, "refused": 1}

    play(scenario)
