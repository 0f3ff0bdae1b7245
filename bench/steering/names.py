"""Names: a PoP that is given by a name, as a load balancer is, whose answers change with time. Must not know what comes of it."""

from __future__ import annotations

import numpy as np

from bench.steering.configuration import address_of
from bench.steering.simulator import Simulation, known_of
from gateway.control.sources.resolver import INTERVAL_S as RESOLVED_S
from gateway.control.sources.world import Origin

__all__ = ["RESOLVED_S", "rotate"]


def rotate(simulation: Simulation, pop: int, begin_s: float, end_s: float, n_others: int, gone_s: float) -> None:
    """From then on the PoP's name is looked up every 30 s, and so many of its addresses are others, those that it gave for longest first.
    `gone_s`: by how much these refuse before the look-up; below 0 after it."""
    site, name = simulation.sites[pop], simulation.names[pop]
    there = list(site.servers)
    for at in np.arange(begin_s, end_s, RESOLVED_S):
        new = [address_of(pop, len(site.servers) + number) for number in range(n_others)]
        for address in there[:n_others]:
            simulation.events.at(float(at) - gone_s, site.servers[address].die)
        for address in new:
            site.add(address)
        there = [*there[n_others:], *new]
        simulation.events.at(float(at), simulation.describe, pop, known_of(name, sorted(there), origin=Origin.STATIC))
