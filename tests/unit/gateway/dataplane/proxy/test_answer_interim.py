"""An interim answer (RFC 9110 15.2) is no answer: what is measured, repeated and excused goes by the final one."""

import contextlib
import fcntl
import itertools
import struct
import termios

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
UPLOAD = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CHUNKED = UPLOAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
ONE_EACH = ((("127.0.0.1", NOWHERE),), (("127.0.0.1", NOWHERE),))


def pool(bench):
    return bench.figures.read_pool(bench.pool_rows[0])


def endpoint(bench):
    return bench.figures.read_endpoint(bench.rows[0][0])


@pytest.mark.parametrize("pace", ["at once", "in pieces", "begun together"])
def test_the_time_to_first_byte_is_the_answers(bench, pace):
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream)
    # In pieces: what of a head has come may be an interim one's. Together: an answer's first bytes come with the interim one.
    said = {"at once": [HINTS], "in pieces": [HINTS[:5], HINTS[5:20], HINTS[20:]], "begun together": [HINTS + HINTS[:9], HINTS[9:]]}
    for piece in said[pace]:
        upstream.send(piece)
        bench.turn(100)
        assert pool(bench)["waiting"] == 1 and pool(bench)["first_bytes"] == 0
    bench.turn(600)
    upstream.send(ANSWER[:9])
    bench.turn()
    bench.turn(50)
    upstream.send(ANSWER[9:])
    bench.turn()
    assert received(client).endswith(ANSWER)
    waited_ms = 600 + 100 * len(said[pace])
    assert pool(bench)["first_byte_us"] == endpoint(bench)["first_byte_us"] == waited_ms * 1000
    assert pool(bench)["waiting"] == 0
    bench.assert_at_rest()


def test_an_uploads_service_time_begins_with_its_end(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    bench.turn(70)
    upstream.send(CONTINUE)
    bench.turn()
    assert received(client) == CONTINUE and pool(bench)["waiting"] == 0, "now it waits for the client"
    bench.turn(5000)
    assert bench.ask(client, upstream, b"hello") == b"hello"
    assert pool(bench)["waiting"] == 1
    bench.turn(300)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert pool(bench)["first_byte_us"] == 300_000


def test_an_end_behind_an_interim_answer_is_repeated(make_bench):
    bench = make_bench(endpoints=ONE_EACH)
    server = bench.listen()
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(HINTS)
    bench.turn()
    assert received(client) == HINTS
    upstream.close()
    bench.turn(turns=3)
    again = bench.accepted(server)
    bench.turn(turns=2)
    assert again.recv(4096).startswith(b"GET /x ")
    again.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    assert endpoint(bench)["errors"] == 1


def test_who_was_told_to_continue_and_owes_its_body_is_whom_the_endpoint_tired_of(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    upstream.send(CONTINUE)
    bench.turn()
    bench.ask(client, upstream, b"he")
    bench.pass_ms(1300)
    upstream.close()
    bench.turn(turns=2)
    assert received(client).startswith(CONTINUE + b"HTTP/1.1 502 ")
    assert pool(bench)["failures"] == endpoint(bench)["errors"] == 0


PATIENCE = Settings(body_progress_ms=1000, first_byte_ms=3000)


@pytest.mark.parametrize("request_", [UPLOAD, CHUNKED], ids=["length", "chunked"])
def test_who_waits_to_be_told_waits_for_the_endpoint(make_bench, request_):
    bench = make_bench(PATIENCE)
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, request_)
    bench.turn(900)
    upstream.send(HINTS)  # extends nothing
    bench.turn()
    assert received(client) == HINTS
    bench.pass_ms(2000)
    assert received(client) is None and pool(bench)["waiting"] == 1
    bench.pass_ms(200)
    assert received(client).startswith(b"HTTP/1.1 504 ")
    assert pool(bench)["failures"] == endpoint(bench)["errors"] == 1
    assert bench.causes == {}
    bench.assert_at_rest()


def test_an_end_is_not_excused_by_a_client_that_waits_to_be_told(make_bench):
    bench = make_bench(PATIENCE)
    server = bench.listen()
    client = bench.client()
    client.send(UPLOAD)
    bench.turn(turns=3)
    upstream = bench.accepted(server)
    bench.pass_ms(2000)
    upstream.close()
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert pool(bench)["failures"] == endpoint(bench)["errors"] == 1


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(("request_", "begun"), [(UPLOAD, b"he"), (CHUNKED, b"5"), (CHUNKED, b"5\r\nhe")])
def test_who_has_begun_owes_the_rest(make_bench, request_, begun, is_told):
    """With or without having been told."""
    bench = make_bench(PATIENCE)
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, request_)
    bench.pass_ms(500)
    if is_told:
        upstream.send(CONTINUE)
        bench.turn()
        assert received(client) == CONTINUE
    client.send(begun)
    bench.pass_ms(900)
    assert received(client) is None
    bench.pass_ms(200)
    assert received(client).startswith(b"HTTP/1.1 408 ")
    assert bench.causes == {"slow_body": 1}
    assert pool(bench)["failures"] == endpoint(bench)["errors"] == 0


