"""Outcomes: what came of a scenario: figures, goals, pictures over time. Arithmetic on records; must not know what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.steering import chart
from bench.steering.data import Floats, Setting
from bench.steering.simulator import Records


@dataclass(frozen=True, slots=True)
class Goal:
    name: str
    value: float
    limit: float  # at most

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Outcome:
    title: str
    figures: dict[str, float]  # the unit is in the name
    goals: tuple[Goal, ...]
    panels: tuple[chart.Panel, ...]


def shares_of(records: Records, pop: int, begin_s: float, end_s: float, width_s: float) -> Floats:
    """A PoP's share of the requests in one stretch of that width after another."""
    starts = np.arange(begin_s, end_s - width_s / 2, width_s)
    return np.array([records.between(at, at + width_s).share_of(pop) for at in starts])


def first_time(records: Records, holds: Callable[[Records], bool], begin_s: float, end_s: float, width_s: float) -> float:
    """The begin of the first stretch of that width, second by second, in which it holds; infinite when it never does."""
    times = np.arange(begin_s, end_s - width_s + 1)
    return next((float(at) for at in times if holds(records.between(at, at + width_s))), float("inf"))


def panels_of(
    setting: Setting, records: Records, end_s: float, title: str, marks: Sequence[tuple[float, str]], n_shown: int = 5
) -> tuple[chart.Panel, ...]:
    """Shares of the PoPs that move most, and latency, over time."""
    seconds = np.arange(0, end_s)
    parts = [records.between(at, at + 1) for at in seconds]
    shares = np.array(
        [np.bincount(part.decided[part.decided >= 0], minlength=len(setting.pops)) / max(len(part.at_s), 1) for part in parts]
    )
    shown = shares.std(axis=0).argsort()[::-1][:n_shown]
    shown = shown[shares.mean(axis=0)[shown].argsort()[::-1]]
    x = chart.Axis(0, end_s, chart.rising([end_s])[:-1], " s")
    lines = [chart.Line(setting.pops[pop].name, _smooth(seconds, 100 * shares[:, pop])) for pop in shown]
    top = chart.rising([y for line in lines for _, y in line.points])
    latency = [
        chart.Line(name, _smooth(seconds, np.array([_quantile(part.latency_ms, at) for part in parts])))
        for name, at in (("latency p50", 50.0), ("latency p99", 99.0))
    ]
    high = chart.rising([y for line in latency for _, y in line.points])
    return (
        chart.Panel(f"{title}: share of requests", x, chart.Axis(0, top[-1], top, "%"), lines, marks),
        chart.Panel(f"{title}: latency", x, chart.Axis(0, high[-1], high, " ms"), latency, marks),
    )


def _quantile(latency_ms: Floats, at: float) -> float:
    known = latency_ms[~np.isnan(latency_ms)]
    return float(np.percentile(known, at)) if len(known) else 0.0


def _smooth(seconds: Floats, values: Floats, width: int = 3) -> list[tuple[float, float]]:
    """Running mean over `width` seconds: so many requests a second are a small sample."""
    half = width // 2
    return [(float(at), float(values[max(0, n - half) : n + half + 1].mean())) for n, at in enumerate(seconds)]
