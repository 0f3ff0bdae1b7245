import ipaddress
from dataclasses import replace

from gateway.control.sources.world import Identity, Origin
from gateway.model import Address
from k8s import Endpoint, ServiceKey, State
from tests.unit.gateway.control.following import FRA, KEY, NYC, TEXT, play, pod, settle
from tests.unit.gateway.control.helpers import config_of


def test_static_endpoints_are_known_at_once_and_names_when_they_are_resolved():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        assert scene.addresses("sin") == ["unix:/run/x", "192.0.2.1:80", "[2001:db8::1]:82"]
        assert scene.changes == []  # who applies a configuration publishes it
        scene.answers["web.example.com"] = ("192.0.2.7", "192.0.2.8")
        scene.resolver.turn()
        await settle()
        assert scene.addresses("sin") == ["unix:/run/x", "192.0.2.1:80", "192.0.2.7:81", "192.0.2.8:81", "[2001:db8::1]:82"]
        assert scene.changes == [0.010]
        assert {known.origin for known in scene.world.pools["shop", "sin"]} == {Origin.STATIC}

    play(scenario)


def test_of_a_name_with_both_families_counts_what_was_ready_once():
    """A server that listens on one of localhost's two families alone is no half of an outage."""

    async def scenario(scene):
        one = '["127.0.0.1:80", "localhost:80", "localhost:81"]'
        config = config_of(TEXT.replace('["192.0.2.1:80", "web.example.com:81", "unix:/run/x", "[2001:db8::1]:82"]', one))
        scene.answers["localhost"] = ("127.0.0.1", "::1")
        scene.sources.apply(config)
        scene.resolver.turn()
        await settle()
        assert scene.addresses("sin") == ["127.0.0.1:80", "127.0.0.1:81", "[::1]:80", "[::1]:81"]
        assert scene.world.total(("shop", "sin")) == 1  # the one that is written
        assert scene.world.count(Identity("shop", "sin", "", "127.0.0.1", 81))
        assert scene.world.total(("shop", "sin")) == 2

    play(scenario)


def test_a_pool_of_names_alone_has_its_first_word_with_the_first_answer():
    async def scenario(scene):
        config = config_of(
            TEXT.replace('["192.0.2.1:80", "web.example.com:81", "unix:/run/x", "[2001:db8::1]:82"]', '["web.example.com:81"]')
        )
        scene.sources.apply(config)
        assert ("shop", "sin") not in scene.world.pools
        scene.answers["web.example.com"] = ("192.0.2.7",)
        scene.resolver.turn()
        await settle()
        assert scene.world.total(("shop", "sin")) == 1  # there at the first sync

    play(scenario)


def test_a_name_that_nobody_answered_yet_takes_away_no_endpoints():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        before = scene.addresses("sin")
        named = '["new.example.com:81"]'
        scene.sources.apply(config_of(TEXT.replace('["192.0.2.1:80", "web.example.com:81", "unix:/run/x", "[2001:db8::1]:82"]', named)))
        assert scene.addresses("sin") == before
        scene.answers["new.example.com"] = ("192.0.2.9",)
        scene.resolver.turn()
        await settle()
        assert scene.addresses("sin") == ["192.0.2.9:81"]

    play(scenario)


def test_each_cluster_has_a_task_and_says_what_it_knows():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        await settle()
        fra, nyc = scene.made
        assert (fra.name, fra.services, fra.access.context) == ("fra", [KEY], "fra")
        assert nyc.services == [ServiceKey("shop", "web", 80)]
        assert fra.is_running
        assert nyc.is_running
        assert FRA not in scene.world.pools
        fra.say(KEY, pod("10.0.0.1"), pod("10.0.0.2", State.UNREADY, "u2"))
        assert scene.changes == [0.0]  # gathered already
        assert scene.world.total(FRA) == 2
        assert [known.identity.uid for known in scene.world.pools[FRA]] == ["u1", "u2"]
        fra.say(KEY, pod("10.0.0.1"), pod("10.0.0.2", State.UNREADY, "u2"))
        assert scene.changes == [0.0]  # no news
        fra.say(KEY)
        assert scene.world.pools[FRA] == ()  # a confirmed empty list empties
        assert NYC not in scene.world.pools
        await scene.sources.stop()
        assert not fra.is_running

    play(scenario)


def test_zone_and_hints_travel_and_a_hint_alone_asks_for_a_table():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        (fra, _) = scene.made
        one = Endpoint("10.0.0.1", 8080, "u1", "z1", State.READY)
        fra.say(KEY, one)
        (before,) = scene.world.pools[FRA]
        assert (before.zone, before.hint_zones) == ("z1", ())
        fra.say(KEY, replace(one, hint_zones=("z1", "z2")))
        (after,) = scene.world.pools[FRA]
        assert (after.zone, after.hint_zones) == ("z1", ("z1", "z2"))
        assert after.identity == before.identity
        assert scene.changes == [0.0, 0.0]
        assert {known.zone for known in scene.world.pools["shop", "sin"]} == {None}
        await scene.sources.stop()

    play(scenario)


