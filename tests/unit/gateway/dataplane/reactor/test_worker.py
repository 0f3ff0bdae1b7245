"""The worker as Python sees it: what it refuses, how it ends."""

import os
import threading

import pytest

from gateway.dataplane import Settings, Worker
from routing_core import Figures, _memory
from tests.support.dataplane import ANSWER, received


def test_misuse_at_birth(bench):
    def worker(number=0, figures=None, counters=None, **more):
        return Worker(number, bench.snapshots, figures or bench.figures, counters or bench.counters, **more)

    with pytest.raises(IndexError):
        worker(1)
    with pytest.raises(IndexError):
        worker(-1)
    with pytest.raises(ValueError, match="figures are of 2 workers, counters of 1"):
        worker(figures=Figures(2))
    for log_bytes in (0, 2048, 5000):
        with pytest.raises(ValueError, match="log_bytes: must be a power of two from 4096"):
            worker(log_bytes=log_bytes)
    with open(os.devnull) as not_a_socket, pytest.raises(OSError, match="listener"):
        bench.snapshots.order_listener(0, "accept", not_a_socket.fileno())
        worker()
    with pytest.raises(TypeError):
        Worker(0, None, bench.figures, bench.counters)


@pytest.mark.parametrize("grants", range(3))
def test_memory_at_birth(bench, grants):
    _memory.refuse(True, grants)
    try:
        with pytest.raises(MemoryError):
            Worker(0, bench.snapshots, bench.figures, bench.counters)
    finally:
        _memory.refuse(False)


def test_adopting(bench):
    with pytest.raises(ValueError, match="address: must be an IP address, got 'x'"):
        bench.worker.adopt_downstream(99, "x")
    with pytest.raises(ValueError, match="listener: must be from 0 to 15, got 16"):
        bench.worker.adopt_downstream(99, listener=16)
    with pytest.raises(OSError, match="adopt"):
        bench.worker.adopt_downstream(9999)
    with pytest.raises(OSError, match="adopt"):
        bench.worker.adopt_upstream(9999, bench.rows[0][0])
    with pytest.raises(IndexError):
        bench.worker.adopt_upstream(9999, bench.pool_rows[0])


@pytest.mark.parametrize("grants", range(2))
def test_adopting_without_memory(bench, grants):
    ours, theirs = bench.pair()
    _memory.refuse(True, grants)
    try:
        with pytest.raises((OSError, MemoryError)):
            bench.worker.adopt_upstream(theirs, bench.rows[0][0])
    finally:
        _memory.refuse(False)
    assert received(ours) == b"", "it is closed"


def test_closed_worker(bench):
    bench.worker.close()
    bench.worker.close()
    for use in (
        lambda: bench.worker.turn(0),
        bench.worker.run,
        lambda: bench.worker.adopt_downstream(1),
        lambda: bench.worker.adopt_upstream(1, 0),
    ):
        with pytest.raises(ValueError, match="worker is closed"):
            use()
    bench.worker.stop()
    bench.worker.wake()
    assert bench.worker.read_log() == []


def test_stopped_before_it_runs(bench):
    bench.worker.stop()
    bench.worker.run()


def test_a_running_worker_is_left_alone(bench):
    begun = bench.figures_read["turns"]
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        while bench.figures_read["turns"] == begun:
            bench.worker.wake()
        for use in (lambda: bench.worker.turn(0), bench.worker.run, bench.worker.close, lambda: bench.worker.adopt_downstream(1)):
            with pytest.raises(RuntimeError, match="worker is running"):
                use()
        name = {path.read_text().strip() for path in __import__("pathlib").Path("/proc/self/task").glob("*/comm")}
        assert "worker-0" in name
    finally:
        bench.worker.stop()
        thread.join(5)
    assert not thread.is_alive()


def test_a_worker_that_has_ended_is_not_closed_while_another_runs(make_bench):
    """The other one reaches into it, to have it look."""
    bench = make_bench(n_workers=2)
    thread = threading.Thread(target=bench.workers[1].run)
    thread.start()
    try:
        while bench.figures_read["turns"] == 0:
            bench.workers[1].wake()
        with pytest.raises(RuntimeError, match="workers are running"):
            bench.workers[0].close()
    finally:
        bench.workers[1].stop()
        thread.join(5)
    assert not thread.is_alive()


# --- Held up ---


def held_up(bench, seconds):
    """The next turn comes so much later than it should: the process was stopped."""
    before_us = bench.now_us
    bench.now_us += round(seconds * 1e6)
    bench.worker.turn(bench.now_us, before_us)


@pytest.mark.parametrize(("seconds", "is_over"), [(0.14, True), (0.5, False), (3600.0, False)])
def test_no_deadline_falls_into_a_pause(make_bench, seconds, is_over):
    bench = make_bench(Settings(first_byte_ms=1000))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    bench.pass_ms(900)
    held_up(bench, seconds)
    assert (received(client) is not None) is is_over
    bench.pass_ms(200)
    assert received(client) is not None or is_over, "what is left of it goes on"


def test_what_was_asked_before_a_pause_says_nothing_of_latency(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    held_up(bench, 5)
    assert received(client)
    seen = bench.figures.read_pool(bench.pool_rows[0])
    assert (seen["first_bytes"], seen["codes"]) == (0, {"200": 1})
    assert bench.figures.read_endpoint(bench.rows[0][0])["latency_us"] == 0
    bench.ask(client, upstream)
    bench.turn(20)
    upstream.send(ANSWER)
    bench.turn(10)
    seen = bench.figures.read_pool(bench.pool_rows[0])
    assert (seen["first_bytes"], seen["first_byte_us"]) == (1, 30_000)


def test_people_are_told_how_long_the_client_waited(make_bench):
    bench = make_bench(Settings(log_share=1.0))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    held_up(bench, 5)
    (record,) = bench.worker.read_log()
    assert (record["duration_ms"], record["first_byte_ms"], record["ended_us"]) == (5000, 5000, bench.now_us)
    assert bench.counters.read()["beats_ms"] == [bench.now_us // 1000]
    assert bench.figures.read_pool(bench.pool_rows[0])["duration_us"] == 5_000_000
