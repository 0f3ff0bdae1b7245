"""Interim answers on a real gateway before raw upstreams: only an answer ends a wait, and who owes the next word is waited for."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from http.client import HTTPConnection

import pytest

from tests.io.serving import CONFIG, free_port, served

pytestmark = pytest.mark.slow

HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ALONE = CONFIG.replace("      - {{pop: nyc", "      #") + "timeouts: {{body_progress: 1s, first_byte: 2s}}\n"


class Upstream:
    """Answers probes; each other connection is the handler's, in a thread of its own."""

    def __init__(self, handler):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError):
            while head := self.head(connection):
                if b"/healthz" in head:
                    connection.sendall(answer(b""))
                else:
                    self._handler(connection, head)

    @staticmethod
    def head(connection):
        """Up to its end and no further."""
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return b""
            got += byte
        return got

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def answer(text):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)


@contextlib.contextmanager
def standing(folder, text, **handlers):
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(contextlib.closing(Upstream(handler))) for name, handler in handlers.items()}
        yield stack.enter_context(served(folder, text, **{name: one.address for name, one in upstreams.items()}))


def fra(gateway):
    connection = HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/pops/fra")
        (service,) = json.loads(connection.getresponse().read())["services"]
    return service


def together(n, client):
    threads = [threading.Thread(target=client, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def after(seconds, upstream):
    """An upstream takes so long: the time that it lets go by on the connection, on which nothing comes."""
    upstream.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        upstream.recv(1)
    upstream.settimeout(10)


def test_hints_at_once_make_no_pop_fast(tmp_path):
    """Before, a PoP that hinted at once and answered after a second kept every request: its service time was 1 ms."""

    def hinting(connection, head):
        connection.sendall(HINTS)
        after(0.6, connection)
        connection.sendall(answer(b"fra"))

    def ask(near, number):
        """From a network near Frankfurt (1) or New York (2): who answered."""
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as one:
            one.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.%d.%d.1\r\nconnection: close\r\n\r\n" % (near, number))
            return b"".join(iter(lambda: one.recv(4096), b""))[-3:]

    seen, end = [], time.monotonic() + 30

    def has_left():
        return Counter(seen[-16:])[b"nyc"] > 8

    def client(number):
        while not has_left() and time.monotonic() < end:  # a tenth of the requests a second hear of it, however fast they come
            seen.append(ask(1, number))

    with standing(tmp_path, CONFIG, fra=hinting, nyc=lambda connection, head: connection.sendall(answer(b"nyc"))) as gateway:
        assert {ask(2, number) for number in range(30)} == {b"nyc"}  # so that it is known what that one takes
        together(8, client)
        assert fra(gateway)["service_ms"] > 100  # of few answers, and shrunk for that
        assert has_left() and b"fra" in seen, Counter(seen)


def test_slow_uploads_that_were_told_to_continue_are_not_the_endpoints_failure(tmp_path):
    """Before, fourteen of one client cost the PoP a penalty of 5 s, and an endpoint its place."""

    def impatient(connection, head):
        if b"100-continue" in head:
            connection.sendall(CONTINUE)
        connection.settimeout(1.3)
        for _ in range(100):
            connection.recv(1)

    def client(number):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as upload:
            upload.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n")
            assert upload.recv(len(CONTINUE)) == CONTINUE
            upload.sendall(b"z" * 50)
            assert b" 502 " in upload.recv(4096)

    patient = ALONE.replace("body_progress: 1s", "body_progress: 10s")
    with standing(tmp_path, patient, fra=impatient, nyc=impatient) as gateway:
        together(14, client)
        service = fra(gateway)
        assert (service["failures"], service["penalty_ms"]) == (0, 0)


def test_who_waits_to_be_told_to_continue_waits_for_the_endpoint(tmp_path):
    """Before, it was told 408 after the time that a client has for its body, and an endpoint that hangs failed nobody."""

    def mute(connection, head):
        if b"/slow" in head:
            after(1.4, connection)
            connection.sendall(CONTINUE)
            if connection.recv(5) == b"hello":
                connection.sendall(answer(b"done"))
        else:
            after(9, connection)

    with standing(tmp_path, ALONE, fra=mute, nyc=mute) as gateway:
        for path, status in ((b"/slow", b" 200 "), (b"/", b" 504 ")):
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as upload:
                began = time.monotonic()
                upload.sendall(b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n" % path)
                got = upload.recv(len(CONTINUE))
                assert time.monotonic() - began > 1.3
                if got == CONTINUE:
                    upload.sendall(b"hello")
                    got = upload.recv(4096)
                assert status in got
        assert fra(gateway)["failures"] == 1


def test_who_has_its_expect_taken_away_waits_for_nobody(tmp_path):
    """A Connection that names Expect. Before, the endpoint was never told, waited for the body, and was blamed for that."""

    def impatient(connection, head):
        after(0.5, connection)

    with standing(tmp_path, ALONE, fra=impatient, nyc=impatient) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as upload:
            upload.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: expect\r\nexpect: 100-continue\r\n\r\n")
            assert b" 400 " in upload.recv(4096)
        assert fra(gateway)["failures"] == 0
