"""Snapshots: who holds one, when it is freed, what control is told."""

import socket

import pytest

import routing_core
from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
from tests.support.dataplane import ANSWER, received


def publish(bench):
    return bench.snapshots.publish(bench.table(), bench.locator, bench.compiled)


def test_freed_when_every_worker_has_looked_and_nothing_holds_it(bench):
    assert publish(bench) == 1, "the worker has not looked yet"
    assert bench.snapshots.oldest() == 1
    bench.turn()
    assert bench.snapshots.reclaim() == 0 and bench.snapshots.oldest() == 2


def test_many_in_flight_each_holds_its_own(bench):
    clients = []
    for i in range(5):
        clients.append((bench.client(), bench.upstream()))
        bench.ask(*clients[-1])
        assert publish(bench) == i + 1
        bench.turn()
    for left, at in zip((4, 3, 2, 1, 0), (2, 0, 4, 1, 3), strict=True):
        client, upstream = clients[at]
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
        assert bench.snapshots.reclaim() == left
    assert bench.snapshots.oldest() == bench.snapshots.generation == 6


def test_objects_live_as_long_as_a_snapshot_points_into_them(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    tables = routing_core.live_blocks()["table"]
    bench.compiled = CompiledSettings(Settings(), 1)
    publish(bench)
    bench.turn()
    bench.snapshots.reclaim()
    assert routing_core.live_blocks()["table"] > tables
    client.close()
    bench.turn(turns=2)
    bench.snapshots.reclaim()
    assert routing_core.live_blocks()["table"] == tables


def test_a_worker_that_is_gone_holds_nothing(bench):
    other = Worker(1, bench.snapshots, routing_core.Figures(2), Counters(2))
    bench.turn()
    publish(bench)
    bench.turn()
    assert bench.snapshots.reclaim() == 1
    other.close()
    assert bench.snapshots.reclaim() == 0


def test_a_worker_that_hangs_keeps_what_it_had_and_nothing_that_came_later(make_bench):
    bench = make_bench(n_workers=2)
    bench.ask(bench.client(worker=1), bench.upstream(worker=1))
    publish(bench)
    bench.turn()
    blocks = []
    for _ in range(200):
        publish(bench)
        bench.turn(workers=[0])
        assert bench.snapshots.reclaim() == 2, "the one it looked at, and the one that its request holds"
        blocks.append(routing_core.live_blocks())
    assert bench.snapshots.generations() == [1, 2, 202] and blocks[0] == blocks[-1]
    bench.turn()
    assert bench.snapshots.reclaim() == 1 and bench.snapshots.generations() == [1, 202]


def test_orders(bench):
    with pytest.raises(ValueError, match="phase: must be one of serving, lameduck, closing, aborting, got 'x'"):
        bench.snapshots.order("x")
    bench.snapshots.order("lameduck", 7.0)  # a share above 1 is all
    bench.turn()
    assert bench.counters.read()["phases"] == ["lameduck"]


def test_orders_at_a_listener(bench):
    order = bench.snapshots.order_listener
    for number in (-1, 16):
        with pytest.raises(ValueError, match="listener: must be from 0 to 15, got"):
            order(number, "accept", 3)
    with pytest.raises(ValueError, match="duty: must be one of leave, empty, last, accept, got 'x'"):
        order(0, "x")
    for duty, fd in (("accept", -1), ("last", -1), ("leave", 3), ("empty", 3)):
        with pytest.raises(ValueError, match=f"fd: must be there where workers accept, and only there, got {fd} to {duty}"):
            order(0, duty, fd)
    assert (order(0, "leave"), order(15, "empty")) == (1, 2)
    with socket.socket() as one:
        order(3, "accept", one.fileno())
        with pytest.raises(ValueError, match=r"fd: workers accept from .* there, and have to leave it first"):
            order(3, "last", one.fileno() + 1)
        order(3, "leave")
    assert bench.counters.read()["versions"] == [0]
    bench.turn()
    assert bench.counters.read()["versions"] == [4]


def test_memory(bench):
    from routing_core import _memory

    table = bench.table()
    for grants in range(2):
        _memory.refuse(True, grants)
        try:
            with pytest.raises(MemoryError):
                Snapshots(table, bench.locator, bench.compiled)
        finally:
            _memory.refuse(False)
    _memory.refuse(True)
    try:
        with pytest.raises(MemoryError):
            bench.snapshots.publish(table, bench.locator, bench.compiled)
    finally:
        _memory.refuse(False)
    assert bench.snapshots.generation == bench.snapshots.oldest() == 1
