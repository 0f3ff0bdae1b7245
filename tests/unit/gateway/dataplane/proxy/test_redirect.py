"""Clients sent to their PoP's own address: whole answers, every reason to pass a request on instead, and no loop."""

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.dataplane import Settings
from routing_core import AffinitySpec, RouteSpec
from tests.support.dataplane import ANSWER, REQUEST, head_and_body, received

POPS = ({"public_url": "https://fra.example"}, {"public_url": "https://nyc.example:8443"})
SAFE = (RouteSpec("away", 0, redirect_status=307),)
ALL = (RouteSpec("away", 0, redirect_status=308, redirects_all=True),)


@pytest.fixture
def bench(make_bench):
    return make_bench(routes=SAFE, pops=POPS)


def ask(bench, request, address="127.0.0.1"):
    """What the client gets: of an upstream, None."""
    client, ends = bench.client(address), (bench.upstream(), bench.upstream(1))
    client.send(request)
    bench.turn()
    answer = received(client)
    passed_on = [end for end in ends if received(end)]
    assert len(passed_on) == (answer is None), "one or the other"
    for end in passed_on:
        end.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
    assert answer is None or received(client) == (b"" if b"connection: close" in answer else None)
    for end in (client, *ends):
        end.close()
    bench.turn()
    return answer


def get(target=b"/x", *lines, start=b"GET %s HTTP/1.1", host=b"shop.example"):
    return b"\r\n".join((start.replace(b"%s", target), *([b"Host: " + host] if host else []), *lines)) + b"\r\n\r\n"


def location(answer):
    return None if answer is None else head_and_body(answer)[1]["location"]


def test_a_whole_redirect(bench):
    client = bench.client()
    for _ in range(2):
        client.send(REQUEST)
        bench.turn()
        whole = (
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: https://fra.example/x\r\ncache-control: no-store\r\ncontent-length: 0\r\ndate: "
        )
        answer = received(client)
        assert answer.startswith(whole) and answer.endswith(b" GMT\r\n\r\n") and len(answer) == len(whole) + 33
    bench.assert_at_rest()


def test_it_goes_where_the_decision_leads_and_counts_as_that_pops(make_bench):
    bench = make_bench(Settings(log_share=1.0, trusted=("127.0.0.1",)), routes=SAFE, pops=POPS)
    assert location(ask(bench, get(b"/a?b", b"X-Forwarded-For: 203.0.113.9"))) == "https://nyc.example:8443/a?b"
    figures = bench.figures.read_pool(bench.pool_rows[1])
    assert figures["codes"] == {"307": 1} and figures["reasons"] == {"fastest": 1} and figures["durations"] == 1
    assert figures["attempts"] == figures["first_bytes"] == figures["failures"] == 0
    (record,) = bench.worker.read_log()
    wanted = {"status": 307, "route": "away", "service": "shop", "pop": "nyc", "reason": "fastest", "endpoint": None, "attempts": 0}
    assert {name: record[name] for name in wanted} == wanted and record["first_byte_ms"] is None and record["path"] == "/a?b"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND"])
@pytest.mark.parametrize("routes", [SAFE, ALL])
def test_methods(make_bench, method, routes):
    bench = make_bench(routes=routes, pops=POPS)
    if routes is SAFE and method not in (b"GET", b"HEAD"):
        assert ask(bench, get(start=method + b" %s HTTP/1.1")) is None
        return
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/x", headers=[("host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(ask(bench, get(start=method + b" %s HTTP/1.1")))
    head = reader.next_event()
    assert head.status_code == (307 if routes is SAFE else 308) and dict(head.headers)[b"location"] == b"https://fra.example/x"
    assert isinstance(reader.next_event(), h11.EndOfMessage) and reader.trailing_data == (b"", False)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/a/../b//c;d=e?f=g&h=%0d%0aSet-Cookie:x", "/a/../b//c;d=e?f=g&h=%0d%0aSet-Cookie:x"),
        (b"//evil.example/x", "//evil.example/x"),
        (b"/@evil.example", "/@evil.example"),
        (b"/?", "/?"),
        (b'/"<>{}|^`?\\', '/"<>{}|^`?\\'),
        (b"http://shop.example/x?y", "/x?y"),
        (b"HTTPS://shop.example:8443", "/"),
        (b"http://shop.example?y", "/?y"),
        (b"/" + b"x" * 30_000, "/" + "x" * 30_000),
    ],
)
def test_path_and_query_as_they_came(bench, target, path):
    assert location(ask(bench, get(target))) == "https://fra.example" + path


@pytest.mark.parametrize(
    "bad", [b"/\r\nSet-Cookie: a=b", b"/%0d%0ax", b"/\nx: y", b"/\rx", b"/a\x00", b"/%00", b"/\tx", b"/a b", b"/#x", b"/\x85", b"/\\x"]
)
def test_nothing_ends_the_line(bench, bad):
    client = bench.client()
    client.send(get(bad))
    bench.turn(turns=2)
    assert received(client).startswith(b"HTTP/1.1 400 ")


