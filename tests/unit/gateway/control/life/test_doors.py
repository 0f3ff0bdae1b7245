"""Which listeners workers accept from, as control orders it: with real workers, in threads or turn by turn."""

import asyncio
import os
import socket
import threading
import time

import pytest

from gateway.control.life import doors as module
from gateway.control.life.doors import Doors
from gateway.control.life.listeners import Listeners, bind
from gateway.control.life.workers import Workers
from gateway.dataplane import Counters
from gateway.model import Address
from tests.support.dataplane import Bench
from tests.unit.gateway.control.helpers import Clock, config_of, publisher_of

LOOPBACK = Address("127.0.0.1", 0)


def listening(name="web", address=LOOPBACK):
    (one,) = (opened := Listeners.open([(name, address)])).all
    opened.listen()
    return one


def connect(listener):
    end = socket.socket(socket.AF_UNIX if listener.address.is_unix else socket.AF_INET)
    end.settimeout(10)
    try:
        end.connect(listener.address.host if listener.address.is_unix else (listener.address.host, listener.address.port))
    except OSError:
        end.close()
        raise
    return end


@pytest.fixture
def scene():
    """Two workers in threads."""
    publisher = publisher_of(config_of(), Clock())
    workers = Workers(Counters(2))
    doors = Doors(publisher.snapshots, workers, Listeners())
    workers.start(publisher.snapshots, publisher.figures, 1.0)
    yield doors
    assert asyncio.run(workers.stop(10))
    workers.close()
    doors.listeners.close()


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end


def is_answered(end):
    """By the gateway itself: nobody lives behind its routes."""
    end.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return end.recv(9) == b"HTTP/1.1 "


@pytest.mark.parametrize("is_unix", [False, True])
def test_one_is_added_paused_opened_again_and_removed(scene, tmp_path, is_unix, monkeypatch):
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.0)
    one = listening(address=Address(str(tmp_path / "s"), 0) if is_unix else LOOPBACK)
    number = scene.add(one)
    assert (number, scene.numbers) == (0, [0]) and not scene.have_left(0)
    with connect(one) as end:
        assert is_answered(end)
    scene.pause(number)
    until(lambda: scene.have_left(number))
    with connect(one) as end:
        until(lambda: scene.workers.counters.read()["idle"][0] == 0)
        scene.open(number)
        assert is_answered(end), "who has waited"
    with connect(one) as stays:
        until(lambda: scene.workers.counters.read()["idle"][0] == 1)
        assert asyncio.run(scene.remove(number, 10)) and one.is_closed
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connect(one)
        assert is_answered(stays), "its connections go on"


def test_a_number_is_given_anew_when_the_last_connection_has_ended(scene, monkeypatch):
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.0)
    first, second = listening("first"), listening("second")
    assert [scene.add(one) for one in (first, second)] == [0, 1]
    with connect(first):
        until(lambda: scene.workers.counters.read()["idle"][0] == 1)
        assert asyncio.run(scene.remove(0, 10))
        third = listening("third")
        assert scene.add(third) == 2
    until(lambda: scene.workers.counters.read()["idle"][0] == 0)
    fourth = listening("fourth")
    assert scene.add(fourth) == 0
    assert [one.name for one in scene.listeners.all] == ["fourth", "second", "third"]
    for one in scene.listeners.all:
        with connect(one) as end:
            assert is_answered(end), one.name


def test_no_more_than_there_are_numbers(scene):
    for number in range(16):
        assert scene.add(listening()) == number
    one = listening()
    with pytest.raises(ValueError, match="listener: must be from 0 to 15, got 16"):
        scene.add(one)
    one.close()
    assert len(scene.listeners.all) == 16


