"""What concerns more than one section: names that must exist, addresses that collide, waits that contradict each other; and what is
legal but doubtful. Must not judge single values.

A configuration with faults elsewhere is judged too, so that all faults come at once: it then stands for what is left of it, and
what was written and is lost must not look as if it had not been written.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway._config_faults import node_at, place
from gateway._config_limits import Config
from gateway._config_model import Jurisdiction, Pop, Route
from gateway._config_tree import Loc, Node
from gateway._config_units import Address
from gateway.errors import Fault

_MAX_LISTED = 12


def _written(root: Node, kind: str, key: str) -> set[str]:
    """Texts at a key of a list's items, as they stand in the file: a faulty item still has its name."""
    items = node_at(root, (kind,))
    found = [item.at(key) for item in items.value] if items is not None and isinstance(items.value, list) else []
    return {node.value for node in found if node is not None and isinstance(node.value, str)}


@dataclass
class Judge:
    config: Config
    root: Node  # the tree of `config`
    original: Node  # the whole tree
    file: str
    lost: Collection[str] = ()  # top sections with faults of their own
    found: list[Fault] = field(default_factory=list)

    def note(self, loc: Loc, text: str) -> None:
        line, path = place(self.root, loc)
        self.found.append(Fault(self.file, line, path, text))

    def unknown(self, loc: Loc, name: str, known: Iterable[str], kind: str) -> None:
        legal = sorted(known)
        near = difflib.get_close_matches(name, legal, 1)
        listed = ", ".join(legal[:_MAX_LISTED]) + (f" and {len(legal) - _MAX_LISTED} more" if len(legal) > _MAX_LISTED else "")
        hint = f", did you mean {near[0]}?" if near else ""
        self.note(loc, f"must be one of {kind}: {listed or '(there is none)'}, got {name!r}{hint}")

    def line(self, loc: Loc) -> int:
        return place(self.root, loc)[0]


def judge(config: Config, root: Node, original: Node, file: str, lost: Collection[str] = ()) -> list[Fault]:
    """Faults between sections. `root` is the tree that `config` was read from, `original` that of the whole file."""
    judging = Judge(config, root, original, file, lost)
    _filled(judging)
    _names(judging)
    _binds(judging)
    _backends(judging)
    for n, route in enumerate(config.routes):
        _route(judging, n, route)
    if config.drain.deadline < config.drain.lameduck and "drain" not in lost:
        deadline, lameduck = config.drain.deadline, config.drain.lameduck
        if node_at(root, ("drain", "deadline")):
            judging.note(("drain", "deadline"), f"must be at least lameduck, {lameduck}, got {str(deadline)!r}")
        else:
            judging.note(("drain", "lameduck"), f"must be at most deadline, {deadline}, got {str(lameduck)!r}")
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
    prefixes = [(("geoip", "overrides", n, "prefix"), one.prefix) for n, one in enumerate(judging.config.geoip.overrides)]
    _doubled(judging, prefixes, "must be a prefix of its own")


def _collide(one: Address, other: Address) -> bool:
    """Whether the kernel refuses the second. [::] against 0.0.0.0 is no collision: IPv6 listeners take IPv6 only."""
    if one == other:
        return one.is_unix or one.port != 0
    if one.ip is None or other.ip is None or one.port != other.port or one.port == 0:
        return False
    return one.ip.version == other.ip.version and (one.ip.is_unspecified or other.ip.is_unspecified)


def _binds(judging: Judge) -> None:
    config = judging.config
    binds: list[tuple[Loc, Address]] = [(("listeners", n, "bind"), listener.bind) for n, listener in enumerate(config.listeners)]
    # A default has no line of its own: what collides with it is what was written.
    binds.insert(len(binds) if node_at(judging.root, ("admin", "bind")) else 0, (("admin", "bind"), config.admin.bind))
    if config.status:
        binds.append((("status", "bind"), config.status.bind))
    for n, (loc, address) in enumerate(binds):
        for before, taken in binds[:n]:
            if _collide(address, taken):
                path = place(judging.root, before)[1]
                judging.note(loc, f"must be an address of its own, got {str(address)!r}, which collides with {str(taken)!r} of {path}")
                break


