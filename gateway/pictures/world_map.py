"""World map: SVG in equirectangular projection: land, a graticule, dots, great circles, labels. Pure text.

Owns the projection, the coastlines (land.csv, in the package), colours and where labels find room. Must not know what is shown. Everything
that it is given as text is escaped.
x grows to the east from 180 W, y to the south from the north pole; 1 degree is SCALE units of the picture.

land.csv has an outline a line, of places `lat lon` in degrees, closed; lakes lie within land (so they are filled by the even-odd rule).
From Natural Earth's land at 1:110m, version 4.1 (public domain), by way of world-atlas 2.0.2; simplified to 0.2 degrees, half a unit here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import pairwise

SCALE = 8 / 3
WIDTH, HEIGHT = 960, 480  # of the map: 360 by 180 degrees
STEP_DEGREES = 3  # of a great circle's polyline
FONT_SIZE = 13
CHAR_WIDTH = 7.4  # of FONT_SIZE, on average and rather too much: to find out where a label has room
INK, FAINT, PAPER, EQUATOR = "#1c2733", "#dfe5ec", "#f8fafc", "#b9c4d0"
LAND, COAST = "#e6ebdf", "#c3ccb6"
GOLDEN_ANGLE = 137.508  # of hues: any number of them, neighbours far apart


def project(lat: float, lon: float) -> tuple[float, float]:
    """Degrees to units of the picture."""
    return (lon + 180) * SCALE, (90 - lat) * SCALE


def colour(number: int) -> str:
    """Of the number-th of things to tell apart."""
    return f"hsl({number * GOLDEN_ANGLE % 360:.0f} 70% {(42, 58, 34)[number % 3]}%)"


def svg(body: Iterable[str], title: str, *, below: float = 0, is_alone: bool = True) -> str:
    """A picture: the map's ground, `body` over it, and room of height `below` under the map. `is_alone`: a file of its own, not a
    part of a page."""
    name = ' xmlns="http://www.w3.org/2000/svg"' if is_alone else ""
    height = HEIGHT + below
    head = (
        f'<svg{name} viewBox="0 0 {WIDTH} {height:g}" role="img" font-family="system-ui, sans-serif" font-size="{FONT_SIZE}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER}"/>'
    )
    return "\n".join([head, land(), graticule(), *body, "</svg>", ""])


@cache
def land() -> str:
    """All of it, as one path. Steps from point to point in tenths of a unit: a third of the length of places."""
    return f'<path d="{"".join(map(_outline, load_land()))}" fill="{LAND}" fill-rule="evenodd" stroke="{COAST}"/>'


def load_land() -> list[list[tuple[float, float]]]:
    """Outlines of (lat, lon). The file is part of the package, so a fault in it is a fault of the build."""
    text = files("gateway").joinpath("land.csv").read_text("ascii")
    return [[(float(lat), float(lon)) for lat, lon in (cell.split() for cell in row.split(","))] for row in text.splitlines()]


def _outline(places: Sequence[tuple[float, float]]) -> str:
    points = [(round(x * 10), round(y * 10)) for x, y in (project(*place) for place in places)]
    steps = "".join(f" {(b[0] - a[0]) / 10:g},{(b[1] - a[1]) / 10:g}" for a, b in pairwise(points[:-1]))
    return f"M{points[0][0] / 10:g},{points[0][1] / 10:g}l{steps.lstrip()}z"


def graticule(step: int = 30) -> str:
    """Meridians and parallels, the equator stronger."""
    lines = [f"M{project(0, lon)[0]:g} 0v{HEIGHT}" for lon in range(-180, 181, step)]
    lines += [f"M0 {project(lat, 0)[1]:g}h{WIDTH}" for lat in range(-90, 91, step)]
    return f'<path d="{"".join(lines)}" fill="none" stroke="{FAINT}"/><path d="M0 {HEIGHT / 2:g}h{WIDTH}" fill="none" stroke="{EQUATOR}"/>'


def dot(lat: float, lon: float, radius: float, fill: str, title: str = "") -> str:
    """A filled circle; `title` is shown to who points at it."""
    x, y = project(lat, lon)
    said = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{escape(fill)}" stroke="{PAPER}">{said}</circle>'


def dots(places: Iterable[tuple[float, float, float]], fill: str) -> str:
    """Many of one colour, by latitude, longitude and radius; where they lie on each other it shows."""
    circles = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>' for (x, y), radius in ((project(a, b), r) for a, b, r in places))
    return f'<g fill="{escape(fill)}" fill-opacity=".6">{"".join(circles)}</g>'


def line(a: tuple[float, float], b: tuple[float, float], stroke: str, width: float) -> str:
    """The great circle between two places, each (lat, lon)."""
    path = "".join(f"M{' '.join(f'{x:.1f},{y:.1f}' for x, y in part)}" for part in great_circle(a, b))
    return f'<path d="{path}" fill="none" stroke="{escape(stroke)}" stroke-width="{width:g}" stroke-linecap="round"/>'


def great_circle(a: tuple[float, float], b: tuple[float, float]) -> list[list[tuple[float, float]]]:
    """The shortest way as polylines in units of the picture: two where it crosses the map's edge. Between antipodes, along the parallels'
    straight line: there every way is a shortest one."""
    start, end = _vector(*a), _vector(*b)
    angle = math.acos(max(-1.0, min(1.0, sum(p * q for p, q in zip(start, end, strict=True)))))
    if math.sin(angle) < 1e-6:
        return _split([project(*a), project(*b)])
    n = max(1, math.ceil(math.degrees(angle) / STEP_DEGREES))
    points = []
    for k in range(n + 1):
        p, q = math.sin(angle * (1 - k / n)) / math.sin(angle), math.sin(angle * k / n) / math.sin(angle)
        x, y, z = (p * i + q * j for i, j in zip(start, end, strict=True))
        points.append(project(math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))))
    return _split(points)


def _split(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Where two neighbours are further apart than half the map, the way between them goes over its edge."""
    parts = [[points[0]]]
    for before, after in pairwise(points):
        if abs(after[0] - before[0]) > WIDTH / 2:
            around = math.copysign(WIDTH, before[0] - after[0])
            edge = WIDTH if around > 0 else 0.0
            gap = after[0] + around - before[0]
            y = before[1] + (after[1] - before[1]) * ((edge - before[0]) / gap if gap else 0.0)
            parts[-1].append((edge, y))
            parts.append([(WIDTH - edge, y)])
        parts[-1].append(after)
    return parts


