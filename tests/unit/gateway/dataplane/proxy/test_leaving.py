"""Who leaves an endpoint that has fallen silent, where to, and who waits on there."""

import contextlib
import dataclasses
import socket

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec, RuleSpec, Table
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

PUT = b"PUT /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello"
POST = PUT.replace(b"PUT", b"POST")
UPGRADE = REQUEST[:-2] + b"Connection: upgrade\r\nUpgrade: w\r\n\r\n"
TOLD = 16  # a turn
TWO_AND_ONE = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), (("127.0.0.1", NOWHERE),))


def set_gate(bench, state, pop=0, number=0):
    bench.figures.set_endpoint(bench.rows[pop][number], state=state)


def waiting(bench, request=REQUEST, is_tcp=False):
    """A client whose request waits at the nearer PoP, and the far end of its connection there."""
    client, far = bench.client(), bench.upstream(is_tcp=is_tcp)
    assert bench.ask(client, far, request)
    return client, far


def answer(bench, far, expected=b"GET /x "):
    """Takes a request and answers it."""
    assert far.recv(65536).startswith(expected)
    far.send(ANSWER)
    bench.turn(turns=2)


def assert_stays(bench, client, far, other):
    """Through some ticks; its own endpoint's answer is the one it gets."""
    bench.pass_ms(500)
    assert received(other) is None and received(client) is None
    far.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    assert received(other) is None


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
@pytest.mark.parametrize("request_", [REQUEST, PUT, UPGRADE])
def test_what_may_be_repeated_goes_to_the_next_pop(bench, request_, interim):
    server = bench.listen(pop=1)
    client, far = waiting(bench, request_)
    if interim:  # no answer
        far.send(interim)
        bench.turn()
        assert received(client) == interim
    set_gate(bench, "silent")
    bench.turn(100)
    assert received(far) == b""
    there = bench.accepted(server)
    bench.turn()
    assert there.recv(65536).endswith(request_[-5:])
    there.send(ANSWER)
    bench.turn(turns=2)
    assert received(client).endswith(b"hello")
    first, pool = bench.figures.read_endpoint(bench.rows[0][0]), bench.figures.read_pool(bench.pool_rows[0])
    assert (first["failures"], first["errors"], first["connect_failures"], pool["failures"]) == (1, 1, 0, 1)
    assert bench.figures.read_endpoint(bench.rows[1][0])["failures"] == 0
    assert bench.figures.read_pool(bench.pool_rows[1])["reasons"] == {"failover": 1}
    assert bench.figures.read_service(bench.service_row) == {"good": 1, "bad": 0, "no_budget": 0, "no_tries": 0, "unsafe": 0}
    bench.assert_at_rest()


@pytest.mark.parametrize("n", [TOLD, 2 * TOLD])
def test_a_pool_whose_last_is_told_with_a_turn_is_told_again_in_the_next(bench, n):
    """It was at the head of the list still when the next tick put it there: a ring, and a worker that never came out of it."""
    stay = [waiting(bench, POST) for _ in range(n)]
    set_gate(bench, "silent")
    bench.turn(100)
    for _ in range(4):
        bench.turn(100)
    for client, far in stay:
        far.send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER


@pytest.mark.parametrize("state", ["shut", "probing", "admitting"])
def test_a_gate_that_is_not_silent_ends_nothing(bench, state):
    """Ejected, unwell by its own word, held back, on its way out: it may answer yet."""
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    set_gate(bench, state)
    assert_stays(bench, client, far, other)


def test_what_may_not_be_repeated_waits_on(bench):
    client, far = waiting(bench, POST)
    other = bench.upstream(pop=1)
    set_gate(bench, "silent")
    assert_stays(bench, client, far, other)
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0


def test_until_its_own_deadline(bench):
    client, _ = waiting(bench, POST)
    bench.upstream(pop=1)
    set_gate(bench, "silent")
    bench.pass_ms(59_900)
    assert received(client) is None
    bench.pass_ms(200)
    assert received(client).startswith(b"HTTP/1.1 504 ")


