"""How exchanges end, and what becomes of the client's connection."""

import re
from pathlib import Path

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received


def test_every_state_can_end_and_none_follows_the_end():
    core = Path("gateway/dataplane/_core.pxd").read_text()
    states = re.findall(r"^    (\w+)", core.partition("cdef enum ExchangeState:")[2].partition("cdef struct")[0], re.MULTILINE)
    table = Path("gateway/dataplane/_life.pyx").read_text().partition("cdef int allowed_after")[2].partition("return 0")[0]
    followers = {}
    for condition, targets in re.findall(r"if (.*?):.*?\n        return (.*)", table):
        followers |= {state: set(re.findall(r"bit\((\w+)\)", targets)) for state in re.findall(r"state == (\w+)", condition)}
    assert set(followers) | {"ENDED"} == set(states)
    assert all("ENDED" in targets <= set(states) for targets in followers.values())


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
    assert bench.counters.read()["idle"][0] == 0, "nobody waits for its end"


def test_between_exchanges_the_next_one_begins_at_once(bench):
    client, upstream = bench.client(), bench.upstream()
    client.send(REQUEST + REQUEST[:10])
    bench.turn()
    assert received(upstream)
    client.send(REQUEST[10:])
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER and received(upstream).startswith(b"GET /x ")
