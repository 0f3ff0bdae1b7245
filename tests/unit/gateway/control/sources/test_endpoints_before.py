"""Whose word a pool's endpoints are until whoever is asked now has spoken: the last process's, another Service's, another cluster's."""

import asyncio
from dataclasses import replace

import pytest

from gateway.control.sources.endpoints import GONE_S
from gateway.control.sources.last_words import LastWord, LastWords, way_of
from k8s import ServiceKey
from tests.unit.gateway.control.following import FRA, KEY, NYC, TEXT, play, pod, settle
from tests.unit.gateway.control.helpers import config_of


def with_last_words(scene, *endpoints, heard_s_ago=60.0):
    """As the process before wrote them, for `shop/web` in fra."""
    scene.sources.last_words = words = LastWords(None, scene.clock)
    words.words[way_of(scene.config.pops[0].kubernetes), KEY] = LastWord(endpoints, scene.clock() - heard_s_ago, "one", scene.clock())


def start_from_last_words(scene, *endpoints):
    """Its API server gone. The cluster in fra."""
    with_last_words(scene, *endpoints)
    scene.sources.apply(scene.config)
    scene.made[0].error = "cannot connect"
    scene.clock.advance(GONE_S)
    scene.sources.unsynced(30.0)
    return scene.made[0]


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
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (True, 60.0 + GONE_S)
        assert not scene.sources.is_kept(NYC)
        (said,) = [record for record in caplog.records if record.getMessage().startswith("cluster does not answer")]
        assert (said.pop, said.age_s, said.error) == ("fra", 60.0 + GONE_S, "cannot connect")
        # A reload changes nothing about that.
        scene.sources.apply(config_of(TEXT))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        fra.error, fra.age = None, 0.0
        fra.say(KEY, pod("192.0.2.9"))
        assert scene.addresses("fra") == ["192.0.2.9:8080"]
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (False, 0.0)
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
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (True, 1.5)
        assert fra.is_running and KEY in fra.services
        fra.say(KEY, pod("10.0.0.2", uid="u2"))  # it rolls
        assert scene.addresses("fra") == ["10.0.0.2:8080"]
        scene.sources.apply(config)  # once more, with nobody wiser
        fra.say(KEY, pod("10.0.0.3", uid="u3"))
        assert scene.addresses("fra") == ["10.0.0.3:8080"]
        now = scene.sources.cluster("fra")
        now.say(key, pod("10.1.0.1", uid="v"))
        assert scene.addresses("fra") == ["10.1.0.1:8080"]
        assert not scene.sources.is_kept(FRA)
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


def test_a_rename_and_its_rollback_keep_the_last_words_in_use():
    async def scenario(scene):
        start_from_last_words(scene, pod("192.0.2.1"))
        renamed = config_of(TEXT.replace("name: shop\n", "name: store\n").replace("service: shop}", "service: store}"))
        scene.sources.apply(renamed)
        assert [str(known.identity) for known in scene.world.pools["store", "fra"]] == ["192.0.2.1:8080"]
        scene.sources.apply(config_of(TEXT))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


