"""Fits the prior, `rtt_ms = intercept + slope * great-circle km`, to the round trips in bench/data; draws docs/prior.svg.

    python -m bench.fit_prior           # from the repository's root; needs numpy and the built routing_core

Least absolute deviation, both sets weighing the same. Not least squares: paths that trombone over another continent
add hundreds of ms to a few pairs and would pull the line up for all. Not a lower quantile either: the prior stands beside
measured paths and service times, so it must be right in the middle, not at best.
"""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing_core import PRIOR, EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec, explain

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "bench" / "data"
PICTURE = ROOT / "docs" / "prior.svg"
SETS = ("wondernetwork-2018-11", "ripe-anchors-eu")
POP_COUNTS = (12, 25, 50)
Floats = NDArray[np.float64]


class Measured:
    """One set: places and the minimum round trip of each directed pair (NaN where missing)."""

    def __init__(self, name: str) -> None:
        self.name = name
        with (DATA / name / "places.csv").open(encoding="utf-8") as file:
            self.places = list(csv.DictReader(file))
        index = {place["id"]: number for number, place in enumerate(self.places)}
        self.lat = np.array([float(place["lat"]) for place in self.places])
        self.lon = np.array([float(place["lon"]) for place in self.places])
        self.rtt = np.full((len(index), len(index)), np.nan)
        with gzip.open(DATA / name / "rtt.csv.gz", "rt", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                self.rtt[index[row["src"]], index[row["dst"]]] = float(row["min_ms"])
        self.km = haversine_km(self.lat[:, None], self.lon[:, None], self.lat[None], self.lon[None])

    def pairs(self) -> tuple[Floats, Floats]:
        """Distance and round trip of every measured pair of different places."""
        known = np.isfinite(self.rtt) & ~np.eye(len(self.places), dtype=bool)
        return self.km[known], self.rtt[known]


def haversine_km(lat1: Floats, lon1: Floats, lat2: Floats, lon2: Floats) -> Floats:
    north1, north2, east = np.radians(lat1), np.radians(lat2), np.radians(lon2 - lon1)
    half = np.sin((north2 - north1) / 2) ** 2 + np.cos(north1) * np.cos(north2) * np.sin(east / 2) ** 2
    return np.asarray(2 * 6371.0088 * np.arcsin(np.sqrt(half)))


def fit(km: Floats, ms: Floats, weight: Floats) -> tuple[float, float]:
    """Least absolute deviation, by reweighted least squares: (intercept ms, slope ms/km)."""
    design = np.stack([np.ones_like(km), km], axis=1)
    line: Floats = np.zeros(2)
    pull = weight.copy()
    for _ in range(100):
        scaled = design * pull[:, None]
        new = np.linalg.solve(scaled.T @ design, scaled.T @ ms)
        if np.abs(new - line).max() < 1e-9:
            break
        line[:] = new
        pull = weight / np.maximum(np.abs(ms - design @ line), 1e-3)
    return float(line[0]), float(line[1])


def regret(measured: Measured, n_pops: int, prior: tuple[float, float]) -> tuple[int, Floats, Floats]:
    """Clients; ms above the lowest round trip of each, by nearest PoP and by the decision as it runs, idle, with the prior alone."""
    is_pop = np.array([place["pop_set"] != "" and int(place["pop_set"]) <= n_pops for place in measured.places])
    pops = np.flatnonzero(is_pop)
    there, back = measured.rtt, measured.rtt.T
    rtt = np.where(np.isfinite(there), np.where(np.isfinite(back), (there + back) / 2, there), back)[:, pops]
    clients = np.flatnonzero(~is_pop & np.isfinite(rtt).all(axis=1))
    best = rtt[clients].min(axis=1)
    nearest = rtt[clients, measured.km[np.ix_(clients, pops)].argmin(axis=1)] - best
    figures = Figures(1)
    endpoints = [EndpointSpec(figures.acquire("endpoint"), f"192.0.2.{number + 1}", 80) for number in range(len(pops))]
    spec = TableSpec(
        generation=1,
        pops=tuple(PopSpec(str(number), measured.lat[pop], measured.lon[pop]) for number, pop in enumerate(pops)),
        services=(
            ServiceSpec(
                "all",
                figures.acquire("service"),
                tuple(PoolSpec(number, figures.acquire("pool"), (endpoint,), 1) for number, endpoint in enumerate(endpoints)),
            ),
        ),
        routes=(RouteSpec("all", 0),),
        intercept_ms=prior[0],
        slope_ms_per_km=prior[1],
    )
    table = Table(spec, figures)
    decided = []
    for client in clients:
        explained = explain(table, 0, (measured.lat[client], measured.lon[client], 10.0))
        decided.append(sum(each.share * rtt[client, int(each.pop)] for each in explained.candidates))
    return len(clients), nearest, np.array(decided) - best


def picture(sets: list[Measured], line: tuple[float, float]) -> str:
    """Pairs as dots (a sample), the running median, and the line."""
    width, height, left, top, most_km, most_ms = 720, 420, 56, 16, 20000, 450
    colours = ("#3b6ea8", "#c46a2b")

    def at(km: float, ms: float) -> tuple[float, float]:
        return left + km / most_km * (width - left - 16), height - 40 - ms / most_ms * (height - 40 - top)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for far in range(0, most_km + 1, 4000):
        x, y = at(far, 0)
        out.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle" fill="#444">{far:,} km</text>')
    for high in range(0, most_ms, 100):
        x, y = at(0, high)
        out.append(f'<line x1="{x:.0f}" y1="{y:.1f}" x2="{width - 16}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end" fill="#444">{high} ms</text>')
    rng = np.random.default_rng(1)
    for measured, colour in zip(sets, colours, strict=True):
        km, ms = measured.pairs()
        sample = rng.choice(len(km), 700, replace=False)
        dots = [at(km[i], ms[i]) for i in sample if ms[i] < most_ms]
        path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in dots)
        out.append(f'<path d="{path}" stroke="{colour}" stroke-width="2.5" stroke-linecap="round" opacity="0.45"/>')
    km, ms = (np.concatenate(parts) for parts in zip(*(measured.pairs() for measured in sets), strict=True))
    median = []
    for low in range(0, most_km, 1000):
        inside = ms[(km >= low) & (km < low + 1000)]
        if len(inside) > 20:
            median.append(at(low + 500, float(np.median(inside))))
    out.append(f'<polyline points="{" ".join(f"{x:.0f},{y:.1f}" for x, y in median)}" fill="none" stroke="#222" stroke-dasharray="2 4"/>')
    (x1, y1), (x2, y2) = at(0, line[0]), at(most_km, line[0] + line[1] * most_km)
    out.append(f'<line x1="{x1:.0f}" y1="{y1:.1f}" x2="{x2:.0f}" y2="{y2:.1f}" stroke="#b3202a" stroke-width="2"/>')
    legend = [*zip((measured.name for measured in sets), colours, strict=True), (f"{line[0]:.1f} ms + {line[1]:.4f} ms/km", "#b3202a")]
    for row, (text, colour) in enumerate([*legend, ("median of both, by 1,000 km", "#222")]):
        out.append(f'<text x="{left + 14}" y="{top + 16 + 16 * row}" fill="{colour}">{text}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def show_error(name: str, residual: Floats) -> None:
    size = np.abs(residual)
    print(
        f"  {name:24s} {len(residual):6d} pairs  median {np.median(size):6.1f} ms  p90 {np.percentile(size, 90):6.1f}"
        f"  mean signed {residual.mean():+6.1f}"
    )


def main() -> None:
    sets = [Measured(name) for name in SETS]
    pairs = [measured.pairs() for measured in sets]
    km, ms = np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
    weight = np.concatenate([np.full(len(pair[0]), 1 / len(pair[0])) for pair in pairs])
    line = fit(km, ms, weight)
    light = 2 / (299.792458 * 2 / 3)
    print(f"fit: intercept {line[0]:.3f} ms, slope {line[1]:.6f} ms/km ({line[1] / light:.2f} times light in fibre); PRIOR is {PRIOR}")
    print("error of the fit, measured less predicted:")
    for measured, pair in zip(sets, pairs, strict=True):
        show_error(measured.name, pair[1] - line[0] - line[1] * pair[0])
        own = fit(*pair, np.ones_like(pair[0]))
        print(f"    fitted alone: intercept {own[0]:.2f} ms, slope {own[1]:.5f} ms/km")
    print("regret in ms over the best PoP, prior alone, idle (mean / p90 / p99):")
    settings: list[tuple[Any, ...]] = [(measured, n) for measured in sets for n in POP_COUNTS]
    for measured, n_pops in settings:
        n_clients, nearest, decided = regret(measured, n_pops, line)
        shown = [
            f"{name} {each.mean():5.2f} / {np.percentile(each, 90):5.1f} / {np.percentile(each, 99):5.1f}"
            for name, each in (("nearest", nearest), ("decision", decided))
        ]
        print(f"  {measured.name:24s} {n_pops:2d} PoPs {n_clients:3d} clients  {'   '.join(shown)}")
    PICTURE.write_text(picture(sets, line), encoding="utf-8")
    if not math.isclose(PRIOR[0], line[0], abs_tol=0.05) or not math.isclose(PRIOR[1], line[1], abs_tol=5e-5):
        raise SystemExit("PRIOR in routing_core/_latency.pyx is not what the data say")


if __name__ == "__main__":
    main()