@given(st.binary(max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_target_it_is_one_line(bench, target):
    client = bench.client()
    client.send(get(b"/" + target))
    bench.turn(turns=2)
    answer = received(client) or b""
    client.close()
    bench.turn()
    assert answer.startswith((b"HTTP/1.1 307 ", b"HTTP/1.1 4", b"HTTP/1.1 5")) or not answer
    if answer.startswith(b"HTTP/1.1 307 "):
        lines = answer.split(b"\r\n")
        assert [line.split(b":")[0] for line in lines[1:4]] == [b"location", b"cache-control", b"content-length"]
        assert lines[1] == b"location: https://fra.example/" + target


# --- Passed on ---

OWN_HOSTS = [
    b"fra.example",
    b"FRA.Example",
    b"fra.example.",
    b"fra.example:443",
    b"fra.example.:443",
    b"fra.example:",
    b"nyc.example:8443",
    b"nyc.example:08443",
    b"nyc.example",  # a proxy may have stripped the port
]
OTHER_HOSTS = [
    b"fra.example:80",
    b"fra.example:8443",
    b"nyc.example:443",
    b"fra.examples",
    b"xfra.example",
    b"fra.exampl",
    b"fra_example",
    b"[::1]",
    b"127.0.0.1",
    b"shop.example:443",
]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_whoever_came_by_a_pops_host_is_served(bench, host):
    assert ask(bench, get(host=host)) is None
    assert ask(bench, get(b"http://" + host + b"/x")) is None
    assert ask(bench, get(b"/x", b"X-Forwarded-Host: " + host)) is None
    assert ask(bench, get(b"/x", b"X-Forwarded-Host: \t" + host + b" , inner.example")) is None
    assert ask(bench, get(b"/x", b'Forwarded: for=192.0.2.1;Host="' + host + b'";proto=https, for=10.0.0.1;host=inner')) is None


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_any_other_host_is_redirected(bench, host):
    for request in (get(host=host), get(b"/x", b"X-Forwarded-Host: " + host), get(b"/x", b"Forwarded: for=a;host=" + host)):
        assert location(ask(bench, request)) == "https://fra.example/x"


@pytest.mark.parametrize(
    "line",
    [
        b"X-Forwarded-Host:",
        b"X-Forwarded-Host: ,fra.example",
        b"X-Forwarded-Host: https://fra.example",
        b"X-Forwarded-Host: fra.example/x",
        b"X-Forwarded-Host: a@fra.example",
        b"X-Forwarded-Host: fra.example:99999",
        b"X-Forwarded-Host: " + b"a," * 15_000,
        b"X-Forwarded-Host: " + b"a" * 30_000,
        b"Forwarded: for=a",
        b"Forwarded: hosts=fra.example",
        b'Forwarded: for="host=fra.example"',
        b"Forwarded: " + b";" * 30_000,
    ],
)
def test_what_names_no_host_of_a_pop_hinders_nothing(bench, line):
    assert location(ask(bench, get(b"/x", line))) == "https://fra.example/x"


@pytest.mark.parametrize(
    ("url", "host", "is_own"),
    [
        ("http://fra.example", b"fra.example:80", True),
        ("http://fra.example", b"fra.example:443", False),
        ("http://fra.example:8080", b"fra.example:8080", True),
        ("http://127.0.0.1:9001", b"127.0.0.1:9001", True),
        ("http://127.0.0.1:9001", b"127.0.0.1:9002", False),
        ("https://[2001:db8::1]", b"[2001:DB8:0:0::1]", True),
        ("https://[2001:db8::1]", b"[2001:db8::1]:443", True),
        ("https://[2001:db8::1]", b"[2001:db8::1]:80", False),
        ("https://[2001:db8::1]", b"[2001:db8::2]", False),
        ("https://[2001:db8::1]", b"2001.db8.1", False),
        ("HTTPS://Fra.Example", b"fra.example", True),
    ],
)
def test_hosts_of_any_kind(make_bench, url, host, is_own):
    bench = make_bench(routes=SAFE, pops=({"public_url": url}, {}))
    assert location(ask(bench, get(host=host))) == (None if is_own else url + "/x")


@pytest.mark.parametrize(
    "pops",
    [
        ({}, POPS[1]),
        ({"public_url": "ftp://fra.example"}, POPS[1]),
        ({"public_url": "https://"}, POPS[1]),
        ({"public_url": "https://fra.example/x"}, POPS[1]),
    ],
)
def test_a_pop_without_a_sound_url_serves_by_itself(make_bench, pops):
    assert ask(make_bench(routes=SAFE, pops=pops), REQUEST) is None


@pytest.mark.parametrize(
    "request_",
    [
        get(start=b"GET %s HTTP/1.0", host=b""),
        get(b"*", start=b"OPTIONS %s HTTP/1.1"),
        get(b"http://shop.example", start=b"OPTIONS %s HTTP/1.1"),
        get(b"/x", b"Connection: upgrade", b"Upgrade: websocket"),
    ],
)
def test_what_has_no_host_no_path_or_will_be_a_tunnel_is_passed_on(make_bench, request_):
    bench = make_bench(routes=ALL, pops=POPS)
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, request_)


def test_a_client_that_follows_comes_to_an_end(bench):
    """However the client's way leads, the second answer is no redirect."""
    for address in ("127.0.0.1", "203.0.113.9"):
        answer = ask(bench, REQUEST, address)
        host = location(answer).removeprefix("https://").partition("/")[0].encode()
        assert ask(bench, get(host=host), address) is None
        assert ask(bench, get(host=host.partition(b":")[0]), address) is None


def test_what_fits_no_buffer_is_passed_on(make_bench):
    routes = (RouteSpec("away", 0, redirect_status=307, affinity=AffinitySpec("cookie", "pop", attributes="x" * 9000)),)
    bench = make_bench(Settings(head_bytes=60 * 1024), routes=routes, pops=({**POPS[0], "cookie": "c"}, {}))
    assert location(ask(bench, get())) == "https://fra.example/x"
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, get(b"/" + b"x" * 57_000))


