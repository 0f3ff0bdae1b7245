import pytest

from gateway.control.life.stranding import Serves, stranded
from tests.unit.gateway.control.helpers import config_of

TEXT = """
listeners: [{{name: web, bind: "127.0.0.1:0"}}]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, country: DE}}
  - {{name: par, lat: 48.86, lon: 2.35, country: FR}}
  - {{name: nyc, lat: 40.71, lon: -74.01, country: US}}
services:
  - name: shop
    backends: [{{pop: fra, endpoints: ["192.0.2.1:80"]}}, {{pop: nyc, endpoints: ["192.0.2.2:80"]}}]
  - name: mail
    {more}
    backends: [{{pop: fra, endpoints: ["192.0.2.3:80"]}}]
routes:
  - {route}
"""
EUROPE = "[{clients: {continents: [EU], countries: [IS]}, pops: {continents: [EU]}}, {pops: {}}]"


@pytest.mark.parametrize(
    ("route", "more", "pop", "down", "lines"),
    [
        ("{name: r, service: shop}", "", "fra", (), []),
        ("{name: r, service: shop}", "", "par", (), []),
        ("{name: r, service: shop}", "", "fra", ("nyc",), ["route r: all clients: service shop can be served in no other PoP"]),
        ("{name: r, service: shop}", "", "fra", ("nyc", "fra"), []),  # it serves nobody: nothing is lost
        ("{name: r, service: mail}", "", "fra", (), ["route r: all clients: service mail can be served in no other PoP"]),
        ("{name: r, service: mail}", "on_unavailable: [shop]", "fra", (), []),
        (
            f"{{name: r, service: shop, steering: {{jurisdiction: {EUROPE}}}}}",
            "",
            "fra",
            (),
            ["route r: clients of IS, continent EU: service shop can be served in no other PoP"],
        ),
        (f"{{name: r, service: shop, steering: {{jurisdiction: {EUROPE}}}}}", "", "nyc", (), []),
        (
            "{name: r, split: [{service: shop, weight: 9}, {service: mail, weight: 1}]}",
            "",
            "fra",
            (),
            ["route r: all clients: service mail can be served in no other PoP"],
        ),
        ("{name: r, split: [{service: shop, weight: 9}, {service: mail, weight: 0}]}", "", "fra", (), []),
    ],
)
def test_whose_requests_only_this_pop_serves(route, more, pop, down, lines):
    config = config_of(TEXT.format(route=route, more=more))
    assert stranded(config, pop, lambda service, home: Serves.NOT if home in down else Serves.WELL) == lines


@pytest.mark.parametrize(
    ("here", "others", "is_named"),
    [
        (Serves.WELL, Serves.IN_A_PANIC, True),
        (Serves.IN_A_PANIC, Serves.NOT, True),
        (Serves.IN_A_PANIC, Serves.IN_A_PANIC, False),
        (Serves.IN_A_PANIC, Serves.WELL, False),
        (Serves.NOT, Serves.NOT, False),
    ],
)
def test_in_a_panic_who_answers_serves_where_nobody_is_better(here, others, is_named):
    """Before, nobody was taken to serve, so the last one that did was drained without a word."""
    config = config_of(TEXT.format(route="{name: r, service: shop}", more=""))
    assert bool(stranded(config, "fra", lambda service, home: here if home == "fra" else others)) == is_named
