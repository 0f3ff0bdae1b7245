import pytest

from gateway.control.operator import draining, pools, telemetry
from gateway.parts import access_log, admin, logs, pools_of, status, telemetry_of
from tests.unit.gateway.control.operating import gateway_of


def test_each_is_made_of_a_gateway_that_knows_them():
    gateway = gateway_of(parts=(logs, access_log, status, admin))
    assert [type(part).__name__ for part in gateway.parts] == ["Logs", "AccessLog", "Status", "Admin"]
    gateway.parts[1].file.dropped = 3
    assert telemetry_of(gateway).read().reading.log_dropped["failed"] == 3
    assert pools_of(gateway).config is gateway.config


@pytest.mark.parametrize("kind", [pools.Pools, telemetry.Telemetry, draining.DrainAnswers])
def test_who_needs_more_than_six_others_is_two(kind):
    names = [name for name in kind.__init__.__annotations__ if name != "return"]
    assert 0 < len(names) <= 6