# --- The connection, what else the answer carries ---


@pytest.mark.parametrize(
    ("rest", "is_kept"),
    [
        (b"\r\n", True),
        (b"Content-Length: 0\r\n\r\n", True),
        (b"Content-Length: 5\r\n\r\nhello", False),
        (b"Content-Length: 5\r\n\r\n", False),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", False),
        (b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", False),
        (b"Connection: close\r\n\r\n", False),
    ],
)
@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_a_body_that_is_not_read_ends_the_connection(make_bench, method, rest, is_kept):
    bench = make_bench(routes=ALL, pops=POPS)
    client = bench.client()
    client.send(method + b" /x HTTP/1.1\r\nHost: a\r\n" + rest + REQUEST)
    bench.turn(turns=2)
    got = received(client)
    assert got.count(b"HTTP/1.1 308 ") == 1 + is_kept and (b"\r\nconnection: close\r\n" in got) != is_kept
    assert received(client) == (None if is_kept else b"")
    client.close()
    bench.turn(turns=2)
    bench.assert_at_rest()


@pytest.mark.parametrize("keeps", [False, True])
def test_http_1_0_with_a_host(bench, keeps):
    client = bench.client()
    client.send(get(b"/x", *([b"Connection: keep-alive"] if keeps else []), start=b"GET %s HTTP/1.0"))
    bench.turn()
    _, fields, _ = head_and_body(received(client))
    assert fields["location"] == "https://fra.example/x" and fields["connection"] == ("keep-alive" if keeps else "close")
    assert received(client) == (None if keeps else b"")


def test_a_gateway_that_drains_says_so(bench):
    bench.snapshots.order("closing")
    client = bench.client()
    client.send(REQUEST)
    bench.turn()
    assert head_and_body(received(client))[1]["connection"] == "close"


def test_cookie_and_debug_fields(make_bench):
    routes = (RouteSpec("away", 0, redirect_status=307, affinity=AffinitySpec("cookie", "pop", attributes="; Path=/")),)
    pops = ({**POPS[0], "cookie": "fra.1"}, {**POPS[1], "cookie": "nyc.2"})
    bench = make_bench(Settings(debug_headers=True), routes=routes, pops=pops)
    _, fields, _ = head_and_body(ask(bench, REQUEST))
    assert fields["set-cookie"] == "pop=fra.1; Path=/" and fields["location"] == "https://fra.example/x"
    assert fields["x-isochrone-pop"] == "fra" and fields["x-isochrone-reason"] == "fastest"
    _, fields, _ = head_and_body(ask(bench, get(b"/x", b"Cookie: pop=nyc.2")))
    assert fields["location"] == "https://nyc.example:8443/x" and "set-cookie" not in fields
    assert fields["x-isochrone-reason"] == "affinity"


def test_a_redirect_pays_for_no_retry(make_bench):
    bench = make_bench(Settings(budget_share=0.4, budget_floor_per_s=1 / 70), routes=SAFE, pops=POPS)

    def fail():
        """Of a request that is passed on the upstream ends; returns how many retries have been refused so far."""
        client, upstream = bench.client(), bench.upstream()
        assert bench.ask(client, upstream, get(host=b"fra.example"))
        upstream.close()
        bench.turn(turns=4)
        client.close()
        bench.turn(turns=2)
        bench.forgive()
        return bench.figures.read_service(bench.service_row)["no_budget"]

    assert fail() == 0, "there is one, to begin with"
    for _ in range(3):
        assert location(ask(bench, REQUEST))
    assert fail() == 1, "0.4 of the request itself"
    assert fail() == 2
    assert fail() == 2, "1.2 of three"
