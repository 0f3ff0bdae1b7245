from gateway.parts import pools_of
from gateway.pictures.pops_text import HEADS, notes, rows
from tests.unit.gateway.control.operating import admit, gateway_of


def test_each_service_of_each_pop_has_a_line():
    gateway = gateway_of()
    admit(gateway, "192.0.2.2")
    said = pools_of(gateway).describe()
    found = list(rows(said))
    assert {len(row) for row in found} == {len(HEADS)}
    assert found[0][:4] == ("fra", "down", "shop", "0%") and found[0][-1] == "1 probing"
    assert found[1][0] == "nyc" and found[1][-1] == "1 admitting, 1 probing"
    assert notes(said) == []


SERVICE = {
    "service": "shop",
    "availability": 0.5,
    "headroom": 0.25,
    "in_flight": 7,
    "estimate_ms": 12.34,
    "path_ms": None,
    "endpoints": {"admitting": 0, "shut": 0},
    "source": {"error": "401: who are you?"},
}
POP = {"pop": "fra", "state": "draining", "since_s": 3.4, "in_flight": 7, "headroom": None}


def test_what_is_not_known_is_a_dash_and_a_pop_has_its_name_once():
    said = {"pops": [{**POP, "services": [SERVICE, {**SERVICE, "service": "mail"}]}, {**POP, "pop": "nyc", "services": []}]}
    assert list(rows(said)) == [
        ("fra", "draining 3 s", "shop", "50%", "25%", "7", "12.3 ms", "-", "none"),
        ("", "", "mail", "50%", "25%", "7", "12.3 ms", "-", "none"),
        ("nyc", "draining 3 s", "-", "-", "-", "7", "-", "-", "-"),
    ]
    assert notes(said) == ["fra: shop: 401: who are you?", "fra: mail: 401: who are you?"]
