"""Endpoints that are replaced while requests wait for them, or are under way there: a PoP that is rolled loses nobody, and sends nobody
elsewhere."""

import contextlib
import http.client
import socket
import struct
import threading

import pytest

from tests.io.serving import CONFIG, GERMAN, Answer, Client, backends, eventually, served
from tests.io.test_interim import Upstream, answer

pytestmark = pytest.mark.slow


class Asked:
    """So many requests at once, each over a connection of its own."""

    def __init__(self, port, n, path, headers=GERMAN):
        self.answers: list[Answer] = []
        self._threads = [threading.Thread(target=self._ask, args=(port, path, headers)) for _ in range(n)]
        for thread in self._threads:
            thread.start()

    def _ask(self, port, path, headers):
        with contextlib.closing(Client(port)) as client:
            self.answers.append(client.ask(path, headers))

    def wait(self):
        for thread in self._threads:
            thread.join(20)
        return [(answer.status, answer.text) for answer in self.answers]


def reload(gateway, old, new):
    gateway.config.write_text(gateway.config.read_text().replace(old, new))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    connection.request("POST", "/reload")
    assert connection.getresponse().status == 200
    connection.close()


def takes(gateway, name):
    return lambda: gateway.get(headers=GERMAN) == (200, name)


@pytest.mark.parametrize("workers", [1, 4])
def test_who_waits_for_an_endpoint_that_is_replaced_goes_to_the_new_one(tmp_path, workers):
    """Before, all were 503 or sent to another PoP: the table of when they came knows the old one alone."""
    text = CONFIG.replace("workers: 2", f"workers: {workers}").replace("slow_start: 200ms", "max_in_flight: 1")
    with backends("old", "new", "nyc") as (old, new, nyc):
        with served(tmp_path, f"{text}timeouts: {{{{queue: 20s}}}}", fra=old.address, nyc=nyc.address) as gateway:
            eventually(takes(gateway, "old"), "it takes requests")
            first = Asked(gateway.port, 1, "/?delay=5")
            eventually(lambda: old.in_flight == 1, "one is there")
            waiting = Asked(gateway.port, 6, "/")
            eventually(lambda: in_flight(gateway) == 7, "the others wait")
            reload(gateway, old.address, new.address)
            assert waiting.wait() == [(200, "new")] * 6
            assert first.wait() == [(200, "old")]
            assert nyc.seen["GET /"] == 0


def in_flight(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("isochrone_in_flight{") and "fra" in line)


class Ending:
    """Answers while it is asked for nothing slow, and holds what is, until it is told to end: by a reset."""

    def __init__(self):
        self.n_held = 0
        self._has_ended = threading.Event()

    def __call__(self, connection, head):
        if b"slow" not in head:
            connection.sendall(answer(b"old"))
            return
        self.n_held += 1
        self._has_ended.wait(20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def end(self):
        self._has_ended.set()


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_under_way_at_an_endpoint_that_was_replaced_and_ends_is_repeated_at_the_new_one(tmp_path, workers):
    ending = Ending()
    with backends("new", "nyc") as (new, nyc), contextlib.closing(Upstream(ending)) as old:
        with served(tmp_path, CONFIG.replace("workers: 2", f"workers: {workers}"), fra=old.address, nyc=nyc.address) as gateway:
            eventually(takes(gateway, "old"), "it takes requests")
            under_way = Asked(gateway.port, 8, "/?slow=1")
            eventually(lambda: ending.n_held == 8, "all are there")
            reload(gateway, old.address, new.address)
            eventually(takes(gateway, "new"), "the new one takes requests")
            before = nyc.seen["GET /"]  # until it was probed: a machine may take its time for that
            ending.end()
            assert {status for status, _ in under_way.wait()} == {200}
            assert nyc.seen["GET /"] == before