@pytest.mark.parametrize("what", ["a Service of a cluster", "all of a cluster"])
def test_what_a_reload_took_out_and_the_next_brings_back_is_what_was_last_heard(what):
    both = TEXT.replace("lon: -74.01, kubernetes: {context: nyc}", "lon: -74.01, kubernetes: {context: fra}")
    alone = (TEXT if what == "all of a cluster" else both).replace(
        "      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}\n", ""
    )

    async def scenario(scene):
        with_last_words(scene)
        full = config_of(TEXT if what == "all of a cluster" else both)
        scene.sources.apply(full)
        await settle()
        scene.made[0].say(KEY, pod("192.0.2.7"))
        scene.sources.apply(config_of(alone))
        await settle()
        assert scene.addresses("fra") == []
        scene.sources.apply(full)
        assert scene.addresses("fra") == ["192.0.2.7:8080"]
        assert scene.sources.is_kept(FRA)
        cluster = scene.sources.cluster("fra")
        cluster.say(KEY, pod("192.0.2.8"))
        assert scene.addresses("fra") == ["192.0.2.8:8080"]
        assert not scene.sources.is_kept(FRA)
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_endpoints_of_the_file_stand_in_until_the_cluster_has_spoken():
    fixed = TEXT.replace("kubernetes: {namespace: shop, service: web, port: http}", 'endpoints: ["192.0.2.3:81"]')

    async def scenario(scene):
        scene.sources.apply(config_of(fixed))
        assert not scene.sources.is_kept(FRA)
        scene.sources.apply(config_of(TEXT))
        await settle()
        assert (scene.addresses("fra"), scene.sources.is_kept(FRA)) == (["192.0.2.3:81"], True)
        scene.sources.cluster("fra").say(KEY, pod("192.0.2.7"))
        assert (scene.addresses("fra"), scene.sources.is_kept(FRA)) == (["192.0.2.7:8080"], False)
        await scene.sources.stop()

    play(scenario)


def test_kept_words_are_followed_until_another_service_in_their_place_has_spoken():
    async def scenario(scene):
        fra = start_from_last_words(scene, pod("192.0.2.1"))
        scene.sources.apply(config_of(TEXT.replace("service: web, port: http", "service: web2, port: http")))
        await settle()
        other = ServiceKey("shop", "web2", "http")
        assert (scene.addresses("fra"), fra.services) == (["192.0.2.1:8080"], [other, KEY])
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (True, 60.0 + GONE_S)
        fra.say(KEY)  # its pods are gone
        assert scene.addresses("fra") == []
        fra.say(other, pod("192.0.2.2"))
        assert (scene.addresses("fra"), fra.services) == (["192.0.2.2:8080"], [other])
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_a_reload_leaves_what_is_followed_to_be_written():
    """The same way to a cluster is another object in another configuration."""

    async def scenario(scene):
        scene.sources.apply(scene.config)
        before = [(access, keys) for access, _, keys in scene.sources.followed()]
        scene.sources.apply(config_of(TEXT))
        assert [(access, keys) for access, _, keys in scene.sources.followed()] == before
        assert before[0][1] == [KEY]
        # The way to it may be another one, but for what another source than the file says.
        assert [cluster.renewed for cluster in scene.made] == [0, 0]
        await scene.sources.renewed(0.0)
        assert [cluster.renewed for cluster in scene.made] == [1, 1]
        await settle()
        await scene.sources.stop()

    play(scenario)


@pytest.mark.parametrize("error", ["cannot connect", None])
def test_a_service_that_the_last_process_did_not_know_costs_the_others_nothing(error, caplog):
    """A new one, or one that may not be read."""
    two = TEXT.replace("  - name: shop\n", FORBIDDEN)

    async def scenario(scene):
        scene.config = config_of(two)
        with_last_words(scene, pod("192.0.2.1"))
        scene.sources.apply(scene.config)
        scene.made[0].error = error
        scene.clock.advance(30.0 if error is None else GONE_S)
        assert "fra" not in scene.sources.unsynced(30.0)
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        assert ("new", "fra") not in scene.world.pools
        await settle()
        await scene.sources.stop()

    play(scenario)
    (said,) = [record for record in caplog.records if record.getMessage().startswith("cluster does not answer")]
    assert (said.pop, said.without) == ("fra", ["shop/new"])


FORBIDDEN = """  - name: new
    backends: [{pop: fra, kubernetes: {namespace: shop, service: new, port: http}}]
  - name: shop
"""
ALLOWED = TEXT.replace("port: http}}", "port: http}, allow: [loopback]}")


