"""A PoP that returns, as clients see it: a real gateway before real backends, its figures by a clock that is moved by hand."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from gateway.app import Gateway
from gateway.config import parse
from gateway.control.lifecycle import Phase
from gateway.control.refresh import STARTING_S
from tests.io.serving import CONFIG, Client, eventually, free_port
from tests.io.world import GERMAN, is_likely, site_of

pytestmark = pytest.mark.slow


class Hosted:
    """A gateway in this process, whose figures go by a clock that is moved by hand; all else goes by the real one."""

    def __init__(self, text):
        loaded = parse(text, folder=None)
        self.gateway = Gateway(loaded.config, lambda: loaded)
        self.now = time.monotonic()
        self.gateway.refresh.clock = lambda: self.now
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self.gateway.run()))
        self._thread.start()

    def wait_serving(self):
        eventually(lambda: self.gateway.lifecycle.phase is Phase.SERVING or not self._thread.is_alive(), "it serves")

    def do(self, what, *args):
        async def on_loop():
            return what(*args)

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(20)

    def advance(self, seconds=0.0):
        """Move the clock, and have the figures follow now."""
        self.now += seconds
        gateway = self.gateway
        self.do(lambda: gateway.refresh.turn(gateway.config, gateway.publisher.table.spec))

    def follow_time(self):
        """The figures' clock goes on with the real one."""
        ahead = self.now - time.monotonic()
        self.gateway.refresh.clock = lambda: time.monotonic() + ahead

    def close(self):
        for _ in range(2):  # the second ends at once
            self.do(self.gateway.terminate)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._loop.close()


def test_one_failed_connect_costs_a_pop_of_one_endpoint_no_ramp(pops):
    """What was away for a moment, and by nobody's confirmed word, comes back as it was: before, it took a tenth for a minute."""
    hosted = Hosted(CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    gateway = hosted.gateway
    hosted.wait_serving()
    client = Client(gateway.listeners.all[0].address.port)
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
    hosted = Hosted(CONFIG.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    gateway = hosted.gateway
    hosted.wait_serving()
    client = Client(gateway.listeners.all[0].address.port)
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
