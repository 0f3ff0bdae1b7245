"""Bodies of any size, either way, under backpressure; the bytes are the same and memory is constant."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

import routing_core
from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, PATTERN, REQUEST, Bench, chunked, pour, received

SIZES = (1, 8191, 8192, 8193, 65535, 65536, 65537, 300_000)


@pytest.mark.parametrize("step", [997, 1 << 20])
@pytest.mark.parametrize("form", ["length", "chunks"])
@pytest.mark.parametrize("size", SIZES)
def test_up(bench, size, form, step):
    client, upstream = bench.client(), bench.upstream()
    body = PATTERN[:size]
    framed = chunked(body, 5000) if form == "chunks" else body
    framing = b"Transfer-Encoding: chunked" if form == "chunks" else b"Content-Length: %d" % size
    got = pour(bench, client, upstream, b"PUT /x HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + framed, step)
    assert got.partition(b"\r\n\r\n")[2] == framed
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[0])["bytes_up"] == size
    bench.assert_at_rest()
    assert bench.ask(client, upstream), "both connections live on"


@pytest.mark.parametrize("step", [997, 1 << 20])
@pytest.mark.parametrize("form", ["length", "chunks", "end", "unchunked"])
@pytest.mark.parametrize("size", SIZES)
def test_down(bench, size, form, step):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, REQUEST.replace(b"1.1", b"1.0") if form == "unchunked" else REQUEST)
    body = PATTERN[:size]
    framed = chunked(body, 5000) if form in ("chunks", "unchunked") else body
    framing = {"length": b"Content-Length: %d\r\n" % size, "end": b""}.get(form, b"Transfer-Encoding: chunked\r\n")
    got = pour(bench, upstream, client, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + framed, step)
    if form == "end":
        upstream.close()
        bench.turn(turns=2)
    assert got.partition(b"\r\n\r\n")[2] == (framed if form == "chunks" else body)
    assert received(client) == (b"" if form in ("end", "unchunked") else None)
    assert bench.figures.read_pool(bench.pool_rows[0])["bytes_down"] == size
    bench.assert_at_rest()


@given(st.lists(st.integers(1, 40), max_size=60), st.lists(st.integers(1, 90), min_size=1, max_size=40), st.booleans())
def test_chunks_come_off_for_an_old_client_however_they_are_cut(sizes, cuts, has_trailer):
    bench = Bench()
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
    body = PATTERN[: sum(sizes)]
    text, at = b"", 0
    for size in sizes:
        text += b"%X;e=1\r\n%s\r\n" % (size, body[at : at + size])
        at += size
    text += b"0\r\n" + b"x-t: 1\r\n" * has_trailer + b"\r\n"
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + text
    got, at = b"", 0
    for cut in cuts:
        upstream.send(stream[at : at + cut])
        at += cut
        bench.turn()
        got += received(client) or b""
    upstream.send(stream[at:])
    bench.turn(turns=2)
    got += received(client) or b""
    assert got == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body
    bench.close()


@given(
    st.lists(st.sampled_from([b"ETag: 1", b"x_y: 2", b"date: 3", b"z: " + b"z" * 3000]), max_size=5),
    st.lists(st.integers(1, 9000), max_size=9),
)
def test_trailers_go_down_when_all_are_there_however_they_are_cut(trailers, cuts):
    trailers = [line + b"\r\n" for n, line in enumerate(trailers) if len(b"".join(trailers[: n + 1])) < 8000]
    bench = Bench()
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    framed = chunked(PATTERN[:9000])[:-2]
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    stream = head + framed + b"".join(trailers) + b"\r\n"
    got, at = b"", 0
    for cut in [*cuts, len(stream)]:
        upstream.send(stream[at : at + cut])
        at += cut
        bench.turn()
        got += received(client) or b""
    assert got == head + framed + b"".join(line for line in trailers if line[:1] in b"Ez") + b"\r\n"
    assert bench.ask(client, upstream), "both connections live on"
    bench.close()


def test_trailers_that_come_byte_by_byte_behind_a_full_buffer(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(PATTERN[:8000])[:-2])
    bench.turn()
    received(client)
    trailers = b"x_y: 1\r\netag: " + b"e" * 8166 + b"\r\n\r\n"
    for n in range(len(trailers)):
        assert received(client) is None
        upstream.send(trailers[n : n + 1])
        bench.turn()
    assert received(client) == trailers[8:]
    bench.assert_at_rest()


def test_many_tiny_chunks_cost_no_more_than_their_bytes(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
    got = pour(bench, upstream, client, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
    assert got.partition(b"\r\n\r\n")[2] == b"x" * 200_000


def test_memory_is_constant_while_the_client_does_not_read(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    most = 0
    sent = 0
    for _ in range(200):
        try:
            sent += upstream.send(PATTERN)
        except BlockingIOError:
            pass
        bench.turn()
        most = max(most, routing_core.live_blocks()["buffer"])
    assert sent > 200_000 and most <= 6


def test_one_fast_stream_does_not_hold_the_worker(bench):
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    got = len(pour(bench, upstream, client, PATTERN * 8))
    assert got > len(PATTERN) * 8


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\nhello", b"5\r\nhelloX", b"1;\n\r\nx"])
def test_unsound_chunks_up_are_400_and_what_follows_is_not_sent(bench, body):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + body + REQUEST)
    bench.turn(turns=2)
    sent = received(upstream)
    assert b"3\r\nabc\r\n" in sent and b"GET" not in sent
    assert received(upstream) == b""
    assert received(client).startswith(b"HTTP/1.1 400 ") and received(client) == b""
    assert bench.causes == {"bad_body": 1}


def test_unsound_chunks_down_are_a_visible_cut(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n0\r\n\r\n")
    bench.turn(turns=2)
    assert received(client).endswith(b"\r\n\r\n3\r\nabc\r\n") and received(client) == b""


@pytest.mark.parametrize("form", ["end", "unchunked"])
def test_a_cut_that_only_a_reset_can_show(bench, form):
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    bench.ask(client, upstream, REQUEST.replace(b"1.1", b"1.0"))
    upstream.send(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n" if form == "unchunked" else b"") + b"\r\n5\r\nhello\r\n")
    bench.turn()
    assert received(client).endswith(b"hello" if form == "unchunked" else b"5\r\nhello\r\n")
    if form == "end":
        bench.pass_ms(31_000)  # it pauses for longer than a body may
    else:
        upstream.close()
        bench.turn(turns=2)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_chunked_body_over_the_limit_is_413(make_bench):
    bench = make_bench(Settings(body_bytes=1000))
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 1000)[:-5])
    bench.turn()
    assert received(upstream)
    client.send(b"1\r\ny\r\n")
    bench.turn(turns=2)
    assert received(upstream) == b""
    assert received(client).startswith(b"HTTP/1.1 413 ") and bench.causes == {"body_too_large": 1}


@pytest.mark.parametrize("size", [100, 7900, 8050, 8100, 8160, 8192, 9000, 65000, 66000, 200_000])
@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_retry_sends_the_same_bytes_or_nothing(bench, size, form):
    server = bench.listen()
    client, first = bench.client(), bench.upstream()
    body = PATTERN[:size]
    framed = chunked(body, 777) if form == "chunks" else body
    framing = b"Transfer-Encoding: chunked" if form == "chunks" else b"Content-Length: %d" % size
    request = b"PUT /x HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + framed
    once = pour(bench, client, first, request)
    first.close()
    bench.turn(turns=4)
    if received(client):
        assert size > 7000, "it lay within the replay buffer"
        return
    assert size < 66000
    second = bench.accepted(server)
    second.setblocking(False)
    again = pour(bench, client, second, b"")
    assert again == once and again.endswith(framed)


def test_either_way_a_pause_that_is_too_long_ends_the_stream_and_a_short_one_does_not(make_bench):
    bench = make_bench(Settings(body_progress_ms=1000, first_byte_ms=3000))
    client, upstream = bench.client(), bench.upstream()
    # An upload that trickles for longer than any single limit, and was once held up by the upstream.
    client.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
    left = 2_000_000
    while left:
        try:
            left -= client.send(bytes(min(left, 1 << 20)))
        except BlockingIOError:
            break
        bench.turn()
    bench.turn(900)
    while received(upstream):
        bench.turn()
    while left:
        bench.turn(500)
        left -= client.send(bytes(min(left, 40_000)))
        bench.turn()
        received(upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    # A download by a client that reads slowly, but reads.
    bench.ask(client, upstream)
    pour_in = memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000))
    got = 0
    while got < 2_000_000:
        try:
            pour_in = pour_in[upstream.send(pour_in) :] if pour_in else pour_in
        except BlockingIOError:
            pass
        bench.turn(300)
        got += len(client.recv(60_000))
    bench.assert_at_rest()
    # One that does not.
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n")
    for _ in range(20):
        try:
            upstream.send(bytes(100_000))
        except BlockingIOError:
            pass
        bench.turn()
    bench.pass_ms(1500)
    bench.assert_at_rest()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        upstream.send(b"x")


def test_heads_that_the_client_takes_in_pieces(bench):
    client, theirs = bench.pair()
    with socket.socket(fileno=theirs) as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        bench.worker.adopt_downstream(small.detach())
    upstream = bench.upstream()
    answer = b"HTTP/1.1 200 OK\r\nx: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nok"
    client.send(REQUEST * 20)
    got = b""
    for turn in range(2000):
        bench.turn()
        if received(upstream):
            upstream.send(answer)
        if turn > 100:  # by then its socket is full
            try:
                got += client.recv(5000)
            except BlockingIOError:
                pass
    assert got == answer * 20