class Turned:
    """Two workers that turn when they are told to: one that is not hangs, for all that control sees."""

    def __init__(self):
        self.bench = Bench(n_workers=2)
        self._release = threading.Event()
        threads = [threading.Thread(target=self._release.wait, args=(60,), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.workers = Workers(self.bench.counters, self.bench.workers, _threads=threads)
        self.doors = Doors(self.bench.snapshots, self.workers, Listeners())

    def hang(self, number):
        """For three seconds the others alone turn."""
        self.workers.turn(self.bench.now_us / 1e6)
        for _ in range(31):
            self.bench.turn(100, workers=[one for one in range(2) if one != number])
            self.workers.turn(self.bench.now_us / 1e6)
        assert self.workers.silent

    def close(self):
        self._release.set()
        for thread in self.workers._threads:
            thread.join(10)
        self.bench.close()
        self.doors.listeners.close()


@pytest.fixture
def turned():
    one = Turned()
    yield one
    one.close()


def test_the_descriptor_that_a_hung_worker_knows_stays_taken_until_it_has_left(turned):
    """Before, the drain closed it, and what got its number was accepted from when the worker went on."""
    doors, bench = turned.doors, turned.bench
    number = doors.add(one := listening())
    bench.turn()
    turned.hang(1)
    doors.leave(number)
    assert not doors.have_left(number)
    bench.turn(workers=[0])
    assert doors.have_left(number), "nobody waits for one that hangs"
    doors.close(number)
    with pytest.raises(ConnectionRefusedError):
        connect(one)
    descriptor = one.socket.fileno()
    assert doors.numbers == [] and os.fstat(descriptor)
    doors.turn()
    other = listening("other")
    with other.socket, connect(other):
        assert other.socket.fileno() != descriptor and doors._free_number() == 1
        bench.turn(100, turns=3)
        assert bench.figures_read["accepted"] == 0
    doors.turn()
    assert one.is_closed and doors._free_number() == 0


def test_a_shared_one_stays_open_for_a_hung_worker_and_leaves_its_epoll(turned):
    """The socket outlives this process's descriptor: by its number alone is it taken out."""
    doors, bench = turned.doors, turned.bench
    one = listening()
    one.is_shared = True
    with one.socket.dup() as successors:
        number = doors.add(one)
        bench.turn()
        turned.hang(1)
        doors.leave(number)
        bench.turn(workers=[0])
        doors.close(number)
        assert not one.is_closed
        with connect(one):
            bench.turn()
            assert bench.figures_read["accepted"] == 1, "whom it may have been woken for"
        doors.turn()
        assert one.is_closed
        bench.pass_ms(500)
        with connect(one):
            assert [worker.turn(bench.now_us) for worker in bench.workers] == [0, 0]
            successors.accept()[0].close()
        with pytest.raises(BlockingIOError):
            successors.accept()


def test_a_worker_that_has_ended_holds_no_descriptor(turned):
    doors, bench = turned.doors, turned.bench
    number = doors.add(one := listening())
    bench.turn()
    turned._release.set()
    for thread in turned.workers._threads:
        thread.join(10)
    doors.close(number)
    assert one.is_closed


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_queue_is_emptied_that_is_ours_alone_and_left_alone_else(turned, is_shared, at_once):
    doors, bench = turned.doors, turned.bench
    one = listening()
    one.is_shared = is_shared
    number = doors.add(one)
    bench.turn()
    ends = [connect(one) for _ in range(20)]
    doors.leave(number, at_once)
    doors.leave(number)  # said already
    bench.turn()
    assert doors.have_left(number)
    if is_shared or at_once:
        assert bench.figures_read["accepted"] <= 4, "each by its event, and one as it leaves"
    else:
        assert bench.figures_read["accepted"] == 20
    for end in ends:
        end.close()


def test_the_end_waits_for_no_queue_that_is_still_to_be_emptied(turned):
    doors, bench = turned.doors, turned.bench
    number = doors.add(one := listening())
    bench.turn()
    doors.leave(number)
    with connect(one), connect(one):
        doors.leave(number, at_once=True)
        bench.turn(workers=[0])
        assert not doors.have_left(number)
        bench.turn()
        assert doors.have_left(number)


def test_new_ones_are_held_back_where_no_other_process_listens(turned, monkeypatch):
    doors = turned.doors
    held = []
    monkeypatch.setattr("gateway.control.life.listeners.Listener.refuse_new", lambda one: held.append(one.name))
    shared = listening("shared")
    shared.is_shared = True
    for one in (listening("ours"), shared):
        doors.refuse_new(doors.add(one))
    assert held == ["ours"]
    doors.pause(0)
    doors.refuse_new(0)
    assert not doors.have_left(0), "what came in the pause is taken"
    doors.leave(0)
    turned.bench.turn()
    assert doors.have_left(0)


def test_a_removal_waits_no_longer_than_it_may(turned, monkeypatch):
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.0)
    number = turned.doors.add(one := listening())
    turned.bench.turn()
    assert not asyncio.run(turned.doors.remove(number, 0.05))
    with pytest.raises(ConnectionRefusedError):
        connect(one)
    turned.bench.turn()
    turned.doors.turn()
    assert one.is_closed


def test_before_the_workers_start_nobody_knows_it():
    publisher = publisher_of(config_of(), Clock())
    doors = Doors(publisher.snapshots, Workers(Counters(2)), Listeners())
    doors.listeners.all.append(bind("web", LOOPBACK))
    doors.close(0)
    assert doors.listeners.all[0].is_closed and doors.numbers == []
