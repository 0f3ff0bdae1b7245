"""Random and mutated bytes at a real gateway, from clients and from upstreams at once. FUZZ_S: seconds (5); FUZZ_SEED repeats a run.

What holds whatever is sent: each request that reaches the upstream is readable by h11 and in one way only; nobody gets an answer that
belongs to another; no worker dies, hangs or keeps memory; and afterwards all is served as before.
"""

import contextlib
import http.client
import json
import os
import random
import re
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.io.serving import eventually, served
from tests.support.raw import OK, Answer, Seen, dial, raw_upstream, reset_on_close

pytestmark = [pytest.mark.slow, pytest.mark.fuzz]

FUZZ_S = float(os.environ.get("FUZZ_S", "5"))
IS_INSTRUMENTED = "san" in os.environ.get("LD_PRELOAD", "")  # sanitizers keep what was freed
N_CLIENTS = 6
# Of the process, over what it had after a second of the same: allocators keep some, a leak of one buffer a connection would be far more.
MAX_GROWTH_KIB = 8 << 10
CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
pops: [{{name: fra, lat: 50.11, lon: 8.68}}, {{name: nyc, lat: 40.71, lon: -74.01}}]
services:
  - name: shop
    health: {{type: tcp, interval: 1s, timeout: 1s}}
    backends: [{{pop: fra, endpoints: ["{fra}"]}}, {{pop: nyc, endpoints: ["{nyc}"]}}]
