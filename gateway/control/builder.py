"""Builder: from the configuration and the world to what a table is made of. Pure but for the rows it asks for.

Owns how configuration becomes PoPs, pools, routes and permitted PoPs. Must not know gates, probes, or who asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import Config, Route, Service
from gateway.control.rows import Key, Rows
from gateway.control.settings import home_of
from gateway.control.world import Known, World
from routing_core import PRIOR, EndpointSpec, PoolSpec, PopSpec, RouteSpec, ServiceSpec, TableSpec


@dataclass(frozen=True, slots=True)
class Built:
    spec: TableSpec
    used: frozenset[Key]  # rows that it contains
    selected: tuple[tuple[Known, int, Service], ...]  # endpoints that may be chosen, with their row and service


def build(config: Config, world: World, rows: Rows, generation: int) -> Built:
    """What the table of `generation` is made of. PoPs, services and routes keep the order of the configuration."""
    numbers = {pop.name: number for number, pop in enumerate(config.pops)}
    services = {service.name: number for number, service in enumerate(config.services)}
    used: set[Key] = set()
    selected: list[tuple[Known, int, Service]] = []
    spec = TableSpec(
        generation=generation,
        pops=tuple(PopSpec(pop.name, pop.lat, pop.lon, pop.name in world.drained) for pop in config.pops),
        services=tuple(_service(service, numbers, world, rows, used, selected) for service in config.services),
        routes=tuple(spec for route in config.routes for spec in _routes(route, config, numbers, services)),
        intercept_ms=PRIOR[0],
        slope_ms_per_km=PRIOR[1],
        gateway=home_of(config),
    )
    return Built(spec, frozenset(used), tuple(selected))


def _service(
    service: Service, numbers: dict[str, int], world: World, rows: Rows, used: set[Key], selected: list[tuple[Known, int, Service]]
) -> ServiceSpec:
    used.add(("service", service.name))
    pools = []
    for backend in service.backends:
        pool = (service.name, backend.pop)
        used.add(("pool", pool))
        endpoints = []
        selectable = world.selectable(pool)
        for known in selectable:
            row = rows.endpoint(known.identity)
            used.add(("endpoint", known.identity))
            selected.append((known, row, service))
            endpoints.append(EndpointSpec(row, known.identity.address, known.identity.port))
        pools.append(
            PoolSpec(
                pop=numbers[backend.pop],
                row=rows.pool(*pool),
                endpoints=tuple(endpoints),
                total=world.total(pool),
                max_in_flight=service.max_in_flight,
                is_last_resort=bool(selectable) and all(known.is_terminating for known in selectable),
            )
        )
    return ServiceSpec(service.name, rows.service(service.name), tuple(pools))


def _routes(route: Route, config: Config, numbers: dict[str, int], services: dict[str, int]) -> list[RouteSpec]:
    """One for each match. Jurisdiction becomes the PoPs it permits, here and not on the request path."""
    permitted = permitted_pops(route, config, numbers)
    return [
        RouteSpec(
            name=route.name,
            service=services[route.service],
            hosts=match.hosts,
            path_exact=match.path_exact,
            path_prefix=match.path_prefix,
            method=match.method,
            headers=match.headers,
            query=match.query,
            permitted_pops=permitted,
            leg=route.steering.leg,
            window_ms=route.steering.window * 1000,
        )
        for match in route.match
    ]


def permitted_pops(route: Route, config: Config, numbers: dict[str, int]) -> frozenset[int] | None:
    """Indices of the PoPs that may see the route's requests; None when every one may. Fails closed: it may be empty."""
    jurisdiction = route.steering.jurisdiction
    permitted = frozenset(numbers[pop.name] for pop in config.pops if jurisdiction.permits(pop))
    return None if len(permitted) == len(config.pops) else permitted
