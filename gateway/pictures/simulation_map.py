"""Simulation map: a simulation as a picture: the clients' places coloured by the PoP that has most of them, the PoPs, a legend.

Owns what is drawn and how large. Must not know how a simulation came about, or where the picture goes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from textwrap import shorten

from gateway.pictures import world_map
from gateway.simulation.shares import Simulation

CELL_DEGREES = 0.5  # places within are one dot: a million clients draw no more than a few thousand
MIN_RADIUS, MAX_RADIUS = 1.3, 9.0
LEGEND_COLUMNS, LEGEND_ROW = 4, 22
MAX_CHARS = 125  # of a line, as far as the map is wide
UNSERVED = "#888"


def picture(simulation: Simulation, about: str) -> str:
    """A whole SVG file. `about`: whose requests these are, in words."""
    numbers = {part.pop: number for number, part in enumerate(simulation.pops)}
    clouds = _clouds(simulation)
    body = [world_map.dots(clouds[pop], world_map.colour(numbers[pop]) if pop else UNSERVED) for pop in sorted(clouds)]
    labels = world_map.Labels()
    for part in simulation.pops:
        labels.keep_free(part.lat, part.lon, 6)
        body.append(world_map.dot(part.lat, part.lon, 6, world_map.colour(numbers[part.pop]), f"{part.pop} {part.share:.1%}"))
    for part in sorted(simulation.pops, key=lambda part: -part.share):
        labels.add(part.lat, part.lon, part.pop, is_bold=True)
    body.append(labels.svg())
    body += _legend(simulation, about)
    rows = -(-len(simulation.pops) // LEGEND_COLUMNS)
    return world_map.svg(body, f"Clients by PoP, route {simulation.route}", below=(rows + 2) * LEGEND_ROW + 10)


def _clouds(simulation: Simulation) -> dict[str, list[tuple[float, float, float]]]:
    """Latitude, longitude and radius of the dots of each PoP; "" has those that nobody serves."""
    cells: defaultdict[tuple[int, int], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for spot in simulation.spots:
        cell = cells[round(spot.lat / CELL_DEGREES), round(spot.lon / CELL_DEGREES)]
        for pop, share in (spot.pops or {"": 1.0}).items():
            cell[pop] += spot.share * share
    largest = max((sum(cell.values()) for cell in cells.values()), default=1.0)
    clouds: dict[str, list[tuple[float, float, float]]] = {}
    for (lat, lon), cell in cells.items():
        radius = max(MIN_RADIUS, MAX_RADIUS * math.sqrt(sum(cell.values()) / largest))
        most = max(cell, key=lambda pop: (cell[pop], pop))
        clouds.setdefault(most, []).append((lat * CELL_DEGREES, lon * CELL_DEGREES, radius))
    return clouds


def _legend(simulation: Simulation, about: str) -> list[str]:
    """Two lines on the whole, then a field for each PoP."""
    mean = "" if simulation.mean_ms is None else f"; all clients: mean estimate {simulation.mean_ms:.1f} ms, p90 {simulation.p90_ms:.1f} ms"
    said = (f"Clients: {shorten(about, MAX_CHARS)}", f"Route {simulation.route}{mean}")
    lines = [
        f'<text x="10" y="{world_map.HEIGHT + row * LEGEND_ROW}" fill="{world_map.INK}">{escape(text)}</text>'
        for row, text in enumerate(said, 1)
    ]
    for number, part in enumerate(simulation.pops):
        x = 10 + number % LEGEND_COLUMNS * (world_map.WIDTH / LEGEND_COLUMNS)
        y = world_map.HEIGHT + (number // LEGEND_COLUMNS + len(said) + 1) * LEGEND_ROW
        ms = "" if part.mean_ms is None else f", {part.mean_ms:.1f} ms"
        lines.append(
            f'<circle cx="{x + 5:g}" cy="{y - 4:g}" r="5" fill="{world_map.colour(number)}"/>'
            f'<text x="{x + 16:g}" y="{y:g}" fill="{world_map.INK}">{escape(f"{part.pop} {part.share:.1%}{ms}")}</text>'
        )
    return lines
