"""429 with `Retry-After: 3600`, on a real gateway: to one client it is that client's own business, to many the PoP's."""

import contextlib
import json
import time
from http.client import HTTPConnection

import pytest
from aiohttp import web

from tests.io.serving import Backend, Client, eventually, served

pytestmark = pytest.mark.slow


class Site(Backend):
    limits_all = False

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.limits_all or "x-greedy" in request.headers:
            return web.Response(status=429, headers={"retry-after": "3600"}, text=self.name)
        return await super()._serve(request)


@pytest.fixture
def sites():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Site(name))) for name in ("fra", "nyc")]


@pytest.fixture
def gateway(tmp_path, sites):
    fra, nyc = sites
    with served(tmp_path, fra=fra.address, nyc=nyc.address) as one:
        yield one


@pytest.fixture
def client(gateway):
    with contextlib.closing(Client(gateway.port)) as one:
        yield one


def ask(client, network, **headers):
    """PoP and status, of a client in that network: all are near fra."""
    answer = client.ask("/", {"x-forwarded-for": f"10.1.{network}.1", **headers})
    return answer.text, answer.status


def penalty_ms(gateway, pop):
    connection = HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", f"/pops/{pop}")
        (service,) = json.loads(connection.getresponse().read())["services"]
    return service["penalty_ms"]


def ask_for(client, seconds, *networks, **headers):
    """What those got who asked in turns, meanwhile."""
    end, seen = time.monotonic() + seconds, set()
    while time.monotonic() < end:
        seen |= {ask(client, network, **headers) for network in networks}
    return seen


def test_a_client_that_is_told_to_come_later_moves_nobody_else(gateway, client):
    polite = range(1, 21)
    assert {ask(client, network) for network in polite} == {("fra", 200)}
    for _ in range(5):
        assert ask(client, 99, **{"x-greedy": "1"}) == ("fra", 429)
    assert ask_for(client, 1, *polite) == {("fra", 200)}
    for _ in range(500):  # most of all requests
        assert ask(client, 99, **{"x-greedy": "1"}) == ("fra", 429)
    assert penalty_ms(gateway, "fra") == 0
    assert ask_for(client, 1, *polite) == {("fra", 200)}


def test_a_pop_that_tells_everybody_to_come_later_is_left_and_soon_tried_again(gateway, client, sites):
    fra, _ = sites
    many = range(1, 31)
    assert {ask(client, network) for network in many} == {("fra", 200)}
    fra.limits_all = True
    eventually(lambda: {ask(client, network) for network in many} == {("nyc", 200)}, "they go elsewhere", 5)
    assert 0 < penalty_ms(gateway, "fra") <= 1000
    fra.limits_all = False
    began = time.monotonic()
    eventually(lambda: {ask(client, network) for network in many} == {("fra", 200)}, "they come back")
    assert time.monotonic() - began < 15  # not the 30 s and more that an hour's Retry-After was worth
