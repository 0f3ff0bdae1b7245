"""Fits the prior, `rtt_ms = intercept + slope * great-circle km + abroad`, to the round trips in bench/data; draws docs/prior.svg.

    python -m bench.fit_prior           # from the repository's root; needs numpy and the built routing_core

`abroad` counts when the two places' countries differ. Least absolute deviation, both sets weighing the same. Not least squares: paths
that trombone over another continent add hundreds of ms to a few pairs and would pull the line up for all. Not a lower quantile either: the
prior stands beside measured paths and service times, so it must be right in the middle, not at best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.steering.data import Floats, Measured, Setting, distances_km
from routing_core import PRIOR, EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec, explain

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "bench" / "data"
PICTURE = ROOT / "docs" / "prior.svg"
SETS = ("wondernetwork-2018-11", "ripe-anchors-eu")
POP_COUNTS = (12, 25, 50)
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

    def errors(self, prior: Prior) -> Floats:
        """Measured less predicted."""
        return self.ms - prior.intercept_ms - prior.slope_ms_per_km * self.km - prior.abroad_ms * self.is_abroad


def pairs_of(measured: Measured) -> Pairs:
    places = [(place.lat, place.lon) for place in measured.places]
    countries = np.array([place.country for place in measured.places])
    known = np.isfinite(measured.rtt_ms) & ~np.eye(len(places), dtype=bool)
    is_abroad = np.asarray(countries[:, None] != countries[None], dtype=float)
    n = int(known.sum())
    return Pairs(distances_km(places, places)[known], is_abroad[known], measured.rtt_ms[known], np.full(n, 1 / n))


def joined(sets: Sequence[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate([getattr(each, name) for each in sets]) for name in Pairs.__slots__))


def fit(pairs: Pairs, *, has_abroad: bool = True) -> Prior:
    """Least absolute deviation, by reweighted least squares."""
    terms = [np.ones_like(pairs.km), pairs.km, pairs.is_abroad]
    design = np.stack(terms if has_abroad else terms[:2], axis=1)
    line: Floats = np.zeros(design.shape[1])
    pull = pairs.weight.copy()
    for _ in range(500):
        scaled = design * pull[:, None]
        new = np.linalg.solve(scaled.T @ design, scaled.T @ pairs.ms)
        if np.abs(new - line).max() < 1e-9:
            break
        line[:] = new
        pull = pairs.weight / np.maximum(np.abs(pairs.ms - design @ line), 1e-3)
    return Prior(*map(float, line), *([] if has_abroad else [0.0]))


def regret(setting: Setting, prior: Prior) -> Floats:
    """[client]: ms above its lowest round trip, by the decision as it runs, idle, with this prior alone."""
    figures = Figures(1)
    endpoints = [EndpointSpec(figures.acquire("endpoint"), f"192.0.2.{number + 1}", 80) for number in range(len(setting.pops))]
    pools = tuple(PoolSpec(number, figures.acquire("pool"), (endpoint,), 1) for number, endpoint in enumerate(endpoints))
    spec = TableSpec(
        1,
        tuple(PopSpec(str(number), pop.lat, pop.lon, country=pop.country) for number, pop in enumerate(setting.pops)),
        (ServiceSpec("all", figures.acquire("service"), pools),),
        (RouteSpec("all", 0),),
        *prior,
    )
    table = Table(spec, figures)
    shares = np.zeros(setting.rtt_ms.shape)
    for row, client in enumerate(setting.clients):
        for each in explain(table, 0, (client.lat, client.lon, 0.0), country=client.country).candidates:
            shares[row, int(each.pop)] = each.share
    return np.asarray((shares * setting.regret_ms).sum(axis=1))


def nearest_regret(setting: Setting) -> Floats:
    """The same, by the PoP nearest to where the client truly is."""
    km = distances_km([(place.lat, place.lon) for place in setting.clients], [(place.lat, place.lon) for place in setting.pops])
    return np.asarray(setting.regret_ms[np.arange(len(km)), km.argmin(axis=1)])


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


def show_regrets(measured: Iterable[Measured], fitted: dict[str, dict[str, Prior]]) -> None:
    """Beside each the mean difference to nearest, client by client, with its standard error."""
    print("regret, ms over the best PoP, by the prior alone, idle (mean / p90 / p99; the mean less that of nearest):")
    for each in measured:
        for n_pops in POP_COUNTS:
            setting = each.setting(n_pops)
            print(f"  {each.name}, {n_pops} PoPs, {len(setting.clients)} clients")
            nearest = nearest_regret(setting)
            for how, found in (("nearest", nearest), *((how, regret(setting, prior)) for how, prior in fitted[each.name].items())):
                figures = f"{found.mean():5.2f} / {np.percentile(found, 90):5.1f} / {np.percentile(found, 99):5.1f}"
                less = found - nearest
                moved = np.count_nonzero(np.abs(less) > 1e-6)
                spread = f"{less.mean():+5.2f} +- {less.std() / math.sqrt(len(less)):.2f}"
                print(f"    {how:20s} {figures}   {spread}, another PoP for {moved} clients")


def main() -> None:
    measured = [Measured(DATA / name) for name in SETS]
    sets = {each.name: pairs_of(each) for each in measured}
    both = joined(list(sets.values()))
    prior, plain = fit(both), fit(both, has_abroad=False)
    fitted = {}
    for name, other in zip(SETS, reversed(SETS), strict=True):
        fitted[name] = {
            "both": prior,
            "both, not abroad": plain,
            "other": fit(sets[other]),  # judged on what it was not fitted to
            "other, not abroad": fit(sets[other], has_abroad=False),
        }
    print(f"{prior}; slope {prior.slope_ms_per_km / LIGHT_MS_PER_KM:.2f} times light in fibre; PRIOR is {PRIOR}")
    print(f"  not abroad: {plain}")
    for name, pairs in sets.items():
        print(f"  {name} alone: {fit(pairs)}")
    show_errors(sets, fitted)
    show_regrets(measured, fitted)
    PICTURE.write_text(picture(sets, prior), encoding="utf-8")
    right = tuple(round(exact, decimals) for exact, decimals in zip(prior, DECIMALS, strict=True))
    if right != PRIOR:
        raise SystemExit(f"PRIOR in routing_core/_latency.pyx must be {right}: that is what the data say")


if __name__ == "__main__":
    main()
