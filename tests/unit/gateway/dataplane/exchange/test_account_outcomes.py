"""What an exchange leaves behind: what endpoints and PoPs are chosen by."""

import contextlib
import struct
from array import array

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, pour, received, reset

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"
OUTCOMES = ("answers", "errors", "failures", "server_errors")


def outcomes(bench, pop=0):
    """Of a PoP's pool and of its endpoint, what is not 0."""
    pool, endpoint = bench.figures.read_pool(bench.pool_rows[pop]), bench.figures.read_endpoint(bench.rows[pop][0])
    found = {name: pool[name] for name in ("failures", "server_errors", "rate_limited", "retry_after_ms")}
    found |= {"endpoint": {name: endpoint[name] for name in (*OUTCOMES, "connect_failures") if endpoint[name]}}
    return {name: value for name, value in found.items() if value}


def answered(status, *lines):
    return b"\r\n".join((b"HTTP/1.1 %d x" % status, *lines)) + b"\r\nContent-Length: 0\r\n\r\n"


def serve(bench, answer, request=REQUEST, waits_ms=30):
    """Of one exchange; returns what the client got."""
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, request)
    bench.turn(waits_ms)
    upstream.send(answer)
    bench.turn(turns=2)
    got = received(client)
    client.close()
    upstream.close()
    bench.turn(turns=2)
    bench.assert_at_rest()
    return got


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (200, {"endpoint": {"answers": 1}}),
        (404, {"endpoint": {"answers": 1}}),
        (499, {"endpoint": {"answers": 1}}),
        (500, {"server_errors": 1, "endpoint": {"answers": 1, "server_errors": 1}}),
        (501, {"server_errors": 1, "endpoint": {"answers": 1, "server_errors": 1}}),
        (502, {"server_errors": 1, "endpoint": {"errors": 1}}),
        (503, {"server_errors": 1, "endpoint": {"errors": 1}}),
        (504, {"server_errors": 1, "endpoint": {"errors": 1}}),
        (505, {"server_errors": 1, "endpoint": {"answers": 1, "server_errors": 1}}),
        (599, {"server_errors": 1, "endpoint": {"answers": 1, "server_errors": 1}}),
        (600, {"endpoint": {"answers": 1}}),
        (429, {"rate_limited": 1, "endpoint": {"answers": 1}}),
    ],
)
def test_answers_and_errors(bench, status, wanted):
    serve(bench, b"HTTP/1.1 103 Early Hints\r\n\r\n" + answered(status))
    assert outcomes(bench) == wanted
    is_bad, is_limited = 500 <= status <= 599, status == 429
    *_, bad_by, good_by, _ = bench.figures.read_endpoint_outcomes(bench.rows[0][0])
    assert (n_groups(bad_by), n_groups(good_by)) == (is_bad, not is_bad)
    assert [n_groups(cell) for cell in bench.figures.read_pool_groups(bench.pool_rows[0])] == [1, is_limited, is_bad]


def test_a_503_that_says_when_to_come_back_is_an_answer(bench):
    serve(bench, answered(503, b"Retry-After: 9"))
    limited = {"server_errors": 1, "rate_limited": 1, "retry_after_ms": 9000}
    assert outcomes(bench) == {**limited, "endpoint": {"answers": 1, "server_errors": 1}}
    assert [n_groups(cell) for cell in bench.figures.read_pool_groups(bench.pool_rows[0])] == [1, 1, 1]


def n_groups(cell):
    return 8 - struct.unpack("8I", cell.to_bytes(32)).count(0)


def test_who_got_no_answer_is_of_its_group_too(bench):
    serve(bench, b"nonsense\r\n\r\n")
    *_, bad_by, good_by, _ = bench.figures.read_endpoint_outcomes(bench.rows[0][0])
    assert (n_groups(bad_by), good_by) == (1, 0)
    assert [n_groups(cell) for cell in bench.figures.read_pool_groups(bench.pool_rows[0])] == [0, 0, 1]


