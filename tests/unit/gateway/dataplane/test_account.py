"""What an exchange leaves behind: figures, and a line in the access log."""

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received


@pytest.fixture
def logged(make_bench):
    return make_bench(Settings(log_share=1.0, trusted=("127.0.0.0/8",)))


def test_a_whole_record(logged):
    bench = logged
    client, upstream = bench.client(), bench.upstream(1)
    bench.ask(client, upstream, b"POST /a/b?c=d HTTP/1.1\r\nHost: Shop.example:80\r\nX-Request-Id: id-7\r\nX-Forwarded-For: 203.0.113.9\r\n"
              b"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nContent-Length: 3\r\n\r\nabc")  # fmt: skip
    bench.turn(20)
    upstream.send(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhel")
    bench.turn(10)
    upstream.send(b"lo")
    bench.turn(5)
    (record,) = bench.worker.read_log()
    assert record == {
        "ended_us": bench.now_us, "duration_ms": 35.0, "first_byte_ms": 30.0, "endpoint": f"127.0.0.1:{NOWHERE}",
        "client": "203.0.113.9", "method": "POST", "host": "Shop.example", "path": "/a/b?c=d", "status": 201, "bytes_in": 3, "bytes_out": 5,
        "route": "all", "service": "shop", "pop": "nyc", "reason": "fastest", "attempts": 1,
        "request_id": "id-7", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "country": None, "asn": None,
    }  # fmt: skip
    assert bench.worker.read_log() == []


@pytest.mark.parametrize(
    ("routes", "status", "reason"),
    [
        ((RouteSpec("other", 0, hosts=("other",)),), 404, None),
        ((RouteSpec("none", 0, permitted_pops=frozenset()),), 503, None),
        (None, 502, "failover"),
    ],
)
def test_what_the_gateway_answers_itself(make_bench, routes, status, reason):
    bench = make_bench(Settings(log_share=1.0), routes=routes)
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=4)
    received(client)
    (record,) = bench.worker.read_log()
    assert (record["status"], record["reason"], record["first_byte_ms"], record["endpoint"]) == (status, reason, None, None)


def test_a_client_that_went_is_499(logged):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    client.close()
    logged.turn(turns=2)
    assert logged.worker.read_log()[0]["status"] == 499


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 25, 75), (1.0, 100, 100)])
def test_a_share_is_logged(make_bench, share, least, most):
    bench = make_bench(Settings(log_share=share))
    client, upstream = bench.client(), bench.upstream()
    for _ in range(100):
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.turn()
        received(client)
    assert least <= len(bench.worker.read_log()) <= most


def test_texts_are_cut_to_what_a_record_has_room_for(make_bench):
    bench = make_bench(Settings(log_share=1.0))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"GET /" + b"p" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    upstream.send(ANSWER)
    bench.turn()
    assert bench.worker.read_log()[0]["path"] == "/" + "p" * 4095


def test_figures_of_the_pool(make_bench):
    bench = make_bench()
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
    bench.turn(700)
    client.send(b"b")
    bench.turn()
    upstream.send(ANSWER[:4])
    bench.turn(30)
    upstream.send(ANSWER[4:])
    bench.turn(50)
    figures = bench.figures.read_pool(bench.pool_rows[0])
    assert figures["first_byte_us"] == 30_000, "from the upload's end, not from its beginning"
    assert figures["duration_us"] == 80_000 and figures["durations"] == figures["first_bytes"] == 1
    assert sum(figures["duration_buckets"]) == sum(figures["first_byte_buckets"]) == 1
    assert figures["codes"] == {"200": 1} and (figures["bytes_up"], figures["bytes_down"]) == (2, 5)
    assert bench.figures.read_endpoint(bench.rows[0][0])["latency_us"] == 30_000