def test_a_cluster_that_loses_sight_keeps_what_was_known():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        (fra, _) = scene.made
        fra.say(KEY, pod("10.0.0.1"))
        fra.error = "unreachable"
        fra.on_change(fra, [KEY])
        assert scene.addresses("fra") == ["10.0.0.1:8080"]
        assert scene.sources.age_s(FRA) == 1.5
        assert scene.sources.age_s(("shop", "sin")) is None
        assert scene.sources.cluster("fra") is fra
        assert scene.sources.cluster("sin") is None
        await scene.sources.stop()

    play(scenario)


def test_the_start_waits_for_each_cluster_and_calls_it_stale_at_the_deadline(caplog):
    async def scenario(scene):
        scene.sources.apply(scene.config)
        fra, nyc = scene.made
        assert scene.sources.unsynced(30) == ["fra", "nyc"]
        fra.say(KEY)
        assert scene.sources.unsynced(30) == ["nyc"]
        scene.clock.advance(30)
        nyc.error = "connection refused"
        assert scene.sources.unsynced(30) == []
        assert scene.sources.unsynced(300) == []  # once stale is not waited for
        await scene.sources.stop()

    play(scenario)
    (record,) = [record for record in caplog.records if "stale" in record.message]
    assert (record.pop, record.error) == ("nyc", "connection refused")


def test_a_reload_follows_what_is_wanted_and_leaves_the_rest_running():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        await settle()
        fra, nyc = scene.made
        fra.say(KEY, pod("10.0.0.1"))
        nyc.say(ServiceKey("shop", "web", 80), pod("10.1.0.1"))
        scene.world.drained.add("nyc")
        scene.sources.apply(config_of(TEXT.replace("port: http", "port: other").replace("context: nyc", "context: other")))
        await settle()
        assert len(scene.made) == 3
        assert fra.is_running
        assert fra.services == [ServiceKey("shop", "web", "other"), KEY]
        assert nyc.is_running  # nobody has spoken in its place
        assert scene.made[2].access.context == "other"
        assert scene.addresses("fra") == ["10.0.0.1:8080"]  # until it has spoken of the new port
        assert scene.addresses("nyc") == ["10.1.0.1:8080"]
        scene.made[2].say(ServiceKey("shop", "web", 80), pod("10.2.0.1"))
        await settle()
        assert not nyc.is_running
        nyc.say(ServiceKey("shop", "web", 80))  # a late word of one that is no longer followed
        assert scene.addresses("nyc") == ["10.2.0.1:8080"]
        assert scene.world.drained == {"nyc"}
        scene.sources.apply(config_of())
        await settle()
        assert scene.sources.clusters == {}
        assert scene.addresses("fra") == ["192.0.2.1:80"]
        assert ("shop", "sin") not in scene.world.pools
        assert scene.resolver.answers == {}

    play(scenario)


NAMES = TEXT.replace('["192.0.2.1:80", "web.example.com:81", "unix:/run/x", "[2001:db8::1]:82"]', "ENDPOINTS")


def refused(scene, pop="sin"):
    return {str(one): cause for one, cause in scene.world.refused.get(("shop", pop), {}).items()}


def test_of_a_name_the_good_addresses_stay_and_the_others_are_shown(caplog):
    async def scenario(scene):
        scene.config = config_of(NAMES.replace("ENDPOINTS", '["web.example.com:81", "127.0.0.9:81"]'))
        scene.answers["web.example.com"] = ("192.0.2.7", "127.0.0.1", "127.0.0.9", "::ffff:169.254.169.254", "fe80::1%eth0")
        scene.sources.apply(scene.config)
        scene.resolver.turn()
        await settle()
        assert scene.addresses("sin") == ["127.0.0.9:81", "192.0.2.7:81"]  # what the file says is the operator's word
        assert refused(scene) == {
            "127.0.0.1:81": "loopback",
            f"[{ipaddress.ip_address('::ffff:169.254.169.254')}]:81": "link-local",
            "[fe80::1%eth0]:81": "link-local",
        }
        scene.answers["web.example.com"] = ("192.0.2.7",)
        scene.clock.advance(31)
        scene.resolver.turn()
        await settle()
        assert refused(scene) == {}

    play(scenario)
    assert [record.message for record in caplog.records].count("endpoints refused: not in allow of the backend") == 1


