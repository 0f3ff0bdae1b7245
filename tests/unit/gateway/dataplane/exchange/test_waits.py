"""A wait ends by what is waited for, and by nothing else: neither side's life is proof of the other's."""

import array
import fcntl
import select
import termios

import pytest

from gateway.dataplane import Settings
from routing_core import RouteSpec
from tests.support.dataplane import ANSWER, PATTERN, REQUEST, received

POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun"
STEP_MS = 1000


@pytest.fixture
def patient(make_bench):
    """Five seconds for either side; of the client no rate is asked, so that nothing but the wait can end."""
    return make_bench(Settings(body_progress_ms=5000, body_rate=0, log_share=1.0))


def early_answer(bench):
    """An upload under way, and the answer to it begun."""
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    assert bench.ask(client, upstream, POST)
    upstream.send(BEGUN)
    bench.turn()
    assert received(client).endswith(b"begun")
    return client, upstream


def lives_s(bench, step, most=60):
    """Steps of a second until the exchange has ended."""
    for second in range(most):
        if bench.counters.read()["active"][0] == 0:
            return second
        step()
        bench.pass_ms(STEP_MS)
    return most


def fill(bench, end):
    """Sends into one end until the gateway takes no more of it."""
    for _ in range(1000):
        try:
            end.send(PATTERN)
        except BlockingIOError:
            bench.turn(turns=2)
            try:
                end.send(PATTERN)
            except BlockingIOError:
                return
        bench.turn()
    raise AssertionError("it took all of it")


def ended_by(bench):
    (line,) = bench.worker.read_log()
    return line["status"], line["ended_by"]


def test_a_client_that_drips_keeps_no_dead_upstream(patient):
    client, upstream = early_answer(patient)
    assert 4 <= lives_s(patient, lambda: (client.send(b"x"), received(upstream))) <= 6
    assert ended_by(patient) == (200, "upstream")


def test_an_upstream_that_drips_keeps_no_dead_client(patient):
    client, upstream = early_answer(patient)
    assert 4 <= lives_s(patient, lambda: (upstream.send(b"x"), received(client))) <= 6
    assert ended_by(patient) == (200, "client")


def test_an_upstream_that_takes_no_more_is_not_kept_by_what_its_client_adds(patient):
    client, theirs = patient.pair(is_tcp=True)
    patient.worker.adopt_downstream(theirs)
    upstream = patient.upstream(is_tcp=True)
    patient.ask(client, upstream, POST.replace(b"100000", b"1000000000"))
    unread = array.array("i", [0])
    while not unread[0]:  # until the gateway can't pass it on, and has room for more
        client.send(PATTERN[:65536])
        patient.turn(turns=4)
        fcntl.ioctl(theirs, termios.FIONREAD, unread)
    assert 4 <= lives_s(patient, lambda: client.send(b"x")) <= 6
    assert ended_by(patient) == (504, None)


def test_an_upstream_is_not_late_while_its_client_reads_little(patient):
    """Held up by it, it may take no more of the request: that is the client's wait."""
    client, upstream = patient.client(is_tcp=True), patient.upstream(is_tcp=True)
    patient.ask(client, upstream, POST.replace(b"100000", b"1000000000"))
    upstream.send(BEGUN.replace(b"100000", b"1000000000"))
    fill(patient, client)
    fill(patient, upstream)

    def read_a_little():
        select.select([client], [], [], 5)
        assert received(client)
        fill(patient, upstream)

    assert lives_s(patient, read_a_little, 20) == 20
    assert 2 <= lives_s(patient, lambda: None) <= 6  # from when the last byte moved, which was in the last second or two
    assert ended_by(patient) == (200, "client")


def test_both_that_move_go_on(patient):
    client, upstream = early_answer(patient)
    assert lives_s(patient, lambda: (client.send(b"x"), received(upstream), upstream.send(b"x"), received(client)), 20) == 20


def test_who_does_not_read_our_own_answer_is_not_kept_by_what_it_sends(make_bench):
    """404s to pipelined requests fill its socket; what it goes on to send is no sign that it reads."""
    bench = make_bench(Settings(body_progress_ms=5000), routes=(RouteSpec("other", 0, hosts=("other",)),))
    client = bench.client(is_tcp=True)
    fill_requests(bench, client)
    assert bench.counters.read()["active"][0] == 1
    assert 4 <= lives_s(bench, lambda: client.send(b"x")) <= 6


def fill_requests(bench, client):
    for _ in range(3000):
        client.send(REQUEST * 100)
        bench.turn(turns=8)
        if bench.counters.read()["active"][0]:
            return
    raise AssertionError("its socket took all answers")


@pytest.mark.parametrize("talker", ["client", "upstream"])
def test_of_a_tunnel_either_way_is_life_enough(make_bench, talker):
    bench = make_bench(Settings(tunnel_idle_ms=5000, body_progress_ms=500))
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    bench.ask(client, upstream, b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n")
    upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n")
    bench.turn()
    received(client)
    one, other = (client, upstream) if talker == "client" else (upstream, client)
    assert lives_s(bench, lambda: (one.send(b"x"), received(other)), 20) == 20
    assert 4 <= lives_s(bench, lambda: None) <= 6


def test_a_wait_for_an_answer_begins_at_the_requests_end(make_bench):
    bench = make_bench(Settings(first_byte_ms=3000, body_progress_ms=5000, body_rate=0))
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    bench.ask(client, upstream, POST.replace(b"100000", b"20"))
    for _ in range(20):
        client.send(b"x")
        bench.pass_ms(1000)
    assert len(received(upstream)) == 20
    bench.pass_ms(1500)
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")  # is no answer yet, and no reason to wait on
    assert 1 <= lives_s(bench, lambda: None) <= 3
    assert received(client).endswith(b"Gateway Timeout\n")
    client, upstream = bench.client(is_tcp=True), bench.upstream(is_tcp=True)
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
