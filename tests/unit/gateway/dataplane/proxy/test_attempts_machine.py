"""Any interleaving of what clients, upstreams, time and control may do.

Whatever happens: each client gets its answers in order and whole, or a visible end; no state machine is asked for what is
not listed; and when all is over, nothing is in flight, open or held.
"""

import contextlib
import os
import random
import re
import socket

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import routing_core
from gateway.dataplane import CompiledSettings, Settings
from routing_core import AffinitySpec, RouteSpec
from tests.support.dataplane import Bench, chunked, received, reset

SETTINGS = [
    Settings(connections_per_endpoint=2, queue_per_endpoint=2, log_share=1.0, first_byte_ms=3000, body_progress_ms=2000, queue_ms=700),
    Settings(connections_per_endpoint=3, queue_per_endpoint=1, max_retries=3, linger_ms=300, keep_alive_idle_ms=2500, body_bytes=30_000),
    Settings(connections_per_endpoint=1, upstream_idle_ms=500, tunnel_idle_ms=1500, trusted=("127.0.0.0/8",), debug_headers=True),
]
POPS = ({"cookie": "fra.1", "public_url": "https://fra.example"}, {"cookie": "nyc.2", "public_url": "http://nyc.example"})
ROUTES = [
    (RouteSpec("plain", 0),),
    (RouteSpec("kept", 0, affinity=AffinitySpec("cookie", "pop", attributes="; Path=/")),),
    (
        RouteSpec("away", 0, method="PUT", redirect_status=308, redirects_all=True),
        RouteSpec("also away", 0, method="HEAD", redirect_status=307),
        RouteSpec("by client", 0, window_ms=1000, affinity=AffinitySpec("client")),
    ),
]
KINDS = ("get", "kept", "get", "post", "put", "chunked", "head", "old", "upgrade", "garbage", "close")
ANSWERS = ("length", "length", "chunked", "end", "empty", "interim", "garbage", "early close", "101", "cut")
WHICH = st.integers(0, 5)
SIZES = st.sampled_from([0, 1, 900, 20_000, 70_000])
HEAD = re.compile(rb"HTTP/1\.1 (\d\d\d) .*?\r\n\r\n", re.DOTALL)


def request_of(kind, path, size):
    """The bytes of a request, and whether any can follow it."""
    body = b"b" * size
    host = b"Host: a\r\n"
    if kind == "garbage":
        return b"nonsense\r\n\r\n"
    if kind == "chunked":
        return b"PUT %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%s" % (path, host, chunked(body, 700))
    if kind in ("post", "put"):
        return b"%s %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (kind.upper().encode(), path, host, size, body)
    if kind == "old":
        return b"GET %s HTTP/1.0\r\n%sConnection: keep-alive\r\n\r\n" % (path, host)
    if kind == "kept":
        return b"GET %s HTTP/1.1\r\n%sCookie: a=b; pop=nyc.2\r\n\r\n" % (path, host)
    if kind == "upgrade":
        return b"GET %s HTTP/1.1\r\n%sConnection: upgrade\r\nUpgrade: w\r\n\r\n" % (path, host)
    if kind == "close":
        return b"GET %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (path, host)
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (kind.upper().encode(), path, host)


class Client:
    def __init__(self, end, number):
        self.end, self.number = end, number
        self.asked = []  # path and method of each request, in order
        self.unsent = b""
        self.got = b""
        self.has_ended = False

    def send(self, length):
        if not self.has_ended:
            try:
                self.unsent = self.unsent[self.end.send(self.unsent[:length]) :]
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass

    def read(self):
        while not self.has_ended and (piece := received(self.end)) is not None:
            self.got += piece
            self.has_ended = piece == b""

    def judge(self):
        """Each answer belongs to the request of its place; only the last may be cut, and only by an end."""
        text, at, place = self.got, 0, 0
        while at < len(text):
            found = HEAD.match(text, at)
            if found is None:
                assert self.has_ended or place < len(self.asked), "half a head is a cut"
                return
            status, head = int(found[1]), found[0].lower()
            at = found.end()
            if status == 101:
                return
            if status < 200:
                continue
            assert place < len(self.asked), (self.asked, text)
            path, kind = self.asked[place]
            place += 1
            whole = b"answer to " + path
            if kind == "head" or status in (204, 304):
                continue
            if b"content-length: " in head:
                length = int(re.search(rb"content-length: (\d+)", head)[1])
                body, at = text[at : at + length], at + length
                is_whole = len(body) == length
            elif b"transfer-encoding: chunked" in head:
                end = text.find(b"0\r\n\r\n", at)
                is_whole = end >= 0
                body = b"".join(re.findall(rb"[0-9a-f]+\r\n([^\r]+)\r\n", text[at : end if is_whole else len(text)]))
                at = end + 5 if is_whole else len(text)
            else:
                body, at, is_whole = text[at:], len(text), False
            if status == 200:
                assert body == whole[: len(body)], (body, whole)
                assert not is_whole or body in (whole, b""), (body, whole)
            assert is_whole or at >= len(text)


