"""Charts: panels of lines over two axes, as one SVG. Must not know what is shown. All text given is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PANEL_WIDTH, PANEL_HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 30  # of a panel: around its axes
INK, FAINT, GRID = "#222", "#666", "#e3e6ea"
COLOURS = (
    "#2f6fb0",
    "#c46a2b",
    "#3d8f5f",
    "#9a4f9f",
    "#b3202a",
    "#7a8794",
    "#b59b1d",
    "#4fa3a5",
    "#5b4fb5",
    "#8a6246",
    "#d16ba5",
    "#333f4a",
)


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`; where `is_log`, by powers of ten, low above 0."""

    low: float
    high: float
    ticks: Sequence[float]
    unit: str = ""
    is_log: bool = False

    def part(self, value: float) -> float:
        """Where a value lies, 0 to 1; what is outside lies on the edge."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Line:
    name: str  # the same name has the same colour in all panels, and one entry in the legend
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()  # x, a word: what happened there


def rising(values: Sequence[float]) -> list[float]:
    """About four round ticks from 0 to the largest value."""
    most = max([*values, 1e-9])
    step = next(k * 10.0**e for e in range(-9, 10) for k in (1, 2, 5) if k * 10.0**e * 4 >= most)
    return [step * n for n in range(math.ceil(most / step) + 1)]


def draw(panels: Sequence[Panel], columns: int, caption: str, colours: dict[str, str] | None = None) -> str:
    """The picture. `colours`: of lines by name; the others get those of COLOURS in turn."""
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    known = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)} | (colours or {})
    width = columns * PANEL_WIDTH
    legend = _legend(names, width)
    top = max(y for _, _, y in legend) + 19
    height = top + math.ceil(len(panels) / columns) * PANEL_HEIGHT + 24
    body = []
    for name, x, y in legend:
        body.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="4" fill="{known[name]}"/>')
        body.append(f'<text x="{x + 19:.0f}" y="{y + 6:.0f}">{escape(name)}</text>')
    for number, panel in enumerate(panels):
        x, y = number % columns * PANEL_WIDTH, top + number // columns * PANEL_HEIGHT
        body.append(f'<g transform="translate({x:g} {y:g})">{_panel(panel, known)}</g>')
    body.append(f'<text x="12" y="{height - 8}" fill="{FAINT}" font-size="11">{escape(caption)}</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"


def _legend(names: Sequence[str], width: float) -> list[tuple[str, float, float]]:
    """Each name, and where it stands: as many in a row as have room."""
    places, x, y = [], 12.0, 11.0
    for name in names:
        wide = 34 + 6.6 * len(name)
        if x > 12 and x + wide > width:
            x, y = 12.0, y + 18
        places.append((name, x, y))
        x += wide
    return places


def _panel(panel: Panel, colours: dict[str, str]) -> str:
    right, bottom = PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + panel.x.part(x) * (right - LEFT), bottom - panel.y.part(y) * (bottom - TOP)

    out = [f'<text x="{LEFT}" y="{TOP - 10}" font-weight="bold">{escape(panel.title)}</text>']
    for tick in panel.y.ticks:
        y = at(panel.x.low, tick)[1]
        out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="{GRID}"/>')
        out.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end" fill="{FAINT}">{tick:g}{escape(panel.y.unit)}</text>')
    for tick in panel.x.ticks:
        x = at(tick, panel.y.low)[0]
        out.append(f'<path d="M{x:.1f} {bottom}v4" stroke="{FAINT}"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle" fill="{FAINT}">{tick:g}{escape(panel.x.unit)}</text>')
    for where, word in panel.marks:
        x = at(where, panel.y.low)[0]
        out.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{FAINT}" stroke-dasharray="2 3"/>')
        out.append(f'<text x="{x + 3:.1f}" y="{TOP + 10}" fill="{FAINT}" font-size="11">{escape(word)}</text>')
    for line in panel.lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line.points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colours[line.name]}" stroke-width="1.7"/>')
    return "".join(out)
