"""What keeps a client where it was, as a request says it and as an answer gives it."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dataplane import Settings, client_key, header_key
from routing_core import AffinitySpec, RouteSpec
from tests.support.dataplane import ANSWER, REQUEST, head_and_body, received

ATTRIBUTES = "; Path=/; HttpOnly; Secure; SameSite=Lax"
FRA, NYC = "fra.0123456789abcdef", "nyc.fedcba9876543210"
POPS = ({"cookie": FRA}, {"cookie": NYC})
BY_COOKIE = (RouteSpec("kept", 0, affinity=AffinitySpec("cookie", "pop", attributes=ATTRIBUTES)),)
WIDE = 60_000.0  # ms: both PoPs are near enough


def given_cookie(pop):
    return f"pop={pop}{ATTRIBUTES}"


@pytest.fixture
def by_cookie(make_bench):
    return make_bench(routes=BY_COOKIE, pops=POPS)


def serve(bench, *lines, address="127.0.0.1"):
    """One request: the PoP that served it, and the fields of the answer."""
    client, ends = bench.client(address), (bench.upstream(0), bench.upstream(1))
    client.send(REQUEST[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    bench.turn()
    served = [pop for pop, end in enumerate(ends) if (received(end) or b"").startswith(b"GET /x ")]
    assert len(served) == 1
    ends[served[0]].send(ANSWER)
    bench.turn()
    _, fields, body = head_and_body(received(client))
    assert body == b"hello"
    for end in (client, *ends):
        end.close()
    bench.turn()
    return served[0], fields


# --- By cookie ---


def test_a_client_without_a_cookie_gets_one_and_stays(by_cookie):
    pop, fields = serve(by_cookie)
    assert pop == 0 and fields["set-cookie"] == given_cookie(FRA)
    pop, fields = serve(by_cookie, b"Cookie: pop=" + FRA.encode())
    assert pop == 0 and "set-cookie" not in fields
    pop, fields = serve(by_cookie, b"Cookie: pop=" + NYC.encode())
    assert pop == 1 and "set-cookie" not in fields, "however much faster the other is"
    assert by_cookie.figures.read_pool(by_cookie.pool_rows[1])["reasons"] == {"affinity": 1}


@pytest.mark.parametrize(
    "lines",
    [
        (b"Cookie: a=b; pop=%s; c=d",),
        (b"Cookie: pop=%s;",),
        (b"Cookie: ;; ; pop=%s",),
        (b"Cookie: a=b;pop=%s;c=d",),
        (b"Cookie: a=b; \tpop=%s \t; c=d",),
        (b"cookie: a=b", b"COOKIE: pop=%s"),
        (b"Cookie: a=b; =; x", b"Accept: pop=1", b"Cookie: c=d; pop=%s"),
        (b"Cookie: POP=1; Pop=2; pops=3; opop=4; pop=%s",),
        (b"Cookie: pop=%s; pop=" + FRA.encode(),),  # the first of two
        (b"Cookie: pop=%s", b"Cookie: pop=" + FRA.encode()),
        (b"Connection: cookie", b"Cookie: pop=%s"),
        (b"Cookie: " + b"a=b; " * 6000 + b"pop=%s",),
        (b"Cookie: " + b";" * 30_000 + b"pop=%s",),
        (b"Cookie: a=b",) * 90 + (b"Cookie: pop=%s",),
    ],
)
def test_where_the_cookie_may_stand(by_cookie, lines):
    pop, fields = serve(by_cookie, *(line.replace(b"%s", NYC.encode()) for line in lines))
    assert pop == 1 and "set-cookie" not in fields


@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: pop=",
        b"Cookie: pop",
        b"Cookie:",
        b"Cookie: pop=nyc",
        b"Cookie: pop=nyc.fedcba9876543211",
        b"Cookie: pop=nyc.fedcba987654321",
        b"Cookie: pop=nyc.fedcba98765432100",
        b"Cookie: pop=NYC.fedcba9876543210",
        b'Cookie: pop="nyc.fedcba9876543210"',
        b"Cookie: pop =nyc.fedcba9876543210",
        b"Cookie: pop= nyc.fedcba9876543210",
        b"Cookie: pop=nyc.fedcba9876543210, a",
        b"Cookie: Pop=nyc.fedcba9876543210",
        b"Cookie: xpop=nyc.fedcba9876543210",
        b"Cookie: a=pop=nyc.fedcba9876543210",
        b"Cookie2: pop=nyc.fedcba9876543210",
        b"X: pop=nyc.fedcba9876543210",
        b"Cookie: pop=forged; pop=nyc.fedcba9876543210",
        b"Cookie: " + b"pop" * 10_000,
        b"Cookie: pop=" + b"n" * 30_000,
        b"Cookie: pop=nyc.fedcba\xff876543210",
    ],
)
def test_forged_stale_or_odd_is_none(by_cookie, line):
    pop, fields = serve(by_cookie, line)
    assert pop == 0 and fields["set-cookie"] == given_cookie(FRA)


def test_the_cookie_goes_up_as_any_other(by_cookie):
    client, upstream = by_cookie.client(), by_cookie.upstream(1)
    line = b"Cookie: a=b; pop=%s\r\n" % NYC.encode()
    assert line in by_cookie.ask(client, upstream, REQUEST[:-2] + line + b"\r\n")


@pytest.mark.parametrize("named", [b"", b"Cookie: pop=%s\r\n" % FRA.encode(), b"Cookie: pop=%s\r\n" % NYC.encode()])
def test_a_retried_request_gets_the_cookie_of_the_pop_that_answered(make_bench, named):
    bench = make_bench(Settings(max_retries=1), routes=BY_COOKIE, pops=POPS)
    first, second = (1, 0) if NYC.encode() in named else (0, 1)
    client, failing, server = bench.client(), bench.upstream(first), bench.listen(second)
    assert bench.ask(client, failing, REQUEST[:-2] + named + b"\r\n")
    failing.close()
    bench.turn(turns=3)
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    _, fields, _ = head_and_body(received(client))
    assert fields["set-cookie"] == given_cookie((FRA, NYC)[second])


def test_a_retry_that_leads_back_to_the_clients_own_pop_gives_no_cookie(make_bench):
    bench = make_bench(Settings(max_retries=1), routes=BY_COOKIE, pops=POPS)
    client, failing, server = bench.client(), bench.upstream(), bench.listen(1)
    bench.figures.set_pool(bench.pool_rows[1], admit=0.001)  # there is little room: it is passed over, and still a fallback
    assert bench.ask(client, failing, REQUEST[:-2] + b"Cookie: pop=%s\r\n\r\n" % NYC.encode())
    failing.close()
    bench.turn(turns=3)
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER


def test_a_pop_that_cannot_serve_loses_its_clients(by_cookie):
    by_cookie.figures.set_endpoint(by_cookie.rows[1][0], state="shut")
    by_cookie.figures.set_pool(by_cookie.pool_rows[1], admit=0.0, availability=0.0)
    pop, fields = serve(by_cookie, b"Cookie: pop=" + NYC.encode())
    assert pop == 0 and fields["set-cookie"] == given_cookie(FRA)


def test_interim_answers_and_tunnels_carry_none(by_cookie):
    client, upstream = by_cookie.client(), by_cookie.upstream()
    by_cookie.ask(client, upstream)
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    by_cookie.turn()
    assert received(client) == b"HTTP/1.1 103 Early Hints\r\n\r\n"
    upstream.send(ANSWER)
    by_cookie.turn()
    given = f"\r\ncache-control: private\r\nset-cookie: {given_cookie(FRA)}\r\n\r\n"
    assert received(client) == ANSWER.replace(b"\r\n\r\n", given.encode())
    by_cookie.ask(client, upstream, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n")
    upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n")
    by_cookie.turn()
    assert b"set-cookie" not in received(client)


def test_the_backends_own_cookies_stay(by_cookie):
    client, upstream = by_cookie.client(), by_cookie.upstream()
    by_cookie.ask(client, upstream)
    upstream.send(ANSWER.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\nSet-Cookie: pop=mine\r\n\r\n"))
    by_cookie.turn()
    got = received(client)
    own = b"cache-control: private\r\nset-cookie: " + given_cookie(FRA).encode()
    assert b"\r\nSet-Cookie: a=b\r\nSet-Cookie: pop=mine\r\n" + own in got


@pytest.mark.parametrize("answer", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 500 x\r\n\r\n"])
def test_any_final_answer_gives_it(by_cookie, answer):
    client, upstream = by_cookie.client(), by_cookie.upstream()
    by_cookie.ask(client, upstream)
    upstream.send(answer)
    by_cookie.turn()
    assert head_and_body(received(client))[1]["set-cookie"] == given_cookie(FRA)


def test_a_pop_without_a_value_gives_none_and_an_empty_one_names_none(make_bench):
    bench = make_bench(routes=BY_COOKIE, pops=({}, {"cookie": NYC}))
    assert serve(bench, b"Cookie: pop=") == (0, {"content-length": "5"})
    assert serve(bench, b"Cookie: pop=" + NYC.encode())[0] == 1


def test_other_routes_give_none_and_read_none(make_bench):
    bench = make_bench(pops=POPS)
    assert serve(bench, b"Cookie: pop=" + NYC.encode()) == (0, {"content-length": "5"})


@pytest.mark.parametrize("attributes", ["", "; x=" + "y" * 3000])
@pytest.mark.parametrize("size", [100, 7000, 8150, 8192, 30_000, 61_000])
def test_a_head_of_any_size_has_room_for_it(make_bench, size, attributes):
    routes = (RouteSpec("kept", 0, affinity=AffinitySpec("cookie", "pop", attributes=attributes)),)
    bench = make_bench(Settings(head_bytes=60 * 1024, debug_headers=True), routes=routes, pops=POPS)
    client, upstream = bench.client(), bench.upstream(is_tcp=True)
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nx: " + b"x" * size + b"\r\nContent-Length: 5\r\n\r\nhello")
    got = b""
    for _ in range(5):
        bench.turn()
        got += received(client) or b""
    _, fields, body = head_and_body(got)
    assert body == b"hello" and len(fields["x"]) == size and fields["set-cookie"] == f"pop={FRA}{attributes}"
    assert fields["x-isochrone-pop"] == "fra"


def answer_to(bench, *lines, asked=b"", address="127.0.0.1"):
    """What the client gets of an answer with these lines."""
    client, upstream = bench.client(address), bench.upstream()
    assert bench.ask(client, upstream, REQUEST[:-2] + asked + b"\r\n")
    upstream.send(ANSWER.replace(b"\r\n\r\n", b"".join(b"\r\n" + line for line in lines) + b"\r\n\r\n"))
    bench.turn()
    got = received(client)
    for end in (client, upstream):
        end.close()
    bench.turn()
    return got


@pytest.mark.parametrize(
    ("lines", "control"),
    [
        ((), b"private"),
        ((b"Cache-Control: public, max-age=60",), b"public, max-age=60, private"),
        ((b"Cache-Control: no-store",), b"no-store, private"),
        (
            (b"Cache-Control: max-age=60", b"x: y", b"cache-control:", b'CACHE-CONTROL:  no-cache="a, b" '),
            b'max-age=60, no-cache="a, b", private',
        ),
        ((b"Connection: cache-control", b"Cache-Control: max-age=60"), b"private"),
        ((b"Surrogate-Control: max-age=60", b"CDN-Cache-Control: max-age=60", b"X-Accel-Expires: 60"), b"private"),
        ((b"Example-CDN-Cache-Control: max-age=60", b"Edge-Control: max-age=60"), b"private"),
    ],
)
def test_who_gets_a_cookie_gets_an_answer_of_his_own(by_cookie, lines, control):
    """A shared cache would give one client's cookie to all of them (RFC 9111 7.3)."""
    got = answer_to(by_cookie, *lines)
    assert [line for line in got.split(b"\r\n") if b"control" in line.lower() or b"expires" in line.lower()] == [
        b"cache-control: " + control
    ]
    assert (b"\r\nx: y\r\n" in got) == (b"x: y" in lines)


