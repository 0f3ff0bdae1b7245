"""Screen: how the demo looks. On a terminal the scene under way is drawn again and again, anywhere else each is printed once.

Owns what is drawn, and the record of it for a picture. Must not know how anything came about: it is given scenes and a summary.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.story import DRAINED, FIXED, KILLED, Row, Scene
from gateway.demo.summary import Summary

WIDTH = 104  # where there is no terminal to ask, and of the picture
REFRESH_PER_S = 4
STYLES = {
    "fra": "bright_yellow",
    "iad": "bright_blue",
    "gru": "bright_green",
    "sin": "bright_magenta",
    "nrt": "bright_cyan",
    "jnb": "orange1",
}
# The picture without a font from a third party: whoever opens it asks nobody.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def opening_of(title: str, facts: Mapping[str, str]) -> RenderableType:
    """What is started, fact by fact."""
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(name, fact)
    return Group(Text.assemble(("isochrone demo", "bold"), f": {title}"), table)


def scene_of(scene: Scene) -> RenderableType:
    """A title, a row for each client, notes."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)  # 80 columns are enough
    for heading in ("client", "place", "country", "PoP"):
        table.add_column(heading, no_wrap=True)
    for heading in ("estimate", "measured"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("next best", "reason"):
        table.add_column(heading, no_wrap=True)
    for row in scene.rows:
        table.add_row(*cells_of(row))
    lines: list[RenderableType] = ["", Text.assemble((scene.title, "bold"), ("  (times in ms)", "dim")), "", table]
    if scene.notes or scene.faults:
        lines.append("")
    lines += [Text(note) for note in scene.notes]
    lines += [Text(f"FAULT: {fault}", style="bold red") for fault in scene.faults]
    return Group(*lines)


def cells_of(row: Row) -> list[RenderableType]:
    alternative = "-" if row.alternative is None else f"{row.alternative} {row.alternative_ms:.0f}"
    return [
        row.client.address,
        row.client.city,
        row.country,
        Text(row.pop, style=STYLES.get(row.pop, "")),
        "-" if row.estimate_ms is None else f"{row.estimate_ms:.1f}",
        f"{row.measured_ms:.1f}",
        alternative,
        row.reason,
    ]


def summary_of(summary: Summary, faults: Sequence[str]) -> RenderableType:
    """One screen. What is measured and what comes from the table is said line by line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    table.add_row("requests", f"{summary.n_requests}", f"from the kill of {KILLED}, its return and the drain of {DRAINED} too")
    table.add_row(
        "errors",
        Text(f"{summary.n_errors}", style="bold red" if summary.n_errors else "bold green"),
        "cut, refused or with another status than 200; no client asked twice",
    )
    table.add_row("mean time", f"{summary.measured_ms:.1f} ms", "measured, request by request, to the end of the answer")
    table.add_row(f"always {FIXED}", f"{summary.fixed_ms:.1f} ms", "by the table of round trips, for the same requests")
    table.add_row("round robin", f"{summary.round_robin_ms:.1f} ms", "the same, over all six")
    table.add_row("best possible", f"{summary.best_ms:.1f} ms", "the same, all PoPs up and each client's best known beforehand")
    table.add_row(
        Text("saved", style="bold"), Text(f"{summary.saved_over_fixed_ms:.1f} ms", style="bold green"), f"a request, against always {FIXED}"
    )
    table.add_row("", Text(f"{summary.saved_over_round_robin_ms:.1f} ms", style="bold green"), "a request, against round robin")
    lines: list[RenderableType] = [table]
    if summary.missed:
        said = ", ".join(f"{one.client.city} {one.chosen} not {one.best}, {one.lost_ms:.0f} ms" for one in summary.missed)
        lines.append(Text(f"\nWhere distance does not tell: {said}. Evidence per client network is still to come."))
    lines += [Text(f"FAULT: {fault}", style="bold red") for fault in faults]
    return Group("", Panel(Group(*lines), title="Summary", title_align="left"))


class Screen:
    """Prints as things come, and keeps them for the picture."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._kept: list[RenderableType] = []
        self._live: Live | None = None
        self._scene: Scene | None = None

    def say(self, said: RenderableType, is_for_copying: bool = False) -> None:
        """`is_for_copying`: a long line stays one."""
        self._kept.append(said)
        self.console.print(said, soft_wrap=is_for_copying)

    def begin(self, scene: Scene) -> None:
        if self.console.is_terminal:
            self._scene = scene
            self._live = Live(get_renderable=self._current, console=self.console, refresh_per_second=REFRESH_PER_S, transient=True)
            self._live.start()

    def end(self, scene: Scene) -> None:
        self.close()
        self.say(scene_of(scene))

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def save(self, path: Path) -> None:
        """All that was said, as a picture."""
        recorded = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor")
        for said in self._kept:
            recorded.print(said)
        path.write_text(recorded.export_svg(title="isochrone demo", code_format=SVG))

    def _current(self) -> RenderableType:
        return scene_of(self._scene) if self._scene is not None else ""


def console() -> Console:
    """Standard output; wide enough for the tables where there is no terminal."""
    opened = Console()
    return opened if opened.is_terminal else Console(width=WIDTH)
