"""A PoP that returns, as clients see it: a real gateway before real backends, its figures by a clock that is moved by hand."""

import contextlib
import http.client
import http.server
import threading
import time
from collections import Counter

import pytest

from gateway.control.steering.refresh import STARTING_S
from tests.io.hosted import Hosted
from tests.io.serving import CONFIG, DEADLINE_S, Client, eventually, free_port
from tests.io.world import GERMAN, is_likely, site_of

pytestmark = pytest.mark.slow


class Timed(Hosted):
    """Its figures go by a clock that is moved by hand; all else goes by the real one."""

    def __init__(self, text, **more):
        super().__init__(text, **more)
        self.now = time.monotonic()
        self.gateway.refresh.clock = lambda: self.now

    def advance(self, seconds=0.0):
        """Move the clock, and have the figures follow now."""
        self.now += seconds
        gateway = self.gateway
        self.do(lambda: gateway.refresh.turn(gateway.config, gateway.publisher.table.spec))

    def follow_time(self):
        """The figures' clock goes on with the real one."""
        ahead = self.now - time.monotonic()
        self.gateway.refresh.clock = lambda: time.monotonic() + ahead


def test_one_failed_connect_costs_a_pop_of_one_endpoint_no_ramp(pops):
    """What was away for a moment, and by nobody's confirmed word, comes back as it was: before, it took a tenth for a minute."""
    hosted = Timed(CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    gateway = hosted.gateway
    hosted.wait_serving()
    client = Client(hosted.port)
    try:
        hosted.advance()
        hosted.advance(STARTING_S)
        hosted.follow_time()
        assert site_of(client, "any", GERMAN) == "fra"
        (gate,) = [one for one in gateway.gates.all.values() if one.identity.pop == "fra"]
        pops[0].die()
        assert site_of(client, "any", GERMAN) == "nyc"
        pops[0].revive()
        eventually(lambda: gate.is_taking, "it is taken back")
        eventually(lambda: site_of(client, "any", GERMAN) == "fra", "its figures follow")
        hosted.advance()
        assert gate.connect_failures == gate.forgiven > 0
        assert Counter(site_of(client, "any", GERMAN) for _ in range(300)) == {"fra": 300}
    finally:
        client.close()
        hosted.close()


def test_a_pop_that_returns_takes_a_tenth_at_first(pops):
    hosted = Timed(CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    gateway = hosted.gateway
    hosted.wait_serving()
    client = Client(hosted.port)
    n = 1000

    def count():
        return Counter(site_of(client, "any", GERMAN) for _ in range(n))["fra"]

    def leave_and_return(after_s):
        hosted.do(gateway.drains.drain, "fra")
        assert site_of(client, "any", GERMAN) == "nyc"
        hosted.advance()
        hosted.advance(after_s)
        hosted.do(gateway.drains.undrain, "fra")

    try:
        hosted.advance()
        leave_and_return(1)
        assert count() == n  # while it starts nobody ramps
        hosted.advance(STARTING_S)
        leave_and_return(60)
        assert is_likely(found := count(), n, 0.1), found  # by the table without the drain alone: there was no turn since
        for seconds, expected in ((0, 0.1), (20, 0.4), (20, 0.7)):
            hosted.advance(seconds)
            assert is_likely(found := count(), n, expected), (found, expected)
        hosted.advance(20)
        assert count() == n
    finally:
        client.close()
        hosted.close()


def test_who_is_drained_and_undrained_within_a_beat_was_never_away(pops):
    """Whether a turn has seen it or not: a slip of the hand costs no ramp."""
    hosted = Timed(CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    drains = hosted.gateway.drains
    hosted.wait_serving()
    client = Client(hosted.port)
    try:
        hosted.advance()
        hosted.advance(STARTING_S)
        assert site_of(client, "any", GERMAN) == "fra"
        for is_seen in (False, True):
            hosted.do(drains.drain, "fra")
            if is_seen:
                hosted.advance(0.1)
            hosted.do(drains.undrain, "fra")
            if is_seen:  # what is undrained stands at a ramp's beginning until the next turn
                hosted.advance()
            for seconds in (0, 0.1, 1):
                assert Counter(site_of(client, "any", GERMAN) for _ in range(100)) == {"fra": 100}
                hosted.advance(seconds)
    finally:
        client.close()
        hosted.close()


def without(pop, text):
    return "\n".join(line for line in text.splitlines() if f"name: {pop}" not in line and f"pop: {pop}" not in line)


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize(("absence_s", "share"), [(60, 0.1), (0.5, 1)])
def test_a_pop_that_was_out_of_the_file_ramps_by_how_long_that_was(pops, goes_on, absence_s, share):
    """Whether anything of before goes on there, so that all that was known of it is still there, or nothing does, so that nothing is."""
    text = CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address)
    hosted = Timed(text)
    gateway = hosted.gateway
    hosted.wait_serving()
    client, download = Client(hosted.port), http.client.HTTPConnection("127.0.0.1", hosted.port, timeout=DEADLINE_S)
    n = 500

    try:
        hosted.advance()
        hosted.advance(STARTING_S)
        assert site_of(client, "any", GERMAN) == "fra"
        if goes_on:
            download.request("GET", "/?large=10000", headers={"x-forwarded-for": GERMAN})
            assert download.getresponse().status == 200
        hosted.reload(without("fra", text))
        hosted.advance()
        if absence_s > 1:  # longer than a probe's interval too
            left_at = time.monotonic()
            eventually(lambda: time.monotonic() - left_at > gateway.config.services[0].health.interval, "its probe would have been due")
        assert site_of(client, "any", GERMAN) == "nyc"
        if not goes_on:
            eventually(lambda: gateway.rows.find("pool", ("shop", "fra")) is None, "nobody knows it any more")
        hosted.advance(absence_s)
        assert (gateway.rows.find("pool", ("shop", "fra")) is not None) is goes_on
        seen = pops[0].seen["GET /healthz"]
        hosted.reload(text)
        eventually(lambda: site_of(client, "any", GERMAN) == "fra", "it takes its first")
        assert absence_s < 1 or pops[0].seen["GET /healthz"] > seen, "nobody has asked it"
        found = Counter(site_of(client, "any", GERMAN) for _ in range(n))["fra"]
        assert found == n if share == 1 else is_likely(found, n, share), found
    finally:
        client.close()
        download.close()
        hosted.close()


class Everywhere(http.server.BaseHTTPRequestHandler):
    """Says at which address it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one write: else the second waits for an acknowledgement, and the PoP looks slow

    def do_GET(self):
        said = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def everywhere():
    """The port of a server at all addresses of this machine."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", free_port()), Everywhere)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_name_whose_address_rotates_keeps_its_pops_share(pops, at_once):
    """From the resolver to who answers, over five moves: the one address by another, or one of two."""
    place = 2

    async def ask(name):
        return tuple(f"127.0.0.{place + n}" for n in range(at_once))

    with everywhere() as port:
        text = CONFIG.replace('["{fra}"]', f'["rotating.example:{port}"], allow: [loopback]')
        # So far away that no slow answer of a busy machine makes it the nearer one.
        text = text.replace("lat: 40.71, lon: -74.01", "lat: -33.87, lon: 151.21")
        hosted = Timed(text.format(port=0, admin=free_port(), nyc=pops[1].address), resolve=ask)
        hosted.wait_serving()
        client = Client(hosted.port)
        answer = hosted.gateway.resolver.answers["rotating.example"]
        try:
            hosted.advance()
            hosted.advance(STARTING_S)
            hosted.follow_time()
            seen = Counter()

            def is_asked():
                seen.update(site_of(client, "any", GERMAN) for _ in range(20))
                return seen[f"127.0.0.{place + at_once - 1}"]

            for place in range(2, 8):  # noqa: B007  # `ask` and `is_asked` read it
                answer.due = 0.0  # its 30 s are over
                eventually(is_asked, "who came is asked")
                seen.update(site_of(client, "any", GERMAN) for _ in range(100))
            assert seen["nyc"] == 0 and set(seen) <= {f"127.0.0.{n}" for n in range(2, 9)}, seen
        finally:
            client.close()
            hosted.close()
