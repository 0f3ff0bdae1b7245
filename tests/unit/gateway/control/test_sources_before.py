"""Whose word a pool's endpoints are until whoever is asked now has spoken: the last process's, another Service's, another cluster's."""

import pytest

from gateway.control.last_words import LastWord, LastWords, way_of
from gateway.control.sources import GONE_S
from k8s import ServiceKey
from tests.unit.gateway.control.following import FRA, KEY, TEXT, play, pod, settle
from tests.unit.gateway.control.helpers import config_of


def with_last_words(scene, *endpoints, heard_s_ago=60.0):
    """As the process before wrote them, for `shop/web` in fra."""
    scene.sources.last_words = words = LastWords(None, scene.clock, wall=lambda: 1000.0)
    words.words[way_of(scene.config.pops[0].kubernetes), KEY] = LastWord(endpoints, 1000.0 - heard_s_ago, "one")


def test_what_a_cluster_told_the_last_process_holds_until_it_speaks(caplog):
    async def scenario(scene):
        with_last_words(scene, pod("192.0.2.1"), pod("127.0.0.1"))
        scene.sources.apply(scene.config)
        fra, nyc = scene.made
        fra.age = nyc.age = None
        # It is waited for like the others, until it is known that nobody answers: one failure is no outage.
        assert scene.sources.unsynced(30.0) == ["fra", "nyc"]
        fra.error = nyc.error = "cannot connect"
        assert scene.sources.unsynced(30.0) == ["fra", "nyc"]
        scene.clock.advance(GONE_S)
        assert (scene.addresses("fra"), scene.changes) == ([], [])
        assert scene.sources.unsynced(30.0) == ["nyc"]
        assert (scene.addresses("fra"), scene.addresses("nyc"), scene.changes) == (["192.0.2.1:8080"], [], [0.0])
        assert list(scene.world.refused[FRA].values()) == ["loopback"]
        assert (scene.sources.is_kept("fra", KEY), scene.sources.age_s("fra", KEY)) == (True, 60.0)
        assert not scene.sources.is_kept("nyc", ServiceKey("shop", "web", 80))
        (said,) = [record for record in caplog.records if record.getMessage().startswith("cluster does not answer")]
        assert (said.pop, said.age_s, said.error) == ("fra", 60.0, "cannot connect")
        # A reload changes nothing about that.
        scene.sources.apply(config_of(TEXT))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        fra.error, fra.age = None, 0.0
        fra.say(KEY, pod("192.0.2.9"))
        assert scene.addresses("fra") == ["192.0.2.9:8080"]
        assert (scene.sources.is_kept("fra", KEY), scene.sources.age_s("fra", KEY)) == (False, 0.0)
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_words_of_another_server_are_not_this_ones_and_without_a_reason_the_deadline_decides():
    async def scenario(scene):
        with_last_words(scene, pod("192.0.2.1"))
        scene.sources.apply(scene.config)
        fra, _ = scene.made
        fra.server, fra.error = "two", "503"  # the same context, elsewhere now: its pods have the same addresses
        scene.clock.advance(GONE_S)
        assert "fra" in scene.sources.unsynced(30.0)
        fra.server, fra.error = None, None  # swallows what it gets: not even who it is is known
        assert "fra" in scene.sources.unsynced(30.0)
        scene.clock.advance(30.0)
        assert scene.sources.unsynced(30.0) == []
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kubernetes: {namespace: shop, service: web, port: http}", "kubernetes: {namespace: prod, service: web, port: http}"),
        ("lon: 8.68, kubernetes: {context: fra}", "lon: 8.68, kubernetes: {context: other}"),
    ],
)
def test_who_is_asked_before_is_followed_until_who_is_asked_now_has_spoken(old, new):
    async def scenario(scene):
        scene.sources.apply(scene.config)
        await settle()
        fra = scene.made[0]
        fra.say(KEY, pod("10.0.0.1"))
        config = config_of(TEXT.replace(old, new))
        scene.sources.apply(config)
        await settle()
        key = next(iter(scene.sources._wanted.values()))[1]
        assert scene.addresses("fra") == ["10.0.0.1:8080"]
        assert (scene.sources.is_kept("fra", key), scene.sources.age_s("fra", key)) == (True, 1.5)
        assert fra.is_running and KEY in fra.services
        fra.say(KEY, pod("10.0.0.2", uid="u2"))  # it rolls
        assert scene.addresses("fra") == ["10.0.0.2:8080"]
        scene.sources.apply(config)  # once more, with nobody wiser
        fra.say(KEY, pod("10.0.0.3", uid="u3"))
        assert scene.addresses("fra") == ["10.0.0.3:8080"]
        now = scene.sources.cluster("fra")
        now.say(key, pod("10.1.0.1", uid="v"))
        assert scene.addresses("fra") == ["10.1.0.1:8080"]
        assert not scene.sources.is_kept("fra", key)
        await settle()
        assert now.services == [key] and (now is fra or not fra.is_running)
        fra.on_change(fra, [KEY])  # a last word on its way
        assert scene.addresses("fra") == ["10.1.0.1:8080"]
        await scene.sources.stop()

    play(scenario)


def test_a_cluster_is_followed_until_the_name_in_its_place_has_an_answer():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        fra = scene.made[0]
        fra.say(KEY, pod("10.0.0.1"))
        named = TEXT.replace("kubernetes: {namespace: shop, service: web, port: http}", 'endpoints: ["web.example.com:81"]')
        scene.sources.apply(config_of(named))
        await settle()
        fra.say(KEY, pod("10.0.0.2", uid="u2"))
        assert scene.addresses("fra") == ["10.0.0.2:8080"]
        scene.answers["web.example.com"] = ("192.0.2.7",)
        scene.clock.advance(60)
        scene.resolver.turn()
        await settle()
        assert scene.addresses("fra") == ["192.0.2.7:81"]
        await settle()
        assert not fra.is_running
        await scene.sources.stop()

    play(scenario)


def test_words_of_another_way_or_service_are_not_this_ones():
    async def scenario(scene):
        with_last_words(scene, pod("192.0.2.1"))
        scene.config = config_of(TEXT.replace("context: fra", "context: elsewhere"))
        scene.sources.apply(scene.config)
        assert scene.addresses("fra") == []
        assert [(access.context, keys) for access, _, keys in scene.sources.followed()] == [
            ("elsewhere", [KEY]),
            ("nyc", [ServiceKey("shop", "web", 80)]),
        ]
        await settle()
        await scene.sources.stop()

    play(scenario)
