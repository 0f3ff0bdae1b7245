"""Unsure: scenarios in which nothing happens but that little can be known: noise, idle PoPs, pauses; and one PoP that slows in all that.

As in `scenarios`: each runs simulations and returns its outcome. Every PoP has room, so that service times are the work's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from bench.steering import policies
from bench.steering.configuration import SERVICE, config_of
from bench.steering.data import Setting
from bench.steering.names import RESOLVED_S, rotate
from bench.steering.noise import ROOM, Noisy, play
from bench.steering.outcome import Goal, Outcome, panels_of
from bench.steering.servers import Server, Work
from bench.steering.simulator import Simulation
from geoip.countries import COUNTRIES

BEYOND_MS = 0.3  # regret above the prior's own, at most
IDLE_BEYOND_MS = 1.0
GONE_BEYOND_MS = 1.0
SWING = 0.03
SLOWS_S, FOUND_S, END_S = 40.0, 20.0, 75.0
N_SEEDS = 40


def noisy_work(setting: Setting) -> Outcome:
    """All PoPs alike, log-normal work, clients worldwide: what is measured is noise, and nobody may be moved by it."""
    works = ("200,1.2,400", "20,1.0,2000", "200,1.5,1000", "1000,1.2,50", "50,0.05,5000", "500,1.5,10")
    return _noise(setting, "noisy work worldwide", [Noisy.parse(text) for text in works], BEYOND_MS)


def noisy_europe(setting: Setting) -> Outcome:
    """The same with clients in Europe alone: most PoPs are idle, and several are near-equals."""
    works = ("100,1.0,400", "100,1.5,100", "20,0.6,1000", "1000,1.5,200")
    return _noise(setting.within("EU"), "noisy work, clients in Europe", [Noisy.parse(text) for text in works], BEYOND_MS)


def two_kinds(setting: Setting) -> Outcome:
    """Nine requests in ten take 5 ms, one 500: a cache that is hit or missed."""
    work = Work(5.0, 0.5, other_share=0.1, other_ms=500.0)
    return _noise(setting, "work of two kinds", [Noisy(work, 400.0), Noisy(work, 20.0)], BEYOND_MS)


def idle_pops(setting: Setting) -> Outcome:
    """Clients in Europe, 300 ms of work: PoPs elsewhere are idle, and unknown is not quick."""
    return _noise(setting.within("EU"), "idle PoPs, 300 ms of work", [Noisy.parse("300,0.6,400")], IDLE_BEYOND_MS)


def two_pops(setting: Setting) -> Outcome:
    """Clients in Europe, one PoP in Europe and one in North America, a second of work: nobody crosses the Atlantic to find out."""
    europe, america = (_busiest_in(setting, continent) for continent in ("EU", "NA"))
    numbers = [europe, america]
    here = setting.within("EU")
    two = replace(here, pops=tuple(here.pops[number] for number in numbers), rtt_ms=here.rtt_ms[:, numbers])
    return _noise(two, "two PoPs, a second of work", [Noisy.parse("1000,0.6,100")], IDLE_BEYOND_MS)


def pauses(setting: Setting) -> Outcome:
    """Every PoP's endpoints stand still for 300 ms every 10 s, all of a PoP at once, each PoP at another time: a garbage collection."""

    def plan(simulation: Simulation) -> None:
        for number, site in enumerate(simulation.sites):
            for at in np.arange(10 * number / len(simulation.sites), 140, 10.0):
                simulation.events.at(float(at), site.each, lambda server: server.stall(0.3))

    return _noise(setting, "pauses of 300 ms every 10 s", [Noisy.parse("20,0.6,1000"), Noisy.parse("100,1.0,400")], BEYOND_MS, plan)


def by_day_and_night(setting: Setting) -> Outcome:
    """Each client asks ten times as often by day as by night, by its own sun; a day is two minutes here."""

    def plan(simulation: Simulation) -> None:
        factors = np.ones(len(setting.clients))
        for at in np.arange(0, 140, 2.0):
            phase = 2 * np.pi * (at / 120 + np.array([client.lon for client in setting.clients]) / 360)
            wanted = 0.55 + 0.45 * np.sin(phase)
            simulation.events.at(float(at), simulation.set_rates, (wanted / factors).__getitem__)
            factors = wanted

    return _noise(setting, "by day and by night", [Noisy.parse("100,1.0,800")], BEYOND_MS, plan)


