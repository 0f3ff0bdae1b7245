"""Stranding: whose requests a drain would leave without a PoP. Arithmetic over a configuration; must not know drains, figures or HTTP."""

from __future__ import annotations

from collections.abc import Callable

from gateway._config_checks import reachable_services
from gateway._config_steering import Route, Rule
from gateway.config import Config

CanServe = Callable[[str, str], bool]  # (service, PoP): whether requests of the service would be answered there now


def stranded(config: Config, pop: str, can_serve: CanServe) -> list[str]:
    """A line for each route, and each rule for some of its clients, whose requests only this PoP can serve."""
    pops = {one.name: one for one in config.pops}
    homes = {service.name: [backend.pop for backend in service.backends] for service in config.services}
    found = []
    for route in config.routes:
        for service in (name for name, weight in route.targets if weight):
            serving = [pops[home] for one in reachable_services(config, [service]) for home in homes[one] if can_serve(one, home)]
            others = [one for one in serving if one.name != pop]
            if len(others) == len(serving):
                continue
            found += [
                f"route {route.name}: {_whose(route, rule)}: service {service} can be served in no other PoP"
                for rule in route.steering.rules
                if rule.pops.permits(pops[pop]) and not any(rule.pops.permits(other) for other in others)
            ]
    return found


def _whose(route: Route, rule: Rule) -> str:
    if rule.clients is None:
        return "all clients" if len(route.steering.rules) == 1 else "clients of no other rule"
    listed = [*(rule.clients.countries or ()), *(f"continent {one}" for one in rule.clients.continents or ())]
    shown = ", ".join(map(str, listed[:8]))
    return f"clients of {shown}{', ...' if len(listed) > 8 else ''}"
