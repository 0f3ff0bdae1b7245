import asyncio
import threading

from gateway.control.life.lifecycle import Event
from gateway.control.life.stranding import stranded
from gateway.control.operator import draining
from tests.unit.gateway.control.helpers import TWO_POPS, config_of
from tests.unit.gateway.control.operating import serve_some
from tests.unit.gateway.control.operator.test_admin import with_admin
from tests.unit.gateway.control.operator.test_status import ask


class Workers:
    """What workers count of themselves."""

    def __init__(self, gateway):
        self.counters, self.generations, self.active, self.idle = gateway.counters, [99], 0, 0
        gateway.workers.counters = self
        gateway.workers.all.append(self)

    def wake(self):
        """Nobody sleeps."""

    def read(self):
        return {**self.counters.read(), "generations": self.generations, "active": [self.active], "idle": [self.idle]}


def test_a_pops_drain_ends_when_nothing_runs_there_and_every_worker_knows():
    async def scenario(gateway, session):
        workers = Workers(gateway)
        serve_some(gateway, in_flight=2)
        gateway.clock.advance(1)
        generation = gateway.snapshots.generation
        assert await ask(session, "/pops/fra/drain", "POST") == (
            200, {"gateway": "edge-1", "pop": "fra", "drained": True, "in_flight": 2, "since_s": 0.0, "done": False, "kept": False},
        )  # fmt: skip
        assert gateway.snapshots.generation == generation + 1
        serve_some(gateway, in_flight=-2)
        workers.generations = [generation + 1, generation]  # one may still begin an exchange by the table before
        assert (await ask(session, "/pops/fra/drain"))[1]["done"] is False
        workers.generations = [generation + 1, generation + 1]
        assert (await ask(session, "/pops/fra/drain"))[1]["done"] is True
        said = {
            "gateway": "edge-1", "pop": "fra", "drained": False, "in_flight": 0, "since_s": None, "done": False, "kept": False,
        }  # fmt: skip
        assert await ask(session, "/pops/fra/undrain", "POST") == (200, said)
        assert await ask(session, "/pops/x/drain", "POST") == (404, {"error": "there is no PoP 'x'; there is: fra, nyc"})

    with_admin(scenario)


def test_a_drain_is_taken_back_of_a_pop_that_the_configuration_no_longer_has():
    """It answered 404, as if nothing had been done, and `isochrone undrain` failed."""

    async def scenario(gateway, session):
        gateway.drains.drain("fra")
        gateway.publisher.publish_config(config_of(TWO_POPS.replace("fra", "lon")), gateway.publisher.locator)
        for _ in range(2):
            status, said = await ask(session, "/pops/fra/undrain", "POST")
            assert (status, said["drained"], gateway.world.drained) == (200, False, set())
        assert (await ask(session, "/pops/nyc/undrain", "POST"))[0] == 200
        assert (await ask(session, "/pops/x/undrain", "POST"))[0] == 404

    with_admin(scenario)


def test_whose_requests_a_drain_would_strand():
    async def scenario(gateway, session):
        assert await ask(session, "/pops/fra/stranded") == (200, {"gateway": "edge-1", "pop": "fra", "drained": False, "stranded": []})
        gateway.drains.drain("nyc")
        line = f"route {gateway.config.routes[0].name}: all clients: service shop can be served in no other PoP"
        assert (await ask(session, "/pops/fra/stranded"))[1]["stranded"] == [line]
        assert (await ask(session, "/pops/nyc/stranded"))[1] == {"gateway": "edge-1", "pop": "nyc", "drained": True, "stranded": []}
        assert await ask(session, "/pops/x/stranded") == (404, {"error": "there is no PoP 'x'; there is: fra, nyc"})

    with_admin(scenario)