@pytest.mark.parametrize("lines", [(), (b"Cache-Control: public", b"CDN-Cache-Control: max-age=60", b"X-Accel-Expires: 60")])
def test_who_has_the_cookie_gets_what_the_pop_said_to_caches(by_cookie, lines):
    got = answer_to(by_cookie, *lines, asked=b"Cookie: pop=%s\r\n" % FRA.encode())
    assert got == ANSWER.replace(b"\r\n\r\n", b"".join(b"\r\n" + line for line in lines) + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("header", "asked", "is_secure"),
    [
        ("x-forwarded-for", b"X-Forwarded-Proto: https\r\n", True),
        ("x-forwarded-for", b"X-Forwarded-Proto: HTTPS , http\r\n", True),
        ("x-forwarded-for", b"X-Forwarded-Proto: http\r\n", False),
        ("x-forwarded-for", b"X-Forwarded-Proto: http, https\r\n", False),
        ("x-forwarded-for", b"X-Forwarded-Proto: httpss\r\n", False),
        ("x-forwarded-for", b"X-Forwarded-Proto:\r\n", False),
        ("x-forwarded-for", b"Connection: x-forwarded-proto\r\nX-Forwarded-Proto: https\r\n", False),
        ("x-forwarded-for", b"Forwarded: for=127.0.0.9;proto=https\r\n", False),
        ("x-forwarded-for", b"", False),
        ("forwarded", b'Forwarded: for=127.0.0.9; Proto="https"\r\n', True),
        ("forwarded", b"Forwarded: proto=https, for=127.0.0.9;proto=http\r\n", False),
        ("forwarded", b"X-Forwarded-Proto: https\r\n", False),
    ],
)
@pytest.mark.parametrize("is_trusted", [True, False])
def test_secure_follows_what_a_trusted_hop_says_of_the_client(make_bench, header, asked, is_secure, is_trusted):
    routes = (RouteSpec("kept", 0, affinity=AffinitySpec("cookie", "pop", attributes="; Path=/", is_secure_over_tls=True)),)
    settings = Settings(trusted=("127.0.0.1/32",) if is_trusted else (), forwarded_header=header)
    _, fields, _ = head_and_body(answer_to(make_bench(settings, routes=routes, pops=POPS), asked=asked))
    assert fields["set-cookie"] == f"pop={FRA}; Path=/" + ("; Secure" if is_secure and is_trusted else "")