@pytest.mark.parametrize(("us", "is_slow"), [(4_000_000, 1), (40_000, 1), (20_000, 0), (1000, 0)])
def test_whose_answers_are_far_slower_than_is_usual_is_known_by_group(bench, us, is_slow):
    for each in (10_000, us):
        client, upstream = bench.client(), bench.upstream()
        assert bench.ask(client, upstream)
        bench.pass_ms(each / 1000)
        upstream.send(answered(200))
        bench.turn(turns=2)
        client.close()
        bench.turn(turns=2)
    assert n_groups(bench.figures.read_endpoint_outcomes(bench.rows[0][0])[-1]) == is_slow


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7),
        (b" 007 ", 7),
        (b"300", 300),
        (b"301", 300),
        (b"99999999999999999", 300),
        (b"99999999999999999999999", 0),
        (b"0", 0),
        (b"-1", 0),
        (b"1.5", 0),
        (b"7, 8", 0),
        (b"7s", 0),
        (b"", 0),
        (b"Wed, 21 Oct 2037 07:28:00 GMT", 0),
    ],
)
def test_retry_after(bench, value, seconds):
    serve(bench, answered(429, b"a: b", b"Retry-After: " + value, b"Retry-After: 200"))
    serve(bench, answered(503, b"Retry-After: 9"))
    serve(bench, answered(429))
    assert bench.figures.read_pool_outcomes(bench.pool_rows[0]) == (3, 0, 1, 3, seconds * 1000 + 9000)


def test_a_refused_connect_is_a_failure_of_the_pop_and_no_error(bench):
    client, upstream = bench.client(), bench.upstream(1)
    client.send(REQUEST)
    bench.turn(turns=3)
    assert received(upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert outcomes(bench) == {"failures": 1, "endpoint": {"connect_failures": 1}}
    assert outcomes(bench, 1) == {"endpoint": {"answers": 1}}


@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize(
    ("said", "status", "is_failure"),
    [
        (b"", 502, "unless reused"),
        (b"nonsense\r\n\r\n", 502, True),
        (b"HTTP/1.1 200", 502, True),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", 502, True),
        (None, 504, True),
        (SWITCH, 502, True),
    ],
)
def test_each_attempt_that_fails(make_bench, said, status, is_failure, is_reused):
    bench = make_bench(Settings(first_byte_ms=500, max_retries=0))
    server = bench.listen()
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=3)
    upstream = bench.accepted(server)
    if is_reused:
        upstream.send(ANSWER)
        bench.turn(turns=2)
        assert received(client) == ANSWER
        client.send(REQUEST)
        bench.turn(turns=2)
    if said is not None:
        upstream.send(said)
        upstream.close()
    bench.pass_ms(700)
    assert b"HTTP/1.1 %d " % status in received(client)
    failures = int(is_failure if is_failure is True else not is_reused)
    counted = {"errors": failures, "failures": failures, "answers": int(is_reused)}
    wanted = {"failures": failures, "endpoint": {name: count for name, count in counted.items() if count}}
    assert outcomes(bench) == {name: value for name, value in wanted.items() if value}
    assert bench.figures.read_pool(bench.pool_rows[0])["first_bytes"] == int(is_reused), "no failure looks fast"


def times(bench):
    pool, endpoint = bench.figures.read_pool(bench.pool_rows[0]), bench.figures.read_endpoint(bench.rows[0][0])
    assert sum(pool["first_byte_buckets"]) == pool["first_bytes"] == endpoint["first_bytes"]
    assert pool["first_byte_us"] == endpoint["first_byte_us"]
    return pool["first_bytes"], pool["first_byte_us"], endpoint["latency_us"]


