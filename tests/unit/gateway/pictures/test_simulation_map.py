from xml.etree import ElementTree

import pytest

from gateway.pictures.simulation_map import MAX_RADIUS, MIN_RADIUS, picture
from gateway.pictures.world_map import HEIGHT, WIDTH, colour, project
from gateway.simulation.population import Client
from gateway.simulation.shares import simulate
from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, RuleSpec, ServiceSpec, Table, TableSpec

SPACE = "{http://www.w3.org/2000/svg}"
MUNICH, VIENNA, BOSTON = (48.14, 11.58, 0.0), (48.2, 16.37, 0.0), (42.36, -71.06, 0.0)


def drawn(clients, about="some clients", permitted=None, pops=(("fra", 50.11, 8.68), ("nyc", 40.71, -74.01))):
    figures = Figures(1)
    pools = tuple(
        PoolSpec(number, figures.acquire("pool"), (EndpointSpec(figures.acquire("endpoint"), "192.0.2.1", 80 + number),), total=1)
        for number in range(len(pops))
    )
    services = (ServiceSpec("shop", figures.acquire("service"), pools),)
    spec = TableSpec(
        1,
        tuple(PopSpec(*pop) for pop in pops),
        services,
        (RouteSpec("all", 0, rules=(RuleSpec(permitted),)),),
        intercept_ms=10,
        slope_ms_per_km=0.02,
    )
    return ElementTree.fromstring(picture(simulate(Table(spec, figures), 0, clients), about))


def clouds(root):
    """Circles by colour: x, y, radius."""
    groups = [group for group in root.iter(f"{SPACE}g") if group.get("fill-opacity")]
    return {group.get("fill"): [tuple(float(circle.get(k)) for k in ("cx", "cy", "r")) for circle in group] for group in groups}


def texts(root):
    return [text.text for text in root.iter(f"{SPACE}text")]


def test_clients_have_the_colour_of_their_pop_and_a_size_by_weight():
    found = clouds(drawn([Client(MUNICH, "DE", 4), Client(VIENNA, "AT", 1), Client(BOSTON, "US", 1)]))
    assert found.keys() == {colour(0), colour(1)}
    munich, vienna = sorted(found[colour(0)])
    x, y = project(*MUNICH[:2])
    assert munich == (pytest.approx(x, abs=1), pytest.approx(y, abs=1), MAX_RADIUS)
    assert vienna[2] == pytest.approx(MAX_RADIUS / 2)
    assert len(found[colour(1)]) == 1


def test_many_near_each_other_are_one_dot_and_the_smallest_can_be_seen():
    crowd = [Client((48 + k / 10_000, 11.0, 0.0), "DE") for k in range(1000)]
    ((large, small),) = (sorted(group, key=lambda one: -one[2]) for group in clouds(drawn([*crowd, Client(VIENNA, "AT", 1e-3)])).values())
    assert (large[2], small[2]) == (MAX_RADIUS, MIN_RADIUS)


def test_legend_and_pops():
    root = drawn([Client(MUNICH, "DE", 3), Client(BOSTON, "US", 1)], "four <clients>")
    said = texts(root)
    assert said[:2] == ["fra", "nyc"]
    assert said[2] == "Clients: four <clients>"
    assert said[3].startswith("Route all; all clients: mean estimate ")
    assert said[4].startswith("fra 75.0%, ")
    assert said[5].startswith("nyc 25.0%, ")
    lowest = max(float(text.get("y")) for text in root.iter(f"{SPACE}text"))
    assert HEIGHT < lowest < float(root.get("viewBox").split()[3])


def test_whoever_is_served_by_nobody_is_grey():
    root = drawn([Client(MUNICH, "DE")], permitted=frozenset())
    assert list(clouds(root)) == ["#888"]
    assert "Route all" in texts(root)


def test_no_place_is_known():
    assert clouds(drawn([Client(None, None)])) == {}


def test_a_long_description_does_not_leave_the_picture():
    (said,) = [text for text in texts(drawn([Client(MUNICH, "DE")], "word " * 100)) if text.startswith("Clients")]
    assert len(said) * 7 < WIDTH


def test_many_pops_have_a_field_each():
    pops = [(f"pop{number}", number - 30.0, number * 3.0) for number in range(50)]
    fields = [text for text in texts(drawn([Client(MUNICH, "DE")], pops=pops)) if text.endswith((" ms", "%"))]
    assert len([text for text in fields if text.startswith("pop")]) == 50
