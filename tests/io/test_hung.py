"""A PoP that takes requests and answers none, and an endpoint that refuses at once: on a real gateway, by clients that give up."""

import contextlib
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
                with contextlib.suppress(TimeoutError):
                    self.answers[one.recv(4096)[-3:]] += 1
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


def test_an_endpoint_that_fails_at_once_is_ejected_from_a_pool_of_two(tmp_path):
    """Before, it looked quick, took nearly all and starved the other of the answers that it is compared with."""
    with one_pop(tmp_path, 2) as (gateway, (bad, good)):
        bad.answers, good.delay_s = 500, 0.15
        with Crowd(gateway, 8, patience_s=5, pause_s=0.02):
            eventually(lambda: endpoint(gateway, bad)["state"] == "ejected", "it is ejected")
        assert good.n_seen > 10