@pytest.mark.parametrize(
    ("value", "is_stream"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream", True),
        (b"text/event-stream; charset=utf-8", True),
        (b"text/event-stream;charset=utf-8", True),
        (b"text/event-stream\t;a", True),
        (b"text/event-streams", False),
        (b"text/event-strea", False),
        (b"application/text/event-stream", False),
        (b"", False),
    ],
)
def test_an_event_stream_says_nothing_about_latency(bench, value, is_stream):
    serve(bench, answered(200, b"content-typ: text/event-stream", b"Content-TYPE: " + value))
    assert times(bench) == ((0, 0, 0) if is_stream else (1, 30_000, 30_000))
    assert outcomes(bench) == {"endpoint": {"answers": 1}}


def test_nor_does_a_tunnel(make_bench):
    bench = make_bench(Settings(log_share=1.0))
    assert serve(bench, SWITCH, UPGRADE).startswith(b"HTTP/1.1 101 ")
    assert times(bench) == (0, 0, 0) and outcomes(bench) == {"endpoint": {"answers": 1}}
    assert bench.worker.read_log()[0]["first_byte_ms"] == 30, "the log tells it all the same"


def test_nor_does_a_service_that_is_long_lived(make_bench):
    bench = make_bench(service={"is_long_lived": True})
    assert serve(bench, ANSWER) == ANSWER
    assert times(bench) == (0, 0, 0)
    figures = bench.figures.read_pool(bench.pool_rows[0])
    assert figures["codes"] == {"200": 1} and figures["duration_us"] == 30_000


def test_the_wait_is_for_the_first_byte_however_long_the_head_takes(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    bench.turn(20)
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2")
    bench.turn(500)
    upstream.send(b"00 OK\r\nContent-Length: 0\r\n\r\n")
    bench.turn(500)
    assert times(bench) == (1, 520_000, 520_000)


def test_what_is_in_flight_in_a_pop_is_counted_over_its_services(make_bench):
    routes = (RouteSpec("canary", 1, path_prefix="/canary"), RouteSpec("all", 0))
    bench = make_bench(routes=routes, services=("shop", "canary"))
    ends = [(bench.client(), bench.upstream()) for _ in range(3)]
    for (client, _), path in zip(ends, (b"/canary", b"/canary", b"/x"), strict=True):
        client.send(REQUEST.replace(b"/x", path))
        bench.turn()
    assert bench.figures.read_pop(bench.pop_rows[0]) == 3 and bench.figures.read_pop(bench.pop_rows[1]) == 0
    assert [bench.figures.read_pool(rows[0])["in_flight"] for _, rows in bench.services.values()] == [1, 2]
    for client, upstream in ends:
        if received(upstream):
            upstream.send(ANSWER)
        client.close()
    bench.turn(turns=3)
    bench.assert_at_rest()


def waiting(bench, pop=0):
    return bench.figures.read_pool(bench.pool_rows[pop])["waiting"]


def held(bench):
    return sum(bench.figures.read_held(array("i", bench.pool_rows)))


def test_what_waits_for_the_endpoint_and_what_for_its_client(bench):
    """An upload that is dribbled is no queue at the endpoint, nor is a download that is."""
    client, upstream = bench.client(), bench.upstream()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
    bench.turn()
    assert (waiting(bench), bench.figures.read_pool(bench.pool_rows[0])["in_flight"]) == (0, 1)
    assert held(bench) == 1
    client.send(b"67890")
    bench.turn()
    assert (waiting(bench), held(bench)) == (1, 0)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    bench.turn()
    assert (waiting(bench), bench.figures.read_pool(bench.pool_rows[0])["in_flight"]) == (0, 1)
    upstream.send(b"llo")
    bench.turn()
    bench.ask(client, upstream)
    assert waiting(bench) == 1
    client.close()
    bench.turn(turns=3)
    assert waiting(bench) == 0
    bench.assert_at_rest()


def test_an_endpoint_that_does_not_read_an_upload_is_waited_for(bench):
    client, upstream = bench.client(), bench.upstream()
    pour(bench, client, client, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + bytes(8_000_000), turns=50)
    assert waiting(bench) == 1
    upstream.close()
    bench.turn(turns=3)
    assert waiting(bench) == 0


def test_a_client_that_does_not_read_holds_its_exchange(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.setblocking(False)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
    with contextlib.suppress(BlockingIOError):
        for _ in range(200):
            upstream.send(bytes(100_000))
            bench.turn()
    assert held(bench) == 1
    client.close()
    bench.turn(turns=3)
    assert held(bench) == 0


def tunnels(bench):
    return bench.figures.read_pool_tunnels(bench.pool_rows[0]), bench.figures.read_pop_tunnels(bench.pop_rows[0])


def test_a_tunnel_is_counted_apart_until_it_ends(bench):
    """It is neither load nor held: what is idle fills no capacity."""
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, UPGRADE)
    assert tunnels(bench) == (0, 0)
    upstream.send(SWITCH)
    bench.turn()
    assert tunnels(bench) == (1, 1) and held(bench) == 0
    assert bench.figures.read_pool(bench.pool_rows[0])["tunnels"] == bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 1
    client.close()
    upstream.close()
    bench.turn(turns=3)
    assert tunnels(bench) == (0, 0)


@pytest.mark.parametrize("of", ["pool", "pop"])
def test_tunnels_fill_no_capacity(make_bench, of):
    bench = make_bench(high=1) if of == "pool" else make_bench(pops=({"high": 1}, {}))
    for _ in range(3):
        client, upstream = bench.client(), bench.upstream()
        assert bench.ask(client, upstream, UPGRADE)
        upstream.send(SWITCH)
        bench.turn()
    first, second, here, there = bench.client(), bench.client(), bench.upstream(), bench.upstream(1)
    assert bench.ask(first, here)
    assert bench.ask(second, there)  # now it is full


def test_what_is_being_connected_waits(bench):
    """And, when it fails, waits there no more."""
    bench.client().send(REQUEST)
    bench.turn(turns=6)
    assert [waiting(bench, pop) for pop in (0, 1)] == [0, 0]
    assert bench.figures.read_pool(bench.pool_rows[0])["attempts"] == 1


TWO = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), (("127.0.0.1", NOWHERE),))


