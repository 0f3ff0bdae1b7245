"""Fits the prior, `rtt_ms = intercept + slope * great-circle km + abroad + border`, to the round trips in bench/data; draws docs/prior.svg.

    python -m bench.fit_prior           # from the repository's root; needs numpy and the built routing_core
    python -m bench.fit_prior --write   # and writes routing_core/_fitted.py; without that word a file that says otherwise is a fault

`abroad` counts when the two places' countries differ, `border` then by their subregions: see fit_borders. The line and `abroad` come first:
least absolute deviation, both sets weighing the same. Not least squares: paths that trombone over another continent add hundreds of ms to
a few pairs and would pull the line up for all. Not a lower quantile either: the prior stands beside measured paths and service times, so
it must be right in the middle, not at best. What all of it is worth where it was not fitted is judge_prior's to say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import fit_borders
from bench.steering.data import Floats, Measured, distances_km
from geoip.countries import SUBREGIONS
from routing_core import PRIOR, BordersSpec

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "bench" / "data"
PICTURE = ROOT / "docs" / "prior.svg"
FITTED = ROOT / "routing_core" / "_fitted.py"
WORLD, EUROPE = SETS = ("wondernetwork-2018-11", "ripe-anchors-eu")
LIGHT_MS_PER_KM = 2 / (299.792458 * 2 / 3)  # in fibre, there and back
DECIMALS = (2, 5, 2)  # that PRIOR is written with


class Prior(NamedTuple):
    intercept_ms: float
    slope_ms_per_km: float
    abroad_ms: float

    def __str__(self) -> str:
        return f"{self.intercept_ms:.3f} ms + {self.slope_ms_per_km:.6f} ms/km + {self.abroad_ms:.3f} ms abroad"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Every measured pair of different places, in each direction: [pair]."""

    km: Floats
    is_abroad: Floats  # 0 or 1
    ms: Floats
    weight: Floats
    here: NDArray[np.str_]  # countries
    there: NDArray[np.str_]

    def without(self, country: str) -> Pairs:
        """Those that neither begin nor end there."""
        kept = (self.here != country) & (self.there != country)
        return Pairs(*(getattr(self, name)[kept] for name in Pairs.__slots__))

    def errors(self, prior: Prior) -> Floats:
        """Measured less predicted."""
        return self.ms - prior.intercept_ms - prior.slope_ms_per_km * self.km - prior.abroad_ms * self.is_abroad


def pairs_of(measured: Measured) -> Pairs:
    places = [(place.lat, place.lon) for place in measured.places]
    countries = np.array([place.country for place in measured.places])
    known = np.isfinite(measured.rtt_ms) & ~np.eye(len(places), dtype=bool)
    is_abroad = np.asarray(countries[:, None] != countries[None], dtype=float)
    n = int(known.sum())
    ends = (each[known] for each in np.broadcast_arrays(countries[:, None], countries[None]))
    return Pairs(distances_km(places, places)[known], is_abroad[known], measured.rtt_ms[known], np.full(n, 1 / n), *ends)


def joined(sets: Sequence[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate([getattr(each, name) for each in sets]) for name in Pairs.__slots__))


def fit(pairs: Pairs, *, has_abroad: bool = True, start: Prior | None = None) -> Prior:
    """Least absolute deviation, by reweighted least squares. `start`: something near it."""
    terms = [np.ones_like(pairs.km), pairs.km, pairs.is_abroad]
    design = np.stack(terms if has_abroad else terms[:2], axis=1)
    line: Floats = np.zeros(design.shape[1]) if start is None else np.array(start)
    pull = pairs.weight / (1.0 if start is None else np.maximum(np.abs(pairs.ms - design @ line), 1e-3))
    for _ in range(500):
        scaled = design * pull[:, None]
        new = np.linalg.solve(scaled.T @ design, scaled.T @ pairs.ms)
        if np.abs(new - line).max() < 1e-9:
            break
        line[:] = new
        pull = pairs.weight / np.maximum(np.abs(pairs.ms - design @ line), 1e-3)
    return Prior(*map(float, line), *([] if has_abroad else [0.0]))


def rounded(prior: Prior) -> Prior:
    """As it is written."""
    return Prior(*(round(exact, decimals) for exact, decimals in zip(prior, DECIMALS, strict=True)))


def borders_of(world: Pairs, line: Prior) -> fit_borders.Borders:
    """Beyond the line."""
    return fit_borders.Borders(world.here, world.there, world.errors(line))


