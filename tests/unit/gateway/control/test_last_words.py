import asyncio
import json
import os

import pytest

from gateway.config import KubernetesAccess
from gateway.control import kept
from gateway.control.last_words import FILE, LOOK_S, RENEW_S, LastWord, LastWords, load, way_of
from k8s import Endpoint, ServiceKey, State
from tests.unit.gateway.control.helpers import Clock

FRA = KubernetesAccess(context="fra")
KEY, OTHER = ServiceKey("shop", "web", "http"), ServiceKey("shop", "web", 80)
ONE = Endpoint("10.0.0.1", 8080, "u1", "z1", State.READY, ("z1", "z2"))
TWO = Endpoint("2001:db8::1", 8080, "", None, State.SERVING_TERMINATING)


class FakeCluster:
    def __init__(self, **endpoints):
        self.known = dict(endpoints)
        self.age = 2.0
        self.server = "one"

    def is_synced(self, key):
        return key.service in self.known

    def endpoints(self, key):
        return self.known[key.service]

    def age_s(self, now, key):
        return self.age


class Scene:
    def __init__(self, path, cluster, *keys):
        self.clock, self.now = Clock(), 1_000_000.0
        self.keys = keys or (KEY,)
        self.words = LastWords(path, self.clock, lambda: [(FRA, cluster, self.keys)], lambda: self.now)

    def turn(self):
        asyncio.run(self.words.turn())


def test_what_was_said_is_there_for_the_next_process_with_its_age(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE, TWO)), KEY, OTHER).turn()
    assert path.stat().st_mode & 0o777 == 0o600
    found = load(path)
    assert found == {(way_of(FRA), key): LastWord((ONE, TWO), 999_998.0, "one") for key in (KEY, OTHER)}
    later = Scene(path, FakeCluster())
    later.now += 3600
    assert later.words.age_s(FRA, KEY) == 3602
    assert later.words.age_s(KubernetesAccess(context="nyc"), KEY) is None
    later.now = 0.0  # a machine whose clock went back
    assert later.words.age_s(FRA, KEY) == 0


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
    scene.now += RENEW_S
    scene.clock.advance(RENEW_S)
    scene.turn()
    assert load(path)[way_of(FRA), KEY].heard_at == scene.now - 2


def test_a_word_lives_until_its_cluster_speaks_however_often_the_gateway_starts(tmp_path):
    path = tmp_path / FILE
    Scene(path, FakeCluster(web=(ONE,))).turn()
    silent = FakeCluster()
    silent.age = None
    for _ in range(2):
        scene = Scene(path, silent)
        scene.clock.advance(RENEW_S)
        scene.now += 500
        scene.turn()
        assert load(path) == {(way_of(FRA), KEY): LastWord((ONE,), 999_998.0, "one")}
    scene.keys = ()  # nobody wants it any more
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
