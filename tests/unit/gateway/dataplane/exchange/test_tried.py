"""Whom a request has been to is not asked again, whoever has its number since, and however others leave the list."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, received

THREE = (tuple((f"127.0.0.{n}", NOWHERE) for n in (1, 2, 3)), ())


def attempts(bench):
    return [bench.figures.read_endpoint(row)["attempts"] for row in bench.rows[0]]


def set_states(bench, *states):
    for row, state in zip(bench.rows[0], states, strict=True):
        bench.figures.set_endpoint(row, state=state)


def close_at(bench, server):
    """The request has come there, and its connection ends."""
    end = bench.accepted(server)
    assert end.recv(65536).startswith(b"GET /x ")
    end.close()
    bench.turn(turns=3)


def test_each_is_asked_once(make_bench):
    bench = make_bench(Settings(max_retries=3), endpoints=THREE)
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=6)
    assert received(client).startswith(b"HTTP/1.1 502 ") and attempts(bench) == [1, 1, 1]
    bench.assert_at_rest()


def test_who_is_gone_is_forgotten_and_its_number_may_be_anybodys(make_bench):
    bench = make_bench(Settings(max_retries=3), endpoints=THREE)
    first, second = bench.listen(0, 0), bench.listen(0, 1)
    set_states(bench, "admitting", "shut", "shut")
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=2)
    set_states(bench, "shut", "admitting", "shut")
    close_at(bench, first)
    rows, addresses = bench.rows[0], bench.endpoints[0]
    bench.rows[0], bench.endpoints = rows[1:], (addresses[1:], ())
    third = bench.listen(0, 1)
    bench.figures.set_endpoint(rows[2], state="admitting")
    close_at(bench, second)
    bench.rows[0], bench.endpoints = rows, ((("127.0.0.1", NOWHERE), *bench.endpoints[0]), ())
    again = bench.listen(0, 0)
    bench.figures.set_endpoint(rows[0], state="admitting")
    close_at(bench, third)
    bench.accepted(again).send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    bench.assert_at_rest()


@pytest.mark.parametrize("_", range(6))  # whom it asks first is drawn
def test_who_refused_is_gone_and_nobody_else_has_refused_for_that(make_bench, _):
    bench = make_bench(Settings(max_retries=3, queue_ms=5000), endpoints=THREE, max_in_flight=1)
    resets, answers = bench.listen(0, 1), bench.listen(0, 2)
    set_states(bench, "shut", "shut", "admitting")
    other, client = bench.client(), bench.client()
    other.send(REQUEST)
    bench.turn(turns=2)
    here = bench.accepted(answers)
    set_states(bench, "admitting", "admitting", "admitting")  # the first one refuses
    client.send(REQUEST)
    bench.turn(turns=3)
    close_at(bench, resets)
    assert attempts(bench) == [1, 1, 1]
    bench.rows[0], bench.endpoints = bench.rows[0][1:], (bench.endpoints[0][1:], ())
    bench.publish()
    bench.pass_ms(500)
    assert attempts(bench) == [1, 1], "it waits, for one was reset by and the other is busy"
    here.send(ANSWER)
    bench.turn(turns=3)
    assert received(other) == ANSWER
    bench.accepted(answers).send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    bench.assert_at_rest()