def test_a_body_that_is_not_kept_waits_on(bench):
    client, far = bench.client(), bench.upstream()
    other = bench.upstream(pop=1)
    client.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    bench.turn()
    while received(far):
        bench.turn()
    set_gate(bench, "silent")
    assert_stays(bench, client, far, other)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\nH", ANSWER[:-2]])
def test_whose_answer_has_begun_waits_on(bench, begun):
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    far.send(begun)
    bench.turn()
    seen = received(client) or b""
    set_gate(bench, "silent")
    bench.pass_ms(500)
    far.send(ANSWER.removeprefix(begun.removeprefix(b"HTTP/1.1 103 Early Hints\r\n\r\n")))
    bench.turn()
    assert (seen + received(client)).endswith(ANSWER)
    assert received(other) is None


def test_a_tunnel_stays(bench):
    client, far = waiting(bench, UPGRADE)
    far.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n")
    bench.turn()
    assert received(client).startswith(b"HTTP/1.1 101 ")
    set_gate(bench, "silent")
    bench.pass_ms(300)
    client.send(b"ping")
    bench.turn()
    assert received(far) == b"ping"


def test_an_answer_that_lies_unread_is_the_answer(bench):
    """More has happened than one turn takes in hand, and the tick comes between."""
    client, far = waiting(bench)
    others, other = [bench.client() for _ in range(100)], bench.upstream(pop=1)
    bench.turn(turns=3)
    for each in others:
        each.send(REQUEST[:1])
    far.send(ANSWER)  # told last
    set_gate(bench, "silent")
    bench.turn(100)
    assert received(client) == ANSWER
    assert received(other) is None


def test_with_nowhere_to_go_it_waits_until_there_is(bench):
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    set_gate(bench, "silent")
    set_gate(bench, "shut", pop=1)
    bench.pass_ms(500)
    assert received(far) is None and received(client) is None
    set_gate(bench, "admitting", pop=1)
    bench.pass_ms(100)
    assert received(far) == b"", "it went"
    assert bench.figures.read_endpoint(bench.rows[1][0])["in_flight"] == 1 and received(other) == b"", "the idle one was closed meanwhile"


def test_a_gate_that_opens_again_keeps_them(bench):
    client, far = waiting(bench)
    set_gate(bench, "silent")
    set_gate(bench, "shut", pop=1)
    bench.pass_ms(300)
    set_gate(bench, "admitting")
    set_gate(bench, "admitting", pop=1)
    other = bench.upstream(pop=1)
    assert_stays(bench, client, far, other)


def test_a_full_endpoint_is_no_place_until_it_has_room(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1))
    busy, client = bench.client(), bench.client()
    other = bench.upstream(pop=1)
    set_gate(bench, "shut")
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    assert bench.ask(busy, other).startswith(b"GET ")
    set_gate(bench, "admitting")
    far = bench.upstream()
    assert bench.ask(client, far).startswith(b"GET ")
    set_gate(bench, "silent")
    bench.pass_ms(500)
    assert received(far) is None and received(other) is None
    other.send(ANSWER)
    bench.turn()
    assert received(busy) == ANSWER
    bench.pass_ms(100)
    answer(bench, other)
    assert received(client) == ANSWER


def test_who_waits_for_a_connection_goes_too(make_bench):
    bench = make_bench(Settings(connections_per_endpoint=1, queue_ms=60_000))
    server = bench.listen(pop=1)
    first, far = waiting(bench)
    queued = [bench.client() for _ in range(3)]
    for each in queued:
        each.send(POST)  # not a byte of which has gone anywhere
    bench.turn()
    assert bench.figures.read_endpoint(bench.rows[0][0])["in_flight"] == 1
    set_gate(bench, "silent")
    bench.turn(100, turns=3)
    there = bench.accepted(server)
    for _ in range(4):
        bench.turn()
        answer(bench, there, b"")
    assert [received(each) for each in (first, *queued)] == [ANSWER] * 4
    assert received(far) == b""


