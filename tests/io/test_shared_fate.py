"""PoPs that die together: real gateways before real backends."""

import pytest

from tests.io.serving import CONFIG, Load, backends, served

pytestmark = pytest.mark.slow

PLACES = {"fra": (50.11, 8.68), "par": (48.86, 2.35), "lon": (51.51, -0.13), "nyc": (40.71, -74.01), "sfo": (37.77, -122.42)}


def config() -> str:
    pops = "".join(f"  - {{{{name: {name}, lat: {lat}, lon: {lon}}}}}\n" for name, (lat, lon) in PLACES.items())
    sites = "".join(f'      - {{{{pop: {name}, endpoints: ["{{{name}}}"]}}}}\n' for name in PLACES)
    before, _, rest = CONFIG.partition("pops:\n")
    service, (_, _, rest) = rest[rest.index("services:") : rest.index("      - {{pop: fra")], rest.partition("routes:")
    return f"{before}pops:\n{pops}{service}{sites}routes:{rest}retries: {{{{max: 3}}}}\n"


def test_three_that_die_at_once_cost_no_request_while_others_are_well(tmp_path):
    """Within one beat: each decision names just these three. Who finds out may be lost, its tries spent on them: one of each client."""
    with backends(*PLACES) as sites, served(tmp_path, config(), **{site.name: site.address for site in sites}) as gateway:
        load = Load(gateway.port).keep_alive(12)
        load.wait_answers(300)
        assert set(load.answers) == {"fra"}
        for site in sites[:3]:
            site.stop_listening()
        for site in sites[:3]:
            site.die()
        load.wait_answers(sum(load.answers.values()) + 300)
        load.stop()
        assert len(load.faults) <= 12 and all(" 502 " in fault for fault in load.faults), load.faults
        assert load.answers["nyc"] > 0
