"""What an exchange leaves behind: a line in the access log, and figures for people."""

import contextlib

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec, RuleSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received, reset

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"


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
        "request_id": "id-7", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "country": None, "asn": None, "cause": None, "ended_by": None,
    }  # fmt: skip
    assert bench.worker.read_log() == []


@pytest.mark.parametrize(
    ("routes", "status", "reason", "cause"),
    [
        ((RouteSpec("other", 0, hosts=("other",)),), 404, None, "no_route"),
        ((RouteSpec("refused", None), RouteSpec("all", 0)), 500, None, "route_refused"),
        ((RouteSpec("none", 0, rules=(RuleSpec(frozenset()),)),), 503, None, "no_permitted_pop"),
        (None, 502, "failover", None),
    ],
)
def test_what_the_gateway_answers_itself(make_bench, routes, status, reason, cause):
    bench = make_bench(Settings(log_share=1.0), routes=routes)
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=4)
    received(client)
    (record,) = bench.worker.read_log()
    assert (record["status"], record["reason"], record["first_byte_ms"], record["cause"]) == (status, reason, None, cause)
    assert (record["route"], record["service"]) == {"no_route": (None, None), "route_refused": ("refused", None)}.get(
        cause, ("none" if routes else "all", "shop")
    )
    assert record["endpoint"] == (f"127.0.0.1:{NOWHERE}" if status == 502 else None), "the last that was tried"


def test_a_client_that_went_is_499(logged):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    client.close()
    logged.turn(turns=2)
    (record,) = logged.worker.read_log()
    assert (record["status"], record["cause"], record["ended_by"]) == (499, None, "client")


@pytest.mark.parametrize(("is_upload", "status", "cause"), [(False, 504, None), (True, 408, "slow_body")])
def test_who_hung_is_named(make_bench, is_upload, status, cause):
    bench = make_bench(Settings(log_share=1.0, first_byte_ms=500, body_progress_ms=500))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" if is_upload else REQUEST)
    bench.pass_ms(700)
    (record,) = bench.worker.read_log()
    assert (record["status"], record["cause"], record["pop"]) == (status, cause, "fra")
    assert record["endpoint"] == f"127.0.0.1:{NOWHERE}"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "cause", "status"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "line_end", 502),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", "fold", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "content_length", 502),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 129 + b"\r\n", "too_many_fields", 502),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, "head_too_large", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n", "switch", 502),
        (b"hello", "start_line", 502),
        (b"HTTP/1.1 200 O", "cut", 502),
        (CHUNKED + b"5\r\nhe", "cut", 200),
        (CHUNKED + b"5\r\nhello\n", "body", 200),
        (ANSWER, None, 200),
    ],
)
def test_why_an_answer_was_not_taken(logged, answer, cause, status):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    upstream.send(answer)
    logged.turn(turns=2)
    upstream.close()
    logged.turn(turns=2)
    (record,) = logged.worker.read_log()
    assert (record["status"], record["cause"], record["endpoint"]) == (status, cause, f"127.0.0.1:{NOWHERE}")
    assert {name: n for name, n in logged.counters.read()["bad_answers"].items() if n} == ({cause: 1} if cause else {})
    assert logged.causes == {} and b": " not in received(client).partition(b"\r\n\r\n")[2], "the client did nothing wrong"


def test_many_bad_answers_take_no_share_of_refusals(make_bench):
    """They are the operator's own, and each of them is wanted: not one in eight, as of a flood of refusals."""
    bench = make_bench(Settings(log_share=1.0), log_bytes=1 << 14)
    for _ in range(20):
        client, upstream = bench.client(), bench.upstream()
        bench.ask(client, upstream)
        upstream.send(b"hello")
        bench.turn(turns=2)
    assert [record["cause"] for record in bench.worker.read_log()] == ["start_line"] * 20


def test_an_answer_that_the_upstream_breaks_off_is_its_end(logged):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    logged.turn()
    upstream.close()
    logged.turn(turns=2)
    (record,) = logged.worker.read_log()
    assert (record["status"], record["bytes_out"], record["ended_by"]) == (200, 4, "upstream")


@pytest.mark.parametrize("is_late", [False, True])
def test_who_reads_no_answer_ends_it(logged, is_late):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000)
    logged.turn()
    if is_late:
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                upstream.send(b"x" * 100_000)
            logged.turn(turns=3)
        logged.pass_ms(120_000)
    else:
        reset(client)
        logged.turn(turns=2)
    (record,) = logged.worker.read_log()
    assert (record["status"], record["ended_by"]) == (200, "client")


def test_what_a_drain_cuts_is_the_gateways_end(logged):
    client, upstream = logged.client(), logged.upstream()
    logged.ask(client, upstream)
    logged.snapshots.order("aborting")
    logged.turn(turns=2)
    (record,) = logged.worker.read_log()
    assert (record["status"], record["ended_by"]) == (499, "gateway")


@pytest.mark.parametrize(
    ("said", "status", "cause", "path"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_repeated", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431, "too_many_fields", None),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", 413, "body_too_large", "/a"),
        (b"GET /slow HTTP/1.1\r\nHos", 408, "slow_head", None),
    ],
)
def test_a_refusal_has_a_line_with_its_cause(make_bench, said, status, cause, path):
    bench = make_bench(Settings(log_share=1.0, body_bytes=1000))
    client = bench.client("192.0.2.9")
    client.send(said)
    bench.turn(turns=2)
    bench.pass_ms(20_000)
    (record,) = bench.worker.read_log()
    assert (record["status"], record["cause"], record["ended_by"], record["path"]) == (status, cause, None, path)
    assert record["client"] == "192.0.2.9"


def test_a_flood_of_refusals_leaves_room_for_the_others_lines(make_bench):
    bench = make_bench(Settings(log_share=1.0), log_bytes=1 << 15)
    polite, upstream = bench.client("192.0.2.1"), bench.upstream()
    for _ in range(1000):
        rude = bench.client("192.0.2.9")
        rude.send(b"GET / HTTP/1.1\r\n\r\n")
        bench.turn()
        rude.close()
    dropped = bench.figures_read["log_dropped"]
    assert dropped > 900
    for _ in range(50):
        bench.ask(polite, upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(polite) == ANSWER
    assert bench.figures_read["log_dropped"] == dropped
    records = bench.worker.read_log()
    assert [record["client"] for record in records if not record["cause"]] == ["192.0.2.1"] * 50
    assert {record["cause"] for record in records if record["client"] == "192.0.2.9"} == {"host_absent"}


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