def test_a_connect_under_way_is_left_by_any_method(make_bench):
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # nobody accepts, so further connects go unanswered
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        bench = make_bench(endpoints=((full.getsockname(),), (("127.0.0.1", NOWHERE),)))
        client, other = bench.client(), bench.upstream(pop=1)
        client.send(POST)
        bench.turn()
        assert bench.figures.read_endpoint(bench.rows[0][0])["in_flight"] == 1 and received(other) is None
        set_gate(bench, "silent")
        bench.turn(100)
        answer(bench, other, b"POST /x ")
        assert received(client) == ANSWER
        first = bench.figures.read_endpoint(bench.rows[0][0])
        assert (first["connect_failures"], first["failures"]) == (1, 0)
        assert bench.figures.read_pool(bench.pool_rows[0])["failures"] == 1


def test_no_more_than_the_tries(make_bench):
    bench = make_bench(Settings(max_retries=0))
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    set_gate(bench, "silent")
    assert_stays(bench, client, far, other)


def test_no_more_than_the_budget(make_bench):
    bench = make_bench(Settings(budget_share=0.0, budget_floor_per_s=0.0))
    met = []
    for _ in range(2):  # one at a time is in flight, so one in a minute is granted
        set_gate(bench, "admitting")
        client, far = waiting(bench)
        other = bench.upstream(pop=1)
        set_gate(bench, "silent")
        bench.pass_ms(300)
        met.append(received(other) is not None)
        (far if received(far) is None else other).send(ANSWER)
        bench.turn()
        assert received(client) == ANSWER
        client.close()
        bench.turn(turns=2)
    assert met == [True, False]


def test_another_endpoint_of_the_pop_comes_first(make_bench):
    bench = make_bench(endpoints=TWO_AND_ONE)
    set_gate(bench, "shut", number=1)
    client, _ = waiting(bench)
    set_gate(bench, "admitting", number=1)
    sibling, other = bench.upstream(number=1), bench.upstream(pop=1)
    set_gate(bench, "silent")
    bench.turn(100)
    answer(bench, sibling)
    assert received(client) == ANSWER and received(other) is None


@pytest.mark.parametrize("is_other_open", [True, False])
def test_but_the_last_try_is_another_pops_while_there_is_one(make_bench, is_other_open):
    bench = make_bench(Settings(max_retries=1), endpoints=TWO_AND_ONE)
    set_gate(bench, "shut", number=1)
    client, _ = waiting(bench)
    set_gate(bench, "admitting", number=1)
    sibling, other = bench.upstream(number=1), bench.upstream(pop=1)
    set_gate(bench, "admitting" if is_other_open else "shut", pop=1)
    set_gate(bench, "silent")
    bench.turn(100)
    answer(bench, other if is_other_open else sibling)
    assert received(client) == ANSWER


def test_in_a_panic_nobody_is_sent_from_one_silent_endpoint_to_the_next(bench):
    for pop, row in enumerate(bench.pool_rows):
        bench.figures.set_pool(row, availability=0.0, answering=0)
        set_gate(bench, "silent", pop=pop)
    servers = [bench.listen(pop=0), bench.listen(pop=1)]
    client = bench.client()
    client.send(REQUEST)
    bench.turn()
    bench.pass_ms(1000)
    assert sum(bench.figures.read_pool(row)["attempts"] for row in bench.pool_rows) == 1
    assert received(client) is None and len(servers) == 2


def test_a_pop_that_was_drained_since_is_no_place(bench):
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    bench.pops = ({}, {"is_drained": True})
    bench.publish()
    set_gate(bench, "silent")
    assert_stays(bench, client, far, other)


def test_nor_is_one_that_was_removed_since(bench):
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    spec = bench.table().spec
    (service,) = spec.services
    one = dataclasses.replace(spec, pops=spec.pops[:1], services=(dataclasses.replace(service, pools=service.pools[:1]),))
    bench.snapshots.publish(Table(one, bench.figures), bench.locator, bench.compiled)
    set_gate(bench, "silent")
    assert_stays(bench, client, far, other)


