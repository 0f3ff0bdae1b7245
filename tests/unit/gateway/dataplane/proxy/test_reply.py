"""The gateway's own answers: whole messages, for every status it gives."""

import time
from email.utils import parsedate_to_datetime

import h11
import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import REQUEST, received


def parsed(answer, method=b"GET"):
    """By h11: status, fields, body; the message is whole and nothing follows."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(answer)
    head, body = reader.next_event(), b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage) and reader.trailing_data == (b"", False)
    return head.status_code, dict(head.headers), body


@pytest.mark.parametrize("start", ["GET / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.0", "HEAD / HTTP/1.0"])
@pytest.mark.parametrize("keeps", [False, True])
def test_whole_in_every_form(make_bench, start, keeps):
    bench = make_bench(routes=(RouteSpec("other", 0, hosts=("other",)),))
    client = bench.client()
    is_old = start.endswith("1.0")
    client.send(f"{start}\r\nHost: a\r\nConnection: {'keep-alive' if keeps else 'close'}\r\n\r\n".encode())
    bench.turn()
    status, fields, body = parsed(received(client), start.split()[0].encode())
    assert status == 404 and body == (b"" if "HEAD" in start else b"Not Found\n")
    assert fields.get(b"connection") == (b"keep-alive" if keeps and is_old else None if keeps else b"close")
    assert fields[b"content-length"] == b"10"
    assert received(client) == (None if keeps else b"")


@pytest.mark.parametrize("request_", [REQUEST, REQUEST.replace(b"GET", b"BREW")])
def test_it_says_when(make_bench, request_):
    bench = make_bench(routes=(RouteSpec("other", 0, hosts=("other",)),))
    client = bench.client()
    before = int(time.time())
    client.send(request_)
    bench.turn()
    said = parsed(received(client))[1][b"date"].decode()
    assert before <= parsedate_to_datetime(said).timestamp() <= time.time()


@pytest.mark.parametrize(
    ("lines", "is_ours"),
    [
        ([b"Max-Forwards: 0"], True),
        ([b"max-forwards:  00 "], True),
        ([b"Max-Forwards: 7", b"Max-Forwards: 0"], True),
        ([b"Connection: max-forwards", b"Max-Forwards: 0"], False),
        ([b"Max-Forwards: 1"], False),
        ([b"Max-Forwards: -0"], False),
        ([b"Max-Forwards:"], False),
    ],
)
@pytest.mark.parametrize("start", [b"OPTIONS /x HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET /x HTTP/1.1", b"HEAD /x HTTP/1.1"])
def test_options_that_may_go_no_further_are_answered_here(bench, start, lines, is_ours):
    client, upstream = bench.client(), bench.upstream()
    client.send(b"\r\n".join((start, b"Host: a", *lines, b"", b"")))
    bench.turn()
    if is_ours and start.startswith(b"OPTIONS"):
        status, fields, body = parsed(received(client), b"OPTIONS")
        assert (status, body) == (200, b"OK\n") and fields[b"allow"] == b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        assert received(upstream) is None and received(client) is None
        bench.assert_at_rest()
    else:
        assert received(upstream).startswith(start)


@pytest.mark.parametrize(
    ("request_", "status", "name", "value"),
    [
        (REQUEST.replace(b"GET", b"TRACE"), 405, b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (REQUEST.replace(b"GET", b"BREW"), 501, b"content-type", b"text/plain"),
        (REQUEST.replace(b"1.1", b"3.0"), 505, b"content-type", b"text/plain"),
        (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\n", 414, b"content-type", b"text/plain"),
    ],
)
def test_statuses(make_bench, request_, status, name, value):
    bench = make_bench(Settings(head_bytes=256))
    client = bench.client()
    client.send(request_)
    bench.turn(turns=2)
    found, fields, body = parsed(received(client))
    assert found == status and fields[name] == value and body.endswith(b"\n")


def test_a_client_that_does_not_read_its_answer_is_cut_in_time(make_bench):
    bench = make_bench(Settings(body_progress_ms=1000), routes=(RouteSpec("other", 0, hosts=("other",)),))
    client = bench.client()
    for _ in range(400):  # pipelined: the answers fill the socket
        try:
            client.send(REQUEST * 100)
        except BlockingIOError:
            pass
        bench.turn()
    bench.pass_ms(1300)
    bench.assert_at_rest()
    assert bench.counters.read()["idle"][0] == 0
