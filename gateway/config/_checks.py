"""What concerns more than one section: names that must exist, addresses that collide, keys that need another. Must not judge single values;
what is legal but doubtful is `_doubts`'.

A configuration with faults elsewhere is judged too, so that all faults come at once: it then stands for what is left of it, and
what was written and is lost must not look as if it had not been written.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.config._faults import node_at, place
from gateway.config._limits import Config
from gateway.config._places import Pop
from gateway.config._routes import Jurisdiction, Route
from gateway.config._services import Service
from gateway.config._tree import Loc, Node
from gateway.errors import Fault
from gateway.model import Address, permits, reachable_services
from routing_core import great_circle_km

_MAX_LISTED = 12
_MAX_TARGETS = 64  # services of a route, as the core holds them


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_LISTED]) + (f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else "")


@dataclass
class Judge:
    config: Config
    root: Node  # the tree of `config`
    original: Node  # the whole tree
    file: str
    lost: Collection[str] = ()  # top sections with faults of their own
    found: list[Fault] = field(default_factory=list)
    _written: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def written(self, kind: str, key: str) -> set[str]:
        """Texts at a key of a list's items, as they stand in the file: a faulty item still has its name. Walked once: each rule asks."""
        if (kind, key) not in self._written:
            items = node_at(self.original, (kind,))
            found = [item.at(key) for item in items.value] if items is not None and isinstance(items.value, list) else []
            self._written[kind, key] = {node.value for node in found if node is not None and isinstance(node.value, str)}
        return self._written[kind, key]

    def note(self, loc: Loc, text: str) -> None:
        line, path = place(self.root, loc)
        node = node_at(self.root, loc)
        if node is not None and node.written is not None and ", got " in text:
            text = f"{text.partition(', got ')[0]}, got {node.written}"
        self.found.append(Fault(self.file, line, path, text))

    def unknown(self, loc: Loc, name: str, known: Iterable[str], kind: str) -> None:
        legal = sorted(known)
        near = difflib.get_close_matches(name, legal, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        self.note(loc, f"must be one of {kind}: {_listed(legal) or '(there is none)'}, got {name!r}{hint}")

    def known(self, loc: Loc, names: Iterable[str], kind: str) -> None:
        """Each of a list must be the name of an item of a top section; without any item that is the fault."""
        written = self.written(kind, "name")
        for n, name in enumerate(names):
            if written and name not in written:
                self.unknown((*loc, n), name, written, kind)

    def is_lost(self, *kinds: str) -> bool:
        return not set(kinds).isdisjoint(self.lost)

    def line(self, loc: Loc) -> int:
        return place(self.root, loc)[0]


def judge(config: Config, root: Node, original: Node, file: str, lost: Collection[str] = ()) -> list[Fault]:
    """Faults between sections. `root` is the tree that `config` was read from, `original` that of the whole file."""
    judging = Judge(config, root, original, file, lost)
    _filled(judging)
    _names(judging)
    _paths(judging)
    _clients(judging)
    _binds(judging)
    for n, service in enumerate(config.services):
        _backends(judging, n, service)
        _service(judging, n, service)
    for n, route in enumerate(config.routes):
        _route(judging, n, route)
    if config.drain.deadline < config.drain.lameduck and "drain" not in lost:
        judging.note(("drain", "deadline"), f"must be at least lameduck, {config.drain.lameduck}, got {str(config.drain.deadline)!r}")
    return judging.found


def _filled(judging: Judge) -> None:
    for kind in ("listeners", "pops", "services", "routes"):
        if not getattr(judging.config, kind) and kind not in judging.lost:
            judging.note((kind,), "must have at least one item")


def _doubled(judging: Judge, keys: Iterable[tuple[Loc, Any]], text: str) -> None:
    first: dict[Any, Loc] = {}
    for loc, key in keys:
        if key in first:
            judging.note(loc, f"{text}, got {str(key)!r}, which line {judging.line(first[key])} has too")
        else:
            first[key] = loc


def _names(judging: Judge) -> None:
    for kind in ("listeners", "pops", "services", "routes"):
        named = [((kind, n, "name"), item.name) for n, item in enumerate(getattr(judging.config, kind))]
        _doubled(judging, named, "must be a name of its own")


def _paths(judging: Judge) -> None:
    pops = judging.written("pops", "name")
    name = judging.config.gateway.pop
    if name is not None and pops and name not in pops:
        judging.unknown(("gateway", "pop"), name, pops, "pops")
    places = {pop.name: pop for pop in judging.config.pops}
    for n, pop in enumerate(judging.config.pops):
        for name, trip in pop.paths:
            at: Loc = ("pops", n, "paths", name)
            if name == pop.name:
                judging.note(at, "must be a path to another PoP, got one to itself")
            elif name not in pops:
                judging.unknown(at, name, pops, "pops")
            elif name in places and trip < (least := _light_s(pop, places[name])):
                judging.note(at, f"must be at least {math.ceil(least * 10000) / 10:g}ms, which is what light takes, got {str(trip)!r}")


def _light_s(one: Pop, other: Pop) -> float:
    """There and back on the straight line, in empty space: no coordinates are so wrong that a path could be shorter."""
    return 2 * great_circle_km(one.lat, one.lon, other.lat, other.lon) / 299_792.458


def _clients(judging: Judge) -> None:
    geoip = judging.config.geoip
    overrides = [(("geoip", "overrides", n), one) for n, one in enumerate(geoip.overrides)]
    _doubled(judging, [((*at, "prefix"), one.prefix) for at, one in overrides if one.prefix is not None], "must be a prefix of its own")
    _doubled(judging, [((*at, "asn"), one.asn) for at, one in overrides if one.asn is not None], "must be a system of its own")
    alone = [((*at, "country"), one.country) for at, one in overrides if one.prefix is None and one.asn is None]
    _doubled(judging, alone, "must be a country of its own")
    _doubled(judging, [(("geoip", "pins", n, "prefix"), pin.prefix) for n, pin in enumerate(geoip.pins)], "must be a prefix of its own")
    for n, pin in enumerate(geoip.pins):
        judging.known(("geoip", "pins", n, "pops"), pin.pops, "pops")


def _collide(one: Address, other: Address, duals: Collection[Address]) -> bool:
    """Whether the kernel refuses the second. [::] against 0.0.0.0 is no collision, but for duals: other IPv6 listeners take IPv6 only."""
    if one == other:
        return one.is_unix or one.port != 0
    if one.ip is None or other.ip is None or one.port != other.port or one.port == 0:
        return False
    if one in duals or other in duals:
        return True
    return one.ip.version == other.ip.version and (one.ip.is_unspecified or other.ip.is_unspecified)


def _binds(judging: Judge) -> None:
    config = judging.config
    admin = config.admin.bind
    if not admin.is_unix and not (admin.ip and admin.ip.is_loopback):
        judging.note(
            ("admin", "bind"),
            "must be on loopback or a unix socket: elsewhere it needs admin.token and TLS, which is not in this version"
            f" (status is made for others' eyes), got {str(admin)!r}",
        )
    binds: list[tuple[Loc, Address]] = [(("listeners", n, "bind"), listener.bind) for n, listener in enumerate(config.listeners)]
    # A default has no line of its own: what collides with it is what was written.
    binds.insert(len(binds) if node_at(judging.root, ("admin", "bind")) else 0, (("admin", "bind"), config.admin.bind))
    if config.status:
        binds.append((("status", "bind"), config.status.bind))
    duals = {listener.bind for listener in config.listeners if listener.dual}
    for n, (loc, address) in enumerate(binds):
        for before, taken in binds[:n]:
            if _collide(address, taken, duals):
                path = place(judging.root, before)[1]
                judging.note(loc, f"must be an address of its own, got {str(address)!r}, which collides with {str(taken)!r} of {path}")
                break


def _backends(judging: Judge, n: int, service: Service) -> None:
    pops = judging.written("pops", "name")
    reachable = _with_kubernetes(judging.original)
    at: Loc = ("services", n, "backends")
    _doubled(
        judging, [((*at, m, "pop"), backend.pop) for m, backend in enumerate(service.backends)], "must be another PoP than the others'"
    )
    for m, backend in enumerate(service.backends):
        if backend.pop not in pops and pops:  # without any pop that is the fault
            judging.unknown((*at, m, "pop"), backend.pop, pops, "pops")
        elif backend.kubernetes and backend.pop not in reachable:
            judging.note(
                (*at, m, "kubernetes"),
                f"must be endpoints, or pops.{backend.pop} must have kubernetes: {{context, kubeconfig or in_cluster}}",
            )


def _with_kubernetes(root: Node) -> set[str]:
    items = node_at(root, ("pops",))
    pops = items.value if items is not None and isinstance(items.value, list) else []
    return {name.value for pop in pops if pop.at("kubernetes") and (name := pop.at("name")) and isinstance(name.value, str)}


def _service(judging: Judge, n: int, service: Service) -> None:
    at: Loc = ("services", n)
    if service.prefer_zone and not judging.config.gateway.zone and not node_at(judging.original, ("gateway", "zone")):
        judging.note((*at, "prefer_zone"), "must be false, or gateway.zone must be given, got true")
    judging.known((*at, "on_unavailable"), service.on_unavailable, "services")
    for m, name in enumerate(service.on_unavailable):
        way = _way(judging.config.services, name, service.name)
        # Said once for each circle: where its service that comes first in the file leads into it.
        if way and all(other.name not in way for other in judging.config.services[:n]):
            judging.note((*at, "on_unavailable", m), f"must not lead back: {' -> '.join((service.name, *way))}, got {name!r}")


def _way(services: Iterable[Service], start: str, end: str) -> tuple[str, ...]:
    """Names from `start` to `end` along `on_unavailable`; none when there is no way."""
    following = {service.name: service.on_unavailable for service in services}
    came: dict[str, tuple[str, ...]] = {start: (start,)}
    waiting = [start]
    while waiting and end not in came:
        name = waiting.pop(0)
        for further in following.get(name, ()):
            if further not in came:
                came[further] = (*came[name], further)
                waiting.append(further)
    return came.get(end, ())


def _route(judging: Judge, n: int, route: Route) -> None:
    services = judging.written("services", "name")
    at: Loc = ("routes", n)
    for m, (name, _) in enumerate(route.targets):
        if name not in services and services:
            judging.unknown((*at, "split", m, "service") if route.split else (*at, "service"), name, services, "services")
    reached = reachable_services(judging.config.services, [name for name, _ in route.targets])
    if len(reached) > _MAX_TARGETS:
        judging.note(at, f"must lead to at most {_MAX_TARGETS} services, those of their on_unavailable counted, got {len(reached)}")
    has_home = any(node_at(judging.original, ("gateway", key)) for key in ("location", "pop"))
    if route.steering.leg == "gateway-pop" and not has_home:
        judging.note(
            (*at, "steering", "leg"), "must be client-pop, or gateway.location must be given: the path starts there, got 'gateway-pop'"
        )
    jurisdiction = (*at, "steering", "jurisdiction")
    for m, rule in enumerate(route.steering.rules):
        is_list = isinstance(route.steering.jurisdiction, tuple)
        _jurisdiction(judging, (*jurisdiction, m, "pops") if is_list else jurisdiction, rule.pops, route)
    if route.steering.mode == "redirect":
        _redirect(judging, (*at, "steering", "mode"), route)


def _jurisdiction(judging: Judge, at: Loc, jurisdiction: Jurisdiction, route: Route) -> None:
    """Judged for each service of a split, also one of weight 0: a weight is changed in a hurry. A fallback service may have no PoP here."""
    for key, written, kind in (("regions", "region", "the regions of pops"), ("pops", "name", "pops")):
        known = judging.written("pops", written)
        for m, name in enumerate(getattr(jurisdiction, key) or ()):
            if name not in known:
                judging.unknown((*at, key, m), name, known, kind)
    if judging.is_lost("pops", "services", "routes") or any(fault.path.startswith(place(judging.root, at)[1]) for fault in judging.found):
        return
    for name, _ in route.targets:
        pops = _pops_of(judging.config, [name])
        if pops and not any(permits(jurisdiction, pop) for pop in pops):
            judging.note(at, f"must permit a PoP of service {name}, which runs in {_homes(pops, jurisdiction)}")


def _redirect(judging: Judge, at: Loc, route: Route) -> None:
    if judging.is_lost("pops", "services", "routes"):
        return
    rules = route.steering.rules
    homes = _pops_of(judging.config, reachable_services(judging.config.services, [name for name, _ in route.targets]))
    without = [pop.name for pop in homes if pop.public_url is None and any(permits(rule.pops, pop) for rule in rules)]
    if without:
        judging.note(
            at, f"must be proxy, or each PoP it may lead to must have a public_url, got 'redirect' and none for {_listed(without)}"
        )


def _pops_of(config: Config, services: Collection[str]) -> list[Pop]:
    homes = {backend.pop for service in config.services if service.name in services for backend in service.backends}
    return [pop for pop in config.pops if pop.name in homes]


def _homes(pops: list[Pop], jurisdiction: Jurisdiction) -> str:
    asked = [
        key
        for key, legal in (("country", jurisdiction.countries), ("continent", jurisdiction.continents), ("region", jurisdiction.regions))
        if legal
    ]
    shown = []
    for pop in pops[:_MAX_LISTED]:
        has = ", ".join(f"{key} {getattr(pop, key) or 'unknown'}" for key in asked)
        shown.append(f"{pop.name} ({has})" if has else pop.name)
    return ", ".join(shown)
