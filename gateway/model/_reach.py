"""Reach: which services may serve a request in the place of others. Pure; of the model, and of what is still being judged."""

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
