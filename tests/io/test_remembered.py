"""Open connections over reloads: what a gateway remembers of one holds for as long as the configuration that it came of."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.serving import Backend, Client, Served, backends, served

pytestmark = pytest.mark.slow

TEXT = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [TRUSTED]}}
geoip:
  overrides:
    - {{prefix: 127.0.0.0/8, lat: 40.0, lon: -74.0}}
    - {{prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0}}
  pins: [PINS]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68}}
  - {{name: nyc, lat: 40.71, lon: -74.01}}
  - {{name: tyo, lat: 35.68, lon: 139.69}}
services:
  - name: shop
    backends: [{{pop: fra, endpoints: ["{fra}"]}}, {{pop: nyc, endpoints: ["{nyc}"]}}, {{pop: tyo, endpoints: ["{tyo}"]}}]
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 2}}
log: {{format: json}}
"""
FROM_GERMANY = {"x-forwarded-for": "10.1.0.1"}
OURS, ANOTHERS = "{prefix: 127.0.0.0/8, pops: [tyo]}", "{prefix: 192.0.2.0/24, pops: [fra]}"


def text_of(trusted: str, pins: str) -> str:
    """A template: its own braces are doubled."""
    return TEXT.replace("TRUSTED", trusted).replace("PINS", pins.replace("{", "{{").replace("}", "}}"))


class Reloaded:
    """A gateway whose configuration changes, and what is needed to write it."""

    def __init__(self, gateway: Served, sites: dict[str, str]) -> None:
        self.gateway, self.sites, self.reloads = gateway, sites, 0

    def reload(self, trusted: str = "", pins: str = "") -> None:
        text = text_of(trusted, pins).format(port=self.gateway.port, admin=self.gateway.admin_port, **self.sites)
        self.gateway.config.write_text(text)
        self.gateway.signal(signal.SIGHUP)
        self.reloads += 1
        self.gateway.wait_log('"reloaded"', self.reloads)


@pytest.fixture(scope="module")
def sites() -> Iterator[list[Backend]]:
    with backends("fra", "nyc", "tyo") as three:
        yield three


@pytest.fixture
def begun(tmp_path: Path, sites: list[Backend], request: pytest.FixtureRequest) -> Iterator[tuple[Reloaded, list[Client]]]:
    """The gateway, begun with `trusted` and `pins`, and connections that were used before: to both workers, most likely."""
    trusted, pins = request.param
    addresses = {site.name: site.address for site in sites}
    with served(tmp_path, text_of(trusted, pins), **addresses) as gateway, contextlib.ExitStack() as stack:
        clients = [Client(gateway.port) for _ in range(8)]
        for client in clients:
            stack.callback(client.close)
        yield Reloaded(gateway, addresses), clients


def sent_to(clients: list[Client], headers: dict[str, str] | None = None) -> set[str]:
    """Where their requests went, on the connections they have."""
    return {client.ask("/", headers).text for client in clients}


@pytest.mark.parametrize("begun", [("", OURS)], indirect=True)
def test_a_pin_is_the_clients_wherever_it_stands_in_the_list(begun):
    reloaded, clients = begun
    assert sent_to(clients) == {"tyo"}
    for pins, pop in ((f"{ANOTHERS}, {OURS}", "tyo"), (ANOTHERS, "nyc"), (f"{OURS}, {ANOTHERS}", "tyo"), ("", "nyc")):
        reloaded.reload(pins=pins)
        assert sent_to(clients) == {pop}, pins


@pytest.mark.parametrize("begun", [("127.0.0.1/32", "")], indirect=True)
def test_a_hop_is_trusted_for_as_long_as_the_configuration_says_so(begun):
    reloaded, clients = begun
    assert sent_to(clients, FROM_GERMANY) == {"fra"}
    for trusted, pop in (("127.0.0.2/32", "nyc"), ("127.0.0.1/32", "fra"), ("", "nyc")):
        reloaded.reload(trusted=trusted)
        assert sent_to(clients, FROM_GERMANY) == {pop}, trusted
