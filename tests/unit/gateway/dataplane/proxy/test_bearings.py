"""By what a request is decided that is decided once more: all that a new one of the same head would be decided by."""

import pytest

from gateway.dataplane import Settings
from routing_core import AffinitySpec, RouteSpec, RuleSpec
from tests.support.dataplane import ANSWER, FRA, NOWHERE, NYC, REQUEST, head_and_body, received

DRAINED = {"is_drained": True}
TWO_OF_FRA = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), (("127.0.0.1", NOWHERE),))
BOTH = ("shop", "store")


def under_way(bench, request=REQUEST):
    """At fra, over a pooled connection; it may be repeated."""
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream, request)
    return client, upstream


def move_on(bench, upstream, nyc=None, **changed):
    """A newer table in which fra is drained, so that whoever is tried again is decided by it."""
    for name, value in changed.items():
        setattr(bench, name, value)
    bench.pops = (DRAINED, nyc or {})
    bench.publish()
    upstream.close()
    bench.turn(turns=4)


def test_the_route_is_found_anew_and_its_service_counts_it(make_bench):
    bench = make_bench(services=BOTH)
    server = bench.listen(1)
    client, upstream = under_way(bench)
    move_on(bench, upstream, routes=(RouteSpec("other", 0, path_prefix="/y"), RouteSpec("this", 1, path_prefix="/x", method="GET")))
    _, store_pools = bench.services["store"]
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    assert bench.figures.read_pool(store_pools[1])["codes"] == {"200": 1}
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0


@pytest.mark.parametrize("may_go", [True, False])
def test_the_newest_jurisdiction_holds(make_bench, may_go):
    bench = make_bench()
    server = bench.listen(1)
    client, upstream = under_way(bench)
    move_on(bench, upstream, routes=(RouteSpec("all", 0, rules=(RuleSpec(frozenset({0, 1} if may_go else {0})),)),))
    if may_go:
        bench.accepted(server).send(ANSWER)
        bench.turn(turns=2)
        assert received(client) == ANSWER
    else:
        assert received(client).startswith(b"HTTP/1.1 502 ")
        assert bench.figures.read_pool(bench.pool_rows[1])["attempts"] == 0
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0


@pytest.mark.parametrize("more", [b"X-Forwarded-For: 10.0.0.1", b"Transfer-Encoding: chunked"])
def test_a_head_of_as_many_fields_as_may_be_is_read_once_more(make_bench, more):
    """With ours besides. Before, it had no route in any newer table, and kept the old rule."""
    bench = make_bench(Settings(max_fields=128))
    client, upstream = under_way(bench, REQUEST[:-2] + more + b"\r\n" + b"X: a\r\n" * 126 + b"\r\n" + b"0\r\n\r\n" * (b"chunked" in more))
    move_on(bench, upstream, routes=(RouteSpec("all", 0, rules=(RuleSpec(frozenset({0})),)),))
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_pool(bench.pool_rows[1])["attempts"] == 0


def test_where_no_route_is_left_it_goes_by_the_one_that_it_had(make_bench):
    bench = make_bench()
    server = bench.listen(1)
    client, upstream = under_way(bench)
    move_on(bench, upstream, routes=(RouteSpec("other", 0, path_prefix="/y"),))
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER


def test_its_cookie_is_read_anew(make_bench):
    """By the newest route, which has another one."""
    bench = make_bench()
    server = bench.listen(1)
    client, upstream = under_way(bench, REQUEST[:-2] + b"Cookie: old=f; new=n\r\n\r\n")
    move_on(bench, upstream, {"cookie": "n"}, routes=(RouteSpec("all", 0, affinity=AffinitySpec("cookie", "new")),))
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert "set-cookie" not in head_and_body(received(client))[1]


def test_a_pop_in_another_place_is_another_one(make_bench):
    """Its endpoint is nobody's who may not go there."""
    bench = make_bench(endpoints=TWO_OF_FRA, routes=(RouteSpec("all", 0, rules=(RuleSpec(frozenset({0})),)),))
    upstreams = [bench.upstream(0, number) for number in range(2)]
    client = bench.client()
    client.send(REQUEST)
    bench.turn()
    has_it, other = sorted(upstreams, key=lambda upstream: received(upstream) is None)
    bench.places = (NYC, FRA)
    bench.routes = (RouteSpec("all", 0, rules=(RuleSpec(frozenset({1})),)),)
    bench.publish()
    has_it.close()
    bench.turn(turns=6)
    assert received(other) is None
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_pool(bench.pool_rows[1])["attempts"] == 1


AS_IT_CAME = {
    "HTTP/1.0 without a host": b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "a field that Connection names": b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-plan\r\nX-Plan: gold\r\n\r\n",
    "OPTIONS of all": b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "what a hop has not said": b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a body": b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("what", list(AS_IT_CAME))
def test_routes_see_what_came_and_not_what_goes_up(make_bench, what):
    """Before, behind a newer table it was another route's: by the host and the fields that we add, without those that are gone."""
    routes = (
        RouteSpec("ours", 1, hosts=("127.0.0.1",)),
        RouteSpec("gold", 1, path_prefix="/x", headers=(("x-plan", "gold"),)),
        RouteSpec("plain", 1, path_prefix="/x", headers=(("x-forwarded-proto", "http"),)),
        RouteSpec("options", 1, path_exact="/", method="OPTIONS"),
        RouteSpec("all", 0),
    )
    bench = make_bench(Settings(trusted=("127.0.0.0/8",)), services=BOTH, routes=routes)
    client, upstream = under_way(bench, AS_IT_CAME[what])
    server = bench.listen(1)
    move_on(bench, upstream)
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert received(client)
    attempts = [[bench.figures.read_pool(row)["attempts"] for row in rows] for _, rows in bench.services.values()]
    assert sorted(attempts) == [[0, 0], [1, 1]], "the same service in both PoPs"
    bench.assert_at_rest()


def test_what_a_reload_would_refuse_of_its_head_is_no_matter_any_more(make_bench):
    """It has been taken. Before, it followed one newer table, and none behind that."""
    bench = make_bench(Settings(underscores="pass", takes_non_ascii=True), pops=({}, DRAINED), max_in_flight=1)
    _, upstream = under_way(bench)
    client = bench.client()
    client.send(b"GET /\xe9 HTTP/1.1\r\nHost: a\r\nx_y: 1\r\n\r\n")
    bench.turn()
    bench.reload(Settings(underscores="refuse"))
    bench.pass_ms(200)
    bench.pops = (DRAINED, {})
    there = bench.upstream(1)
    bench.publish()
    bench.pass_ms(200)
    assert received(there).startswith(b"GET /\xe9 ")
    there.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER and received(upstream) is None


def test_whether_the_client_came_by_tls_is_what_the_hop_said(make_bench):
    """Our own element, which says nothing of it, is the last one of what goes up."""
    cookie = AffinitySpec("cookie", "pop", attributes="; Path=/", is_secure_over_tls=True)
    settings = Settings(trusted=("127.0.0.0/8",), forwarded_header="forwarded")
    bench = make_bench(settings, routes=(RouteSpec("all", 0, affinity=cookie),), pops=({"cookie": "f"}, {"cookie": "n"}))
    client, upstream = under_way(bench, REQUEST[:-2] + b"Forwarded: for=10.1.0.1;proto=https\r\n\r\n")
    server = bench.listen(1)
    move_on(bench, upstream, nyc={"cookie": "n"})
    bench.accepted(server).send(ANSWER)
    bench.turn(turns=2)
    assert b"; secure" in received(client).lower()
