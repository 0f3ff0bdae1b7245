"""Builder: from the configuration and the world to what a table is made of. Pure but for the rows it asks for.

Owns how configuration becomes PoPs, pools, routes, rules and pins. Must not know gates, probes, or who asked.
A pool of which nothing has changed since the last build is the same object as then, down to its endpoints; and so is what the
configuration alone decides. So who comes after can see what a change was, and what it costs does not grow with all the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from gateway import model
from gateway.control.sources.geo import home_of
from gateway.control.sources.others import derived, others
from gateway.control.sources.world import Identity, Known, PoolKey, World
from gateway.control.table.affinity import cookie_value
from gateway.control.table.capacity import capacity_of
from gateway.control.table.rows import Key, Rows
from gateway.control.table.zones import preferred
from gateway.model import Affinity, Backend, Config, Pop, Route, Rule, Service
from routing_core import PRIOR, AffinitySpec, EndpointSpec, PoolSpec, PopSpec, RouteSpec, RuleSpec, ServiceSpec, TableSpec

Selected = tuple[Known, int, Service]  # an endpoint that may be chosen, with its row and service


@dataclass(frozen=True, slots=True)
class Part:
    """A pool."""

    mark: object  # of the world, when it was built
    service: Service
    spec: PoolSpec
    known: tuple[Known, ...]  # of spec.endpoints, in their order

    def selected(self, places: Iterable[int]) -> list[Selected]:
        return [(self.known[place], self.spec.endpoints[place].row, self.service) for place in places]


@dataclass(frozen=True, slots=True)
class Change:
    """Of a pool, from one table to the next of the same configuration."""

    pool: PoolKey
    came: list[Selected]  # among them those of which something else is known now
    went: list[Identity]


@dataclass(frozen=True, slots=True)
class Built:
    config: Config
    spec: TableSpec
    drained: frozenset[str]
    parts: dict[PoolKey, Part]
    others: frozenset[Key]  # rows of PoPs, services and pools

    @property
    def used(self) -> frozenset[Key]:
        """Rows that it contains."""
        return self.others.union(endpoint_key(known.identity) for known, _, _ in self.selected)

    @property
    def selected(self) -> tuple[Selected, ...]:
        return tuple(chain.from_iterable(part.selected(range(len(part.known))) for part in self.parts.values()))

    def since(self, before: Built) -> list[Change]:
        """The pools that are not as they were before, when this was built after that and of the same configuration."""
        return [_change(pool, before.parts[pool], part) for pool, part in self.parts.items() if before.parts[pool] is not part]


def endpoint_key(identity: Identity) -> Key:
    return "endpoint", identity


def _change(pool: PoolKey, before: Part, after: Part) -> Change:
    """What stayed is the same object, and is not looked at."""
    new, old = others(after.known, before.known)
    came = after.selected(new)
    names = {known.identity for known, _, _ in came}
    gone = (before.known[place].identity for place in old)
    return Change(pool, came, [identity for identity in gone if identity not in names])


@dataclass(slots=True)
class _Building:
    """What the parts of one build share."""

    config: Config
    world: World
    rows: Rows
    numbers: dict[str, int]  # of PoPs
    services: dict[str, int]
    before: dict[PoolKey, Part]  # built of the same configuration
    parts: dict[PoolKey, Part] = field(default_factory=dict)
    used: set[Key] = field(default_factory=set)

    def row(self, kind: str, *identity: str) -> int:
        key = identity if len(identity) > 1 else identity[0]
        self.used.add((kind, key))
        if kind == "pool":
            return self.rows.pool(*identity)
        return self.rows.pop(*identity) if kind == "pop" else self.rows.service(*identity)


def build(config: Config, world: World, rows: Rows, generation: int, affinity_key: bytes = b"", before: Built | None = None) -> Built:
    """What the table of `generation` is made of. PoPs, services and routes keep the order of the configuration. Without a key no cookie
    names a PoP. `before`: what was built last with these rows and this key."""
    if before is not None and before.config is config and before.drained == world.drained:
        return _build_again(before, world, rows, generation)
    numbers = {pop.name: number for number, pop in enumerate(config.pops)}
    services = {service.name: number for number, service in enumerate(config.services)}
    building = _Building(config, world, rows, numbers, services, {})
    # What the configuration alone says: thousands of rules over hundreds of PoPs take seconds, and a drain changes none.
    known = before.spec if before is not None and before.config is config else None
    routes = tuple(spec for route in config.routes for spec in _routes(route, building)) if known is None else known.routes
    spec = TableSpec(
        generation=generation,
        pops=tuple(_pop(pop, building, affinity_key) for pop in config.pops),
        services=tuple(_service(service, building) for service in config.services),
        routes=routes,
        intercept_ms=PRIOR[0],
        slope_ms_per_km=PRIOR[1],
        abroad_ms=PRIOR[2],
        borders=PRIOR[3],
        exploration=config.steering.exploration,
        gateway=home_of(config),
        gateway_pop=None if config.gateway.pop is None else numbers.get(config.gateway.pop),
        paths=_paths(config, numbers) if known is None else known.paths,
        pins=tuple(tuple(numbers[pop] for pop in pin.pops) for pin in config.geoip.pins),
    )
    return Built(config, spec, frozenset(world.drained), building.parts, frozenset(building.used))


def _build_again(before: Built, world: World, rows: Rows, generation: int) -> Built:
    """Of the same configuration, and with the same drains."""
    config, marks = before.config, world.marks
    changed = {pool[0] for pool, part in before.parts.items() if part.mark is not marks.get(pool)}
    numbers = {pop.name: n for n, pop in enumerate(config.pops)}
    building = _Building(config, world, rows, numbers, {}, before.parts, before.parts.copy())
    services = tuple(
        _service(service, building) if service.name in changed else built
        for service, built in zip(config.services, before.spec.services, strict=True)
    )
    spec = replace(before.spec, generation=generation, services=services)
    return Built(config, spec, before.drained, building.parts, before.others)


def _paths(config: Config, numbers: Mapping[str, int]) -> tuple[tuple[int, int, float], ...]:
    """Of those PoPs that are there: another source may have refused one."""
    return tuple(
        (numbers[pop.name], numbers[name], float(trip) * 1000) for pop in config.pops for name, trip in pop.paths if name in numbers
    )


def _high(capacity: model.Capacity | None) -> int:
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
    parts = [_part(service, backend, building) for backend in service.backends]
    return ServiceSpec(service.name, row, tuple(part.spec for part in parts), service.long_lived)


def _part(service: Service, backend: Backend, building: _Building) -> Part:
    pool = (service.name, backend.pop)
    mark, before = building.world.marks.get(pool), building.before.get(pool)
    if before is not None and before.mark is mark:
        building.parts[pool] = before
        return before
    zone = building.config.gateway.zone if service.prefer_zone else None
    selectable = building.world.selectable(pool)
    close = preferred(selectable, zone) if zone is not None else frozenset()
    if close:
        selectable = tuple(sorted(selectable, key=lambda known: known.identity not in close))
    endpoints = _endpoints(selectable, before, building.rows)
    spec = PoolSpec(
        pop=building.numbers[backend.pop],
        row=building.row("pool", *pool),
        endpoints=endpoints,
        total=building.world.total(pool),
        max_in_flight=service.max_in_flight,
        is_last_resort=bool(selectable) and all(known.is_terminating for known in selectable),
        high=_high(backend.capacity),
        weight=backend.weight,
        n_preferred=len(close),
    )
    part = building.parts[pool] = Part(mark, service, spec, selectable)
    return part


def _endpoints(selectable: Sequence[Known], before: Part | None, rows: Rows) -> tuple[EndpointSpec, ...]:
    """What is known as it was is the same object, and all of them the same tuple, which the table has compiled."""

    def make(known: Known) -> EndpointSpec:
        identity = known.identity
        return EndpointSpec(rows.endpoint(identity), identity.address, identity.port)

    if before is None:
        return tuple(map(make, selectable))
    endpoints = derived(selectable, before.known, before.spec.endpoints, make)
    return before.spec.endpoints if before.spec.endpoints == endpoints else endpoints


def _routes(route: Route, building: _Building) -> list[RouteSpec]:
    """One for each match, of a route that is refused too. Jurisdiction becomes the PoPs it permits, here and not on the request path."""
    steering = route.steering
    is_redirect = steering.mode == "redirect"
    targets = tuple((building.services[name], weight) for name, weight in route.targets)
    return [
        RouteSpec(
            name=route.name,
            service=targets[0][0] if targets else None,
            hosts=match.hosts,
            path_exact=match.path_exact,
            path_prefix=match.path_prefix,
            method=match.method,
            headers=match.headers,
            query=match.query,
            leg=steering.leg,
            window_ms=steering.window * 1000,
            rules=rules_of(steering.rules, building.config.pops, building.numbers),
            split=tuple(sorted(targets, key=lambda target: building.config.services[target[0]].name)) if len(targets) > 1 else (),
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