class Interleavings(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.elsewhere = routing_core.live_blocks()  # what other tests of this process hold
        self.servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for server in self.servers:
            server.setblocking(False)
        self.bench = Bench(SETTINGS[0], endpoints=tuple((server.getsockname(),) for server in self.servers), pops=POPS)
        self.clients = []
        self.fars = []
        self.connect(False)
        self.pool(0)

    @rule(is_tcp=st.booleans())
    def connect(self, is_tcp):
        self.clients.append(Client(self.bench.client(is_tcp=is_tcp), len(self.clients)))

    @rule(pop=st.integers(0, 1))
    def pool(self, pop):
        self.fars.append(self.bench.upstream(pop))

    def client(self, which):
        return self.clients[-1 - which % len(self.clients)]

    @rule(
        which=WHICH,
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
        size=SIZES,
        now=st.sampled_from([0, 30, 1 << 20, 1 << 20]),
    )
    def ask(self, which, kinds, size, now):
        client = self.client(which)
        for kind in kinds:
            path = b"/%d-%d" % (client.number, len(client.asked))
            client.asked.append((path, kind))
            client.unsent += request_of(kind, path, size)
        client.send(now)
        if now:
            self.bench.turn()

    @rule(which=WHICH, length=st.sampled_from([1, 10, 5000, 1 << 20]))
    def say(self, which, length):
        self.client(which).send(length)

    @rule(which=WHICH)
    def read(self, which):
        self.client(which).read()

    @rule(which=WHICH, how=st.sampled_from(["half", "close", "reset"]))
    def leave(self, which, how):
        client = self.client(which)
        if client.end.fileno() < 0:
            return
        client.read()
        if how == "half":
            client.end.shutdown(socket.SHUT_WR) if not client.has_ended else None
        elif how == "reset" and client.end.family == socket.AF_INET:
            reset(client.end)
            client.has_ended = True
        else:
            client.end.close()
            client.has_ended = True
        client.unsent = b""

    def asked(self, which):
        """One of the upstream connections on which something has come, or any."""
        for server in self.servers:
            with contextlib.suppress(BlockingIOError):
                far = server.accept()[0]
                far.setblocking(False)
                self.fars.append(far)
        self.fars = [far for far in self.fars if far.fileno() >= 0] or [self.bench.upstream()]
        waiting = []
        for far in self.fars:
            with contextlib.suppress(OSError):
                if far.recv(1, socket.MSG_PEEK):
                    waiting.append(far)
        return (waiting or self.fars)[which % len(waiting or self.fars)]

    @rule(which=WHICH, kind=st.sampled_from(ANSWERS), pieces=st.sampled_from([1, 2, 7]))
    def answer(self, which, kind, pieces):
        far = self.asked(which)
        said = received(far) or b""
        found = re.match(rb"(\w+) (/[0-9-]+) ", said)
        if not found and kind not in ("garbage", "cut"):
            return
        method, path = (found[1], found[2]) if found else (b"GET", b"/none")
        body = b"answer to " + path
        shown = b"" if method == b"HEAD" else body
        ok = b"HTTP/1.1 200 OK\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        text = {
            "length": ok + length + shown,
            "chunked": ok + b"Transfer-Encoding: chunked\r\n\r\n" + (shown and chunked(body, 4)),
            "end": ok + b"\r\n" + shown,
            "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
            "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok + length + shown,
            "garbage": ok + length.replace(b"\r\n\r\n", b"\r\n") + b"Content-Length: 2\r\n\r\n",
            "early close": b"",
            "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\nraw",
            "cut": ok + length + shown[:3],
        }[kind]
        step = max(1, len(text) // pieces + 1)
        for at in range(0, len(text), step):
            with contextlib.suppress(OSError):
                far.send(text[at : at + step])
            if pieces > 1:
                self.bench.turn()
        if kind in ("end", "early close", "cut", "garbage"):
            far.close()
        self.bench.turn()

    @rule(which=WHICH, how=st.sampled_from(["close", "half", "reset"]))
    def end(self, which, how):
        far = self.asked(which)
        if how == "half":
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_WR)
        elif how == "reset" and far.family == socket.AF_INET:
            reset(far)
        else:
            far.close()

    @rule(which=WHICH)
    def take(self, which):
        received(self.asked(which))

    @rule(n=st.integers(1, 3))
    def turn(self, n):
        self.bench.turn(turns=n)

    @rule(ms=st.sampled_from([50, 400, 2500]))
    def wait(self, ms):
        self.bench.pass_ms(ms)

    @rule(which=st.integers(0, 2), routes=st.integers(0, 2))
    def swap(self, which, routes):
        self.bench.compiled = CompiledSettings(SETTINGS[which], 1)
        self.bench.routes = ROUTES[routes]
        self.bench.publish()

    @rule(pop=st.integers(0, 1), state=st.sampled_from(["admitting", "admitting", "shut", "silent"]))
    def gate(self, pop, state):
        self.bench.figures.set_endpoint(self.bench.rows[pop][0], state=state)
        self.bench.forgive()

    @rule(phase=st.sampled_from(["serving", "lameduck", "closing"] * 5 + ["aborting"]), share=st.sampled_from([0.0, 0.5, 1.0]))
    def order(self, phase, share):
        self.bench.snapshots.order(phase, share)

    @invariant()
    def no_bad_transition(self):
        if hasattr(self, "bench"):
            assert self.bench.figures_read["bad_transitions"] == 0

    def teardown(self):
        bench = self.bench
        try:
            bench.turn(turns=3)
            for client in self.clients:
                if client.end.fileno() >= 0:
                    client.read()
                client.judge()
                client.end.close()
            bench.turn(turns=4)
            for end in (*self.servers, *self.fars):
                end.close()  # also what waits in the listeners' queues: whoever tries again is refused
            bench.turn(turns=8)
            bench.pass_ms(500)
            bench.assert_at_rest()
            counted = bench.counters.read()
            assert sum(counted["idle"]) == 0 and counted["figures"]["closed"] >= len(self.clients)
            assert all(bench.figures.read_endpoint(row)["connections"] == 0 for (row,) in bench.rows)
            assert bench.snapshots.reclaim() == 0
            bench.worker.read_log()
        finally:
            for server in self.servers:
                server.close()
            bench.close()
        assert routing_core.live_blocks() == self.elsewhere


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = hypothesis.settings(
    max_examples=hypothesis.settings().max_examples,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def one_step(machine, choose):
    """One random step, with the likely ones more often: long runs reach what a search for the shortest one doesn't."""
    which = choose.randrange(6)
    step = choose.choices(range(11), (12, 25, 4, 6, 2, 2, 3, 1, 1, 2, 6))[0]
    if step == 0:
        size, kinds = choose.choice([0, 1, 900, 20_000, 70_000]), choose.choices(KINDS, k=choose.randint(1, 3))
        machine.ask(which, kinds, size, choose.choice([0, 30, 1 << 20, 1 << 20]))
    elif step == 1:
        machine.answer(which, choose.choices(ANSWERS, (12, 4, 4, 2, 2, 2, 1, 1, 3, 1))[0], choose.choice([1, 2, 7]))
    elif step == 2:
        machine.connect(choose.random() < 0.5) if choose.random() < 0.7 else machine.pool(choose.randrange(2))
    elif step == 3:
        machine.say(which, choose.choice([1, 10, 5000, 1 << 20]))
    elif step == 4:
        machine.leave(which, choose.choice(["half", "close", "reset"]))
    elif step == 5:
        machine.end(which, choose.choice(["close", "half", "reset"]))
    elif step == 6:
        machine.wait(choose.choice([50, 50, 400, 2500]))
    elif step == 7:
        machine.swap(choose.randrange(3), choose.randrange(3))
    elif step == 8:
        machine.gate(choose.randrange(2), choose.choice(["admitting", "admitting", "shut", "silent"]))
        machine.order(choose.choice(["serving", "serving", "lameduck", "closing"]), choose.random())
    elif step == 9:
        machine.take(which)
    else:
        machine.read(which)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "12"))))
def test_long_interleavings(seed):
    choose = random.Random(seed)
    machine = Interleavings()
    machine.begin()
    try:
        for _ in range(400):
            one_step(machine, choose)
            machine.no_bad_transition()
    finally:
        machine.teardown()
