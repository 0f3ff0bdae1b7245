"""Three PoPs in the world, one configuration with all that steers, and clients whose place a trusted hop says and overrides know."""

import contextlib
import http.client
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.io.serving import Answer, Backend, Client, Served, free_port, served

GERMAN, AMERICAN, JAPANESE, PINNED, NOWHERE = "10.1.0.1", "10.2.0.1", "10.3.0.1", "10.1.7.1", "10.9.0.1"
WORLD = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
geoip:
  overrides:
    - {{prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0, country: DE}}
    - {{prefix: 10.2.0.0/16, lat: 40.0, lon: -74.0, country: US}}
    - {{prefix: 10.3.0.0/16, lat: 35.0, lon: 139.0, country: JP}}
  pins: [{{prefix: 10.1.7.0/24, pops: [tyo, nyc]}}]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, country: DE, public_url: "http://fra.example.com"}}
  - {{name: nyc, lat: 40.71, lon: -74.01, country: US, public_url: "http://nyc.example.com:8080"}}
  - {{name: tyo, lat: 35.68, lon: 139.69, country: JP, public_url: "http://tyo.example.com"}}
services:
  - name: shop
    pop_ramp: 0s
    backends:
      - {{pop: fra, endpoints: ["{fra}"]}}
      - {{pop: nyc, endpoints: ["{nyc}"]}}
      - {{pop: tyo, endpoints: ["{tyo}"]}}
  - {{name: canary, pop_ramp: 0s, backends: [{{pop: fra, endpoints: ["{canary}"]}}]}}
  - {{name: dead, pop_ramp: 0s, on_unavailable: [gone, shop], backends: [{{pop: fra, endpoints: ["{nobody}"]}}]}}
  - {{name: gone, pop_ramp: 0s, backends: [{{pop: nyc, endpoints: ["{nobody}"]}}]}}
  - {{name: alone, pop_ramp: 0s, on_unavailable: [shop], backends: [{{pop: nyc, endpoints: ["{canary}"]}}]}}
  - {{name: broken, pop_ramp: 0s, on_unavailable: [shop], backends: [{{pop: fra, endpoints: ["{nobody}"]}}]}}
  - name: capped
    pop_ramp: 0s
    long_lived: true
    backends:
      - {{pop: fra, endpoints: ["{small}"], capacity: {{requests_in_flight: 8}}}}
      - {{pop: nyc, endpoints: ["{nyc}"]}}
  - {{name: limited, pop_ramp: 0s, backends: [{{pop: fra, endpoints: ["{refusing}"]}}, {{pop: nyc, endpoints: ["{nyc}"]}}]}}
  - name: patient
    pop_ramp: 0s
    penalties: {{rate_limited: false}}
    backends: [{{pop: fra, endpoints: ["{refusing}"]}}, {{pop: nyc, endpoints: ["{nyc}"]}}]
routes:
  - {{name: plain, match: {{hosts: [plain]}}, service: shop}}
  - name: rules
    match: {{hosts: [rules]}}
    service: shop
    steering:
      jurisdiction:
        - {{clients: {{countries: [DE]}}, pops: {{pops: [tyo]}}}}
        - {{clients: {{continents: [NA]}}, pops: {{continents: [EU, AS]}}}}
        - {{clients: {{countries: [DE, US]}}, pops: {{}}}}
  - {{name: split, match: {{hosts: [split]}}, split: [{{service: shop, weight: 90}}, {{service: canary, weight: 10}}]}}
  - name: sticky
    match: {{hosts: [sticky]}}
    split: [{{service: shop, weight: 90}}, {{service: canary, weight: 10}}]
    split_sticky: true
  - {{name: replaced, match: {{hosts: [replaced]}}, split: [{{service: shop, weight: 0}}, {{service: broken, weight: 1}}]}}
  - {{name: dead, match: {{hosts: [dead]}}, service: dead}}
  - {{name: dead-eu, match: {{hosts: [dead-eu]}}, service: dead, steering: {{jurisdiction: {{continents: [EU]}}}}}}
  - {{name: alone, match: {{hosts: [alone]}}, service: alone}}
  - name: redirect
    match: {{hosts: [redirect, fra.example.com, nyc.example.com]}}
    service: shop
    steering: {{mode: redirect}}
  - name: moved
    match: {{hosts: [moved]}}
    service: shop
    steering: {{mode: redirect, redirect: {{status: 308, methods: all}}}}
  - {{name: cookie, match: {{hosts: [cookie]}}, service: shop, steering: {{affinity: {{cookie: pop, same_site: strict}}}}}}
  - {{name: client, match: {{hosts: [client]}}, service: shop, steering: {{affinity: {{client: true, within: 10s}}}}}}
  - {{name: tenant, match: {{hosts: [tenant]}}, service: shop, steering: {{affinity: {{header: X-Tenant, within: 10s}}}}}}
  - {{name: capped, match: {{hosts: [capped]}}, service: capped}}
  - {{name: limited, match: {{hosts: [limited]}}, service: limited}}
  - {{name: patient, match: {{hosts: [patient]}}, service: patient}}
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
debug_headers: true
state_dir: {state}
"""


def start(folder: Path, sites: Mapping[str, Backend], text: str = WORLD) -> contextlib.AbstractContextManager[Served]:
    """A gateway before these backends, by name."""
    places: dict[str, Any] = {name: site.address for name, site in sites.items()}
    return served(folder, text, **places, nobody=f"127.0.0.1:{free_port()}", state=str(folder / "state"))


def ask(client: Client, host: str, address: str = GERMAN, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """`headers`: with `_` for `-`."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.ask(path, {"host": host, "x-forwarded-for": address, **more}, method, b"x" if method == "POST" else None)


def site_of(client: Client, host: str, address: str = GERMAN, **headers: str) -> str | int:
    """Who answered; the status where that was not 200."""
    answer = ask(client, host, address, **headers)
    return answer.text if answer.status == 200 else answer.status


def operate(world: Served, what: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.admin_port, timeout=20)
    connection.request("POST", what)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (200, 202)


@contextlib.contextmanager
def drained(world: Served, *pops: str) -> Iterator[None]:
    for pop in pops:
        operate(world, f"/pops/{pop}/drain")
    try:
        yield
    finally:
        for pop in pops:
            operate(world, f"/pops/{pop}/undrain")


def is_likely(count: int, n: int, share: float) -> bool:
    """Within five standard deviations: one in a million is chance."""
    return abs(count - n * share) <= 5 * math.sqrt(n * share * (1 - share))