routes: [{{service: shop}}]
timeouts: {{request_head: 300ms, body_progress: 300ms, first_byte: 300ms, keep_alive_idle: 500ms, tunnel_idle: 1s, linger: 100ms}}
limits: {{body_bytes: 1MiB}}
admin: {{bind: "127.0.0.1:{admin}"}}
access_log: {{path: "{log}"}}
gateway: {{workers: 2}}
log: {{format: json}}
"""

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"HEAD /x?y=z HTTP/1.1\r\nHost: a.example:80\r\nConnection: close, x-a\r\nX-A: b\r\n\r\n",
    b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nT: 1\r\n\r\n",
    b"GET http://b.example/z HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nForwarded: for=192.0.2.1\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"PUT /p HTTP/1.1\r\nHost: [::1]:8080\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
]
ANSWERS = [
    OK.text,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\n\r\nhello until the end",
    b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
]
OCTETS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"_",
    b"0",
    b"5",
    b"f",
    b"\xff",
    b"\x7f",
    b"chunked",
    b"close",
]


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A few messages in a row, some octets of them exchanged, put in, taken out or doubled; at times plain noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.choice([1, 10, 1000, 100_000]))
    text = b"".join(rng.choice(seeds) for _ in range(rng.choice([1, 1, 1, 2, 5])))
    for _ in range(rng.choice([0, 0, 1, 1, 2, 8])):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice(OCTETS) if rng.random() < 0.8 else rng.randbytes(rng.choice([1, 9]))
        new, gone = rng.choice([(piece, 0), (piece, len(piece)), (b"", rng.choice([1, 9])), (text[at : at + 99] * rng.choice([2, 50]), 99)])
        text = text[:at] + new + text[at + gone :]
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.1 else text


class Attack:
    """Clients in threads, each with a random state of its own, until told to stop; and one among them that is sound."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.n_connections = 0
        self.sound: Counter[int] = Counter()  # answers to the sound client, by status
        self.strange: list[str] = []  # that were not its own
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + n),), daemon=True) for n in range(N_CLIENTS)]
        self._threads.append(threading.Thread(target=self._ask, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def _run(self, rng: random.Random) -> None:
        while not self._stop.is_set():
            with dial(self.port) as client, contextlib.suppress(OSError):
                self.n_connections += 1
                self._talk(rng, client)

    def _ask(self) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        n = 0
        while not self._stop.is_set():
            n += 1
            target = f"/sound/{n}"
            try:
                client.request("GET", target)
                answer = client.getresponse()
                body = answer.read().decode("latin-1")
            except (OSError, http.client.HTTPException) as error:
                self.strange.append(f"{target}: {error!r}")
                client.close()
                continue
            self.sound[answer.status] += 1
            # Its request may go over a connection that an attacker's answer has just broken: then 502, and nobody else's answer.
            if answer.status not in (502, 504) and (answer.status, body) != (200, target):
                self.strange.append(f"{target}: {answer.status} {body!r}")
        client.close()

    def _talk(self, rng: random.Random, client) -> None:
        client.settimeout(rng.choice([0.001, 0.02, 0.02, 0.2]))
        for _ in range(rng.choice([1, 1, 3])):
            text = mutate(rng, REQUESTS)
            step = rng.choice([1, 7, 1000, 1 << 20]) if len(text) < 2000 else 1 << 20
            for at in range(0, len(text), step):
                client.sendall(text[at : at + step])
            with contextlib.suppress(TimeoutError):
                while client.recv(1 << 16) and rng.random() < 0.9:
                    pass
        if rng.random() < 0.3:
            reset_on_close(client)


def rss_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def total(figures: dict[str, float], name: str) -> float:
    return sum(value for key, value in figures.items() if key.partition("{")[0] == name)


def test_nothing_that_is_sent_breaks_the_gateway(tmp_path):
    seed = int(os.environ.get("FUZZ_SEED", str(random.randrange(1 << 32))))
    print(f"FUZZ_SEED={seed}")
    rng, lock = random.Random(seed), threading.Lock()
    is_sound = threading.Event()

    def script(seen: Seen) -> Answer:
        if is_sound.is_set():
            return OK
        if seen.target.startswith("/sound/"):
            return Answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen.target) + seen.target.encode())
        with lock:
            return Answer(
                mutate(rng, ANSWERS) if rng.random() < 0.7 else rng.choice(ANSWERS),
                at_head=rng.random() < 0.1,
                closes=rng.random() < 0.4,
                resets=rng.random() < 0.1,
            )

    with raw_upstream(script) as fra, raw_upstream(script) as nyc:
        with served(tmp_path, CONFIG, fra=fra.address, nyc=nyc.address, log=str(tmp_path / "access")) as gateway:
            pid, admin = gateway.process.pid, gateway.admin_port
            attack = Attack(gateway.port, seed)
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > min(1, FUZZ_S / 2), "a first second")
            before_kib = rss_kib(pid)
            eventually(lambda: time.monotonic() - began > FUZZ_S, "the time is over", FUZZ_S + 20)
            attack.stop()
            grown_kib = rss_kib(pid) - before_kib
            n_seen = len(fra.take()) + len(nyc.take())
            is_sound.set()

            def is_at_rest() -> bool:
                figures = metrics(admin)
                return total(figures, "isochrone_connections") == 0 and total(figures, "isochrone_in_flight") == 0

            eventually(is_at_rest, "every connection and exchange ends")
            for _ in range(20):
                assert gateway.get("/") == (200, "ok")
            figures = metrics(admin)
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/healthz", timeout=10) as answer:
                assert json.load(answer)["state"] == "serving"
            assert figures["isochrone_bad_transitions_total"] == 0
            assert all(figures[f'isochrone_worker_silence_seconds{{worker="{n}"}}'] < 2 for n in (0, 1))
            assert fra.faults + nyc.faults == []
            assert attack.strange == []
            assert attack.sound[200] > 20, attack.sound
            assert attack.n_connections > 20 and n_seen > 20, "the attack reached nobody"
            assert grown_kib < MAX_GROWTH_KIB or IS_INSTRUMENTED
            # "runtime error" is how an instrumented build says that it found one.
            assert not any(words in gateway.log for words in ("Traceback", "silent", "runtime error")), gateway.log
            for line in (tmp_path / "access").read_bytes().splitlines():
                json.loads(line)  # one record a line, whatever was sent
            print(f"{attack.n_connections} connections, {n_seen} requests upstream, {grown_kib} KiB grown, sound: {dict(attack.sound)}")
