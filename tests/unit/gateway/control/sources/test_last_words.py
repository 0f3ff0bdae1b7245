import asyncio
import json
import os
import threading

import pytest

from gateway.control.process import kept
from gateway.control.sources import last_words
from gateway.control.sources.last_words import FILE, LOOK_S, RENEW_S, SKEW_S, UNWANTED_S, LastWord, LastWords, way_of
from gateway.model import KubernetesAccess
from k8s import Endpoint, ServiceKey, State
from tests.unit.gateway.control.helpers import Clock

FRA = KubernetesAccess(context="fra")
KEY, OTHER, ALIEN = ServiceKey("shop", "web", "http"), ServiceKey("shop", "web", 80), ServiceKey("shop", "nyc", "http")
ONE = Endpoint("10.0.0.1", 8080, "u1", "z1", State.READY, ("z1", "z2"))
TWO = Endpoint("2001:db8::1", 8080, "", None, State.SERVING_TERMINATING)


class FakeCluster:
    def __init__(self, **endpoints):
        self.known = dict(endpoints)
        self.age = 2.0
        self.server = self.listed_from = "one"

    def is_synced(self, key):
        return key.service in self.known

    def endpoints(self, key):
        return self.known[key.service]

    def age_s(self, now, key):
        return self.age

    def said_by(self, key):
        return self.listed_from


class Scene:
    def __init__(self, path, cluster, *keys):
        self.clock, self.now = Clock(), 1_000_000.0
        self.keys = keys or (KEY,)
        self.words = LastWords(path, self.clock, lambda: [(FRA, cluster, self.keys)], lambda: self.now)

    def turn(self):
        asyncio.run(self.words.turn())

    def advance(self, seconds):
        """As time goes by, by both clocks."""
        self.now += seconds
        self.clock.advance(seconds)


def load(path):
    """With Unix times, as it is written."""
    return last_words.load(path, 0.0)


def test_what_was_said_is_there_for_the_next_process_with_its_age(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE, TWO)), KEY, OTHER).turn()
    assert path.stat().st_mode & 0o777 == 0o600
    found = load(path)
    assert found == {(way_of(FRA), key): LastWord((ONE, TWO), 999_998.0, "one", 1_000_000.0) for key in (KEY, OTHER)}
    later = Scene(path, FakeCluster())
    later.advance(3600)
    assert later.words.age_s(FRA, KEY) == 3602
    assert later.words.age_s(KubernetesAccess(context="nyc"), KEY) is None
    for later.now in (0.0, 2e9):  # a machine whose clock is set makes nothing older or newer
        assert later.words.age_s(FRA, KEY) == 3602


def test_it_is_written_for_news_and_once_a_minute_for_its_age(tmp_path):
    path = tmp_path / FILE
    cluster = FakeCluster(web=(ONE,))
    scene = Scene(path, cluster)
    scene.turn()
    for _ in range(3):
        scene.clock.advance(LOOK_S)
        path.unlink(missing_ok=True)
        scene.turn()
        assert not path.exists()
    cluster.known["web"] = (ONE, TWO)
    scene.turn()
    assert len(load(path)[way_of(FRA), KEY].endpoints) == 2
    scene.advance(RENEW_S)
    scene.turn()
    assert load(path)[way_of(FRA), KEY].heard_at == scene.now - 2


def test_a_word_lives_until_its_cluster_speaks_however_often_the_gateway_starts(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,))).turn()
    silent = FakeCluster()
    silent.age = None
    for _ in range(2):
        scene = Scene(path, silent)
        scene.advance(500)
        scene.turn()
        assert load(path) == {(way_of(FRA), KEY): LastWord((ONE,), 999_998.0, "one", scene.now)}
    scene.keys = ()  # nobody wants it any more
    scene.advance(UNWANTED_S)
    scene.turn()
    assert load(path) == {}


@pytest.mark.parametrize("content", [b"", b"{}", b"[[", b'[{"context": 1}]', b"\xff", b"[" * 100_000])
def test_a_file_that_is_none_is_said_and_left_aside(tmp_path, caplog, content):
    (tmp_path / FILE).write_bytes(content)
    assert load(tmp_path / FILE) == {}
    assert [record.getMessage() for record in caplog.records] == ["the last words of clusters are not used"]


@pytest.mark.parametrize(("key", "value"), [("address", "host-1"), ("address", "10.0.0.1:80"), ("port", 0), ("port", 99999), ("port", -1)])
def test_an_endpoint_that_is_none_is_a_damaged_file(tmp_path, caplog, key, value):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE, TWO))).turn()
    words = json.loads(path.read_text())
    words[0]["endpoints"][1][key] = value
    path.write_text(json.dumps(words))
    assert load(path) == {}
    assert caplog.records[-1].error.startswith("no endpoint: ")


