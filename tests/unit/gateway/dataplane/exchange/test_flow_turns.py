"""What one flow may move before others are served: counted, between scripted ends that could take far more."""

import fcntl
import os
import socket
import statistics
import struct
import termios
from contextlib import suppress

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received

LONG = b"Content-Length: 1000000000000\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: w\r\n\r\n"
KIB = 1024


class Fast:
    """A flow whose source always has more, and whose sink takes in all: megabytes of either."""

    def __init__(self, bench, way):
        self.bench = bench
        client, upstream = (self.roomy(bench, end) for end in (bench.client, bench.upstream))
        if way == "up":
            bench.ask(client, upstream, b"PUT /x HTTP/1.1\r\nHost: a\r\n" + LONG)
        elif way == "down":
            bench.ask(client, upstream)
            upstream.send(b"HTTP/1.1 200 OK\r\n" + LONG)
        else:
            bench.ask(client, upstream, REQUEST[:-2] + UPGRADE)
            upstream.send(b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE)
        bench.turn(turns=3)
        self.source, self.sink = (upstream, client) if way in ("down", "tunnel down") else (client, upstream)
        self.take()

    @staticmethod
    def roomy(bench, make):
        end = make(is_tcp=True)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return end

    def push(self):
        try:
            while self.source.send(bytes(1 << 20)):
                pass
        except BlockingIOError:
            pass

    def take(self):
        """Bytes that have come out since the last time."""
        n = 0
        while piece := received(self.sink):
            n += len(piece)
        return n


WAYS = ["down", "up", "tunnel down", "tunnel up"]


@pytest.mark.parametrize("way", WAYS)
def test_alone_256_kib_a_turn(bench, way):
    flow = Fast(bench, way)
    moved = []
    for _ in range(30):
        flow.push()
        bench.turn()
        moved.append(flow.take())
    assert max(moved) <= 256 * KIB
    assert sum(moved) >= 15 * 256 * KIB, "nothing else holds it up"


@pytest.mark.parametrize("way", WAYS)
def test_beside_others_less_and_in_turns(bench, way):
    flows = [Fast(bench, way) for _ in range(8)]
    moved = []
    for _ in range(40):
        for flow in flows:
            flow.push()
        bench.turn()
        moved.append([flow.take() for flow in flows])
    steady = moved[12:]
    assert max(map(max, steady)) <= 128 * KIB
    # In the median: a flow whose source has just paused is not known as fast, and may come on top.
    assert statistics.median(map(sum, steady)) <= 320 * KIB, "what all of them move is what another waits for"
    assert min(map(sum, zip(*steady, strict=True))) >= 8 * 64 * KIB, "each has its share"


@pytest.mark.parametrize("way", WAYS)
def test_between_two_steps_of_another_exchange(bench, way):
    flow, client, upstream = Fast(bench, way), bench.client(), bench.upstream()
    for _ in range(10):
        flow.push()
        client.send(REQUEST)
        bench.turn()
        assert received(upstream).startswith(b"GET /x ") and flow.take() <= 256 * KIB
        flow.push()
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER and flow.take() <= 256 * KIB


def test_a_connection_that_carried_a_fast_body_is_used_again(bench):
    """Its last bytes are read ahead of the event that tells of them."""
    client, upstream = bench.client(), bench.upstream()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(1 << 20)
    for _ in range(3):
        assert bench.ask(client, upstream), "on the same connection"
        left, came = answer, 0
        while came < len(answer):
            left = left[upstream.send(left) :] if left else left
            bench.turn()
            came += len(received(client) or b"")
    assert bench.figures.read_endpoint(bench.rows[0][0])["connections"] == 1


def test_a_client_that_takes_nothing_is_not_waited_for_anew_in_each_busy_turn(make_bench):
    """What comes for it tells of nothing that it could take."""
    bench = make_bench(Settings(body_progress_ms=1000))
    others = [Fast(bench, "down") for _ in range(8)]
    client, upstream = bench.client(), Fast.roomy(bench, bench.upstream)
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\n" + LONG + bytes(320 * KIB))
    for _ in range(40):
        for flow in others:
            flow.push()
        with suppress(ConnectionError):  # it has ended
            upstream.send(b"x")
        bench.turn(50)
        for flow in others:
            flow.take()
    assert bench.figures.read_endpoint(bench.rows[0][0])["in_flight"] == len(others)


def test_what_comes_back_ahead_of_its_event_is_lent_with_a_look_at_its_socket(bench):
    """The event that is left tells of bytes that were read; the next answer is there by then, and is no unasked one. Its upstream is a
    client of the same worker, which answers in the same turn."""
    fast = [Fast(bench, "down") for _ in range(2)]
    client, next_client = bench.client(), bench.client()
    ours, theirs = bench.pair(is_tcp=True)
    with socket.socket(fileno=os.dup(theirs)) as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        bench.worker.adopt_upstream(theirs, bench.rows[0][0])
        bench.ask(client, ours)
        bench.worker.adopt_downstream(os.dup(ours.fileno()))
        for _ in range(4):
            for flow in fast:
                flow.push()
            bench.turn()
            for flow in fast:
                flow.take()
        ours.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (80 * KIB) + bytes(80 * KIB - 1))
        bench.turn()
        assert len(received(client)) < 80 * KIB, "it has had its share, and is put off with the rest"
        next_client.send(REQUEST)
        near.send(b"BAD\r\n\r\n")
        ours.send(b"x")
        bench.turn(turns=2)
        assert received(client)
        assert received(next_client).startswith(b"HTTP/1.1 400 ")


def test_floods_of_those_who_linger_have_one_share_of_a_turn_all_together(bench):
    """What comes behind a refusal is read, and forgotten, so that the refusal can be."""
    ends, theirs = [], []
    for number in range(16):
        ours, fd = bench.pair()
        bench.workers[0].adopt_downstream(fd, f"192.0.2.{number}")
        ends.append(ours)
        theirs.append(fd)
        ours.send(b"no request\r\n\r\n")
    bench.turn(turns=2)
    for end in ends:
        assert received(end).startswith(b"HTTP/1.1 400 ")
        with suppress(BlockingIOError):
            while True:
                end.send(bytes(4096))

    def unread():
        return sum(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0] for fd in theirs)

    left = [unread()]
    assert left[0] > 1024 * KIB
    while left[-1]:
        bench.turn()
        left.append(unread())
        assert 0 < left[-2] - left[-1] <= 256 * KIB