class Panel:
    """A part of the picture: round trips by distance, from 0 on."""

    HEIGHT, TOP, BOTTOM = 420, 16, 40

    def __init__(self, left: float, width: float, most_km: int, most_ms: int, steps: tuple[int, int]) -> None:
        self.left, self.width, self.most_km, self.most_ms = left, width, most_km, most_ms
        self.out: list[str] = []
        for far in range(0, most_km + 1, steps[0]):
            x, y = self.at(far, 0)
            self.out.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle" fill="#444">{far:,} km</text>')
        for high in range(0, most_ms, steps[1]):
            x, y = self.at(0, high)
            self.out.append(f'<line x1="{x:.0f}" y1="{y:.1f}" x2="{left + width:.0f}" y2="{y:.1f}" stroke="#ddd"/>')
            self.out.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end" fill="#444">{high} ms</text>')

    def at(self, km: float, ms: float) -> tuple[float, float]:
        height = self.HEIGHT - self.TOP - self.BOTTOM
        return self.left + km / self.most_km * self.width, self.TOP + height * (1 - ms / self.most_ms)

    def dots(self, km: Floats, ms: Floats, colour: str, n: int) -> None:
        """A sample of those inside."""
        inside = np.flatnonzero((km < self.most_km) & (ms < self.most_ms))
        sample = np.random.default_rng(1).choice(inside, min(n, len(inside)), replace=False)
        path = "".join("M{:.0f} {:.0f}h0".format(*self.at(km[i], ms[i])) for i in sample)
        self.out.append(f'<path d="{path}" stroke="{colour}" stroke-width="2.5" stroke-linecap="round" opacity="0.4"/>')

    def medians(self, km: Floats, ms: Floats, colour: str, step: int) -> None:
        """By `step` km, where there are enough pairs to have one."""
        points = []
        for low in range(0, self.most_km, step):
            inside = ms[(km >= low) & (km < low + step)]
            if len(inside) > 20:
                points.append("{:.0f},{:.1f}".format(*self.at(low + step / 2, float(np.median(inside)))))
        self.out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="2 3"/>')

    def line(self, prior: Prior, is_abroad: bool, colour: str) -> None:
        start = prior.intercept_ms + prior.abroad_ms * is_abroad
        (x1, y1), (x2, y2) = self.at(0, start), self.at(self.most_km, start + prior.slope_ms_per_km * self.most_km)
        self.out.append(f'<line x1="{x1:.0f}" y1="{y1:.1f}" x2="{x2:.0f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2"/>')

    def legend(self, rows: Iterable[tuple[str, str]]) -> None:
        for row, (text, colour) in enumerate(rows):
            self.out.append(f'<text x="{self.left + 14:.0f}" y="{self.TOP + 16 + 16 * row}" fill="{colour}">{text}</text>')


def picture(sets: dict[str, Pairs], prior: Prior) -> str:
    """All distances, by set; and the first 3,000 km of both, where a border is seen: within a country and abroad."""
    world, near = Panel(56, 400, 20000, 450, (4000, 100)), Panel(540, 400, 3000, 90, (500, 20))
    by_set, by_border, dark = ("#3b6ea8", "#c46a2b"), ("#2f7d4f", "#8a4fa0"), "#222"
    both = joined(list(sets.values()))
    for pairs, colour in zip(sets.values(), by_set, strict=True):
        world.dots(pairs.km, pairs.ms, colour, 700)
    world.medians(both.km, both.ms, dark, 1000)
    for is_abroad, colour in enumerate(by_border):
        mine = both.is_abroad == is_abroad
        near.dots(both.km[mine], both.ms[mine], colour, 500)
        near.medians(both.km[mine], both.ms[mine], colour, 250)
        near.line(prior, bool(is_abroad), colour)
        world.line(prior, bool(is_abroad), "#b3202a")
    fitted = f"{prior.intercept_ms:.2f} ms + {prior.slope_ms_per_km:.4f} ms/km (+ {prior.abroad_ms:.2f} ms abroad)"
    world.legend([*zip(sets, by_set, strict=True), (fitted, "#b3202a"), ("dashed: the median, by 1,000 km", dark)])
    near.legend([*zip(("within a country", "abroad"), by_border, strict=True), ("dashed: the median, by 250 km", dark)])
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 420" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="980" height="420" fill="#ffffff"/>', *world.out, *near.out, "</svg>"]) + "\n"


def show_errors(sets: dict[str, Pairs], fitted: dict[str, dict[str, Prior]]) -> None:
    print("error, measured less predicted, ms:")
    for name, pairs in sets.items():
        print(f"  {name}")
        for how, prior in fitted[name].items():
            error = pairs.errors(prior)
            for where, part in (("", error), ("at home", error[pairs.is_abroad == 0]), ("abroad", error[pairs.is_abroad == 1])):
                size = np.abs(part)
                figures = f"median {np.median(size):5.1f}  p90 {np.percentile(size, 90):5.1f}  mean {size.mean():5.2f}"
                print(f"    {how if not where else '':20s} {where:8s} {len(part):6d} pairs  {figures}  signed {part.mean():+6.1f}")


def show_borders(borders: BordersSpec) -> None:
    """The highest."""
    costs = [(ms, i, j) for i, row in enumerate(borders.costs_ms) for j, ms in enumerate(row)]
    names = list(SUBREGIONS.values())
    free = sum(ms == 0 for ms, _, _ in costs)
    print(f"borders: of {len(costs)} pairs of subregions {free} cost no more than any border; the others' median is")
    print(f"  {np.median([ms for ms, _, _ in costs if ms]):.0f} ms; the dearest:")
    for ms, i, j in sorted(costs, reverse=True)[:8]:
        print(f"  {ms:4.0f} ms  {names[j]} - {names[i]}")


def main(given: Sequence[str]) -> None:
    sets = {name: pairs_of(Measured(DATA / name)) for name in SETS}
    both = joined(list(sets.values()))
    prior, plain = fit(both), fit(both, has_abroad=False)
    print(f"{prior}; slope {prior.slope_ms_per_km / LIGHT_MS_PER_KM:.2f} times light in fibre; PRIOR is {PRIOR[:3]}")
    print(f"  not abroad: {plain}")
    for name, pairs in sets.items():
        print(f"  {name} alone: {fit(pairs)}")
    line = rounded(prior)
    borders = fit_borders.spec_of(borders_of(sets[WORLD], line).fit())
    others = {name: fit(sets[other]) for name, other in zip(SETS, reversed(SETS), strict=True)}
    show_errors(sets, {name: {"both": prior, "both, not abroad": plain, "other": others[name]} for name in SETS})
    show_borders(borders)
    PICTURE.write_text(picture(sets, prior), encoding="utf-8")
    if "--write" in given:
        FITTED.write_text(fit_borders.write(line, borders), encoding="utf-8")
    elif not fit_borders.is_written(FITTED, line, borders):
        raise SystemExit(f"{FITTED.relative_to(ROOT)} is not what the data say: --write writes it")


if __name__ == "__main__":
    main(sys.argv[1:])
