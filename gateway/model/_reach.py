"""Reach: which services may serve a request in the place of others, and which PoPs may see it. Pure; of the model, and of what is still
being judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol


class Fallible(Protocol):
    """A service, and whom it names for when it is not available."""

    @property
    def name(self) -> str: ...
    @property
    def on_unavailable(self) -> tuple[str, ...]: ...


def reachable_services(services: Sequence[Fallible], names: Iterable[str]) -> list[str]:
    """The services named, and those that may stand in for them."""
    following = {service.name: service.on_unavailable for service in services}
    found = list(dict.fromkeys(names))
    for name in found:  # grows as it is read
        found += [other for other in following.get(name, ()) if other not in found]
    return found


Listed = tuple[str, ...] | None


class Lists(Protocol):
    """A jurisdiction: what a PoP must be in; None: it may be anywhere."""

    @property
    def continents(self) -> Listed: ...
    @property
    def countries(self) -> Listed: ...
    @property
    def regions(self) -> Listed: ...
    @property
    def pops(self) -> Listed: ...


class Located(Protocol):
    """A PoP, by what lists name."""

    @property
    def name(self) -> str: ...
    @property
    def continent(self) -> str | None: ...
    @property
    def country(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...


def permits(lists: Lists, pop: Located) -> bool:
    """Whether it is in every list that is given; it lacks what it does not say."""
    asked = ((lists.continents, pop.continent), (lists.countries, pop.country), (lists.regions, pop.region), (lists.pops, pop.name))
    return all(legal is None or has in legal for legal, has in asked)
