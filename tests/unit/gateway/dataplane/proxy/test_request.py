"""A request's head: slow, large, repeated, refused; where the exchange begins."""

import socket

import pytest

from gateway.dataplane import Settings
from geoip import Locator, Override, Pin
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, FRA, NYC, REQUEST, head_and_body, received

REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host_absent"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host_repeated"),
    "both lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both_lengths"),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "line_end"),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "content_length"),
    "chunked on 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer_encoding"),
    "field name": (b"GET / HTTP/1.1\r\nHost: a\r\nContent(Length: 1\r\n\r\n", 400, "field_name"),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method_unknown"),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_refused"),
    "expect": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: rain\r\n\r\n", 417, "expect"),
    "version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version"),
    "target too long": (b"GET /" + b"x" * 40000, 414, "target_too_long"),
    "head too large": (b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"x" * 40000, 431, "head_too_large"),
    "fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100 + b"\r\n", 431, "too_many_fields"),
    "very many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 300 + b"\r\n", 431, "too_many_fields"),
    "body over the limit": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n", 413, "body_too_large"),
}


@pytest.mark.parametrize("pace", ["whole", "in pieces", "with more behind"])
@pytest.mark.parametrize("case", REFUSED)
def test_refused(make_bench, case, pace):
    bench = make_bench(Settings(body_bytes=10000))
    request, status, cause = REFUSED[case]
    client, upstream = bench.client(), bench.upstream()
    if pace == "in pieces":
        for i in range(0, len(request), max(1, len(request) // 50)):
            try:
                client.send(request[i : i + max(1, len(request) // 50)])
            except BrokenPipeError:
                break
            bench.turn()
    else:
        client.send(request + (REQUEST if pace == "with more behind" else b""))
        bench.turn(turns=2)
    start, fields, body = head_and_body(received(client))
    assert start.startswith(b"HTTP/1.1 %d " % status) and fields["connection"] == "close"
    phrase, _, why = body.partition(b": ")
    assert (phrase + b"\n" if why else phrase) == start.split(b" ", 2)[2] + b"\n" and b"BREW" not in body and b"rain" not in body
    assert bool(why) == (cause != "body_too_large") and body.count(b"\n") == 1 and len(body) < 120
    assert received(client) == b"" and received(upstream) is None
    assert bench.causes == {cause: 1}
    bench.assert_at_rest()


NAMED = b"GET /x HTTP/1.1\r\nHost: shop.example\r\nA: 1\r\nX_User: me\r\nB: 2\r\nX_Real_IP: 192.0.2.1\r\n\r\n"


@pytest.mark.parametrize(("underscores", "goes_on"), [("drop", set()), ("pass", {"x_user"})])
def test_fields_with_underscores(make_bench, underscores, goes_on):
    """Dropped ones go nowhere and lead nowhere, whoever sends them."""
    bench = make_bench(
        Settings(underscores=underscores, trusted=("127.0.0.0/8",)),
        routes=(RouteSpec("mine", 0, headers=(("X_User", "me"),)), RouteSpec("all", 0)),
    )
    client, upstream = bench.client(), bench.upstream()
    _, fields, _ = head_and_body(bench.ask(client, upstream, NAMED))
    assert {name for name in fields if "_" in name} == goes_on and (fields["a"], fields["b"]) == ("1", "2")
    assert bench.figures_read["fields_dropped"] == 2 - len(goes_on)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER and bench.causes == {}


def test_fields_with_underscores_are_refused_where_they_are_to_be(make_bench):
    bench = make_bench(Settings(underscores="refuse"))
    client = bench.client()
    client.send(NAMED)
    bench.turn()
    start, _, body = head_and_body(received(client))
    assert start == b"HTTP/1.1 400 Bad Request" and b"in its name" in body and b"X_User" not in body
    assert bench.causes == {"field_name": 1} and bench.figures_read["fields_dropped"] == 0


def test_octets_beyond_ascii_go_on_as_they_came(make_bench):
    bench = make_bench(Settings(takes_non_ascii=True), routes=(RouteSpec("all", 0, path_prefix="/caf"),))
    client, upstream = bench.client(), bench.upstream()
    sent = bench.ask(client, upstream, b"GET /caf/\xc3\xa9?\xff HTTP/1.1\r\nHost: a\r\n\r\n")
    assert sent.startswith(b"GET /caf/\xc3\xa9?\xff HTTP/1.1\r\n")


def test_slow_head_gets_408_however_it_trickles(make_bench):
    bench = make_bench(Settings(request_head_ms=1000))
    client = bench.client()
    bench.pass_ms(800)
    for byte in REQUEST[:14]:  # the clock runs from its first byte, and the bytes do not put it back
        client.send(bytes([byte]))
        bench.turn(75)
    bench.pass_ms(300)
    assert received(client).startswith(b"HTTP/1.1 408 ") and received(client) == b""
    assert bench.causes == {"slow_head": 1}


BEHIND = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("pieces", [(BEHIND + b"\r\n",), (BEHIND, b"\r\n"), (BEHIND + b"\r", b"\n"), (BEHIND, b"\r", b"\n")])
def test_an_empty_line_behind_a_body_begins_no_head(make_bench, pieces):
    """Before, a client that paused got a 408 for it, which stood before the answer to its next request."""
    bench = make_bench(Settings(request_head_ms=1000, keep_alive_idle_ms=5000))
    client, upstream = bench.client(), bench.upstream()
    for round_ in range(3):
        bench.ask(client, upstream, pieces[0])
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
        for piece in pieces[1:]:
            client.send(piece)
            bench.turn()
        bench.pass_ms(3000)
        assert received(client) is None
        bench.assert_at_rest()
        if round_ < 2:
            continue
        bench.pass_ms(2500)
        assert received(client) == b"" and bench.causes == {}, "idle, as if nothing had come"


@pytest.mark.parametrize("step", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("ahead", "status"), [(b"", b"200"), (b"\r\n", b"200"), (b"\r\n\r\n", b"400"), (b"\r", b"400"), (b"\r\n\n", b"400"), (b"\n", b"400")]
)
def test_one_empty_line_and_no_more_however_it_comes(bench, ahead, status, step):
    client, upstream = bench.client(), bench.upstream()
    for first in (True, False):
        text = (b"" if first else ahead) + REQUEST
        for at in range(0, len(text), step):
            client.send(text[at : at + step])
            bench.turn()
        if first or status == b"200":
            assert received(upstream) is not None
            upstream.send(ANSWER)
            bench.turn()
        assert received(client).startswith(b"HTTP/1.1 " + (b"200" if first else status))
    assert bench.causes == ({} if status == b"200" else {"line_end": 1})


def test_a_client_that_never_says_a_word_is_closed_without_one(make_bench):
    bench = make_bench(Settings(request_head_ms=1000))
    client = bench.client()
    bench.pass_ms(900)
    assert received(client) is None
    bench.pass_ms(300)
    assert received(client) == b"" and bench.causes == {}


def test_idle_connection_ends_in_time(make_bench):
    bench = make_bench(Settings(keep_alive_idle_ms=2000))
    client, upstream = bench.client(), bench.upstream()
    for _ in range(2):
        bench.ask(client, upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
        bench.pass_ms(1500)
    assert received(client) is None
    bench.pass_ms(700)
    assert received(client) == b""
    assert bench.counters.read()["idle"][0] == 0


def test_largest_head_byte_by_byte(bench):
    client, upstream = bench.client(), bench.upstream()
    head = b"GET /x HTTP/1.1\r\nHost: a\r\nx: " + b"x" * 9000 + b"\r\n\r\n"
    for i in range(0, len(head), 7):
        client.send(head[i : i + 7])
        bench.turn()
    assert b"x: " + b"x" * 9000 + b"\r\n" in received(upstream)


@pytest.mark.parametrize("size", [8000, 8191, 8192, 8193, 20000, 32700])
def test_head_of_any_size_with_a_pipelined_one_behind(bench, size):
    client, upstream = bench.client(), bench.upstream()
    first = b"GET /1 HTTP/1.1\r\nHost: a\r\nx: "
    first += b"x" * (size - len(first) - 4) + b"\r\n\r\n"
    client.send(first + REQUEST)
    bench.turn()
    assert received(upstream).startswith(b"GET /1 ")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER and received(upstream).startswith(b"GET /x ")


def test_empty_line_before_a_request(bench):
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, b"\r\n" + REQUEST).startswith(b"GET /x ")


@pytest.mark.parametrize("said", [b"", b"GET /x HT", REQUEST + b"GET"])
def test_a_client_that_ends_between_or_in_a_head(bench, said):
    client, upstream = bench.client(), bench.upstream()
    client.send(said)
    client.shutdown(socket.SHUT_WR)
    bench.turn()
    if said.startswith(REQUEST):
        received(upstream)
        upstream.send(ANSWER)
        bench.turn(turns=2)
        assert received(client) == ANSWER
    assert received(client) == b""
    assert bench.counters.read()["idle"][0] == 0


@pytest.mark.parametrize("is_tcp", [False, True])
def test_a_client_that_is_gone_before_its_request_is_read(bench, is_tcp):
    client = bench.client(is_tcp=is_tcp)
    client.send(REQUEST[:-2])
    client.close()
    bench.turn(turns=2)
    assert bench.counters.read()["idle"][0] == 0


def test_refused_with_a_whole_body_keeps_the_connection_only_when_the_body_is_read(make_bench):
    from routing_core import RouteSpec

    bench = make_bench(routes=(RouteSpec("shop", 0, hosts=("shop.example",)),))
    for body, is_kept in ((b"", True), (b"hello", False)):
        client = bench.client()
        client.send(b"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        bench.turn(turns=2)
        _, fields, _ = head_and_body(received(client))
        assert ("connection" not in fields) == is_kept
        assert received(client) == (None if is_kept else b"")


def test_what_a_refused_route_matches_is_nobody_elses(make_bench):
    """Nor is it cut: whoever asks for something else on this connection is served."""
    bench = make_bench(routes=(RouteSpec("all", 0), RouteSpec("refused", None, path_prefix="/x", redirect_status=307)))
    client, upstream = bench.client(), bench.upstream()
    for request in (REQUEST, REQUEST.replace(b"GET", b"DELETE")):
        client.send(request)
        bench.turn(turns=2)
        start, fields, body = head_and_body(received(client))
        assert start == b"HTTP/1.1 500 Internal Server Error" and body == b"Internal Server Error\n" and "retry-after" not in fields
        assert received(upstream) is None
    assert bench.causes == {"route_refused": 2}
    assert bench.ask(client, upstream, REQUEST.replace(b"/x", b"/y"))
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    bench.assert_at_rest()


def test_settings_are_those_of_the_newest_snapshot(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    bench.reload(Settings(head_bytes=256, name="edge-2"))
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert b"via: 1.1 edge-2\r\n" in bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    received(client)
    client.send(REQUEST[:-2] + b"x: " + b"x" * 256 + b"\r\n\r\n")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("trusted", "service"), [((), "all"), (("127.0.0.0/8",), "inner")])
def test_what_only_a_hop_may_say_leads_nowhere_from_others(make_bench, trusted, service):
    routes = (RouteSpec("inner", 1, headers=(("x-forwarded-proto", "https"),)), RouteSpec("all", 0))
    bench = make_bench(Settings(trusted=trusted), routes=routes, services=("all", "inner"))
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream, REQUEST[:-2] + b"X-Forwarded-Proto: https\r\n\r\n")
    served = {name: sum(bench.figures.read_pool(row)["in_flight"] for row in rows) for name, (_, rows) in bench.services.items()}
    assert served == {"all": 0, "inner": 0, service: 1}
    upstream.send(ANSWER)
    bench.turn()


def test_of_the_peer_nothing_is_remembered_beyond_its_snapshot(bench):
    """Pins are numbers of a table, places come of a locator, trust of settings: each is another one by the next request."""
    client, upstream = bench.client(), [bench.upstream(0), bench.upstream(1)]
    asked = REQUEST[:-2] + b"X-Forwarded-For: 203.0.113.1\r\n\r\n"

    def goes_to():
        client.send(asked)
        bench.turn()
        pop = next(number for number, end in enumerate(upstream) if received(end))
        upstream[pop].send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
        return pop

    def locate(**options):
        bench.locator = Locator(**options)
        bench.publish()

    pins = ((1,), (0,))
    here, there = Override("127.0.0.0/8", *FRA), Override("127.0.0.0/8", *NYC)
    assert goes_to() == 0
    locate(overrides=[there])
    assert goes_to() == 1, "another place"
    bench.reload(Settings(trusted=("127.0.0.1/32",)))
    locate(overrides=[here, Override("203.0.113.0/24", *NYC)])
    assert goes_to() == 1, "a hop that says for whom it is"
    bench.reload(Settings())
    assert goes_to() == 0, "which nobody believes any more"
    bench.pins = pins
    locate(overrides=[here], pins=[Pin("127.0.0.0/8", 1)])
    assert goes_to() == 1, "pinned"
    bench.pins = pins[::-1]
    locate(overrides=[here], pins=[Pin("127.0.0.0/8", 2)])
    assert goes_to() == 1, "to the same PoP by another number"


@pytest.mark.parametrize("name", [b"x-real-ip", b"X-Forwarded-Port", b"true-client-ip", b"client-cert"])
def test_nor_may_it_come_behind_the_body(bench, name):
    client, upstream = bench.client(), bench.upstream()
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    client.send(head + name + b": 192.0.2.66\r\n\r\n")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 400 ") and bench.causes == {"bad_body": 1}
    assert b"192.0.2.66" not in (received(upstream) or b"")
