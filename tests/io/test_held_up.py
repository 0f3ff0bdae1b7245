"""A control thread that is held up while its workers serve (a CPU that is taken away, a long collection): when it goes on it judges nobody
by a time in which it did not look. On a real gateway before real backends."""

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.control.health.gates import State
from gateway.control.steering import refresh
from gateway.control.steering.ramps import Stage
from tests.io.hosted import Hosted
from tests.io.serving import CONFIG, Backend, Client, eventually, free_port
from tests.io.world import GERMAN, site_of

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def hosted(monkeypatch: pytest.MonkeyPatch, pops: list[Backend], down_after: int = 2) -> Iterator[tuple[Hosted, Client]]:
    """A gateway that has served for long: whoever returns now ramps."""
    monkeypatch.setattr(refresh, "STARTING_S", 0.0)
    text = CONFIG.replace("down_after: 2", f"down_after: {down_after}")
    gateway = Hosted(text.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    try:
        gateway.wait_serving()
        with contextlib.closing(Client(gateway.port)) as client:
            eventually(lambda: site_of(client, "any", GERMAN) == "fra", "the nearest serves")
            yield gateway, client
    finally:
        gateway.close()


def test_an_absence_lasts_no_longer_for_it(monkeypatch, pops):
    """A PoP that refused one connect, just before: by the plain clock it was away for three seconds, and takes a fraction for half a
    minute."""
    with hosted(monkeypatch, pops) as (gateway, client):
        pool = gateway.gateway.refresh.pools["shop", "fra"]
        eventually(lambda: pool.ramp.stage is Stage.WHOLE, "it takes all")
        pops[0].die()
        assert site_of(client, "any", GERMAN) == "nyc"
        pops[0].revive()
        gateway.hold_up(3.0, when=lambda: pool.ramp.stage is Stage.AWAY)
        eventually(lambda: gateway.gateway.refresh.resumed_at() > -math.inf, "backlogs are told of it too")
        eventually(lambda: pool.ramp.stage is not Stage.AWAY, "it is back")
        eventually(lambda: site_of(client, "any", GERMAN) == "fra", "it is used")
        assert Counter(site_of(client, "any", GERMAN) for _ in range(300)) == {"fra": 300}


def test_a_probe_that_was_answered_meanwhile_is_good(monkeypatch, pops, caplog):
    """Its time was over before anybody looked whether an answer lay there."""
    caplog.set_level(logging.INFO, "isochrone.health")
    with hosted(monkeypatch, pops, down_after=1) as (gateway, client):
        (gate,) = [one for one in gateway.gateway.gates.all.values() if one.identity.pop == "fra"]
        eventually(lambda: gate.state is State.ADMITTING, "it takes all")
        caplog.clear()
        pops[0].probe_delay_s = 0.1
        for _ in range(3):
            asked, judged = pops[0].seen["GET /healthz"], gate.good_run
            gateway.hold_up(1.0, when=lambda asked=asked: pops[0].seen["GET /healthz"] > asked)
            eventually(lambda judged=judged: gate.good_run == 0 or gate.good_run >= judged + 2, "it is judged")
            assert gate.state is State.ADMITTING, gate.detail
        assert [record.getMessage() for record in caplog.records if record.name == "isochrone.health"] == []
        assert Counter(site_of(client, "any", GERMAN) for _ in range(100)) == {"fra": 100}
