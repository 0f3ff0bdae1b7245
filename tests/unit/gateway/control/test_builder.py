import pytest

from gateway.control.builder import build, permitted_pops
from gateway.control.rows import Rows
from gateway.control.world import World
from k8s import State
from routing_core import PRIOR, Figures, Table
from tests.unit.gateway.control.helpers import TWO_POPS, config_of, known

FRA, NYC = ("shop", "fra"), ("shop", "nyc")


@pytest.fixture
def rows():
    return Rows(Figures(1))


def test_pops_services_and_routes_keep_their_order_and_the_table_takes_them(rows):
    config = config_of(gateway="{location: {lat: 1, lon: 2}}")
    world = World()
    world.describe(FRA, [known("192.0.2.1"), known("192.0.2.9", State.UNREADY)])
    world.drained.add("nyc")
    built = build(config, world, rows, 7)
    spec = Table(built.spec, rows.figures).spec
    assert spec.generation == 7
    assert [(pop.name, pop.is_drained) for pop in spec.pops] == [("fra", False), ("nyc", True)]
    (service,) = spec.services
    fra, nyc = service.pools
    assert [endpoint.name for endpoint in fra.endpoints] == ["192.0.2.1:80"]
    assert fra.total == 2
    assert (nyc.endpoints, nyc.total) == ((), 0)
    assert (spec.intercept_ms, spec.slope_ms_per_km) == PRIOR
    assert spec.gateway == (1, 2)
    assert [(item.identity.address, service.name) for item, _, service in built.selected] == [("192.0.2.1", "shop")]


def test_used_rows_are_those_of_the_table_and_the_same_next_time(rows):
    config = config_of()
    world = World()
    world.describe(FRA, [known("192.0.2.1"), known("192.0.2.9", State.UNREADY)])
    first, second = build(config, world, rows, 1), build(config, world, rows, 2)
    assert first.used == second.used == set(rows.rows)
    assert first.spec.services == second.spec.services
    assert len(first.used) == 4  # an endpoint, two pools, a service: an unready one has no row


ROUTES = TWO_POPS.replace(
    "routes: [{service: shop}]",
    """
routes:
  - service: shop
    match:
      - {hosts: [shop.example.com], path_prefix: /a, method: GET, headers: {x-a: b}, query: {q: "1"}}
      - {path_exact: /b}
    steering: {leg: client-pop, window: 7ms, jurisdiction: JURISDICTION}
""",
)


def test_a_route_becomes_one_for_each_match(rows):
    spec = build(config_of(ROUTES.replace("JURISDICTION", "{}")), World(), rows, 1).spec
    first, second = spec.routes
    assert (first.hosts, first.path_prefix, first.method, first.headers, first.query) == (
        ("shop.example.com",), "/a", "GET", (("x-a", "b"),), (("q", "1"),),
    )  # fmt: skip
    assert (second.hosts, second.path_exact, second.window_ms, second.leg) == ((), "/b", 7.0, "client-pop")
    assert first.permitted_pops is second.permitted_pops is None
    Table(spec, rows.figures)


@pytest.mark.parametrize(
    ("jurisdiction", "permitted"),
    [
        ("{}", None),
        ("{continents: [EU]}", {0}),
        ("{continents: [EU, NA]}", None),
        ("{countries: [US]}", {1}),
        ("{regions: [eu-central]}", {0}),
        ("{pops: [nyc]}", {1}),
    ],
)
def test_jurisdiction_becomes_the_pops_it_permits(jurisdiction, permitted):
    config = config_of(ROUTES.replace("JURISDICTION", jurisdiction))
    assert permitted_pops(config.routes[0], config, {"fra": 0, "nyc": 1}) == permitted


def test_a_pop_that_does_not_say_where_it_is_is_never_permitted():
    config = config_of(ROUTES.replace("JURISDICTION", "{continents: [EU, NA]}").replace(", country: US", ""))
    assert permitted_pops(config.routes[0], config, {"fra": 0, "nyc": 1}) == {0}
