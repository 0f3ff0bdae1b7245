"""What the regret and the scenarios came to, as tables and as pictures. Must not measure anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.steering import chart
from bench.steering.data import Floats, Setting
from bench.steering.noise import Noise, Noisy
from bench.steering.outcome import Outcome
from bench.steering.real import MOST_APART, Agreement
from bench.steering.regret import Figures, exceedance

LIMITS = (
    "Round trips are of ICMP: what a page takes, with its handshakes and its server, is not in them.",
    (
        "Clients and PoPs are hosts in data centres, each in one network: no last mile (which would add the same to every PoP, and noise "
        "to each), and no PoP with several networks."
    ),
)
COLOURS = {
    "random": "#c3c9cf",
    "centroid": "#8a949e",
    "nearest": "#c46a2b",
    "ours": "#2f6fb0",
    "ours, by paths": "#9a4f9f",
    "best": "#3d8f5f",
}
Noises = Sequence[tuple[Setting, Noisy, Noise]]
STEPS_MS = np.geomspace(1, 400, 120)


@dataclass(frozen=True, slots=True)
class Judged:
    """One setting, what each policy did with it and what that came to."""

    setting: Setting
    shares: dict[str, Floats]
    figures: dict[str, Figures]


def table(judged: Sequence[Judged]) -> str:
    """In Markdown, a table a setting."""
    lines = []
    for one in judged:
        setting = one.setting
        lines += [
            f"\n{setting.name}, {len(setting.pops)} PoPs, {len(setting.clients)} clients; regret in ms",
            "",
            "| policy | mean | ± | p90 | p99 | best | within 5 ms | needless | over nearest | ± |",
            "| --- |" + " ---: |" * 9,
        ]
        for name, it in one.figures.items():
            cells = (
                *(f"{ms:.2f}" for ms in (it.mean_ms, it.mean_se_ms)),
                *(f"{ms:.1f}" for ms in (it.p90_ms, it.p99_ms)),
                *(f"{share:.1%}" for share in (it.best, it.near, it.needless)),
                f"{it.over_nearest_ms:+.3f}",
                f"{it.over_nearest_se_ms:.3f}",
            )
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"Limit: {text}" for text in LIMITS)])


def verdict(judged: Sequence[Judged]) -> str:
    """The goal, setting by setting: ours is not above nearest. Within one standard error the data can't tell."""
    lines = []
    for one in judged:
        for policy, it in one.figures.items():
            if not policy.startswith("ours"):
                continue
            over, error = it.over_nearest_ms, it.over_nearest_se_ms
            if over <= 0:
                word = "holds"
            elif over <= error:
                word = "above, within the error"
            else:
                word = "FAILS"
            name = f"{one.setting.name}, {len(one.setting.pops)} PoPs{policy.removeprefix('ours')}"
            lines.append(f"prior alone not above nearest: {name}: {over:+.3f} ± {error:.3f} ms: {word}")
    return "\n".join(lines)


def picture(judged: Sequence[Judged], caption: str) -> str:
    """How much of the traffic is further than so many ms from its best PoP, a panel a setting."""
    panels = []
    for one in judged:
        lines = [
            chart.Line(name, list(zip(STEPS_MS.tolist(), (100 * exceedance(one.setting, share, STEPS_MS)).tolist(), strict=True)))
            for name, share in one.shares.items()
            if name not in ("best", "random")
        ]
        panels.append(
            chart.Panel(
                title=f"{one.setting.name}, {len(one.setting.pops)} PoPs",
                x=chart.Axis(1, 400, (1, 3, 10, 30, 100, 300), " ms", is_log=True),
                y=chart.Axis(0, 60, (0, 20, 40, 60), "%"),
                lines=lines,
            )
        )
    return chart.draw(panels, min(3, len(panels)), caption, COLOURS)


