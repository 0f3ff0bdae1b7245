"""What is refused of a configuration, on a real gateway before real backends: its requests are nobody else's, and all others are served."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.config import parse
from gateway.model import Loaded, merged
from tests.io.hosted import Hosted
from tests.io.serving import Backend, Client, eventually, free_port

pytestmark = pytest.mark.slow

# eu may be seen in fra alone; what eu does not match is for all.
TEXT = """
listeners: [{{name: web, bind: "127.0.0.1:0"}}]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, country: DE}}
  - {{name: nyc, lat: 40.71, lon: -74.01, country: US}}
services:
  - {{name: shop, pop_ramp: 0s, backends: [{{pop: nyc, endpoints: ["{nyc}"]}}]}}
  - {{name: eu, pop_ramp: 0s, backends: [{{pop: fra, endpoints: ["{fra}"]}}]}}
routes:
  - {{name: all, service: shop}}
  - {{name: eu, match: {{path_prefix: /eu}}, service: eu, steering: {{jurisdiction: {{countries: [DE]}}}}}}
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""


@contextlib.contextmanager
def hosted(text: str) -> Iterator[tuple[Hosted, Client]]:
    gateway = Hosted(text)
    try:
        gateway.wait_serving()
        with contextlib.closing(Client(gateway.port)) as client:
            yield gateway, client
    finally:
        gateway.close()


def said(client: Client, *paths: str) -> list[str | int]:
    """Who answered each; the status where that was not 200."""
    answers = [client.ask(path) for path in paths]
    return [answer.text if answer.status == 200 else answer.status for answer in answers]


def test_what_a_refused_route_matched_is_never_the_wider_ones_and_is_served_again_when_it_is_mended(pops: list[Backend]) -> None:
    fra, nyc = pops
    text = TEXT.format(fra=fra.address, nyc=nyc.address, admin=free_port())
    whole = parse(text).config
    with hosted(text) as (gateway, client):
        eventually(lambda: said(client, "/eu", "/") == ["fra", "nyc"], "both are served")
        broken = merged(replace(whole, services=whole.services[:1]), [])
        gateway.put(Loaded(broken, ()))
        assert said(client, "/eu/1", "/", "/eu?x", "/eu") == [500, "nyc", 500, 500]
        assert gateway.gateway.counters.read()["causes"]["route_refused"] == 3
        gateway.reload(text)
        eventually(lambda: said(client, "/eu", "/") == ["fra", "nyc"], "both are served again")
    assert not [path for path in nyc.seen if "/eu" in path], "not one of them"