def test_one_that_others_may_write_is_not_used(tmp_path, caplog):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,))).turn()
    path.chmod(0o620)
    assert load(path) == {}
    assert caplog.records[-1].error == "others may write it (mode 0620): chmod 600"


def test_without_a_place_nothing_is_read_or_written(tmp_path):
    scene = Scene(None, FakeCluster(web=(ONE,)))
    scene.turn()
    assert (load(None), load(tmp_path / FILE), list(tmp_path.iterdir())) == ({}, {}, [])


def test_a_disk_that_is_full_is_said_once_and_tried_again(tmp_path, monkeypatch, caplog):
    path = tmp_path / FILE
    scene = Scene(path, FakeCluster(web=(ONE,)))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        scene.turn()
        scene.turn()
    assert [record.getMessage() for record in caplog.records] == ["endpoints not kept"]
    scene.turn()
    assert json.loads(kept.read(path))[0]["service"] == "web"


def test_a_disk_that_hangs_has_one_attempt_at_a_time(tmp_path, monkeypatch):
    begun, hanging, written = threading.Event(), threading.Event(), []
    scene = Scene(tmp_path / FILE, FakeCluster(web=(ONE,)))
    with monkeypatch.context() as patch:
        patch.setattr(last_words, "WRITE_S", 0.02)
        patch.setattr(kept, "write", lambda *what: (written.append(what), begun.set(), hanging.wait(20)))
        scene.turn()
        assert begun.wait(20)
        for _ in range(2):
            scene.turn()
        hanging.set()
        assert len(written) == 1
        assert scene.words._writing.acquire(timeout=20)
        scene.words._writing.release()
    scene.turn()
    assert load(tmp_path / FILE)


def test_who_is_asked_no_longer_is_remembered_for_an_hour():
    scene = Scene(None, FakeCluster(web=(ONE,)))
    gone, silent = ServiceKey("shop", "cart", "http"), FakeCluster(cart=(TWO,))
    silent.age = 3 * UNWANTED_S  # its API was away for long: whoever takes the change back has what it had
    scene.words.remember(FRA, gone, silent)
    scene.words.remember(FRA, OTHER, FakeCluster())  # which it has never spoken of
    scene.advance(UNWANTED_S - 1)
    scene.turn()
    assert (scene.words.of(FRA, gone).endpoints, scene.words.of(FRA, OTHER)) == ((TWO,), None)
    assert scene.words.age_s(FRA, gone) == 4 * UNWANTED_S - 1
    scene.advance(2)
    scene.turn()
    assert scene.words.of(FRA, gone) is None


def test_what_is_asked_for_is_remembered_however_old_it_is(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,)), KEY, OTHER).turn()
    scene = Scene(path, FakeCluster(), KEY)
    for _ in range(3):
        scene.advance(UNWANTED_S)
        scene.turn()
    assert (scene.words.of(FRA, KEY).endpoints, scene.words.of(FRA, OTHER)) == ((ONE,), None)
    scene.keys = ()
    scene.advance(UNWANTED_S - 1)
    scene.turn()
    assert scene.words.of(FRA, KEY).endpoints == (ONE,)
    scene.advance(2)
    scene.turn()
    assert scene.words.of(FRA, KEY) is None


def test_a_word_is_that_of_who_said_it_not_of_who_is_asked_now(tmp_path):
    path = tmp_path / FILE
    cluster = FakeCluster(web=(ONE,))
    cluster.server = "two"  # the kubeconfig leads there since, and it has not answered
    Scene(path, cluster).turn()
    assert load(path)[way_of(FRA), KEY].server == "one"


def test_two_gateways_with_one_place_have_both_what_they_were_told(tmp_path):
    path = tmp_path / FILE
    new, old = Scene(path, FakeCluster(web=(ONE,)), KEY, OTHER), Scene(path, FakeCluster(web=(TWO,)), KEY)
    new.turn()
    old.words.clusters()[0][1].age += 60  # it has not been heard since
    old.turn()
    assert load(path) == {(way_of(FRA), key): LastWord((ONE,), 999_998.0, "one", 1_000_000.0) for key in (KEY, OTHER)}
    old.advance(180)
    old.turn()
    assert {key: word.endpoints for (_, key), word in load(path).items()} == {KEY: (TWO,), OTHER: (ONE,)}
    old.advance(UNWANTED_S)
    old.turn()  # nobody asks for the other any more
    assert {key for _, key in load(path)} == {KEY}