def latency_us(bench, number):
    return bench.figures.read_endpoint(bench.rows[0][number])["latency_us"]


@pytest.mark.parametrize("refusal", [answered(500), answered(503, b"Retry-After: 1"), answered(429), answered(502)])
def test_who_refuses_at_once_looks_no_quicker_than_who_answers(make_bench, refusal):
    bench = make_bench(endpoints=TWO)
    for number, answer, after_ms in ((0, ANSWER, 100), (1, refusal, 1)):
        bench.figures.set_endpoint(bench.rows[0][1 - number], state="shut")
        bench.figures.set_endpoint(bench.rows[0][number], state="admitting")
        bench.turn(100)
        client, upstream = bench.client(), bench.upstream(number=number)
        bench.ask(client, upstream)
        bench.turn(after_ms)
        upstream.send(answer)
        bench.turn(turns=2)
        assert received(client)
    assert latency_us(bench, 1) == latency_us(bench, 0) == 100_000


def test_who_gives_up_has_waited_at_least_so_long(bench):
    client, upstream = bench.client(is_tcp=True), bench.upstream()
    assert bench.ask(client, upstream)
    bench.turn(700)
    reset(client)
    bench.turn(turns=3)
    assert latency_us(bench, 0) == 700_000
    assert bench.figures.read_pool(bench.pool_rows[0])["first_bytes"] == 0
    client, upstream = bench.client(is_tcp=True), bench.upstream()  # an upload that is given up is not the endpoint's slowness
    assert bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
    bench.turn(5000)
    reset(client)
    bench.turn(turns=3)
    assert latency_us(bench, 0) == 700_000
    bench.assert_at_rest()
