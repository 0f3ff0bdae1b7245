"""PoPs that each have their own clients, compared with each other by what they answer, behind a real gateway."""

import contextlib
import itertools

import pytest

from tests.io.serving import Client, backends, eventually, served

pytestmark = pytest.mark.slow
REFUSED = 500, {}


class World:
    """Clients of many networks near each of two PoPs, one request after the other."""

    def __init__(self, folder, stack):
        self.fra, self.nyc = stack.enter_context(backends("fra", "nyc"))
        self.gateway = stack.enter_context(served(folder, fra=self.fra.address, nyc=self.nyc.address))
        self.client = stack.enter_context(contextlib.closing(Client(self.gateway.port)))
        self.networks = itertools.cycle(range(40))

    def ask(self, n=40):
        """By whom those near Frankfurt were answered, and those near New York."""
        found = set(), set()
        for _ in range(n):
            network = next(self.networks)
            for place, answered in enumerate(found, 1):
                answered.add(self.client.ask("/", {"x-forwarded-for": f"10.{place}.{network}.1"}).text)
        return found

    def fails_more(self, pop):
        (service,) = self.gateway.admin(f"/pops/{pop}")["services"]
        return service["fails_more"]


@pytest.fixture
def world(tmp_path):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path, stack)
        assert world.ask() == ({"fra"}, {"nyc"})
        yield world


def test_one_that_answers_500_to_everybody_loses_its_clients_to_one_that_does_not(world):
    assert world.fails_more("fra") is None
    world.fra.refusal = REFUSED
    eventually(lambda: world.ask() == ({"nyc"}, {"nyc"}), "all go where they are answered well", 20)
    assert world.fra.seen["GET /"] < 400
    assert "of answers 5xx or none, where others have 0.0%" in world.fails_more("fra")
    assert world.fails_more("nyc") is None
    assert "pool fails more than those of other PoPs" in world.gateway.log


def test_what_fails_alike_everywhere_moves_nobody(world):
    world.fra.refusal = world.nyc.refusal = REFUSED
    for _ in range(10):
        assert world.ask() == ({"fra"}, {"nyc"})
    assert world.fails_more("fra") is None


def test_what_one_client_asks_for_moves_nobody(world):
    world.fra.refusal = REFUSED
    for _ in range(400):
        assert world.client.ask("/", {"x-forwarded-for": "10.1.77.1"}).status == 500
    world.fra.refusal = None
    assert world.ask() == ({"fra"}, {"nyc"})
