"""How slowly a body may move: where the client is waited for, and only there."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import PATTERN, REQUEST, received

POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


def drip(bench, client, upstream, seconds, size=1, every_ms=1000):
    """Sends so much each time; returns after how many seconds the client was answered, or None. The upstream reads all."""
    for n in range(seconds * 1000 // every_ms):
        client.send(b"x" * size)
        bench.pass_ms(every_ms)
        received(upstream)
        if (answer := received(client)) is not None:
            assert answer.startswith(b"HTTP/1.1 408 ")
            return n * every_ms // 1000
    return None


@pytest.mark.parametrize("size", [1, 100, 200])
def test_a_body_below_the_rate_ends_and_frees_the_endpoint(make_bench, size):
    bench = make_bench(Settings(body_progress_ms=5000, connections_per_endpoint=1))
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, POST)
    at_s = drip(bench, client, upstream, 60, size)
    assert at_s is not None
    # All pauses: 5 s, and a second more for each 240 bytes.
    assert abs(at_s - 5 / (1 - size / 240)) <= 2, at_s
    assert bench.causes == {"slow_body": 1}
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0, "no endpoint's fault"
    bench.turn()
    assert bench.figures.read_pool(bench.pool_rows[0])["in_flight"] == 0


def test_a_body_at_the_rate_goes_on(make_bench):
    bench = make_bench(Settings(body_progress_ms=5000))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, POST)
    assert drip(bench, client, upstream, 120, 250) is None
    assert drip(bench, client, upstream, 10, 500, every_ms=2000) is None


@pytest.mark.parametrize("exempt", ["rate", "service"])
def test_no_rate_is_asked(make_bench, exempt):
    bench = make_bench(Settings(body_progress_ms=5000, body_rate=0) if exempt == "rate" else Settings(body_progress_ms=5000),
                       service={"is_long_lived": exempt == "service"})  # fmt: skip
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, POST)
    assert drip(bench, client, upstream, 60) is None
    bench.pass_ms(5200)
    assert received(client).startswith(b"HTTP/1.1 408 "), "one pause is bounded all the same"


def test_an_upstream_that_dribbles_is_not_the_clients_fault(make_bench):
    bench = make_bench(Settings(body_progress_ms=5000))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, REQUEST)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(60):
        upstream.send(b"x")
        bench.pass_ms(1000)
        assert received(client) != b""


def test_a_client_that_reads_below_the_rate_is_cut(make_bench):
    bench = make_bench(Settings(body_progress_ms=5000, body_rate=1_000_000))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, REQUEST)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    seconds = 0
    while bench.counters.read()["active"][0] and seconds < 60:
        try:
            while upstream.send(PATTERN):
                bench.turn()
        except (BlockingIOError, BrokenPipeError):
            pass
        client.recv(200_000)  # each second something moves
        bench.pass_ms(1000)
        seconds += 1
    assert 4 <= seconds <= 12, seconds
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0
