"""A PoP that takes requests and answers none, and an endpoint that refuses at once: on a real gateway, by clients that give up."""

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections import Counter

import pytest

from tests.io.outlying import endpoint, pool_of
from tests.io.outlying import standing as one_pop
from tests.io.serving import CONFIG, eventually
from tests.io.test_interim import after, answer, standing

pytestmark = pytest.mark.slow


class Crowd:
    """Clients of as many networks, each of which asks again and again, and gives up by a reset."""

    def __init__(self, gateway, n, patience_s=0.5, pause_s=0.0):
        self.answers = Counter()
        self.longest_s = 0.0  # that one of them has waited for its answer
        self._gateway, self._patience_s, self._pause_s = gateway, patience_s, pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(n)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, number):
        while not self._stop.wait(self._pause_s):
            with socket.create_connection(("127.0.0.1", self._gateway.port)) as one:
                one.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.%d.1\r\n\r\n" % number)
                one.settimeout(self._patience_s)
                asked = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    self.answers[one.recv(4096)[-3:]] += 1
                    self.longest_s = max(self.longest_s, time.monotonic() - asked)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hung(connection, head):
    after(9, connection)


def well(connection, head):
    connection.sendall(answer(b"nyc"))


def test_a_pop_that_answers_nobody_loses_its_clients(tmp_path):
    """Before, it kept them all for ever: whoever gave up left no trace."""
    with standing(tmp_path, CONFIG, fra=hung, nyc=well) as gateway, Crowd(gateway, 8) as crowd:
        eventually(lambda: crowd.answers[b"nyc"] > 100, "they are answered elsewhere")


def test_one_impatient_client_moves_nobody(tmp_path):
    """Of its requests that hang; the others are few and far between."""
    with standing(tmp_path, CONFIG, fra=hung, nyc=well) as gateway, contextlib.ExitStack() as stack:
        for _ in range(8):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            one.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.7.1\r\n\r\n")
        eventually(lambda: pool_of(gateway)["in_flight"] == 8, "they hang")
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 3, "time goes by")
        assert pool_of(gateway)["penalty_ms"] == 0


def test_two_that_wait_in_vain_are_enough_when_they_are_of_two_networks(tmp_path):
    """Before, a PoP of few requests kept whoever came until he gave up: a third had to wait at the same time."""
    with standing(tmp_path, CONFIG, fra=hung, nyc=well) as gateway, contextlib.ExitStack() as stack:
        for network in (1, 3):  # of two groups
            one = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            one.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.%d.1\r\n\r\n" % network)
        eventually(lambda: pool_of(gateway)["penalty_ms"] > 1000, "it is known", 8)
        assert ask(gateway, 4) == b"nyc"


def test_those_who_wait_in_vain_one_after_another_are_enough(tmp_path):
    with standing(tmp_path, CONFIG, fra=hung, nyc=well) as gateway:
        networks = itertools.cycle(range(8))
        eventually(lambda: ask(gateway, next(networks), patience_s=0.3) == b"nyc", "they are answered elsewhere")


def test_one_network_that_waits_in_vain_is_no_evidence_however_long(tmp_path):
    with standing(tmp_path, CONFIG, fra=hung, nyc=well) as gateway:
        began = time.monotonic()
        while time.monotonic() - began < 6.5:
            assert ask(gateway, 1, patience_s=0.3) == b""
        assert pool_of(gateway)["penalty_ms"] == 0


def poisoned(connection, head):
    if not head.startswith(b"GET /poison"):
        connection.sendall(answer(b"fra"))
    else:
        connection.sendall(b"nonsense\r\n\r\n")


def ask(gateway, network, path="/", patience_s=10.0):
    """The end of the answer; empty: it came to nothing in that time."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as one:
        one.sendall(b"GET %s HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.%d.1\r\n\r\n" % (path.encode(), network))
        one.settimeout(patience_s)
        with contextlib.suppress(TimeoutError):
            return one.recv(4096)[-3:]
    return b""


def test_one_client_whose_requests_fail_moves_nobody(tmp_path):
    """Before, every twentieth request of it, of all, made its PoP look 250 ms slower to everybody."""
    with standing(tmp_path, CONFIG, fra=poisoned, nyc=well) as gateway:
        for turn in range(200):
            network = turn % 8
            assert ask(gateway, network) == b"fra"
            if network == 3:
                ask(gateway, network, "/poison")
            assert pool_of(gateway)["penalty_ms"] == 0
        assert pool_of(gateway)["failures"] == 25


def report(connection, head):
    if head.startswith(b"GET /report"):
        after(8, connection)
    else:
        connection.sendall(answer(b"fra"))


@pytest.mark.parametrize(("n", "pause_s"), [(30, 0.05), (3, 1.0)], ids=["many, in a busy PoP", "three, in a quiet one"])
def test_the_slow_pages_of_one_client_are_no_queue(tmp_path, n, pause_s):
    """Before, six of them moved everybody for some 20 s, and in a PoP of three answers a second two were enough: the wait of so many by how
    many are answered, 260 ms and 500 ms here. A busy machine makes one of its own, of 32 ms once."""
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(standing(tmp_path, CONFIG, fra=report, nyc=well))
        crowd = stack.enter_context(Crowd(gateway, 6, 5.0, pause_s))
        eventually(lambda: crowd.answers[b"fra"] >= 20, "they are known")
        for _ in range(n):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            one.sendall(b"GET /report HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.77.1\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 5:
            # A wait that others have met is theirs to tell.
            assert pool_of(gateway)["penalty_ms"] < 100 + 1000 * crowd.longest_s
        assert set(crowd.answers) == {b"fra"}


def test_what_fails_for_everybody_still_moves_all(tmp_path):
    with standing(tmp_path, CONFIG, fra=poisoned, nyc=well) as gateway:
        turns = iter(range(10_000))

        def is_left():
            network = next(turns) % 8
            ask(gateway, network, "/poison")
            return ask(gateway, network) == b"nyc"

        eventually(is_left, "it is left")


def test_an_endpoint_that_fails_at_once_is_ejected_from_a_pool_of_two(tmp_path):
    """Before, it looked quick, took nearly all and starved the other of the answers that it is compared with."""
    with one_pop(tmp_path, 2) as (gateway, (bad, good)):
        bad.answers, good.delay_s = 500, 0.15
        with Crowd(gateway, 8, patience_s=5, pause_s=0.02):
            eventually(lambda: endpoint(gateway, bad)["state"] == "ejected", "it is ejected")
        assert good.n_seen > 10