def test_one_that_was_renamed_since_is_a_place(bench):
    client, _ = waiting(bench)
    other = bench.upstream(pop=1)
    spec = bench.table().spec
    pops = (spec.pops[0], dataclasses.replace(spec.pops[1], name="ams"))
    bench.snapshots.publish(Table(dataclasses.replace(spec, pops=pops), bench.figures), bench.locator, bench.compiled)
    set_gate(bench, "silent")
    bench.turn(100)
    answer(bench, other)
    assert received(client) == ANSWER


def test_where_nobody_may_serve_it_any_more_it_goes_to_nobody(make_bench):
    """Before, to its endpoint's sibling."""
    bench = make_bench(endpoints=TWO_AND_ONE)
    bench.figures.set_endpoint(bench.rows[0][1], state="shut")
    client, far = waiting(bench)
    set_gate(bench, "admitting", number=1)
    sibling = bench.upstream(number=1)
    bench.routes = (RouteSpec("all", 0, rules=(RuleSpec(frozenset({1})),)),)
    bench.pops = ({}, {"is_drained": True})
    bench.publish()
    set_gate(bench, "silent")
    assert_stays(bench, client, far, sibling)


@pytest.mark.parametrize("may_go", [True, False])
def test_who_leaves_goes_where_the_newest_rule_lets_it(bench, may_go):
    """Before, to a fallback of its first decision, whatever a reload had said since."""
    client, far = waiting(bench)
    other = bench.upstream(pop=1)
    bench.routes = (RouteSpec("all", 0, rules=(RuleSpec(frozenset({0, 1} if may_go else {0})),)),)
    bench.publish()
    set_gate(bench, "silent")
    if may_go:
        bench.turn(100)
        answer(bench, other)
        assert received(client) == ANSWER
    else:
        assert_stays(bench, client, far, other)


def test_who_may_not_be_where_it_waits_leaves_for_where_it_may(bench):
    client, _ = waiting(bench)
    other = bench.upstream(pop=1)
    bench.routes = (RouteSpec("all", 0, rules=(RuleSpec(frozenset({1})),)),)
    bench.publish()
    set_gate(bench, "silent")
    bench.turn(100)
    answer(bench, other)
    assert received(client) == ANSWER
    assert bench.figures.read_pool(bench.pool_rows[1])["attempts"] == 1
    bench.assert_at_rest()
    assert bench.snapshots.reclaim() == 0


def test_a_place_that_refuses_is_one_try_of_those_it_has(bench):
    """The other PoP refuses at once: there is no third."""
    client, far = waiting(bench)
    set_gate(bench, "silent")
    bench.turn(100, turns=2)
    assert received(far) == b""
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert bench.figures.read_endpoint(bench.rows[1][0])["connect_failures"] == 1


def test_a_thousand_go_a_few_a_turn(make_bench):
    n = 1000
    bench = make_bench(Settings())
    server = bench.listen(pop=1)
    server.listen(n)
    clients = [waiting(bench)[0] for _ in range(n)]
    set_gate(bench, "silent")
    bench.turn(100)
    assert bench.figures.read_endpoint(bench.rows[1][0])["in_flight"] == TOLD
    bench.turn(turns=n // TOLD + 1)  # no time goes by: the worker does not sleep between these
    assert bench.figures.read_endpoint(bench.rows[1][0])["in_flight"] == n
    for _ in range(n):
        there = bench.accepted(server)
        answer(bench, there)
        there.close()
    assert [received(client) for client in clients] == [ANSWER] * n
    assert bench.figures.read_service(bench.service_row)["good"] == n
    bench.assert_at_rest()


def test_those_that_stay_keep_nobody_from_going(bench):
    """More of them than a turn's share lie before those that can go."""
    stuck = [waiting(bench, POST) for _ in range(3 * TOLD)]
    client, _ = waiting(bench)
    other = bench.upstream(pop=1)
    set_gate(bench, "silent")
    bench.turn(100, turns=4)
    answer(bench, other)
    assert received(client) == ANSWER
    assert all(received(far) is None for _, far in stuck)
