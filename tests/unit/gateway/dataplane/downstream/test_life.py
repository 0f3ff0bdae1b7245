"""How exchanges end, and what becomes of the client's connection."""

import contextlib
import fcntl
import re
import socket
import struct
import termios
import time
from pathlib import Path

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received
from tests.support.diagrams import followers_in


def test_every_state_can_end_none_follows_the_end_and_the_page_shows_what_follows():
    core = Path("gateway/dataplane/_core.pxd").read_text()
    states = re.findall(r"^    (\w+)", core.partition("cdef enum ExchangeState:")[2].partition("cdef struct")[0], re.MULTILINE)
    table = Path("gateway/dataplane/downstream/_life.pyx").read_text().partition("cdef int allowed_after")[2].partition("return 0")[0]
    followers = {}
    for condition, targets in re.findall(r"if (.*?):.*?\n        return (.*)", table):
        followers |= {state: set(re.findall(r"bit\((\w+)\)", targets)) for state in re.findall(r"state == (\w+)", condition)}
    assert set(followers) | {"ENDED"} == set(states)
    assert all("ENDED" in targets <= set(states) for targets in followers.values())
    drawn = set(followers_in(Path("docs/architecture.md"), "TUNNELLING"))
    assert drawn == {(state, after) for state, targets in followers.items() for after in targets}


@pytest.mark.parametrize("is_tcp", [False, True])
def test_linger_reads_on_until_the_client_ends_or_time_is_up(make_bench, is_tcp):
    bench = make_bench(Settings(linger_ms=1000))
    for ends in (True, False):
        client = bench.client(is_tcp=is_tcp)
        client.send(b"BAD\r\n\r\n")
        bench.turn()
        assert received(client).startswith(b"HTTP/1.1 400 ") and received(client) == b""
        for _ in range(8):
            client.send(b"x" * 100_000)  # what was under way does no harm to the answer
            bench.turn(turns=2)
        assert bench.counters.read()["idle"][0] == 1
        if ends:
            client.close()
            bench.turn(turns=2)
        else:
            bench.pass_ms(1300)
        assert bench.counters.read()["idle"][0] == 0


@pytest.mark.parametrize("is_tcp", [False, True])
def test_a_client_that_asked_for_the_end_gets_it_right_behind_the_answer(bench, is_tcp):
    client, upstream = bench.client(is_tcp=is_tcp), bench.upstream()
    bench.ask(client, upstream, REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    upstream.send(ANSWER)
    bench.turn()
    assert received(client).endswith(b"hello") and received(client) == b""
    client.close()
    bench.turn(turns=2)
    assert bench.counters.read()["idle"][0] == 0


@pytest.mark.parametrize("start", [b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize("when", ["before the answer", "right behind it", "a round trip later"])
def test_the_last_answer_can_be_read_whatever_the_client_sends_beside_it(bench, start, when):
    client, upstream = bench.client(is_tcp=True), bench.upstream()
    bench.ask(client, upstream, start)
    if when == "before the answer":
        client.send(b"x" * 100)
    upstream.send(ANSWER)
    if when == "right behind it":
        client.send(b"x" * 100)
    bench.turn(turns=2)
    if when == "a round trip later":
        client.send(b"x" * 100)
        bench.turn(50)
    assert received(client).endswith(b"hello") and received(client) == b""


def test_between_exchanges_the_next_one_begins_at_once(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST + REQUEST[:10])
    bench.turn()
    assert received(upstream)
    client.send(REQUEST[10:])
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER and received(upstream).startswith(b"GET /x ")


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"y" * 60_000
LAST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def slow_reader(bench):
    """A client whose system takes in a little of an answer at a time, as behind a long way; the gateway's end of it; an upstream."""
    client, number = bench.pair(is_tcp=True)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bench.worker.adopt_downstream(number)
    return client, number, bench.upstream()


def unread(number):
    return struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))[0]


def read_until(client, is_enough):
    got = b""
    deadline = time.monotonic() + 10
    while not is_enough(got) and time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            got += client.recv(4096)
    return got


def test_a_client_that_said_its_end_behind_bytes_nobody_read_can_read_the_answer(bench):
    client, _, upstream = slow_reader(bench)
    bench.ask(client, upstream, LAST)
    client.send(b"x" * 100)
    client.shutdown(socket.SHUT_WR)
    upstream.send(LONG)
    bench.turn(turns=4)
    assert read_until(client, lambda got: len(got) >= len(LONG)).endswith(b"y" * 60_000)
    assert bench.counters.read()["idle"][0] == 0


def test_who_still_reads_when_time_is_up_is_waited_for(make_bench):
    bench = make_bench(Settings(linger_ms=1000))
    client, number, upstream = slow_reader(bench)
    bench.ask(client, upstream, LAST)
    upstream.send(LONG)
    got = b""
    bench.pass_ms(1500)
    for _ in range(4):
        before = unread(number)
        got += read_until(client, lambda _, before=before: unread(number) < before)
        bench.pass_ms(1000)
        client.send(b"x")
    bench.turn()
    got += read_until(client, lambda more: len(got) + len(more) >= len(LONG))
    assert got.endswith(b"y" * 60_000)
    client.close()
    bench.turn(turns=2)
    assert bench.counters.read()["idle"][0] == 0


def test_who_reads_nothing_is_not_waited_for(make_bench):
    bench = make_bench(Settings(linger_ms=1000))
    client, _, upstream = slow_reader(bench)
    bench.ask(client, upstream, LAST)
    upstream.send(LONG)
    bench.pass_ms(1500)
    assert bench.counters.read()["idle"][0] == 1
    bench.pass_ms(1000)
    assert bench.counters.read()["idle"][0] == 0


UPLOAD = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"


@pytest.mark.parametrize(
    ("request_", "answer", "is_reset"),
    [(REQUEST, b"", False), (REQUEST, HALF, True), (UPLOAD + b"12345", HALF, False), (UPLOAD + b"123", b"", True)],
    ids=["not read yet, perhaps", "answered", "a body, perhaps not read yet", "never whole"],
)
def test_whoever_leaves_resets_the_upstream_where_that_takes_nothing_from_it(bench, request_, answer, is_reset):
    """A port of ours waits for a minute where it ends cleanly, and clients choose how many of these there are."""
    client, upstream = bench.client(), bench.upstream(is_tcp=True)
    bench.ask(client, upstream, request_)
    upstream.send(answer)
    bench.turn(turns=2)
    client.close()
    bench.turn(turns=2)
    upstream.settimeout(5)
    with pytest.raises(ConnectionResetError) if is_reset else contextlib.nullcontext():
        assert upstream.recv(100) == b""
