"""A listening socket that another process has as well: workers that leave it leave nobody behind."""

import contextlib
import random
import socket
import subprocess
import sys
import threading

import pytest

from tests.io.serving import eventually
from tests.support.dataplane import Bench

pytestmark = pytest.mark.slow

N_ROUNDS = 150
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
# It sleeps until it is told: nothing but the kernel's word makes it look.
SUCCESSOR = """
import select, socket, sys
door = socket.socket(fileno=int(sys.argv[1]))
epoll = select.epoll()
epoll.register(door, select.EPOLLIN | select.EPOLLEXCLUSIVE)
print("ready", flush=True)
while True:
    epoll.poll()
    try:
        end = door.accept()[0]
    except BlockingIOError:
        continue
    with end:
        end.settimeout(20)
        end.recv(4096)
        end.sendall(b"successor")
"""


@pytest.fixture(params=["TCP", "unix"])
def door(request, tmp_path):
    with socket.socket(socket.AF_INET if request.param == "TCP" else socket.AF_UNIX) as opened:
        opened.bind(("127.0.0.1", 0) if request.param == "TCP" else str(tmp_path / "s"))
        opened.listen(200)
        opened.setblocking(False)
        yield opened


@contextlib.contextmanager
def successor(door):
    command = [sys.executable, "-c", SUCCESSOR, str(door.fileno())]
    with subprocess.Popen(command, pass_fds=[door.fileno()], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def workers(door, n):
    """In threads; nobody lives behind their routes, and they say so."""
    bench = Bench(n_workers=n)
    threads = [threading.Thread(target=worker.run) for worker in bench.workers]
    for thread in threads:
        thread.start()
    try:
        yield bench
    finally:
        for worker in bench.workers:
            worker.stop()
        for thread in threads:
            thread.join(20)
        bench.close()


def order(bench, duty, door=None):
    version = bench.snapshots.order_listener(0, duty, -1 if door is None else door.fileno())
    for worker in bench.workers:
        worker.wake()
    return version


def has_acted(bench, version):
    return min(bench.counters.read()["versions"]) >= version


@pytest.mark.parametrize("n_workers", [1, 3])
def test_all_who_come_around_a_pause_are_served_by_one_or_the_other(door, n_workers):
    """Each time a few, and nobody after them: who is not told of is not found by chance."""
    rng = random.Random(3)
    by = {b"successor": 0, b"HTTP/1.1 ": 0}
    with workers(door, n_workers) as bench, successor(door):
        for _ in range(N_ROUNDS):
            version = order(bench, "accept", door)
            eventually(lambda version=version: has_acted(bench, version), "they accept")
            with contextlib.ExitStack() as stack:
                ends = [stack.enter_context(socket.socket(door.family)) for _ in range(rng.randrange(1, 9))]
                at = rng.randrange(len(ends) + 1)
                for number, end in enumerate(ends):
                    if number == at:
                        version = order(bench, "leave")
                    end.settimeout(10)
                    end.connect(door.getsockname())
                if at == len(ends):
                    version = order(bench, "leave")
                for end in ends:
                    end.sendall(REQUEST)
                for end in ends:
                    by[end.recv(9)] += 1
            eventually(lambda version=version: has_acted(bench, version), "they have left")
    print(f"\n{by}")
    assert min(by.values()) > N_ROUNDS / 4


def test_a_queue_that_nobody_empties_is_the_successors_whole(door):
    with workers(door, 2) as bench, contextlib.ExitStack() as stack:
        for duty in ("accept", "leave"):
            version = order(bench, duty, door if duty == "accept" else None)
            eventually(lambda version=version: has_acted(bench, version), duty)
        ends = [stack.enter_context(socket.socket(door.family)) for _ in range(100)]
        for end in ends:
            end.settimeout(20)
            end.connect(door.getsockname())
            end.sendall(REQUEST)
        with successor(door):
            assert [end.recv(9) for end in ends] == [b"successor"] * 100
        assert bench.figures_read["accepted"] == 0
