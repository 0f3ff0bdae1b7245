"""What the client, our own limits or the endpoint's right brought about is nobody's failure; all else is the endpoint's."""

import contextlib
import socket

import pytest

from tests.support.dataplane import REQUEST, received, reset

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"


def failures(bench, pop=0):
    """Of an endpoint and of its pool, as probes, ejections and penalties read them."""
    own = bench.figures.read_endpoint(bench.rows[pop][0])
    return own["failures"], own["errors"] + own["server_errors"], bench.figures.read_pool(bench.pool_rows[pop])["failures"]


TUNNEL_WITH_BODY = b"POST /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: w\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "answer", "blamed"),
    [
        (TUNNEL_WITH_BODY, SWITCH, 0),
        (REQUEST, b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40_000, 0),
        (REQUEST, b"HTTP/1.1 200 OK\r\n" + b"set-cookie: a=1\r\n" * 129 + b"\r\n", 0),
        (REQUEST, SWITCH, 1),
        (TUNNEL_WITH_BODY, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 1),
        (REQUEST, b"HTTP/1.1 200 OK\r\nx y\r\n\r\n", 1),
    ],
    ids=["101 before the body", "over our limit", "too many fields", "101 unasked", "101 to nothing", "no HTTP"],
)
def test_what_the_client_or_our_limit_caused_is_nobodys_failure(bench, request_, answer, blamed):
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, request_)
    upstream.send(answer)
    bench.turn(turns=3)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert failures(bench) == (blamed,) * 3
    bench.assert_at_rest()


UPLOAD = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("after_ms", "more", "blamed"), [(5000, b"", 0), (0, b"", 1), (5000, b"67890", 1)], ids=["owes for long", "just begun", "owes nothing"]
)
def test_an_upload_that_the_upstream_tired_of_is_not_its_failure(bench, after_ms, more, blamed):
    server = bench.listen()
    client = bench.client()
    client.send(UPLOAD + b"12345")
    bench.turn(turns=2)
    upstream = bench.accepted(server)
    bench.turn(turns=2)
    assert b"12345" in upstream.recv(4096)
    bench.pass_ms(after_ms)
    if more:
        client.send(more)
        bench.turn()
        assert upstream.recv(4096) == more
    reset(upstream)
    bench.turn(turns=3)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert failures(bench) == (blamed,) * 3


@pytest.mark.parametrize(("size", "blamed"), [(1, 0), (1000, 1)], ids=["a byte now and then", "at a good pace"])
def test_an_upload_that_goes_on_and_on_tires_nobody_while_it_keeps_its_pace(bench, size, blamed):
    """Before, every reset of an upload of more than a second was excused."""
    server = bench.listen()
    client = bench.client()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    bench.turn(turns=2)
    upstream = bench.accepted(server)
    bench.turn(turns=2)
    for _ in range(30):
        bench.pass_ms(100)
        client.send(b"x" * size)
        bench.turn()
        assert upstream.recv(4096)
    reset(upstream)
    bench.turn(turns=3)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert failures(bench) == (blamed,) * 3


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n3\r\n:\n\n\r\n"


@pytest.mark.parametrize(
    ("request_", "answer", "blamed"),
    [
        (GET, HALF, 1),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", 1),
        (GET, CHUNKED + b"x\r\n", 1),
        (GET, CHUNKED + b"2\r\nok\r\n0\r\na: " + b"x" * 9000 + b"\r\n\r\n", 0),
        (GET, CHUNKED + b"2\r\nok\r\n0\r\na: " + b"x" * 8000 + b"\0", 1),
        (GET, CHUNKED + b"2;a=" + b"x" * 300 + b"\r\nok\r\n0\r\n\r\n", 0),
        (GET, CHUNKED + b"1;a=%s\r\nx\r\n" % (b"x" * 200) * 100 + b"0\r\n\r\n", 0),
        (GET, CHUNKED + b"0" * 16 + b"2\r\nok\r\n0\r\n\r\n", 0),
        (GET, STREAM, 0),
        (GET, b"HTTP/1.1 200 OK\r\n\r\n12345", 0),
        (UPLOAD + b"12345", HALF, 0),
        (GET.replace(b"GET", b"HEAD"), HALF[:-5], 0),
    ],
    ids=[
        "by length",
        "in chunks",
        "no chunk",
        "trailers over our limit",
        "no trailer",
        "an extension over our limit",
        "extensions over our limit",
        "digits over our limit",
        "an event stream",
        "by its end",
        "before the request was",
        "whole",
    ],
)
@pytest.mark.parametrize("how", [reset, lambda upstream: upstream.close()], ids=["reset", "closed"])
def test_an_answer_that_is_cut_behind_its_head_is_a_failure(bench, request_, answer, blamed, how):
    """Before, who cut every answer failed nobody."""
    server = bench.listen()
    client = bench.client()
    client.send(request_)
    bench.turn(turns=2)
    upstream = bench.accepted(server)
    bench.turn(turns=2)
    upstream.send(answer)
    bench.turn(turns=2)
    how(upstream)
    bench.turn(turns=3)
    assert received(client)
    assert failures(bench) == (blamed,) * 3
    seen = bench.figures.read_endpoint(bench.rows[0][0])
    assert seen["answers"] + seen["errors"] == 1, "one request is one, or its share of what went wrong would be half of it"


def test_an_answer_that_stops_is_a_failure(bench):
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, GET)
    upstream.send(HALF)
    bench.turn(turns=2)
    bench.pass_ms(60_000)
    bench.turn(turns=2)
    assert failures(bench) == (1,) * 3


@pytest.mark.parametrize(("waits_ms", "blamed"), [(0, 1), (5000, 0)])
def test_a_client_that_does_not_read_may_tire_the_upstream(bench, waits_ms, blamed):
    server = bench.listen()
    client = bench.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.send(GET)
    bench.turn(turns=2)
    upstream = bench.accepted(server)
    bench.turn(turns=2)
    upstream.setblocking(False)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    with contextlib.suppress(BlockingIOError):
        while True:
            upstream.send(b"x" * 65536)
            bench.turn()
    bench.pass_ms(waits_ms)
    reset(upstream)
    bench.turn(turns=3)
    while received(client):
        bench.turn()
    assert failures(bench) == (blamed,) * 3
    bench.assert_at_rest()


def test_a_close_race_excuses_one_moment_and_not_every_second_request(bench):
    """Before, a PoP that reset half of its requests on pooled connections had no failure."""
    found = []
    for after_ms in (0, 50, 100, 5000, 6000, 50, 100):
        bench.pass_ms(after_ms)
        client, upstream = bench.client(), bench.upstream()
        assert bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        upstream.close()
        before = failures(bench)
        bench.turn(turns=2)
        assert received(client).startswith(b"HTTP/1.1 502 ")
        found.append(tuple(now - then for now, then in zip(failures(bench), before, strict=True)))
    assert found == [(blamed,) * 3 for blamed in (0, 0, 1, 1, 0, 0, 1)]
