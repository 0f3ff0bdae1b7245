"""Memory refused at any moment: it ends an exchange or a connection, visibly, and nothing else; all is given back."""

import socket

import pytest

from gateway.dataplane import Settings
from routing_core import AffinitySpec, RouteSpec, _memory
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, chunked, received

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
POPS = ({"cookie": "fra.1", "public_url": "https://fra.example"}, {})
ROUTES = (
    RouteSpec("away", 0, path_prefix="/away", redirect_status=307),
    RouteSpec("all", 0, affinity=AffinitySpec("cookie", "pop", attributes="; a=" + "b" * 3000)),
)
AWAY = REQUEST.replace(b"/x", b"/away")
# what the client says; what the upstream says
SCENES = {
    "get": (REQUEST, ANSWER),
    "pipelined": (REQUEST * 3, ANSWER),
    "large heads": (REQUEST[:-2] + b"x: " + b"x" * 20000 + b"\r\n\r\n", OK + b"x: " + b"x" * 20000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "upload": (b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, ANSWER),
    "chunks": (b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 100_000), ANSWER),
    "download": (REQUEST, OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000),
    "unchunked": (REQUEST.replace(b"1.1", b"1.0"), OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 50_000)),
    "tunnel": (UPGRADE + b"x" * 10_000, SWITCH + b"x" * 50_000),
    "interim": (REQUEST, (b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 7000 + b"\r\n\r\n") * 3 + ANSWER),
    "garbage": (REQUEST, b"nonsense\r\n\r\n"),
    "redirected": (AWAY * 3, b""),
    "redirected far": (AWAY.replace(b"away", b"away/" + b"x" * 20_000), b""),
    "refused": (b"nonsense\r\n\r\n", b""),
    "connects": (REQUEST, b""),
}


def say(end, text):
    try:
        return text[end.send(text) :] if text else text
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        return text


@pytest.mark.parametrize("grants", range(10))
@pytest.mark.parametrize("refuses", ["at once", "at the answer"])
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_else_ends(make_bench, scene, refuses, grants):
    bench = make_bench(Settings(log_share=1.0), ROUTES, ((("127.0.0.1", NOWHERE),), ()), pops=POPS)
    request, answer = SCENES[scene]
    server = bench.listen() if scene == "connects" else None
    other, client = bench.client(), bench.client()
    upstream = None if server else bench.upstream()
    try:
        if refuses == "at once":
            _memory.refuse(True, grants)
        for _ in range(12):
            request = say(client, request)
            bench.turn()
            if upstream:
                received(upstream)
        if refuses == "at the answer":
            _memory.refuse(True, grants)
        for _ in range(12):
            answer = say(upstream, answer) if upstream else answer
            bench.turn()
            received(client)
    finally:
        _memory.refuse(False)
    client.close()
    if upstream:
        upstream.close()
    if server:
        server.setblocking(False)
        bench.turn(turns=2)
        while True:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                break
    bench.turn(turns=3)
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0
    assert bench.counters.read()["idle"][0] == 1, "the other client's connection"
    bench.forgive()
    fresh = bench.upstream()
    assert bench.ask(other, fresh)
    fresh.send(ANSWER)
    bench.turn()
    assert received(other).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("grants", range(6))
def test_own_lack_of_memory_is_no_endpoints_fault(bench, grants):
    server = bench.listen()
    client = bench.client()
    client.send(REQUEST)
    _memory.refuse(True, grants)
    try:
        bench.turn(turns=2)
    finally:
        _memory.refuse(False)
    assert all(bench.figures.read_endpoint(row)["connect_failures"] == 0 for (row,) in bench.rows)
    server.close()


@pytest.mark.parametrize("grants", range(2))
def test_a_connection_there_is_no_memory_for_is_refused(make_bench, grants):
    door = socket.create_server(("127.0.0.1", 0))
    door.setblocking(False)
    bench = make_bench(listeners=[door])
    client = socket.create_connection(door.getsockname())
    _memory.refuse(True, grants)
    try:
        bench.turn()
    finally:
        _memory.refuse(False)
    client.setblocking(False)
    assert received(client) == (b"" if grants == 0 else None)
    assert bench.causes == ({"no_memory": 1} if grants == 0 else {})
    client.close()


def test_no_memory_to_answer_a_slow_head(make_bench):
    bench = make_bench(Settings(request_head_ms=500))
    client = bench.client()
    client.send(REQUEST[:5])
    bench.turn()
    _memory.refuse(True)
    try:
        bench.pass_ms(800)
    finally:
        _memory.refuse(False)
    assert received(client) == b""
    bench.assert_at_rest()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_no_memory_for_the_rest_of_a_body(bench, direction):
    client, upstream = bench.client(), bench.upstream()
    if direction == "up":
        bench.ask(client, upstream, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    else:
        bench.ask(client, upstream)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 8000)
    _memory.refuse(True)
    try:
        if direction == "up":
            client.send(b"x" * 9000)
        bench.turn(turns=2)
    finally:
        _memory.refuse(False)
    got = received(client) or b""
    assert received(client) == b"" and (direction == "down" or got == b"" or got.startswith(b"HTTP/1.1 503 "))
    bench.assert_at_rest()


def test_no_memory_when_a_stream_goes_on_after_a_pause(bench):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"
    paused, far = bench.client(), bench.upstream()
    bench.ask(paused, far)
    far.send(head + b"x" * 20_000)
    bench.turn()
    other, other_far = bench.client(), bench.upstream()
    bench.ask(other, other_far)
    other_far.send(head)
    for _ in range(20):  # takes the large buffer that the first one gave back in its pause, and holds it: its client does not read
        try:
            other_far.send(b"x" * 50_000)
        except BlockingIOError:
            pass
        bench.turn()
    _memory.refuse(True)
    try:
        far.send(b"x" * 20_000)
        bench.turn(turns=2)
    finally:
        _memory.refuse(False)
    while piece := received(paused):
        assert piece
    assert piece == b"", "cut, visibly: its length was announced"
    assert bench.counters.read()["active"][0] == 1
