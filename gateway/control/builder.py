"""Builder: from the configuration and the world to what a table is made of. Pure but for the rows it asks for.

Owns how configuration becomes PoPs, pools, routes, rules and pins. Must not know gates, probes, or who asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway import config as configured
from gateway.config import Affinity, Config, Pop, Route, Rule, Service
from gateway.control.affinity import cookie_value
from gateway.control.rows import Key, Rows
from gateway.control.settings import capacity_of, home_of
from gateway.control.world import Known, World
from gateway.control.zones import preferred
from routing_core import PRIOR, AffinitySpec, EndpointSpec, PoolSpec, PopSpec, RouteSpec, RuleSpec, ServiceSpec, TableSpec


@dataclass(frozen=True, slots=True)
class Built:
    spec: TableSpec
    used: frozenset[Key]  # rows that it contains
    selected: tuple[tuple[Known, int, Service], ...]  # endpoints that may be chosen, with their row and service


@dataclass(slots=True)
class _Building:
    """What the parts of one build share."""

    config: Config
    world: World
    rows: Rows
    numbers: dict[str, int]  # of PoPs
    services: dict[str, int]
    used: set[Key] = field(default_factory=set)
    selected: list[tuple[Known, int, Service]] = field(default_factory=list)

    def row(self, kind: str, *identity: str) -> int:
        key = identity if len(identity) > 1 else identity[0]
        self.used.add((kind, key))
        if kind == "pool":
            return self.rows.pool(*identity)
        return self.rows.pop(*identity) if kind == "pop" else self.rows.service(*identity)


def build(config: Config, world: World, rows: Rows, generation: int, affinity_key: bytes = b"") -> Built:
    """What the table of `generation` is made of. PoPs, services and routes keep the order of the configuration. Without a key no cookie
    names a PoP."""
    numbers = {pop.name: number for number, pop in enumerate(config.pops)}
    services = {service.name: number for number, service in enumerate(config.services)}
    building = _Building(config, world, rows, numbers, services)
    spec = TableSpec(
        generation=generation,
        pops=tuple(_pop(pop, building, affinity_key) for pop in config.pops),
        services=tuple(_service(service, building) for service in config.services),
        routes=tuple(spec for route in config.routes for spec in _routes(route, building)),
        intercept_ms=PRIOR[0],
        slope_ms_per_km=PRIOR[1],
        abroad_ms=PRIOR[2],
        gateway=home_of(config),
        pins=tuple(tuple(numbers[pop] for pop in pin.pops) for pin in config.geoip.pins),
    )
    return Built(spec, frozenset(building.used), tuple(building.selected))


def _high(capacity: configured.Capacity | None) -> int:
    found = capacity_of(capacity)
    return 0 if found is None else found.high


def _pop(pop: Pop, building: _Building, affinity_key: bytes) -> PopSpec:
    return PopSpec(
        pop.name,
        pop.lat,
        pop.lon,
        pop.name in building.world.drained,
        row=building.row("pop", pop.name),
        high=_high(pop.capacity),
        cookie=cookie_value(affinity_key, pop.name) if affinity_key else "",
        country=pop.country,
        public_url=(pop.public_url or "").rstrip("/"),
    )


def _service(service: Service, building: _Building) -> ServiceSpec:
    row = building.row("service", service.name)
    zone = building.config.gateway.zone if service.prefer_zone else None
    pools = []
    for backend in service.backends:
        pool = (service.name, backend.pop)
        selectable = building.world.selectable(pool)
        close = preferred(selectable, zone) if zone is not None else frozenset()
        endpoints = []
        for known in sorted(selectable, key=lambda known: known.identity not in close):
            row_of_it = building.rows.endpoint(known.identity)
            building.used.add(("endpoint", known.identity))
            building.selected.append((known, row_of_it, service))
            endpoints.append(EndpointSpec(row_of_it, known.identity.address, known.identity.port))
        pools.append(
            PoolSpec(
                pop=building.numbers[backend.pop],
                row=building.row("pool", *pool),
                endpoints=tuple(endpoints),
                total=building.world.total(pool),
                max_in_flight=service.max_in_flight,
                is_last_resort=bool(selectable) and all(known.is_terminating for known in selectable),
                high=_high(backend.capacity),
                weight=backend.weight,
                n_preferred=len(close),
            )
        )
    return ServiceSpec(service.name, row, tuple(pools), service.long_lived)


def _routes(route: Route, building: _Building) -> list[RouteSpec]:
    """One for each match. Jurisdiction becomes the PoPs it permits, here and not on the request path."""
    steering = route.steering
    is_redirect = steering.mode == "redirect"
    targets = tuple((building.services[name], weight) for name, weight in route.targets)
    return [
        RouteSpec(
            name=route.name,
            service=building.services[route.service],
            hosts=match.hosts,
            path_exact=match.path_exact,
            path_prefix=match.path_prefix,
            method=match.method,
            headers=match.headers,
            query=match.query,
            leg=steering.leg,
            window_ms=steering.window * 1000,
            rules=rules_of(steering.rules, building.config.pops, building.numbers),
            split=targets if route.split is not None else (),
            is_split_sticky=route.split_sticky,
            fallback_services=tuple(
                building.services[name] for name in fallbacks_of((name for name, _ in route.targets), building.config.services)
            ),
            affinity=None if steering.affinity is None else affinity_of(steering.affinity),
            redirect_status=steering.redirect.status if is_redirect else 0,
            redirects_all=steering.redirect.methods == "all",
        )
        for match in route.match
    ]


def rules_of(rules: Iterable[Rule], pops: Iterable[Pop], numbers: dict[str, int]) -> tuple[RuleSpec, ...]:
    """Each with the PoPs that may see its clients' requests; None when every one may. Fails closed: there may be none."""
    found = []
    for rule in rules:
        permitted = frozenset(numbers[pop.name] for pop in pops if rule.pops.permits(pop))
        clients = rule.clients
        found.append(
            RuleSpec(
                None if len(permitted) == len(numbers) else permitted,
                None if clients is None else frozenset(clients.countries or ()),
                None if clients is None else frozenset(clients.continents or ()),
            )
        )
    return tuple(found)


def fallbacks_of(names: Iterable[str], services: Iterable[Service]) -> list[str]:
    """The services that are tried when one of these, which share a route, can't serve: each one's own in order, then theirs. One of
    these may be another's: a canary's is what it is to replace. The core has one list for all; the longest goes first, so that what
    comes after a service in it comes after it for the others too."""
    others = {service.name: service.on_unavailable for service in services}
    chains = sorted((_chain(name, others) for name in names), key=len, reverse=True)
    return list(dict.fromkeys(name for chain in chains for name in chain))


def _chain(name: str, others: Mapping[str, Iterable[str]]) -> list[str]:
    found = [name]
    for one in found:  # grows as it is read
        found += [other for other in others[one] if other not in found]
    return found[1:]


def affinity_of(affinity: Affinity) -> AffinitySpec:
    within_ms = affinity.within * 1000
    if affinity.cookie is not None:
        attributes = f"; Path=/; HttpOnly; SameSite={affinity.same_site.capitalize()}"
        if affinity.max_age is not None:
            attributes += f"; Max-Age={int(affinity.max_age)}"
        if affinity.secure is True:
            attributes += "; Secure"
        return AffinitySpec("cookie", affinity.cookie, within_ms, attributes, affinity.secure == "auto")
    if affinity.header is not None:
        return AffinitySpec("header", affinity.header.lower(), within_ms)
    return AffinitySpec("client", within_ms=within_ms)