def slows_by_30(setting: Setting, mean_ms: float = 200.0) -> Outcome:
    """A PoP with 100 requests a second slows by 30 %, sigma 1.2: it is found within 20 s in 95 % of 40 runs."""
    victim = int(policies.ours(setting).mean(axis=0).argmax())
    per_s = 100 / float(policies.ours(setting).mean(axis=0)[victim])
    runs = []
    for seed in range(1, N_SEEDS + 1):
        simulation = Simulation(setting, config_of(setting.pops), per_s=per_s, n_slots=ROOM, work=Work(mean_ms, 1.2), seed=seed)
        found: list[float] = []
        simulation.events.at(SLOWS_S, simulation.sites[victim].each, _slow_down)
        simulation.events.at(SLOWS_S, _watch, simulation, victim, found)
        runs.append((simulation.run(END_S), found))
    took_s = sorted(found[0] - SLOWS_S if found else END_S for _, found in runs)
    late = sum(seconds > FOUND_S for seconds in took_s) / N_SEEDS
    figures = {"not_found_in_20_s": late, "found_after_s_p50": took_s[N_SEEDS // 2], "found_after_s_most": took_s[-1]}
    panels = panels_of(setting, runs[0][0], END_S, "slows by 30 %", ((SLOWS_S, "slows"),))
    title = f"a PoP with 100 requests a second of {mean_ms:g} ms slows by 30 %"
    return Outcome(title, figures, (Goal("of 40 runs: not found within 20 s", late, 0.05),), panels)


def names_rotate(setting: Setting) -> Outcome:
    """Every PoP is given by a name that stands for a load balancer: each look-up, every 30 s, each PoP's at another time, gives four
    addresses that it never gave; the old ones answer for a minute more. Nobody may notice."""
    return _rotation(setting, "names that give other addresses each time", 4, -60.0, BEYOND_MS)


def names_late(setting: Setting) -> Outcome:
    """Half of the addresses of each are others, and those that went refuse for 5 s before the look-up that says so. Nobody's request may
    fail; but a PoP of which half refuses takes 70 % of its clients."""
    return _rotation(setting, "names that tell 5 s late who is gone", 2, 5.0, GONE_BEYOND_MS)


def _rotation(setting: Setting, title: str, n_others: int, gone_s: float, beyond_ms: float) -> Outcome:
    works = [Noisy.parse("100,1.0,400"), Noisy.parse("20,0.6,1000")]

    def plan(simulation: Simulation) -> None:
        for number in range(len(simulation.sites)):
            rotate(simulation, number, RESOLVED_S * (1 + number / len(simulation.sites)), 150.0, n_others, gone_s)

    outcome = _noise(setting, title, works, beyond_ms, plan, is_steady=gone_s < 0)
    failed = sum(value for name, value in outcome.figures.items() if name.startswith("failed"))
    return replace(outcome, goals=(*outcome.goals, Goal("requests that failed", failed, 0)))


def _slow_down(server: Server) -> None:
    server.slowness = 1.3


def _watch(simulation: Simulation, victim: int, found: list[float]) -> None:
    """Found: what is said of its service time is more than a tenth above what is said of the service."""
    (edge,) = simulation.edges
    level = edge.refresh.levels[SERVICE]
    above_ms = edge.refresh.pools[(SERVICE, simulation.names[victim])].versions.above_ms
    if level.ms is not None and above_ms > 0.1 * level.ms:
        found.append(simulation.events.now)
    else:
        simulation.events.after(0.2, _watch, simulation, victim, found)


def _busiest_in(setting: Setting, continent: str) -> int:
    shares = policies.ours(setting).mean(axis=0)
    there = [number for number, pop in enumerate(setting.pops) if COUNTRIES[pop.country].continent == continent]
    return max(there, key=lambda number: float(shares[number]))


def _noise(
    setting: Setting,
    title: str,
    works: Sequence[Noisy],
    beyond_ms: float,
    plan: Callable[[Simulation], None] | None = None,
    is_steady: bool = False,  # whatever is planned, shares are to stay as they are
) -> Outcome:
    figures: dict[str, float] = {}
    goals, records, end_s = [], None, 0.0
    for noisy in works:
        noise, records = play(setting, noisy, plan=plan)
        end_s = noisy.seconds
        figures |= {f"regret_ms ({noisy})": noise.regret_ms, f"of_the_prior_ms ({noisy})": noise.prior_ms, f"swing ({noisy})": noise.swing}
        figures |= {f"first_second_ms ({noisy})": noise.first_ms, f"failed ({noisy})": records.n_failed}
        figures[f"more_than_one_attempt ({noisy})"] = int((records.attempts > 1).sum())
        goals.append(Goal(f"{noisy}: ms of regret above the prior's own", noise.beyond_ms, beyond_ms))
        if plan is None or is_steady:
            goals.append(Goal(f"{noisy}: swing of any PoP's share", noise.swing, SWING))
    assert records is not None
    return Outcome(title, figures, tuple(goals), panels_of(setting, records, end_s, title, ()))


SCENARIOS: dict[str, Callable[[Setting], Outcome]] = {
    "noisy-work": noisy_work,
    "noisy-europe": noisy_europe,
    "two-kinds": two_kinds,
    "idle-pops": idle_pops,
    "two-pops": two_pops,
    "pauses": pauses,
    "day-and-night": by_day_and_night,
    "names-rotate": names_rotate,
    "names-late": names_late,
    "slows-by-30": slows_by_30,
    "slows-by-30-short": partial(slows_by_30, mean_ms=20.0),
    "slows-by-30-long": partial(slows_by_30, mean_ms=1000.0),
}
