"""Stranding: whose requests drains leave without a PoP. Arithmetic over a configuration; must not know where drains are kept, figures or
HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import IntEnum

from gateway.model import Config, Route, Rule, reachable_services


class Serves(IntEnum):
    """Whether requests of a service are answered in a PoP now; who has none that is better goes by the next."""

    NOT = 0
    IN_A_PANIC = 1  # its endpoints answer, whatever probes say of them
    WELL = 2


Serving = Callable[[str, str], Serves]  # (service, PoP)


def stranded(config: Config, pop: str, serving: Serving) -> list[str]:
    """A line for each route, and each rule for some of its clients, whose requests no other PoP serves as well."""
    pops = {one.name: one for one in config.pops}
    homes = {service.name: [backend.pop for backend in service.backends] for service in config.services}
    found = []
    for route in config.routes:
        for service in (name for name, weight in route.targets if weight):
            served = [(home, serving(one, home)) for one in reachable_services(config.services, [service]) for home in homes[one]]
            here = max((how for home, how in served if home == pop), default=Serves.NOT)
            if here is Serves.NOT:
                continue
            others = [pops[home] for home, how in served if home != pop and how >= here]
            found += [
                f"route {route.name}: {_whose(route, rule)}: service {service} can be served in no other PoP"
                for rule in route.steering.rules
                if rule.pops.permits(pops[pop]) and not any(rule.pops.permits(other) for other in others)
            ]
    return found


def deserted(config: Config, drained: Collection[str]) -> list[str]:
    """A line for each PoP, route and rule that only drained PoPs could serve. How well anybody is is not asked."""

    def without(pop: str) -> Serving:
        return lambda _, home: Serves.NOT if home in drained and home != pop else Serves.WELL

    names = [pop.name for pop in config.pops if pop.name in drained]
    return [f"pops: {name} is drained: {line}" for name in names for line in stranded(config, name, without(name))]


def _whose(route: Route, rule: Rule) -> str:
    if rule.clients is None:
        return "all clients" if len(route.steering.rules) == 1 else "clients of no other rule"
    listed = [*(rule.clients.countries or ()), *(f"continent {one}" for one in rule.clients.continents or ())]
    shown = ", ".join(map(str, listed[:8]))
    return f"clients of {shown}{', ...' if len(listed) > 8 else ''}"