def test_of_two_clusters_of_one_way_the_newer_word_is_written(tmp_path):
    """A way that becomes a shared one: who had it is followed until who has it now has spoken."""
    path = tmp_path / FILE
    scene = Scene(path, FakeCluster(web=(ONE,)))
    scene.turn()
    old = FakeCluster(web=(TWO,))
    scene.words.clusters = lambda: [(FRA, old, (KEY,)), (FRA, FakeCluster(), (KEY,))]  # which has the last process's word
    scene.advance(100)
    scene.words.words = Scene(path, FakeCluster()).words.words
    scene.turn()
    assert load(path)[way_of(FRA), KEY] == LastWord((TWO,), scene.now - 2, "one", scene.now)


@pytest.mark.parametrize("ahead_s", [SKEW_S + 3, 3600.0, 365 * 86_400.0])
def test_what_was_written_by_a_clock_that_was_ahead_is_of_the_last_process_all_the_same(tmp_path, ahead_s):
    path = tmp_path / FILE
    for keys in ((KEY,), (OTHER,)):
        before = Scene(path, FakeCluster(web=(ONE,)), *keys)
        before.now += ahead_s
        before.turn()
    scene = Scene(path, cluster := FakeCluster(), KEY)
    assert scene.words.age_s(FRA, KEY) == 0
    scene.advance(0.5)
    assert scene.words.age_s(FRA, KEY) == 0.5  # as far as anybody knows
    cluster.known["web"] = (TWO,)
    scene.turn()
    assert load(path) == {
        (way_of(FRA), KEY): LastWord((TWO,), scene.now - 2, "one", scene.now),
        (way_of(FRA), OTHER): LastWord((ONE,), scene.now, "one", scene.now),  # another gateway's perhaps
    }
    scene.advance(UNWANTED_S + 1)
    scene.turn()
    assert {key for _, key in load(path)} == {KEY}


def test_a_clock_that_is_set_back_while_the_gateway_runs_hides_no_word(tmp_path):
    path = tmp_path / FILE
    scene = Scene(path, cluster := FakeCluster(web=(ONE,)))
    scene.turn()
    scene.now -= 86_400
    cluster.known["web"] = (TWO,)
    scene.turn()
    assert load(path)[way_of(FRA), KEY] == LastWord((TWO,), scene.now - 2, "one", scene.now)


def test_a_clock_that_is_set_right_after_the_start_makes_nothing_old(tmp_path):
    """A machine without a clock of its own begins in 1970."""
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,))).turn()
    scene = Scene(path, FakeCluster())
    scene.words = LastWords(path, scene.clock, scene.words.clusters, lambda: 100.0)
    scene.words.wall = lambda: scene.now
    assert scene.words.age_s(FRA, KEY) == 0
    scene.advance(RENEW_S)
    scene.turn()
    assert load(path)[way_of(FRA), KEY].heard_at == scene.now - RENEW_S


def test_what_another_gateway_asks_for_stays_however_long_its_cluster_is_silent(tmp_path):
    """Also while that gateway is away for a moment: nobody writes it again until it is back."""
    path = tmp_path / FILE
    Scene(path, FakeCluster(nyc=(TWO,)), ALIEN).turn()
    theirs, ours = Scene(path, FakeCluster(), ALIEN), Scene(path, FakeCluster(web=(ONE,)), KEY)
    for _ in range(3):
        for scene in (theirs, ours):
            scene.advance(UNWANTED_S / 2)
            scene.turn()
    for _ in range(2):  # theirs has ended
        assert load(path)[way_of(FRA), ALIEN].endpoints == (TWO,)
        ours.advance(UNWANTED_S / 2 + 1)
        ours.turn()
    assert {key for _, key in load(path)} == {KEY}


def test_the_end_writes_without_news_too(tmp_path):
    path = tmp_path / FILE
    scene = Scene(path, FakeCluster(web=(ONE,)))
    scene.turn()
    path.unlink()
    scene.advance(1)
    asyncio.run(scene.words.end())
    assert load(path)[way_of(FRA), KEY].heard_at == scene.now - 2


def test_a_file_of_the_release_before_says_when_a_word_was_heard(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,))).turn()
    words = json.loads(path.read_text())
    del words[0]["wanted_at"]
    path.write_text(json.dumps(words))
    assert load(path)[way_of(FRA), KEY] == LastWord((ONE,), 999_998.0, "one", 999_998.0)