def test_what_is_no_longer_allowed_goes_from_kept_endpoints_too():
    async def scenario(scene):
        scene.config = config_of(ALLOWED)
        start_from_last_words(scene, pod("192.0.2.1"), pod("127.0.0.1"))
        scene.made[0].server = "two"  # it leads elsewhere now, which makes what is in use no better
        assert scene.addresses("fra") == ["192.0.2.1:8080", "127.0.0.1:8080"]
        scene.sources.apply(config_of(TEXT))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        assert list(scene.world.refused[FRA].values()) == ["loopback"]
        scene.sources.apply(config_of(ALLOWED))
        assert scene.addresses("fra") == ["192.0.2.1:8080", "127.0.0.1:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


@pytest.mark.parametrize("new", ["kubernetes: {namespace: prod, service: web, port: http}", 'endpoints: ["web.example.com:81"]'])
def test_what_is_no_longer_allowed_goes_from_what_stands_in_for_another(new):
    async def scenario(scene):
        scene.sources.apply(config_of(ALLOWED))
        scene.made[0].say(KEY, pod("127.0.0.1"), pod("192.0.2.1"))
        assert scene.addresses("fra") == ["127.0.0.1:8080", "192.0.2.1:8080"]
        scene.sources.apply(config_of(TEXT.replace("kubernetes: {namespace: shop, service: web, port: http}", new)))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


TWO = """listeners: [{name: web, bind: "127.0.0.1:0"}]
pops: [{name: fra, lat: 50.11, lon: 8.68, kubernetes: {context: fra}}]
services:
  - {name: shop, backends: [{pop: fra, kubernetes: {namespace: shop, service: SHOP, port: http}}]}
  - {name: store, backends: [{pop: fra, kubernetes: {namespace: shop, service: STORE, port: http}}]}
routes: [{service: shop}]
"""
STORE = ("store", "fra")


def two(shop, store):
    return config_of(TWO.replace("SHOP", shop).replace("STORE", store))


def named(service):
    return ServiceKey("shop", service, "http")


def test_two_services_of_a_pop_that_go_over_to_one_service_each_show_who_they_are_of():
    async def scenario(scene):
        scene.sources.apply(two("web", "api"))
        (fra,) = scene.made
        fra.say(named("web"), pod("192.0.2.1"))
        fra.say(named("api"), pod("192.0.2.2"))
        fra.ages = {named("web"): 10.0, named("api"): 20.0, named("next"): None}
        scene.sources.apply(two("next", "next"))
        assert [str(known.identity) for known in (*scene.world.pools[FRA], *scene.world.pools[STORE])] == [
            "192.0.2.1:8080",
            "192.0.2.2:8080",
        ]
        assert (scene.sources.age_s(FRA), scene.sources.age_s(STORE)) == (10.0, 20.0)
        assert scene.sources.is_kept(FRA) and scene.sources.is_kept(STORE)
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_a_new_service_has_nothing_of_what_stands_in_for_the_same_one_elsewhere_in_the_pop():
    async def scenario(scene):
        alone = TWO.replace("  - {name: store, backends: [{pop: fra, kubernetes: {namespace: shop, service: STORE, port: http}}]}\n", "")
        scene.sources.apply(config_of(alone.replace("SHOP", "web")))
        (fra,) = scene.made
        fra.say(named("web"), pod("192.0.2.1"))
        fra.ages = {named("web"): 10.0, named("next"): None}
        scene.sources.apply(two("next", "next"))
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (True, 10.0)
        assert STORE not in scene.world.pools
        assert (scene.sources.is_kept(STORE), scene.sources.age_s(STORE)) == (False, None)
        await settle()
        await scene.sources.stop()

    play(scenario)


BOTH = TEXT.replace("  - name: shop\n", FORBIDDEN)
ALONE = TEXT.replace("      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}\n", "")


@pytest.mark.parametrize("before", [ALONE, ALONE.replace("  - name: shop\n", FORBIDDEN)], ids=["a cluster", "a Service of one"])
def test_what_a_reload_adds_of_a_cluster_that_is_gone_is_taken_at_its_last_word(before):
    async def scenario(scene):
        with_last_words(scene, pod("192.0.2.1"))
        scene.sources.apply(config_of(before))
        config = config_of(BOTH)
        await scene.sources.first(config, 0.0)
        world = scene.sources.plan(config)
        assert [str(known.identity) for known in world.pools[FRA]] == ["192.0.2.1:8080"]
        told = scene.sources.unheard(config, world)
        assert [line.rpartition("; ")[2] for line in told if "shop/web" in line and "fra" in line] == [
            "its endpoints are those it named 60 s ago"
        ]
        assert [line.rpartition("; ")[2] for line in told if "shop/new" in line] == ["it has no endpoints until then"]
        scene.world.become(world)
        scene.sources.follow(config)
        assert (scene.sources.is_kept(FRA), scene.sources.age_s(FRA)) == (True, 60.0)
        scene.sources.cluster("fra").say(KEY, pod("192.0.2.2"))
        assert (scene.addresses("fra"), scene.sources.is_kept(FRA)) == (["192.0.2.2:8080"], False)
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_what_a_reload_adds_is_not_taken_at_the_word_of_another_server():
    async def scenario(scene):
        with_last_words(scene, pod("192.0.2.1"))
        scene.sources.apply(config_of(ALONE))
        waiting = asyncio.ensure_future(scene.sources.first(scene.config, 0.05))
        await settle()
        scene.made[-1].server = "two"
        await waiting
        world = scene.sources.plan(scene.config)
        assert FRA not in world.pools
        assert any("fra" in line and line.endswith("it has no endpoints until then") for line in scene.sources.unheard(scene.config, world))
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_of_endpoints_of_a_service_nothing_is_anothers_that_takes_its_name():
    """They got the requests of the other, from another source or namespace, until its own cluster had spoken."""

    async def scenario(scene):
        scene.sources.apply(scene.config)
        fra, _ = scene.made
        fra.say(KEY, pod("192.0.2.1"))
        assert scene.addresses("fra") == ["192.0.2.1:8080"]
        config = config_of(TEXT.replace("service: web, port: http", "service: web2, port: http"))
        scene.sources.apply(replace(config, services=(replace(config.services[0], source="folder"),)))
        other = ServiceKey("shop", "web2", "http")
        assert (scene.addresses("fra"), fra.services) == ([], [other])
        fra.say(KEY, pod("192.0.2.3"))
        assert scene.addresses("fra") == []
        fra.say(other, pod("192.0.2.2"))
        assert scene.addresses("fra") == ["192.0.2.2:8080"]
        scene.sources.apply(config)  # the same Service of the cluster, by whomever it is named
        assert scene.addresses("fra") == ["192.0.2.2:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_what_a_renewal_has_not_brought_yet_is_said():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        fra, nyc = scene.made
        fra.say(KEY, pod("192.0.2.1"))
        await settle()
        assert await scene.sources.renewed(0.0) == []
        fra.server = "two"
        nyc.is_renewing = True
        assert scene.sources.is_kept(FRA) and not scene.sources.is_kept(NYC)
        assert await scene.sources.renewed(0.0) == [
            "cluster nyc: the way to it takes longer to load; until then it is asked as before",
            (
                "services.shop, fra: shop/web not heard of yet where the way to its cluster leads now (no answer in time); its endpoints "
                "stay those that the API server before named, which is asked no longer"
            ),
        ]
        waiting = asyncio.ensure_future(scene.sources.renewed(60.0))
        await settle()
        fra.say(KEY, pod("192.0.2.2"))
        await settle()
        assert not waiting.done()
        nyc.is_renewing, nyc.fault = False, "no such context"
        assert await waiting == ["cluster nyc: the way to it could not be loaded again (no such context); it is asked as before"]
        assert not scene.sources.is_kept(FRA)
        await scene.sources.stop()

    play(scenario)