def test_two_drains_at_once_that_together_strand_somebody_are_one(monkeypatch):
    """Both are judged before either is done: the second is judged again."""
    both, judged = threading.Barrier(2, timeout=20), []

    def slow(config, pop, serving):
        judged.append(pop)
        if len(judged) <= 2:
            both.wait()
        return stranded(config, pop, serving)

    monkeypatch.setattr(draining, "stranded", slow)

    async def scenario(gateway, session):
        answers = await asyncio.gather(*(ask(session, f"/pops/{name}/drain?unless=stranded", "POST") for name in ("fra", "nyc")))
        (done,), (refused,) = ([said for status, said in answers if status == wanted] for wanted in (200, 409))
        assert (done["drained"], refused["drained"]) == (True, False)
        assert gateway.world.drained == {done["pop"]}
        line = f"route {gateway.config.routes[0].name}: all clients: service shop can be served in no other PoP"
        error = f"{refused['pop']} is not drained: requests would be answered 503"
        assert refused == {"gateway": "edge-1", "pop": refused["pop"], "drained": False, "stranded": [line], "error": error}
        again = f"/pops/{done['pop']}/drain?unless=stranded"
        assert (await ask(session, again, "POST"))[0] == 200  # which it is already
        assert (await ask(session, f"/pops/{refused['pop']}/drain", "POST"))[0] == 200  # the operator's word

    with_admin(scenario)


def test_the_gateways_drain_ends_after_the_lameduck_when_nobody_is_connected():
    async def scenario(gateway, session):
        workers = Workers(gateway)
        workers.active, workers.idle = 1, 2
        assert await ask(session, "/drain", "POST") == (
            200,
            {
                "gateway": "edge-1", "state": "lameduck", "drained": True, "since_s": 0.0, "lameduck_s": 5.0, "close_share": 0.0,
                "connections": {"active": 1, "idle": 2}, "done": False,
            },
        )  # fmt: skip
        workers.active = workers.idle = 0
        gateway.clock.advance(1.5)
        said = (await ask(session, "/drain"))[1]
        assert (said["close_share"], said["done"]) == (round(gateway.lifecycle.close_share, 3), False)
        assert 0 < said["close_share"] < 1
        gateway.clock.advance(3)
        assert (await ask(session, "/drain"))[1]["done"] is False  # within the lameduck load balancers still send
        gateway.clock.advance(2)
        assert (await ask(session, "/drain", "POST"))[1]["done"] is True  # asked again: goes on from where it is
        said = (await ask(session, "/undrain", "POST"))[1]
        assert (said["state"], said["drained"], said["done"], said["since_s"]) == ("serving", False, False, None)
        gateway.lifecycle.handle(Event.TERMINATE)
        status, said = await ask(session, "/undrain", "POST")
        assert (status, said) == (409, {"error": "not possible while lameduck: undrain"})

    with_admin(scenario)


def test_wait_holds_the_answer_until_it_is_done_or_taken_back():
    async def scenario(gateway, session):
        serve_some(gateway, in_flight=1)
        for end in (lambda: serve_some(gateway, in_flight=-1), lambda: gateway.drains.undrain("fra")):
            waiting = asyncio.ensure_future(ask(session, "/pops/fra/drain?wait=1h", "POST"))
            async with asyncio.timeout(20):
                while "fra" not in gateway.world.drained:
                    await asyncio.sleep(0)
            assert not waiting.done()
            end()
            async with asyncio.timeout(20):
                status, said = await waiting
            assert status == 200
            assert said["done"] is ("fra" in gateway.world.drained)
            if said["done"]:
                gateway.drains.undrain("fra")
                serve_some(gateway, in_flight=1)

    with_admin(scenario)


def test_wait_ends_when_the_time_is_up():
    async def scenario(gateway, session):
        serve_some(gateway, in_flight=1)
        waiting = asyncio.ensure_future(ask(session, "/pops/fra/drain?wait=10s", "POST"))
        async with asyncio.timeout(20):
            while "fra" not in gateway.world.drained:
                await asyncio.sleep(0)
            gateway.clock.advance(11)
            status, said = await waiting
        assert (status, said["done"], said["in_flight"]) == (200, False, 1)

    with_admin(scenario)
