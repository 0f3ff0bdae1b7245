"""Helpers of the tests of admin, metrics, logs: a gateway that is wired whole and serves nobody, its figures moved by hand."""

from typing import Any

from gateway.app import Gateway, NewPart
from gateway.control.sources.world import Identity
from gateway.model import Loaded
from routing_core._testing import add_to_endpoint, add_to_pool, add_to_pop
from tests.unit.gateway.control.helpers import TWO_POPS, Clock, config_of


def gateway_of(text: str = TWO_POPS, parts: tuple[NewPart, ...] = (), **more: str) -> Gateway:
    """With its first table built. Its clock is a `Clock`."""
    config = config_of(text, **{"admin": '{bind: "127.0.0.1:0"}', **more})
    gateway = Gateway(config, lambda: Loaded(config, ()), parts=parts, clock=Clock())
    gateway.geo.has_looked = True
    gateway.sources.apply(config)
    gateway.publisher.publish()
    return gateway


def admit(gateway: Gateway, *addresses: str) -> None:
    """A good probe for these endpoints, and the figures that follow from it."""
    for identity in endpoints(gateway):
        if not addresses or identity.address in addresses:
            gateway.gates.judge(identity, True, 0)
    gateway.gates.turn()
    gateway.refresh.turn(gateway.config, gateway.publisher.table.spec)


def endpoints(gateway: Gateway) -> list[Identity]:
    return [known.identity for pool in gateway.world.pools.values() for known in pool]


def pool_row(gateway: Gateway, pop: str = "fra", service: str = "shop") -> int:
    row = gateway.rows.find("pool", (service, pop))
    assert row is not None
    return row


def serve_some(gateway: Gateway, pop: str = "fra", **counts: Any) -> None:
    """As a worker counts: in_flight, code, reason."""
    add_to_pool(gateway.rows.figures, pool_row(gateway, pop), 0, **counts)
    add_to_pop(gateway.rows.figures, gateway.rows.pop(pop), 0, counts.get("in_flight", 0))


def fail_connects(gateway: Gateway, address: str, times: int = 1) -> None:
    for identity in endpoints(gateway):
        row = gateway.rows.find("endpoint", identity)
        if identity.address == address and row is not None:
            add_to_endpoint(gateway.rows.figures, row, 0, connect_failures=times)