def _backends(judging: Judge) -> None:
    pops = _written(judging.original, "pops", "name")
    reachable = _with_kubernetes(judging.original)
    for n, service in enumerate(judging.config.services):
        at = ("services", n, "backends")
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


def _route(judging: Judge, n: int, route: Route) -> None:
    services = _written(judging.original, "services", "name")
    at: Loc = ("routes", n)
    if route.service not in services and services:
        judging.unknown((*at, "service"), route.service, services, "services")
    if (
        route.steering.leg == "gateway-pop"
        and not judging.config.gateway.location
        and not node_at(judging.original, ("gateway", "location"))
    ):
        judging.note(
            (*at, "steering", "leg"), "must be client-pop, or gateway.location must be given: the path starts there, got 'gateway-pop'"
        )
    _jurisdiction(judging, n, route)


def _jurisdiction(judging: Judge, n: int, route: Route) -> None:
    jurisdiction, config = route.steering.jurisdiction, judging.config
    at: Loc = ("routes", n, "steering", "jurisdiction")
    for key, written, kind in (("regions", "region", "the regions of pops"), ("pops", "name", "pops")):
        known = _written(judging.original, "pops", written)
        for m, name in enumerate(getattr(jurisdiction, key) or ()):
            if name not in known:
                judging.unknown((*at, key, m), name, known, kind)
    if not {"pops", "services", "routes"}.isdisjoint(judging.lost) or any(
        fault.path.startswith(place(judging.root, at)[1]) for fault in judging.found
    ):
        return
    service = next((service for service in config.services if service.name == route.service), None)
    homes = {backend.pop for backend in service.backends} if service else set()
    pops = [pop for pop in config.pops if pop.name in homes]
    if pops and not any(jurisdiction.permits(pop) for pop in pops):
        judging.note(at, f"must permit a PoP of service {route.service}, which runs in {_homes(pops, jurisdiction)}")


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


def doubts(config: Config, root: Node, file: str) -> list[Fault]:
    """What is legal and yet hardly meant: for `check` to say. Looks at files, at nothing else outside."""
    judging = Judge(config, root, root, file)
    for loc, path in _files(config):
        if not path.is_file():
            judging.note(loc, f"there is no file {path} now")
    if not config.geoip.city and not config.geoip.overrides:
        judging.note(("geoip",), "no client's location will be known: PoPs are tried in the order of pops")
    for n, prefix in enumerate(config.client_ip.trusted_proxies):
        if prefix.prefixlen == 0:
            judging.note(("client_ip", "trusted_proxies", n), "every client may say that it is another")
    if config.admin.bind.ip is not None and not config.admin.bind.ip.is_loopback:
        judging.note(("admin", "bind"), "whoever reaches this address can drain and reload the gateway; `status` is made for others' eyes")
    _unused(judging)
    _shadowed(judging)
    return sorted(judging.found, key=lambda fault: fault.line or 0)


def _files(config: Config) -> Iterator[tuple[Loc, Path]]:
    for key in ("city", "asn"):
        for n, path in enumerate(getattr(config.geoip, key)):
            yield ("geoip", key, n), path
    for n, pop in enumerate(config.pops):
        if pop.kubernetes and pop.kubernetes.kubeconfig:
            yield ("pops", n, "kubernetes", "kubeconfig"), pop.kubernetes.kubeconfig


def _unused(judging: Judge) -> None:
    config = judging.config
    routed = {route.service for route in config.routes}
    homes = {backend.pop for service in config.services for backend in service.backends}
    for n, service in enumerate(config.services):
        if service.name not in routed:
            judging.note(("services", n, "name"), "no route leads to this service")
    for n, pop in enumerate(config.pops):
        if pop.name not in homes:
            judging.note(("pops", n, "name"), "no service runs in this PoP")


def _shadowed(judging: Judge) -> None:
    first: dict[Any, str] = {}
    for n, route in enumerate(judging.config.routes):
        for m, match in enumerate(route.match):
            for host in match.hosts or ("",):
                key = (
                    host,
                    match.path_prefix or ("/" if match.path_exact is None else None),
                    match.path_exact,
                    match.method,
                    match.headers,
                    match.query,
                )
                if first.setdefault(key, route.name) != route.name:
                    judging.note(
                        ("routes", n, "match", m), f"route {first[key]} before it takes the same requests" + (f" of {host}" if host else "")
                    )
                    break