def test_who_was_told_and_says_nothing_is_late(make_bench):
    bench = make_bench(PATIENCE)
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    bench.pass_ms(2500)
    upstream.send(CONTINUE)
    bench.pass_ms(900)
    assert received(client) == CONTINUE
    bench.pass_ms(200)
    assert received(client).startswith(b"HTTP/1.1 408 ")
    assert bench.causes == {"slow_body": 1}


def test_the_wait_for_the_answer_begins_anew_behind_the_body(make_bench):
    bench = make_bench(PATIENCE)
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    bench.pass_ms(2500)
    upstream.send(CONTINUE)
    bench.turn()
    bench.ask(client, upstream, b"hello")
    bench.pass_ms(2900)
    assert received(client) == CONTINUE
    bench.pass_ms(200)
    assert received(client).startswith(b"HTTP/1.1 504 ")


def test_a_refusal_instead_of_a_continue_took_as_long_as_it_did(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    bench.turn(400)
    upstream.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 417 ")
    assert pool(bench)["first_byte_us"] == 400_000


def test_told_once_is_enough(bench):
    """A retry's endpoint says it anew: the client's body is here by then, or on its way."""
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPLOAD)
    upstream.send(CONTINUE * 2)
    bench.turn()
    assert received(client) == CONTINUE
    assert bench.ask(client, upstream, b"hello") == b"hello"
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


def unread(end):
    """What the other end of a unix socket pair has not read, as the kernel accounts for it."""
    return struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, b"    "))[0]


def test_floods_of_interim_answers_have_one_share_of_a_turn_all_together(bench):
    """Before, each had 128 KiB of every turn, and whoever else came waited for all of them."""
    ends = []
    for _ in range(30):
        ends.append((bench.client(), bench.upstream()))
        assert bench.ask(*ends[-1])
    sent = dict.fromkeys((upstream for _, upstream in ends), 0)
    for upstream in sent:
        with contextlib.suppress(BlockingIOError):
            while True:
                sent[upstream] += upstream.send(CONTINUE * 100)
    waiting = [sum(unread(upstream) for _, upstream in ends)]
    while waiting[-1]:
        bench.turn()
        waiting.append(sum(unread(upstream) for _, upstream in ends))
        assert waiting[-1] < waiting[-2], "each turn goes on"
    assert len(waiting) > 10
    # Their first octets, which might be an answer's, are read of each.
    assert max(before - after for before, after in itertools.pairwise(waiting[1:])) < waiting[0] // 8
    for client, upstream in ends:
        assert received(client) is None
        upstream.send(CONTINUE[sent[upstream] % len(CONTINUE) :] + ANSWER)
        bench.turn(turns=2)
        assert received(client) == ANSWER
    bench.assert_at_rest()


def test_a_request_that_has_seen_an_interim_answer_ends_no_close_race(bench):
    """The endpoint has it: what ended the connection was not its idleness."""
    server = bench.listen()
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=3)
    upstream = bench.accepted(server)
    upstream.send(ANSWER)
    bench.turn(turns=2)
    client.send(POST)
    bench.turn()
    upstream.send(HINTS)
    bench.turn()
    upstream.close()
    bench.turn(turns=2)
    assert b"HTTP/1.1 502 " in received(client)
    assert pool(bench)["failures"] == endpoint(bench)["errors"] == 1
