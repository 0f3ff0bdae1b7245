"""PoPs that die together: real gateways before real backends."""

import contextlib
import json
import socket

import pytest

from tests.io.serving import CONFIG, Load, backends, eventually, free_port, served

pytestmark = pytest.mark.slow

PLACES = {
    "fra": (50.11, 8.68),
    "par": (48.86, 2.35),
    "lon": (51.51, -0.13),
    "mad": (40.42, -3.7),
    "rom": (41.9, 12.5),
    "nyc": (40.71, -74.01),
    "sfo": (37.77, -122.42),
}


def arranged(pops: str, sites: str) -> str:
    before, _, rest = CONFIG.partition("pops:\n")
    service, (_, _, rest) = rest[rest.index("services:") : rest.index("      - {{pop: fra")], rest.partition("routes:")
    return f"{before}pops:\n{pops}{service}{sites}routes:{rest}"


def config(names, *, workers=2, interval="300ms", retries=2, endpoints=1) -> str:
    pops = "".join(f"  - {{{{name: {name}, lat: {PLACES[name][0]}, lon: {PLACES[name][1]}}}}}\n" for name in names)
    each = ", ".join(f'"{{{{{name}}}}}"' for name in ("{name}", "{name}_two")[:endpoints])
    sites = "".join(f"      - {{{{pop: {name}, endpoints: [{each.format(name=name)}]}}}}\n" for name in names)
    text = arranged(pops, sites) + f"retries: {{{{max: {retries}}}}}\n"
    return text.replace("interval: 300ms", f"interval: {interval}").replace("workers: 2", f"workers: {workers}")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("endpoints", "retries"), [(1, 2), (2, 2), (1, 0), (2, 3)])
def test_the_first_that_find_six_dead_are_answered_by_the_seventh(tmp_path, workers, endpoints, retries):
    """No probe has told yet. A connect that is refused asks nobody anything: before, three of them were all of a request's tries."""
    names = [f"{name}{end}" for name in PLACES for end in ("", "_two")[:endpoints]]
    text = config(PLACES, workers=workers, interval="60s", retries=retries, endpoints=endpoints)
    with backends(*names) as sites, served(tmp_path, text, **{site.name: site.address for site in sites}) as gateway:
        for site in sites:
            if not site.name.startswith("sfo"):
                site.die()
        load = Load(gateway.port).keep_alive(12)
        load.wait_answers(200)
        load.stop()
        assert not load.faults, load.faults
        assert {text[:3] for text in load.answers} == {"sfo"}


def test_a_request_asks_no_more_than_its_bound_of_endpoints(tmp_path):
    """27 that refuse, three in each of nine PoPs."""
    ports = [free_port() for _ in range(27)]
    pops = "".join(f"  - {{{{name: p{number}, lat: 50, lon: {number}}}}}\n" for number in range(9))
    threes = [", ".join(f'"127.0.0.1:{port}"' for port in ports[at : at + 3]) for at in range(0, 27, 3)]
    sites = "".join(f"      - {{{{pop: p{number}, endpoints: [{three}]}}}}\n" for number, three in enumerate(threes))
    text = arranged(pops, sites).replace("interval: 300ms", "interval: 60s").replace("path: /healthz", "type: tcp")
    path = tmp_path / "access.log"
    text += f"retries: {{{{max: 3}}}}\naccess_log: {{{{path: {path}}}}}\n"
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", port))) for port in ports]
        gateway = stack.enter_context(served(tmp_path, text))
        for door in doors:
            door.close()
        assert gateway.get("/lost")[0] == 502
        eventually(lambda: path.exists() and path.read_text(), "it is logged")
        assert json.loads(path.read_text())["attempts"] == 23


def test_three_that_die_at_once_cost_no_request_while_others_are_well(tmp_path):
    """Within one beat: each decision names just these three."""
    names = ("fra", "par", "lon", "nyc", "sfo")
    with backends(*names) as sites, served(tmp_path, config(names), **{site.name: site.address for site in sites}) as gateway:
        load = Load(gateway.port).keep_alive(12)
        load.wait_answers(300)
        assert set(load.answers) == {"fra"}
        for site in sites[:3]:
            site.stop_listening()
        for site in sites[:3]:
            site.die()
        load.wait_answers(sum(load.answers.values()) + 300)
        load.stop()
        assert not load.faults, load.faults
        assert load.answers["nyc"] > 0
