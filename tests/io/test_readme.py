"""What the README promises: its YAML works as it stands, clients of three continents get their nearest PoP, a death costs no GET."""

import re
from pathlib import Path

import pytest

from tests.io.serving import Load, eventually, free_port, served

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"
MUNICH, BOSTON, SAO_PAULO = ({"x-forwarded-for": address} for address in ("192.0.2.7", "198.51.100.7", "203.0.113.9"))


def two_pops(fra: str, nyc: str) -> str:
    """The README's first configuration, on free ports."""
    text = re.search(r"`mine.yaml`:\n\n```yaml\n(.*?)```", README.read_text(), re.DOTALL)[1]
    for theirs, ours in (("127.0.0.1:8080", "127.0.0.1:{port}"), ("127.0.0.1:9001", fra), ("127.0.0.1:9002", nyc)):
        assert theirs in text
        text = text.replace("{", "{{").replace("}", "}}") if theirs.endswith("8080") else text
        text = text.replace(theirs, ours)
    return text + 'admin: {{bind: "127.0.0.1:{admin}"}}\n'


@pytest.fixture
def gateway(tmp_path, pops):
    with served(tmp_path, two_pops(pops[0].address, pops[1].address)) as one:
        yield one


def test_clients_of_three_continents_get_their_nearest_pop(gateway):
    assert gateway.get("/", MUNICH) == (200, "fra")
    assert gateway.get("/", BOSTON) == (200, "nyc")
    assert gateway.get("/", SAO_PAULO) == (200, "nyc")  # 7,700 km against 9,800


def test_the_death_of_a_pop_under_load_costs_no_get(gateway, pops):
    load = Load(gateway.port).keep_alive(12).one_shot(4)
    load.wait_answers(500)
    pops[1].die()
    load.wait_answers(500)
    pops[1].revive()
    load.wait_answers(500)
    pops[0].die()
    load.wait_answers(500)
    eventually(lambda: gateway.get("/", MUNICH) == (200, "nyc"), "all is served from New York")
    load.stop()
    assert load.faults == []


def test_the_kubernetes_example_is_sound(tmp_path):
    from gateway.config import load

    text = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)[1]
    file = tmp_path / "kubernetes.yaml"
    file.write_text(text.replace("8080", str(free_port())))
    assert load(file).config.pops[0].name == "fra"