def test_secure_is_not_added_where_the_attributes_say_all(make_bench):
    bench = make_bench(Settings(trusted=("127.0.0.1/32",)), routes=BY_COOKIE, pops=POPS)
    assert f"{given_cookie(FRA)}\r\n".encode() in answer_to(bench, asked=b"X-Forwarded-Proto: https\r\n")


# --- By header, by client ---


def spread(bench, *askers):
    """The PoP of each, asked for twice: it must be the same."""
    first = [serve(bench, *lines, address=address)[0] for address, lines in askers]
    assert first == [serve(bench, *lines, address=address)[0] for address, lines in reversed(askers)][::-1]
    return first


@pytest.fixture
def by_header(make_bench):
    return make_bench(routes=(RouteSpec("kept", 0, window_ms=WIDE, affinity=AffinitySpec("header", "x-tenant", WIDE)),))


def test_a_header_keeps_its_clients_together(by_header):
    tenants = [b"X-Tenant: %d" % n for n in range(24)]
    pops = spread(by_header, *(("127.0.0.1", (tenant,)) for tenant in tenants))
    assert set(pops) == {0, 1}
    assert pops == spread(by_header, *(("127.0.1.1", (b"a: b", tenant.lower(), b"X-Tenant: other")) for tenant in tenants))
    assert sum(by_header.figures.read_pool(row)["reasons"].get("affinity", 0) for row in by_header.pool_rows) == 4 * 24