def noise_table(noises: Noises) -> str:
    """In Markdown."""
    lines = [
        "\n| set, PoPs, clients | work | requests | regret, ms | the prior's | beyond it | first second's round trip, ms | swing, points |",
        "| --- | --- |" + " ---: |" * 6,
    ]
    for setting, noisy, it in noises:
        cells = (f"{it.regret_ms:.2f}", f"{it.prior_ms:.2f}", f"{it.beyond_ms:+.2f}", f"{it.first_ms:.0f}", f"{100 * it.swing:.1f}")
        name = f"{setting.name}, {len(setting.pops)}, {len(setting.clients)}"
        lines.append(f"| {name} | {noisy} | {it.n_requests:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def noise_figures(noises: Noises) -> list[dict[str, Any]]:
    """As it is written."""
    return [
        {
            "set": setting.name,
            "n_pops": len(setting.pops),
            "n_clients": len(setting.clients),
            "work": {"mean_ms": noisy.work.mean_ms, "sigma": noisy.work.sigma, "per_s": noisy.per_s},
            "n_requests": it.n_requests,
            "regret_ms": round(it.regret_ms, 6),
            "of_the_prior_ms": round(it.prior_ms, 6),
            "first_second_ms": round(it.first_ms, 6) if math.isfinite(it.first_ms) else None,
            "swing": round(it.swing, 6),
        }
        for setting, noisy, it in noises
    ]


def scenario_table(outcomes: Mapping[str, Outcome]) -> str:
    """In Markdown: the goals, then every figure."""
    lines = ["\n| scenario | goal | value | at most | |", "| --- | --- | ---: | ---: | --- |"]
    lines += [
        f"| {outcome.title} | {goal.name} | {goal.value:.3g} | {goal.limit:.3g} | {'holds' if goal.holds else 'MISSED'} |"
        for outcome in outcomes.values()
        for goal in outcome.goals
    ]
    for name, outcome in outcomes.items():
        lines.append(f"\n{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in outcome.figures.items()))
    return "\n".join(lines)


def scenario_figures(outcome: Outcome) -> dict[str, Any]:
    """As it is written. What never happened is null."""
    goals = [{"name": goal.name, "value": goal.value, "at_most": goal.limit, "holds": goal.holds} for goal in outcome.goals]
    figures = {key: round(value, 6) if math.isfinite(value) else None for key, value in outcome.figures.items()}
    return {"title": outcome.title, "figures": figures, "goals": goals}


def agreement_table(agreement: Agreement) -> str:
    """In Markdown: what processes did and what the simulator says, a line a PoP."""
    stages = list(agreement.real)
    lines = [
        "\n| share of the requests: processes, simulated | " + " | ".join(stages) + " |",
        "| --- |" + " ---: |" * len(stages),
    ]
    for number, pop in enumerate(agreement.pops):
        cells = (f"{agreement.real[stage][number]:.1%}, {agreement.simulated[stage][number]:.1%}" for stage in stages)
        lines.append(f"| {pop} | " + " | ".join(cells) + " |")
    word = "holds" if agreement.largest <= MOST_APART else "MISSED"
    verdict = f"\nprocesses and simulator apart: {agreement.largest:.1f} points, at most {MOST_APART:g}: {word}"
    return "\n".join([*lines, verdict, f"the machine held processes up by {agreement.lateness_s * 1000:.0f} ms at worst"])


def agreement_figures(agreement: Agreement) -> dict[str, Any]:
    """As it is written."""
    shares = {
        kind: {stage: dict(zip(agreement.pops, np.round(of, 4).tolist(), strict=True)) for stage, of in stages.items()}
        for kind, stages in (("processes", agreement.real), ("simulated", agreement.simulated))
    }
    found = {"most_apart_points": round(agreement.largest, 2), "at_most": MOST_APART, "failed": agreement.n_failed}
    return found | {"lateness_s": round(agreement.lateness_s, 3)} | shares


def time_picture(outcomes: Mapping[str, Outcome], caption: str) -> str:
    """Shares and latency over time, a row a scenario."""
    return chart.draw([panel for outcome in outcomes.values() for panel in outcome.panels], 2, caption)
