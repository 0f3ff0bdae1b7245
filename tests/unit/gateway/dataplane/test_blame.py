"""What the client, our own limits or the endpoint's right brought about is nobody's failure; all else is the endpoint's."""

import pytest

from tests.support.dataplane import REQUEST, received, reset

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n"


def failures(bench, pop=0):
    """Of an endpoint and of its pool, as probes, ejections and penalties read them."""
    own = bench.figures.read_endpoint(bench.rows[pop][0])
    return own["failures"], own["errors"], bench.figures.read_pool(bench.pool_rows[pop])["failures"]


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