def _vector(lat: float, lon: float) -> tuple[float, float, float]:
    a, b = math.radians(lat), math.radians(lon)
    return math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)


class Labels:
    """Texts beside places, on the side where they cover no other; those given first have the choice."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float, float]] = []  # left, top, right, bottom
        self._texts: list[str] = []

    def keep_free(self, lat: float, lon: float, radius: float) -> None:
        x, y = project(lat, lon)
        self._taken.append((x - radius, y - radius, x + radius, y + radius))

    def add(self, lat: float, lon: float, text: str, *, is_bold: bool = False, away: float = 8) -> None:
        x, y = project(lat, lon)
        width = len(text) * CHAR_WIDTH
        half = FONT_SIZE / 2
        lefts = ((x + away, y), (x - away - width, y), (x - width / 2, y - away - half), (x - width / 2, y + away + half))
        boxes = [(left, middle - half, left + width, middle + half) for left, middle in lefts]
        box = min(boxes, key=self._covered)
        self._taken.append(box)
        weight = ' font-weight="bold"' if is_bold else ""
        self._texts.append(f'<text x="{box[0]:.1f}" y="{box[3] - 2:.1f}"{weight}>{escape(text)}</text>')

    def svg(self) -> str:
        """With a margin of paper around the letters, so that lines under them don't matter."""
        return f'<g fill="{INK}" stroke="{PAPER}" stroke-width="3" paint-order="stroke">{"".join(self._texts)}</g>'

    def _covered(self, box: tuple[float, float, float, float]) -> float:
        """Area that others have, or that lies outside the map."""
        left, top, right, bottom = box
        outside = max(0, -left) + max(0, right - WIDTH) + max(0, -top) + max(0, bottom - HEIGHT)
        overlaps = ((min(right, r) - max(left, x), min(bottom, b) - max(top, t)) for x, t, r, b in self._taken)
        return outside * FONT_SIZE * 2 + sum(w * h for w, h in overlaps if w > 0 and h > 0)