@pytest.mark.parametrize("lines", [(), (b"X-Tenant:",), (b"X-Tenan: a", b"X-Tenant-: a", b"Y-Tenant: a")])
def test_without_the_header_there_is_no_affinity(by_header, lines):
    serve(by_header, *lines)
    reasons = [by_header.figures.read_pool(row)["reasons"] for row in by_header.pool_rows]
    assert not any("affinity" in each for each in reasons)


def test_what_only_a_hop_may_say_keeps_nobody_together(make_bench):
    routes = (RouteSpec("kept", 0, window_ms=WIDE, affinity=AffinitySpec("header", "x-real-ip", WIDE)),)
    for trusted, n_kept in ((), 0), (("127.0.0.0/8",), 1):
        bench = make_bench(Settings(trusted=trusted), routes=routes)
        serve(bench, b"X-Real-IP: 192.0.2.66")
        assert sum(bench.figures.read_pool(row)["reasons"].get("affinity", 0) for row in bench.pool_rows) == n_kept


def test_a_value_as_long_as_a_head(by_header):
    values = [b"x" * 30_000 + b"%d" % n for n in range(8)]
    assert set(spread(by_header, *(("127.0.0.1", (b"X-Tenant: " + value,)) for value in values))) == {0, 1}


def test_a_network_stays_together(make_bench):
    bench = make_bench(routes=(RouteSpec("kept", 0, window_ms=WIDE, affinity=AffinitySpec("client", within_ms=WIDE)),))
    networks = [f"127.0.{n}." for n in range(24)]
    pops = spread(bench, *((network + "1", ()) for network in networks))
    assert set(pops) == {0, 1}
    assert pops == spread(bench, *((network + "250", ()) for network in networks))


