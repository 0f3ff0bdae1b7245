"""Upstream connections: which are kept though a gate is shut, and how those end that are not."""

import contextlib
import socket

import pytest

from tests.support.dataplane import ANSWER, pour, received


def test_a_gate_that_shuts_closes_the_idle_ones_and_leaves_the_busy_one_until_it_is_done(bench):
    client, busy, idle = bench.client(), bench.upstream(), bench.upstream()
    busy, idle = idle, busy
    bench.ask(client, busy)
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    bench.pass_ms(200)
    assert received(idle) == b"" and received(busy) is None
    busy.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER and received(busy) == b""
    assert bench.figures.read_endpoint(bench.rows[0][0])["connections"] == 0


def test_of_a_shut_gate_behind_which_one_answers_connections_are_kept(bench):
    """A panic asks there: until it refuses, or is gone."""
    row = bench.rows[0][0]
    client, upstream = bench.client(), bench.upstream()
    assert bench.ask(client, upstream)
    bench.figures.set_endpoint(row, state="shut", has_answered=True)
    upstream.send(ANSWER)
    bench.pass_ms(200)
    assert received(client) == ANSWER and received(upstream) is None
    assert bench.figures.read_endpoint(row)["connections"] == 1
    bench.figures.set_endpoint(row, has_answered=False)
    bench.pass_ms(200)
    assert received(upstream) == b"" and bench.figures.read_endpoint(row)["connections"] == 0


@pytest.mark.parametrize("has_all", [True, False])
def test_one_that_is_given_up_is_reset_once_its_endpoint_has_got_all_of_the_request(bench, has_all):
    """No port of ours waits. An early answer may leave bytes on their way, which a reset would take back."""
    body = b"x" * (10 if has_all else 200_000)
    client, upstream = bench.client(), bench.upstream(is_tcp=True)
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pour(bench, client, client, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
    assert bench.figures.read_endpoint(bench.rows[0][0])["connections"] == 1
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    bench.pass_ms(200)
    upstream.settimeout(5)
    head = upstream.recv(10)
    with pytest.raises(ConnectionResetError) if has_all else contextlib.nullcontext():
        assert (head + b"".join(iter(lambda: upstream.recv(65536), b""))).endswith(body)
