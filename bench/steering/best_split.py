"""The best possible split of clients over PoPs that have room for so much each: a transportation problem, solved exactly. Pure.

Minimise the sum of flow[client, PoP] * cost[client, PoP], each client's flow being its rate and no PoP above its room. Solved by
successive shortest paths (Busacker and Gowen, 1961): a client's flow goes where it costs least, all moves of others that make room for it
counted in. Only PoPs are nodes: going from one to another means moving the client for which that costs least.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench.steering.data import Floats

NOTHING = 1e-9  # of the rates' sum: rounding


def best_split(cost: Floats, rate: Floats, room: Floats) -> Floats:
    """Flow, [client, PoP]. cost: [client, PoP]; rate: of each client, from 0; room: of each PoP, infinite where there is no bound.
    ValueError when the room is less than the rates."""
    if room.sum() < rate.sum() * (1 - NOTHING):
        raise ValueError(f"room for {room.sum():g} in all, got {rate.sum():g}")
    flow = np.zeros(cost.shape)
    left = room.astype(float)
    least = NOTHING * rate.sum()
    for client in range(len(cost)):
        missing = float(rate[client])
        while missing > least:
            missing -= _augment(client, missing, cost, flow, left, least)
    return flow


def _augment(client: int, missing: float, cost: Floats, flow: Floats, left: Floats, least: float) -> float:
    """Sends as much of a client's flow as the cheapest way takes; returns how much."""
    n_pops = cost.shape[1]
    # From each PoP to each other: who is moved for the least, and for how much.
    moves = np.where((flow > least)[:, :, None], cost[:, None, :] - cost[:, :, None], np.inf)
    who = moves.argmin(axis=0)
    price = moves.min(axis=0)
    reach = cost[client].astype(float)  # what it costs to bring one more to each PoP
    before = np.full(n_pops, -1)
    for _ in range(n_pops):  # Bellman and Ford: prices may be negative
        through = reach[:, None] + price
        via = through.argmin(axis=0)
        lower = through.min(axis=0)
        is_lower = lower < reach - 1e-12
        if not is_lower.any():
            break
        reach = np.where(is_lower, lower, reach)
        before = np.where(is_lower, via, before)
    end = int(np.where(left > least, reach, np.inf).argmin())
    way = [end]
    while before[way[0]] >= 0:
        way.insert(0, int(before[way[0]]))
    steps = list(pairwise(way))
    amount = min(missing, float(left[end]), *(float(flow[who[a, b], a]) for a, b in steps))
    flow[client, way[0]] += amount
    for a, b in steps:
        flow[who[a, b], a] -= amount
        flow[who[a, b], b] += amount
    left[end] -= amount
    return amount
