"""Who waits at a PoP that has fallen silent, on a real gateway before real backends: a stopped process answers nothing."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from tests.io.serving import CONFIG, Client, backends, eventually, free_port, send_signal, served

pytestmark = pytest.mark.slow

# Answers who it is; a path with a number after so many seconds.
SERVER = """
import http.server, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(float(self.path.partition("=")[2] or 0))
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"fra")

    do_POST = do_PUT = do_GET

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
ALONE = CONFIG.replace("      - {{pop: nyc", "      #")


class Process:
    """An endpoint that can be stopped, and go on."""

    def __init__(self):
        self.port = free_port()
        self._process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)])
        eventually(self._listens, "it listens")

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def signal(self, number):
        send_signal(self._process, number)

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def fra():
    process = Process()
    yield process
    process.close()


@pytest.fixture
def nyc():
    with backends("nyc") as (one,):
        yield one


class Both:
    def __init__(self, two):
        self.address = '", "'.join(one.address for one in two)


class Requests:
    """Clients that each have asked once, and what they were answered."""

    def __init__(self, port):
        self._port = port
        self._threads = []
        self.answers = []

    def ask(self, n, method="GET", path="/", body=None):
        self._threads += (threading.Thread(target=self._ask, args=(method, path, body), daemon=True) for _ in range(n))
        for thread in self._threads[-n:]:
            thread.start()
        return self

    def _ask(self, method, path, body):
        client = Client(self._port)
        with contextlib.closing(client):
            answer = client.ask(path, None, method, body)
            self.answers.append((method, answer.status, answer.text.partition(" ")[0]))

    def wait_answers(self, expected):
        eventually(lambda: len(self.answers) >= sum(expected.values()), f"{expected} of {self.answers}")
        assert Counter(self.answers) == expected


def standing(folder, text=CONFIG, workers=2, **places):
    return served(folder, text.replace("workers: 2", f"workers: {workers}"), **{name: one.address for name, one in places.items()})


def shown(gateway, pop):
    """Its only service there, as the admin API has it."""
    return gateway.admin(f"/pops/{pop}")["services"][0]


def wait_in_flight(gateway, n):
    eventually(lambda: shown(gateway, "fra")["in_flight"] == n, f"{n} wait at fra")


def test_who_waits_in_vain_goes_to_the_one_that_takes_its_endpoints_place(tmp_path, fra):
    """A dead machine's endpoint is replaced, and the new one comes up a while later. Before, nobody was told any more: 504."""
    with backends("new") as (new,):
        new.die()
        with standing(tmp_path, ALONE, fra=fra, nyc=new) as gateway:
            Requests(gateway.port).ask(1).wait_answers({("GET", 200, "fra"): 1})
            fra.signal(signal.SIGSTOP)
            waiting = Requests(gateway.port).ask(4)
            wait_in_flight(gateway, 4)
            eventually(lambda: shown(gateway, "fra")["endpoints"].get("shut"), "it is known to be dead")
            gateway.config.write_text(gateway.config.read_text().replace(fra.address, new.address))
            assert gateway.admin("/reload", "POST")["reloaded"]
            replaced = time.monotonic()
            eventually(lambda: time.monotonic() - replaced > 1.0, "workers close what is idle there")
            new.revive()
            waiting.wait_answers({("GET", 200, "new"): 4})


@pytest.mark.parametrize("workers", [1, 2])
def test_gets_go_elsewhere_once_it_is_known_and_posts_wait_on(tmp_path, fra, nyc, workers):
    with standing(tmp_path, workers=workers, fra=fra, nyc=nyc) as gateway:
        Requests(gateway.port).ask(3).wait_answers({("GET", 200, "fra"): 3})
        fra.signal(signal.SIGSTOP)
        began = time.monotonic()
        waiting = Requests(gateway.port).ask(15).ask(2, "PUT", body=b"x").ask(3, "POST", body=b"x")
        waiting.wait_answers({("GET", 200, "nyc"): 15, ("PUT", 200, "nyc"): 2})
        assert time.monotonic() - began < 10  # of the 60 s that they may wait for a first byte
        fra.signal(signal.SIGCONT)
        waiting.wait_answers({("GET", 200, "nyc"): 15, ("PUT", 200, "nyc"): 2, ("POST", 200, "fra"): 3})
        assert nyc.seen["POST /"] == 0


def test_hundreds_at_once(tmp_path, fra, nyc):
    with standing(tmp_path, fra=fra, nyc=nyc) as gateway:
        fra.signal(signal.SIGSTOP)
        Requests(gateway.port).ask(300).wait_answers({("GET", 200, "nyc"): 300})


def test_who_has_nowhere_to_go_waits(tmp_path, fra):
    with standing(tmp_path, ALONE, fra=fra, nyc=fra) as gateway:
        fra.signal(signal.SIGSTOP)
        waiting = Requests(gateway.port).ask(5)
        gateway.wait_log("endpoint is shut")
        wait_in_flight(gateway, 5)
        fra.signal(signal.SIGCONT)
        waiting.wait_answers({("GET", 200, "fra"): 5})


def be_unwell(gateway, two):
    two[0].status = 503
    gateway.wait_log("endpoint is shut")


def stop_listening(gateway, two):
    two[0].stop_listening()
    gateway.wait_log("endpoint is shut")


def be_ejected(gateway, two):
    for one in two:
        one.refusal = 503, {}
    assert gateway.get()[0] == 503
    gateway.wait_log("endpoint is ejected")


@pytest.mark.parametrize("how", [be_unwell, stop_listening, be_ejected])
def test_who_takes_nothing_but_answers_keeps_its_exchanges(tmp_path, nyc, how):
    """One that drains, ends or is ejected is shut like one that is dead."""
    text = CONFIG.replace("slow_start: 200ms", "outliers: {{consecutive_errors: 1}}")
    with backends("fra", "fra") as two, standing(tmp_path, text, nyc=nyc, fra=Both(two)) as gateway:
        waiting = Requests(gateway.port).ask(6, path="/slow?delay=4")
        eventually(lambda: sum(one.seen["GET /slow"] for one in two) == 6, "all have been read there")
        how(gateway, two)
        waiting.wait_answers({("GET", 200, "fra"): 6})
        assert sum(one.seen["GET /slow"] for one in two) == 6
        assert nyc.seen["GET /slow"] == 0
