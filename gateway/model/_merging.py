"""Merging: what several sources say becomes one configuration, in which every name that is named is there.

The rule: who comes first keeps a name; what names something that nobody has is refused, and then what named that, until the rest is whole.
So one broken object costs those that need it, and no others. What holds for the whole gateway is no object: it has one source.
Must not know sources, nor what is doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from gateway.model._objects import Config, Identity, Listener, Named, Pop, Route, Service

NamedT = TypeVar("NamedT", bound=Named)


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that does not serve, and why."""

    kind: str  # listener, pop, service, route
    identity: Identity
    fault: str

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}: {self.fault}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What one source gives, each sound by itself; and what it had to refuse."""

    listeners: tuple[Listener, ...] = ()
    pops: tuple[Pop, ...] = ()
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    refused: tuple[Refused, ...] = ()


def merged(whole: Config, sources: Iterable[Objects]) -> tuple[Config, tuple[Refused, ...]]:
    """`whole` with the objects of the sources, in their order, behind its own; and who was refused, sources' own refusals first."""
    all_objects = [Objects(listeners=whole.listeners, pops=whole.pops, services=whole.services, routes=whole.routes), *sources]
    refused = list(chain.from_iterable(one.refused for one in all_objects))
    listeners = _first_by_name("listener", chain.from_iterable(one.listeners for one in all_objects), refused)
    pops = _first_by_name("pop", chain.from_iterable(one.pops for one in all_objects), refused)
    services = _first_by_name("service", chain.from_iterable(one.services for one in all_objects), refused)
    routes = _first_by_name("route", chain.from_iterable(one.routes for one in all_objects), refused)
    names = {pop.name for pop in pops}
    services = _with_all("service", services, lambda one: (backend.pop for backend in one.backends), "PoP", names, refused)
    while True:  # a service that stands in for another may be refused itself
        names = {service.name for service in services}
        left = _with_all("service", services, lambda one: one.on_unavailable, "service", names, refused)
        if len(left) == len(services):
            break
        services = left
    routes = _with_all("route", routes, lambda one: (target.service for target in one.targets), "service", names, refused)
    config = replace(whole, listeners=tuple(listeners), pops=tuple(pops), services=tuple(services), routes=tuple(routes))
    return config, tuple(refused)


def _first_by_name(kind: str, objects: Iterable[NamedT], refused: list[Refused]) -> list[NamedT]:
    kept: dict[str, NamedT] = {}
    for one in objects:
        other = kept.setdefault(one.name, one)
        if other is not one:
            refused += [Refused(kind, one.identity, f"its name is that of {other.identity}")]
    return list(kept.values())


def _with_all(
    kind: str,
    objects: Iterable[NamedT],
    named_by: Callable[[NamedT], Iterable[str]],
    what: str,
    there: Collection[str],
    refused: list[Refused],
) -> list[NamedT]:
    """Those of which all that they name is there."""
    left = []
    for one in objects:
        missing = [name for name in dict.fromkeys(named_by(one)) if name not in there]
        if missing:
            refused.append(Refused(kind, one.identity, f"there is no {what} {', '.join(missing)}"))
        else:
            left.append(one)
    return left
