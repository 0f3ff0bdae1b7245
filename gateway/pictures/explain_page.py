"""Explain page: one decision as a page of HTML that stands alone: no script, no font, no picture from elsewhere; it asks nobody.

Owns the page's order and looks; the words are `explain_text`'s. It is given the object of `operator.explanation`, as `--json`
prints it, and must not know where that came from. Every text is escaped: hosts and paths are whatever somebody typed.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from gateway.pictures import world_map
from gateway.pictures.explain_text import Column, columns, headlines

CHOSEN, OTHER, EXCLUDED, CLIENT = "#0b7a4b", "#5b7fa6", "#a3adb8", "#d0342c"
PARTS = ("path", "service", "penalty")  # of an estimate, each with a colour in the style
# The browser is told as well: nothing may be fetched, nothing may run.
HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 1rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }}
dt {{ color: #5c6b7a; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
svg {{ width: 100%; height: auto; border: 1px solid #dfe5ec; border-radius: 6px; }}
figure {{ margin: 1.5rem 0; }}
figcaption {{ color: #5c6b7a; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #dfe5ec; vertical-align: top; }}
.n {{ text-align: right; }}
.chosen {{ font-weight: bold; background: #e8f5ee; }}
.none {{ color: #7a8794; }}
.bar {{ display: flex; height: .6rem; width: 11rem; margin-top: .45rem; }}
.path {{ background: #5b7fa6; }}
.service {{ background: #e0a030; }}
.penalty {{ background: #c0392b; }}
pre {{ overflow-x: auto; background: #f8fafc; padding: 1rem; border-radius: 6px; }}
</style>
</head>
"""


def page(said: dict[str, Any]) -> str:
    """The whole page."""
    decision = said["decision"]
    where = decision["pop"] if decision else "nowhere"
    title = f"{said['client']} goes to {where}"
    parts = [HEAD.format(title=escape(f"Isochrone: {title}")), "<body>\n", f"<h1>{escape(title)}</h1>\n<dl>\n"]
    parts += [f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n" for name, text in headlines(said)]
    parts.append("</dl>\n")
    if said["candidates"]:
        parts += [_figure(said, where), _table(said, where)]
    parts.append(f"<details><summary>Everything, as JSON</summary><pre>{escape(json.dumps(said, indent=2))}</pre></details>\n")
    return "".join([*parts, "</body>\n</html>\n"])


def _figure(said: dict[str, Any], chosen: str) -> str:
    location = said["location"]
    if said["leg"] == "gateway-pop":
        caption = "Estimates are of the gateway's own path to each PoP, the same for every client."
    elif location["lat"] is None:
        caption = "The client's place is unknown: the PoPs stand in the configured order."
    else:
        caption = "Lines are great circles from the client (red); numbers are estimates in ms to the first byte."
    return f"<figure>\n{_picture(said, chosen)}<figcaption>{escape(caption)}</figcaption>\n</figure>\n"


def _picture(said: dict[str, Any], chosen: str) -> str:
    """The chosen one last, so that it lies on top, but with the first choice of where its label goes."""
    # An older gateway that was asked by --admin does not say where its PoPs are.
    placed = [one for one in said["candidates"] if one.get("lat") is not None]
    drawn = sorted(placed, key=lambda one: (one["pop"] == chosen, one["share"]))
    lat, lon = said["location"]["lat"], said["location"]["lon"]
    labels = world_map.Labels()
    body = []
    if lat is not None:
        labels.keep_free(lat, lon, 5)
        if said["leg"] == "client-pop":
            for one in drawn:
                is_chosen = one["pop"] == chosen
                body.append(world_map.line((lat, lon), (one["lat"], one["lon"]), _colour(one, chosen), 3 if is_chosen else 1))
    for one in drawn:
        is_chosen = one["pop"] == chosen
        labels.keep_free(one["lat"], one["lon"], 5)
        title = f"{one['pop']}: share {one['share']:.1%}" + (f", {one['why_not']}" if one["why_not"] else "")
        body.append(world_map.dot(one["lat"], one["lon"], 7 if is_chosen else 5, _colour(one, chosen), title))
    if lat is not None:
        body.append(world_map.dot(lat, lon, 5, CLIENT, f"client {said['client']}"))
    is_estimated = said["leg"] == "gateway-pop" or lat is not None
    for one in sorted(placed, key=lambda one: bool(one["pop"] != chosen)):
        text = f"{one['pop']} {one['estimate_ms']:.1f}" if is_estimated else one["pop"]
        labels.add(one["lat"], one["lon"], text, is_bold=one["pop"] == chosen)
    body.append(labels.svg())
    return world_map.svg(body, f"The client and the PoPs; chosen: {chosen}", is_alone=False)


def _colour(candidate: dict[str, Any], chosen: str) -> str:
    if candidate["pop"] == chosen:
        return CHOSEN
    return OTHER if candidate["permitted"] and candidate["available"] and not candidate["drained"] else EXCLUDED


def _table(said: dict[str, Any], chosen: str) -> str:
    """As on a terminal, with a bar of the estimate's parts behind the estimate."""
    longest = max(one["estimate_ms"] for one in said["candidates"]) or 1.0
    shown = columns(said)
    heads = [f'<th class="n">{column.head}</th>' if column.is_number else f"<th>{column.head}</th>" for column in shown]
    place = next(number for number, column in enumerate(shown) if column.head == "= estimate") + 1
    heads.insert(place, "<th></th>")
    rows = "".join(_row(one, shown, place, chosen, longest) for one in said["candidates"])
    return f'<div class="scroll"><table>\n<thead><tr>{"".join(heads)}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n'


def _row(one: dict[str, Any], shown: list[Column], place: int, chosen: str, longest: float) -> str:
    kind = "chosen" if one["pop"] == chosen else "" if one["share"] else "none"
    cells = [
        f'<td class="n">{escape(column.text(one))}</td>' if column.is_number else f"<td>{escape(column.text(one))}</td>" for column in shown
    ]
    cells.insert(place, f'<td><div class="bar">{"".join(_bar(one, part, longest) for part in PARTS)}</div></td>')
    return f'<tr class="{kind}">{"".join(cells)}</tr>\n'


def _bar(one: dict[str, Any], part: str, longest: float) -> str:
    ms = max(0.0, one.get(f"{part}_ms", 0.0))
    return f'<span class="{part}" style="width: {ms / longest:.1%}" title="{part} {ms:.1f} ms"></span>'