@pytest.mark.parametrize("is_sticky", [False, True])
def test_a_sticky_split_leads_a_network_to_one_service(make_bench, is_sticky):
    routes = (RouteSpec("split", 0, split=((0, 1), (1, 1)), is_split_sticky=is_sticky),)
    bench = make_bench(Settings(log_share=1.0), routes=routes, services=("shop", "canary"))
    services = {}
    for n in range(48):
        serve(bench, address=f"127.0.{n % 8}.{n}")
        services.setdefault(n % 8, set()).add(bench.worker.read_log()[0]["service"])
    assert set.union(*services.values()) == {"shop", "canary"}
    assert all(len(led) == 1 for led in services.values()) == is_sticky
    bench.assert_at_rest()


# --- Keys ---


def packed(text):
    address = ipaddress.ip_address(text)
    return (b"\0" * 10 + b"\xff\xff" if address.version == 4 else b"") + address.packed


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@example(0, 255)
@example(0, 256)
def test_a_key_for_each_24(one, other):
    keys = [client_key(packed(ipaddress.IPv4Address(each))) for each in (one, other)]
    assert (keys[0] == keys[1]) == (one >> 8 == other >> 8)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
@example(0, 2**80 - 1)
@example(0, 2**80)
@example(0x0102_0300 << 96, 0xFFFF_0102_0304)  # the first octets of one are the last of the other
def test_a_key_for_each_48(one, other):
    keys = [client_key(each.to_bytes(16, "big")) for each in (one, other)]
    networks = [each >> 8 if each >> 32 == 0xFFFF else each >> 80 for each in (one, other)]
    is_same = networks[0] == networks[1] and (one >> 32 == 0xFFFF) == (other >> 32 == 0xFFFF)
    assert (keys[0] == keys[1]) == is_same and 0 not in keys


def test_keys_are_even_in_each_octet():
    """Of 4096 networks in a row, as many fall into each of 16 parts, whichever bits tell the part."""
    for shift in (0, 20, 40, 60):
        parts = [0] * 16
        for network in range(4096):
            parts[client_key(packed(ipaddress.IPv4Address(network << 8))) >> shift & 15] += 1
        assert min(parts) > 180 and max(parts) < 340


@pytest.mark.parametrize("address", [b"", b"\x7f\0\0\1", b"\0" * 17])
def test_an_address_has_16_bytes(address):
    with pytest.raises(ValueError, match=f"must have 16 bytes, got {len(address)}"):
        client_key(address)


@given(st.binary(max_size=40), st.binary(max_size=40))
@example(b"a" * 8, b"a" * 16)
@example(b"a", b"a\0")
@example(b"", b"\x01")
def test_a_key_for_each_value(one, other):
    assert (header_key(one) == header_key(other)) == (one == other)


def test_an_empty_value_has_no_key():
    assert header_key(b"") == 0 != header_key(b"0")
