"""How an answer goes down: framing, interim answers, reuse of both sides (RFC 9112 6.3)."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, head_and_body, received

HEAD = REQUEST.replace(b"GET", b"HEAD")
OLD = b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"
OLD_KEEP = b"GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
CLOSE = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\n"
UNMODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"
KEPT = ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n")
CHUNKS = b"5;a=b\r\nhello\r\n2\r\n, \r\n0\r\nx-sum: 7\r\n\r\n"
# request, answer, what the client gets, whether the client's and the upstream's connection live on
CASES = {
    "length": (REQUEST, ANSWER, ANSWER, True, True),
    "empty": (REQUEST, OK + b"Content-Length: 0\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n", True, True),
    "head": (HEAD, OK + b"Content-Length: 5\r\n\r\n", OK + b"Content-Length: 5\r\n\r\n", True, False),
    "head, chunked": (HEAD, OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"\r\n", True, False),
    "head, no length": (HEAD, OK + b"\r\n", OK + b"\r\n", True, False),
    "204": (REQUEST, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", True, True),
    "204 of a body": (REQUEST, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", True, False),
    "304": (REQUEST, UNMODIFIED, UNMODIFIED, True, True),
    "chunked": (
        REQUEST,
        OK + b"x: y\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        OK + b"x: y\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS,
        True,
        True,
    ),
    "upstream asks for the end": (REQUEST, ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), ANSWER, True, False),
    "upstream is HTTP/1.0": (REQUEST, ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), ANSWER, True, False),
    "client asks for the end": (CLOSE, ANSWER, ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False, True),
    "1.0": (OLD, ANSWER, ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False, True),
    "1.0 that stays": (OLD_KEEP, ANSWER, KEPT, True, True),
    "1.0 gets no chunks": (
        OLD_KEEP,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        OK + b"connection: close\r\n\r\nhello, ",
        False,
        True,
    ),
    "1.0 gets no interim answer": (OLD_KEEP, b"HTTP/1.1 103 Early Hints\r\n\r\n" + ANSWER, KEPT, True, True),
    "103": (REQUEST, HINTS + ANSWER, HINTS + ANSWER, True, True),
    "100 that nobody waits for": (REQUEST, b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, ANSWER, True, True),
    "many interim answers": (
        REQUEST,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + ANSWER,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + ANSWER,
        True,
        True,
    ),
    "hop-by-hop fields": (
        REQUEST,
        OK
        + b"Connection: x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: a\r\n"
        + b"X-Isochrone-Pop: lie\r\nContent-Length: 0\r\nB: c\r\n\r\n",
        OK + b"Content-Length: 0\r\nB: c\r\n\r\n",
        True,
        True,
    ),
}


@pytest.mark.parametrize("pace", ["whole", "byte by byte", "byte by byte over TCP"])
@pytest.mark.parametrize("case", CASES)
def test_framing(bench, case, pace):
    request, answer, expected, is_client_kept, is_upstream_kept = CASES[case]
    client, upstream = bench.client(is_tcp="TCP" in pace), bench.upstream(is_tcp="TCP" in pace)
    bench.ask(client, upstream, request)
    got = b""
    for piece in [answer] if pace == "whole" else (answer[i : i + 1] for i in range(len(answer))):
        upstream.send(piece)
        bench.turn()
        got += received(client) or b""
    assert got == expected
    bench.turn()
    assert received(client) == (None if is_client_kept else b"")
    assert received(upstream) == (None if is_upstream_kept else b"")
    bench.assert_at_rest()


@pytest.mark.parametrize("request_", [REQUEST, CLOSE, OLD_KEEP])
def test_until_the_upstream_ends(bench, request_):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, request_)
    upstream.send(OK + b"\r\nhel")
    bench.turn()
    assert received(client) == OK + b"connection: close\r\n\r\nhel"
    upstream.send(b"lo")
    upstream.close()
    bench.turn(turns=2)
    assert received(client) == b"lo" and received(client) == b""


def test_continue_is_relayed_to_who_waits_for_it(bench):
    client, upstream = bench.client(), bench.upstream()
    sent = bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert b"Expect: 100-continue\r\n" in sent
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    bench.turn()
    assert received(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert bench.ask(client, upstream, b"hello") == b"hello"
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert received(client) is None and received(upstream) is None


def test_early_final_answer_announces_the_end(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    upstream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    bench.turn()
    start, fields, _ = head_and_body(received(client))
    assert start == b"HTTP/1.1 401 Unauthorized" and fields["connection"] == "close"
    assert received(client) == b"" and received(upstream) == b""
    client.send(b"hello")  # it may have been under way: swallowed, not taken for a request
    bench.turn()
    client.close()
    bench.turn()
    bench.assert_at_rest()


def test_head_of_any_size_up_to_the_limit(bench):
    for size in (8000, 8190, 8192, 8193, 20000, 32000):
        client, upstream = bench.client(), bench.upstream()
        bench.ask(client, upstream)
        answer = OK + b"x: " + b"x" * (size - 40) + b"\r\nContent-Length: 5\r\n\r\nhello"
        upstream.send(answer[:100])
        bench.turn()
        upstream.send(answer[100:])
        bench.turn(turns=2)
        assert received(client) == answer


def test_interim_answers_without_end_are_garbage_in_the_end(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 30000 + b"\r\n\r\n"
    upstream.setsockopt(1, 7, 1 << 20)
    upstream.send(hints * 3 + ANSWER)  # faster than the client takes them: they pile up to a buffer's length and no further
    got = b""
    for _ in range(10):
        bench.turn()
        got += received(client) or b""
    for piece in got.split(b"HTTP/1.1 ")[1:-1]:
        assert b"HTTP/1.1 " + piece == hints, "each is whole"
    bench.assert_at_rest()


def test_what_is_stuck_half_way_gets_nothing_behind_it(make_bench):
    bench = make_bench(Settings(first_byte_ms=500))
    client, upstream = bench.client(is_tcp=True), bench.upstream()
    bench.ask(client, upstream)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 30000 + b"\r\n\r\n"
    for _ in range(600):  # the client reads nothing: its socket fills up
        try:
            upstream.send(hints)
        except (BlockingIOError, BrokenPipeError):
            break
        bench.turn()
    bench.pass_ms(900)
    bench.turn(turns=3)
    got = b""
    while piece := received(client):
        got += piece
        bench.turn()
    assert got.startswith(hints) and len(got) % len(hints) and b"HTTP/1.1 50" not in got[-len(hints) :]
    bench.assert_at_rest()


def test_a_flood_of_unwanted_interim_answers_does_not_hold_the_worker(bench):
    client, upstream = bench.client(), bench.upstream(is_tcp=True)
    bench.ask(client, upstream)
    other, far = bench.client(), bench.upstream(1)
    flood = memoryview(b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000)
    for _ in range(20):
        try:
            while True:
                flood = flood[upstream.send(flood) :]
        except BlockingIOError:
            pass
        bench.turn()
    assert received(client) is None
    while received(far) is None and received(upstream) is None:
        other.send(REQUEST)  # someone else is served meanwhile
        bench.turn()
    bench.pass_ms(61_000)
    assert received(client).startswith(b"HTTP/1.1 504 ")


def test_debug_fields(make_bench):
    bench = make_bench(Settings(debug_headers=True))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    _, fields, _ = head_and_body(received(client))
    assert fields["x-isochrone-pop"] == "fra" and fields["x-isochrone-reason"] == "fastest"


@pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_an_answer_that_began_and_does_not_go_on_is_504(make_bench, begun):
    bench = make_bench(Settings(first_byte_ms=500))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(begun)
    bench.turn()
    received(client)
    bench.pass_ms(700)
    assert received(client).startswith(b"HTTP/1.1 504 ") and received(upstream) == b""


def test_interim_answers_that_the_client_does_not_take_pile_up_to_a_buffer_and_no_further(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 20_000 + b"\r\n\r\n"
    for _ in range(100):
        try:
            upstream.send(hints)
        except (BlockingIOError, BrokenPipeError):
            pass
        bench.turn()
    assert received(upstream) == b"", "given up"
    got = b""
    while piece := received(client):
        got += piece
        bench.turn()
    assert got.startswith(hints * 3) and b"502" not in got
    bench.assert_at_rest()


def test_a_final_head_behind_interim_ones_fits_or_is_not_sent_at_all(make_bench):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 20_000 + b"\r\n\r\n"

    def pile_up(most):
        """As many as are taken: the client reads nothing."""
        bench = make_bench(Settings(debug_headers=True))
        client, upstream = bench.client(), bench.upstream()
        bench.ask(client, upstream)
        for n in range(most):
            upstream.send(hints)
            bench.turn(turns=2)
            if received(upstream) == b"":
                return n, bench, client, upstream
        return most, bench, client, upstream

    fitting = pile_up(100)[0]
    outcomes = set()
    for size in (100, 2000, 5000, 8000, 20_000):
        _, bench, client, upstream = pile_up(fitting)
        upstream.send(b"HTTP/1.1 200 OK\r\nx: " + b"x" * size + b"\r\nContent-Length: 2\r\n\r\nok")
        got = b""
        for _ in range(60):
            bench.turn()
            got += received(client) or b""
        rest = got[fitting * len(hints) :]
        assert len(got) < fitting * len(hints) or rest == b"" or rest.endswith(b"\r\n\r\nok")
        outcomes.add(rest.endswith(b"ok"))
        bench.assert_at_rest()
    assert outcomes == {False, True}


def test_interim_answers_that_just_fill_the_buffer(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: "
    hints += b"x" * (8192 - len(hints) - 4) + b"\r\n\r\n"
    upstream.send(hints)
    bench.turn()
    assert received(client) == hints
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


def test_an_interim_answer_meets_no_client(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    client.close()  # told of after the upstream, in the same turn
    bench.turn(turns=2)
    assert received(upstream) == b""
    bench.assert_at_rest()
