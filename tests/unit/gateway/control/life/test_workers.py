import asyncio
import logging
import threading
import time

import pytest

from gateway.control.life import workers as module
from gateway.control.life.workers import Workers
from gateway.control.process.awake import Awake
from gateway.dataplane import Counters
from tests.unit.gateway.control.helpers import Clock, config_of, publisher_of


@pytest.fixture
def scene():
    publisher = publisher_of(config_of(), Clock())
    workers = Workers(Counters(2))
    yield workers, publisher
    asyncio.run(workers.stop(5))
    workers.close()


def names():
    return {thread.name for thread in threading.enumerate()}


def native_names():
    found = set()
    for thread in threading.enumerate():
        with open(f"/proc/self/task/{thread.native_id}/comm") as file:
            found.add(file.read().strip())
    return found


def wait_beats(workers):
    """Until each thread has its name and has turned since."""
    end = time.monotonic() + 5
    while not {"worker-0", "worker-1"} <= native_names():
        assert time.monotonic() < end, native_names()
    since_ms = time.monotonic() * 1000
    while min(workers.counters.read()["beats_ms"]) < since_ms:
        assert time.monotonic() < end, workers.counters.read()["beats_ms"]
        workers.wake()


def test_a_named_thread_for_each_column_until_stopped(scene, nothing_left):
    workers, publisher = scene
    workers.start(publisher.snapshots, publisher.figures, 1.0)
    wait_beats(workers)
    assert {"worker-0", "worker-1"} <= names()
    assert {"worker-0", "worker-1"} <= native_names()
    assert workers.connections() == 0
    assert asyncio.run(workers.stop(5))
    assert not {"worker-0", "worker-1"} & names()
    workers.close()


def test_before_the_start_there_is_nothing_to_watch_or_stop(scene):
    workers, _ = scene
    workers.turn(1000.0)
    assert workers.silent == []
    assert not workers.has_none
    workers.wake()
    assert asyncio.run(workers.stop(5))


class Beats:
    """Counters of which only the beats matter."""

    n_workers = 2

    def __init__(self):
        self.beats_ms = [0, 0]
        self.versions = [0, 0]

    def read(self):
        return {"beats_ms": self.beats_ms, "idle": [1, 2], "active": [3, 0], "versions": self.versions}


def test_a_pause_of_all_is_nobodys_silence():
    """SIGSTOP, a machine that was moved: control's own time stood still as well. Workers have their turn some time after it."""
    beats = Beats()
    clock = Clock(1.0)
    awake = Awake(clock)
    workers = Workers(beats, _threads=[threading.Thread(name=f"worker-{number}") for number in range(2)])

    def look(seconds):
        clock.advance(seconds)
        awake.turn()
        workers.turn(awake())

    beats.beats_ms = [1_000, 1_000]
    look(0.1)
    look(60.0)
    for _ in range(17):
        look(0.1)
        assert workers.silent == []
    for _ in range(2):
        look(0.1)
    assert workers.silent == ["worker-0", "worker-1"]
    assert workers.has_none
    beats.beats_ms = [62_150, 1_000]
    look(60.0)
    assert workers.silent == ["worker-1"]
    assert not workers.has_none


def test_who_hangs_is_known_although_control_itself_comes_late_again_and_again():
    clock = Clock(1.0)
    awake = Awake(clock)
    workers = Workers(Beats(), _threads=[threading.Thread(), threading.Thread()])
    for _ in range(10):
        clock.advance(1.5)
        awake.turn()
        workers.turn(awake())
    assert workers.has_none


def test_a_worker_that_never_began_is_silent_too():
    workers = Workers(Beats(), _threads=[threading.Thread(), threading.Thread()])
    workers.turn(5.0)
    workers.turn(6.9)
    assert not workers.has_none
    workers.turn(7.1)
    assert workers.has_none


def test_silence_is_said_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    beats = Beats()
    thread = threading.Thread(target=lambda: None)
    workers = Workers(beats, _threads=[thread, thread])
    workers.turn(3.9)  # no beat yet: it has only begun
    beats.beats_ms = [5_000, 5_000]
    workers.turn(5.0)
    workers.turn(6.9)
    assert caplog.records == []
    assert workers.silent == []
    beats.beats_ms = [5_000, 7_400]
    workers.turn(7.5)
    workers.turn(7.6)
    assert workers.silent == [thread.name]
    assert not workers.has_none
    (record,) = caplog.records
    assert (record.message, record.worker, record.silent_s, record.is_alive) == ("worker silent", 0, 2.5, False)
    beats.beats_ms = [8_000, 8_000]
    workers.turn(8.1)
    workers.turn(8.2)
    assert workers.silent == []
    assert [record.message for record in caplog.records] == ["worker silent", "worker beats again"]
    assert workers.connections() == 6


def test_a_worker_that_does_not_end_is_left_behind_and_named(caplog):
    release = threading.Event()
    hangs = threading.Thread(target=release.wait, args=(5,), name="worker-0", daemon=True)
    hangs.start()
    workers = Workers(Beats(), _threads=[hangs])
    assert not asyncio.run(workers.stop(0.02))
    assert caplog.records[0].workers == ["worker-0"]
    release.set()
    hangs.join(5)


def test_none_is_closed_while_one_is_left_behind(scene):
    workers, publisher = scene
    workers.start(publisher.snapshots, publisher.figures, 1.0)
    wait_beats(workers)
    workers.all[0].stop()
    workers._threads[0].join(5)
    workers.close()
    assert workers.all[0].turn(1_000_000) >= 0, "it is still there"
    assert asyncio.run(workers.stop(5))
    workers.close()
    with pytest.raises(ValueError, match="closed"):
        workers.all[0].turn(1_000_000)


def test_nobody_waits_for_the_word_of_a_worker_that_hangs_but_it_may_lag_for_as_long_as_it_lives():
    beats = Beats()
    release = threading.Event()
    threads = [threading.Thread(target=release.wait, args=(20,), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    workers = Workers(beats, [object()], _threads=threads)
    beats.beats_ms = [5_000, 1_000]
    beats.versions = [7, 6]
    assert not workers.have_acted(7) and workers.may_lag(7) and not workers.may_lag(6)
    workers.turn(1.0)
    beats.beats_ms = [5_100, 1_000]
    workers.turn(5.0)
    assert workers.silent == [threads[1].name] and workers.have_acted(7) and workers.may_lag(7)
    beats.versions = [6, 6]
    assert not workers.have_acted(7)
    beats.versions = [7, 7]
    assert not workers.may_lag(7) and workers.may_lag(None)
    release.set()
    for thread in threads:
        thread.join(5)
    beats.versions = [6, 6]
    assert not workers.may_lag(7) and not workers.may_lag(None)


def test_a_worker_that_fails_is_in_the_log(caplog):
    class Broken:
        def run(self):
            raise OSError("epoll_wait")

    module._run(3, Broken())
    assert caplog.records[0].worker == 3
    assert "epoll_wait" in caplog.text
