"""Merging: what several sources say becomes one configuration, in which every name that is named is there.

The rule: who comes first keeps a name; what names something that nobody has is refused, and then what named that, until the rest is whole.
So one broken object costs those that need it, and no others. What holds for the whole gateway is no object: it has one source.

A name that leads to another's object of the same name would be worse than one that leads nowhere: requests would be seen by endpoints that
are not theirs, at a place that is not the one which was meant. So who has an object of that name itself means that one, also where it is
refused; and what is said in a namespace is named from there alone.

A route that is refused goes on matching, without targets: else its requests would be the next wider route's, whose jurisdiction is another,
and would be seen where they may not be. They are answered 500, as Gateway API has it of what a route names and nobody has (HTTPRoute,
backendRefs): the fault is the configuration's and stays until that is mended, where 503 says that nobody can serve just now, and that one
may ask again. Must not know sources, nor what is doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from gateway.model._objects import Config, Identity, Listener, Match, Named, Pop, Refused, Route, Service

NamedT = TypeVar("NamedT", bound=Named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What one source gives, each sound by itself; and what it had to refuse."""

    listeners: tuple[Listener, ...] = ()
    pops: tuple[Pop, ...] = ()
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    refused: tuple[Refused, ...] = ()


def refused_route(identity: Identity, fault: str, match: tuple[Match, ...] | None, hosts: tuple[str, ...] | None = None) -> Objects:
    """Of a route that its source can't make whole: what it would have matched. `match` None: that can't be read; then it is all of its
    hosts' requests that no other route of theirs takes. `hosts` None: nor can those, and its requests go wherever they go without it."""
    if match is None and hosts is None:
        fault += "; nor can be read what it matches: its requests are answered by other routes"
    elif match is None:
        match = (Match(hosts=hosts or ()),)
        fault += f"; nor can be read what it matches: all requests of {', '.join(hosts or ('any host',))} that no other route takes"
    route = (
        None if match is None else Route(name=identity.name, source=identity.source, namespace=identity.namespace, match=match, targets=())
    )
    return Objects(routes=() if route is None else (route,), refused=(Refused("route", identity, fault),))


def merged(whole: Config, sources: Iterable[Objects]) -> Config:
    """`whole` with the objects of the sources, in their order, behind its own; and who was refused, sources' own refusals first."""
    own = Objects(listeners=whole.listeners, pops=whole.pops, services=whole.services, routes=whole.routes, refused=whole.refused)
    all_objects = [own, *sources]
    refused = list(chain.from_iterable(one.refused for one in all_objects))
    listeners = _first_by_name("listener", chain.from_iterable(one.listeners for one in all_objects), refused)
    pops = _first_by_name("pop", chain.from_iterable(one.pops for one in all_objects), refused)
    services = _first_by_name("service", chain.from_iterable(one.services for one in all_objects), refused)
    said = [route for one in all_objects for route in one.routes]
    routes = _first_by_name("route", (route for route in said if route.targets), refused)
    homes = {pop.name: pop for pop in pops}
    services = _with_all("service", services, lambda one: (backend.pop for backend in one.backends), "PoP", homes, refused)
    while True:  # a service that stands in for another may be refused itself
        there = {service.name: service for service in services}
        left = _with_all("service", services, lambda one: one.on_unavailable, "service", there, refused)
        if len(left) == len(services):
            break
        services = left
    routes = _with_all("route", routes, lambda one: (target.service for target in one.targets), "service", there, refused)
    # A jurisdiction that names a PoP which nobody has is only the narrower for it.
    routes = _with_all("route", routes, lambda one: filter(homes.__contains__, _permitted(one)), "PoP", homes, refused)
    whole_ones = set(map(id, routes))
    return replace(
        whole,
        listeners=tuple(listeners),
        pops=tuple(pops),
        services=tuple(services),
        routes=tuple(route if id(route) in whole_ones or not route.targets else replace(route, targets=()) for route in said),
        refused=tuple(refused),
    )


def _first_by_name(kind: str, objects: Iterable[NamedT], refused: list[Refused]) -> list[NamedT]:
    kept: dict[str, NamedT] = {}
    for one in objects:
        other = kept.setdefault(one.name, one)
        if other is not one:
            refused += [Refused(kind, one.identity, f"its name is that of {other.identity}")]
    return list(kept.values())


def _permitted(route: Route) -> Iterable[str]:
    """PoPs that its jurisdictions name."""
    return chain.from_iterable(rule.pops.pops or () for rule in route.steering.rules)


def _with_all(
    kind: str,
    objects: Iterable[NamedT],
    named_by: Callable[[NamedT], Iterable[str]],
    what: str,
    there: Mapping[str, Named],
    refused: list[Refused],
) -> list[NamedT]:
    """Those of which all that they name is there, and is what they mean by it."""
    lost = {one.identity for one in refused if one.kind == what.lower()}
    left = []
    for one in objects:
        names = dict.fromkeys(named_by(one))
        missing = [name for name in names if name not in there]
        faults = [f"there is no {what} {', '.join(missing)}"] if missing else []
        others = [there[name] for name in names if name in there and not _is_meant(there[name], one, lost)]
        faults += [f"{what} {other.name} is another's, {other.identity}" for other in others]
        if faults:
            refused.append(Refused(kind, one.identity, "; ".join(faults)))
        else:
            left.append(one)
    return left


def _is_meant(other: Named, by: Named, lost: Collection[Identity]) -> bool:
    """By this name. `lost`: who is refused."""
    own = Identity(by.source, by.namespace, other.name)
    return other.identity == own or (own not in lost and not other.namespace)