def test_localhost_is_the_operators_word_and_what_he_allows_is():
    async def scenario(scene):
        scene.answers |= {"localhost": ("127.0.0.1", "192.0.2.1", "169.254.1.1"), "here.example.com": ("127.0.0.2", "169.254.7.1")}
        text = NAMES.replace("ENDPOINTS", '["localhost:81", "here.example.com:82"]')
        scene.sources.apply(config_of(text))
        scene.resolver.turn()
        await settle()
        assert scene.addresses("sin") == ["127.0.0.1:81", "192.0.2.1:81"]
        scene.sources.apply(config_of(text.replace(":82", ':82"], allow: ["loopback", "169.254.7.0/24')))
        assert scene.addresses("sin") == ["127.0.0.1:81", "127.0.0.2:82", "169.254.7.1:82", "192.0.2.1:81"]
        assert refused(scene) == {"169.254.1.1:81": "link-local"}

    play(scenario)


def test_a_slice_leads_neither_to_this_machine_nor_to_this_gateway(caplog):
    async def scenario(scene):
        scene.sources.own = lambda: [Address("10.0.0.5", 8080)]
        scene.sources.apply(scene.config)
        await settle()
        fra, _ = scene.made
        fra.say(KEY, pod("10.0.0.1"), pod("127.0.0.1"), pod("10.0.0.5"))
        fra.say(KEY, pod("10.0.0.1"), pod("127.0.0.1"), pod("10.0.0.5"))
        assert scene.addresses("fra") == ["10.0.0.1:8080"]
        assert refused(scene, "fra") == {"127.0.0.1:8080": "loopback", "10.0.0.5:8080": "own-listeners"}
        assert scene.world.total(FRA) == 1
        planned = scene.sources.plan(config_of(TEXT.replace("port: http}", "port: http}, allow: [loopback, own-listeners]")))
        assert (len(planned.pools[FRA]), planned.refused[FRA]) == (3, {})
        assert len(scene.world.refused[FRA]) == 2  # nothing has changed yet

    play(scenario)
    assert [record.message for record in caplog.records].count("endpoints refused: not in allow of the backend") == 1


def test_pops_with_one_way_to_the_api_share_a_cluster():
    async def scenario(scene):
        text = TEXT.replace("context: nyc", "context: fra")
        scene.config = config_of(text)
        scene.sources.apply(scene.config)
        (cluster,) = scene.made
        assert cluster.name == "fra, nyc"
        assert cluster.services == [KEY, ServiceKey("shop", "web", 80)]
        assert scene.sources.cluster("fra") is scene.sources.cluster("nyc") is cluster
        cluster.say(KEY, pod("192.0.2.9"))
        assert (scene.addresses("fra"), scene.addresses("nyc")) == (["192.0.2.9:8080"], [])
        cluster.say(ServiceKey("shop", "web", 80), pod("192.0.2.8"))
        assert scene.addresses("nyc") == ["192.0.2.8:8080"]
        assert scene.sources.unsynced(30.0) == []
        # One that parts from the other gets a cluster of its own; what the PoPs know stays.
        scene.sources.apply(config_of(TEXT))
        assert [one.name for one in scene.made] == ["fra, nyc", "nyc"]
        assert scene.sources.cluster("fra") is cluster and cluster.services == [KEY, ServiceKey("shop", "web", 80)]
        assert scene.addresses("nyc") == ["192.0.2.8:8080"]
        # One that joins is told at once what its cluster knows already.
        scene.made[1].say(ServiceKey("shop", "web", 80), pod("192.0.2.7"))
        assert cluster.services == [KEY]
        scene.sources.apply(config_of(text.replace("port: 80}", "port: http}")))
        assert scene.addresses("nyc") == ["192.0.2.9:8080"]
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_an_endpoint_that_is_the_same_object_stays_the_same_and_what_is_refused_comes_and_goes():
    async def scenario(scene):
        scene.sources.apply(scene.config)
        fra = scene.made[0]
        one, two, bad = pod("192.0.2.1"), pod("192.0.2.2"), pod("127.0.0.1")
        fra.say(KEY, bad, one)
        (known,) = scene.world.pools[FRA]
        fra.say(KEY, bad, one, two)
        assert scene.world.pools[FRA][0] is known
        assert [str(refused) for refused in scene.world.refused[FRA]] == ["127.0.0.1:8080"]
        fra.say(KEY, two)
        assert scene.addresses("fra") == ["192.0.2.2:8080"]
        assert scene.world.refused[FRA] == {}
        fra.say(KEY, bad, two)
        assert list(scene.world.refused[FRA].values()) == ["loopback"]
        await settle()
        await scene.sources.stop()

    play(scenario)


def test_each_cluster_hears_which_family_this_machine_has_by_now(monkeypatch):
    async def scenario(scene):
        scene.sources.apply(scene.config)
        for families in (("IPv4", "IPv6"), ("IPv6", "IPv4")):
            monkeypatch.setattr("gateway.control.sources.endpoints.families", lambda families=families: families)
            await scene.sources.turn()
            assert [cluster.families for cluster in scene.made] == [families] * 2

    play(scenario)
