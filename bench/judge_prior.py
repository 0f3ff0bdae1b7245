"""What each term of the prior is worth, by the decision as it runs, where it was not fitted: `python -m bench.judge_prior [JSON]`.

Of each client the constants are those that come out when no path from or to its country is fitted to; those of borders come from the world
set alone, so all of the European one was left out of them. Nothing is measured of the clients, and nothing is in flight.

    line            distance, and the same for any border
    + borders       by pair of subregions
    + paths         and the PoPs know the round trips among each other

Regret in ms: mean / p90 / p99 over the clients; then what the term takes off the mean of the one before it, client by client, with the 95 %
of a paired bootstrap; and which of the clients it harms by more than 10 ms. Up: all PoPs are. Down: each client's best one is not, and
the regret is against the best of the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import fit_borders
from bench.fit_prior import DATA, EUROPE, SETS, WORLD, Pairs, Prior, borders_of, fit, joined, pairs_of, rounded
from bench.steering.data import Floats, Measured, Place, Setting, facts_of, point_of
from routing_core import BordersSpec, EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec, explain

POP_COUNTS = (12, 25, 50)
HARM_MS = 10.0
N_BOOTSTRAP = 10_000
TERMS = ("line", "+ borders", "+ paths")
DOWN = ("up", "down")
# With 25 PoPs: mean and p99.
GOALS = {(WORLD, "up"): (4.2, 80.0), (WORLD, "down"): (6.0, 80.0), (EUROPE, "up"): (2.2, 20.0), (EUROPE, "down"): (3.2, None)}


class Fits:
    """The constants without one country."""

    def __init__(self, sets: dict[str, Pairs]) -> None:
        self._sets = sets
        self._whole = fit(joined(list(sets.values())))
        self._found: dict[str, tuple[Prior, BordersSpec]] = {}

    def without(self, country: str) -> tuple[Prior, BordersSpec]:
        if country not in self._found:
            exact = fit(joined([pairs.without(country) for pairs in self._sets.values()]), start=self._whole)
            line = rounded(exact)
            self._found[country] = line, fit_borders.spec_of(borders_of(self._sets[WORLD].without(country), line).fit())
        return self._found[country]


def table_of(pops: Sequence[Place], line: Prior, borders: BordersSpec, paths: tuple[tuple[int, int, float], ...] = ()) -> Table:
    figures = Figures(1)
    endpoints = [EndpointSpec(figures.acquire("endpoint"), f"192.0.2.{number + 1}", 80) for number in range(len(pops))]
    spec = TableSpec(
        1,
        tuple(PopSpec(str(number), pop.lat, pop.lon, country=pop.country) for number, pop in enumerate(pops)),
        (ServiceSpec("all", figures.acquire("service"), tuple(_pool(figures, n, endpoint) for n, endpoint in enumerate(endpoints))),),
        (RouteSpec("all", 0),),
        *line,
        borders,
        paths=paths,
    )
    return Table(spec, figures)


def _pool(figures: Figures, pop: int, endpoint: EndpointSpec) -> PoolSpec:
    return PoolSpec(pop, figures.acquire("pool"), (endpoint,), 1)


def regrets(setting: Setting, fits: Fits, term: str, down: str) -> Floats:
    """[client], of the decision that knows the terms up to `term`."""
    best = setting.rtt_ms.argmin(axis=1)
    tables: dict[str, Table] = {}
    found = np.zeros(len(setting.clients))
    for row, client in enumerate(setting.clients):
        if client.country not in tables:
            line, borders = fits.without(client.country)
            paths = setting.paths_ms if term == "+ paths" else ()
            tables[client.country] = table_of(setting.pops, line, BordersSpec() if term == "line" else borders, paths)
        left_out = [str(best[row])] if down == "down" else []
        explained = explain(tables[client.country], 0, point_of(client), **facts_of(client), left_out=left_out)
        left = np.delete(setting.rtt_ms[row], best[row]) if left_out else setting.rtt_ms[row]
        found[row] = sum(each.share * setting.rtt_ms[row, int(each.pop)] for each in explained.candidates if each.share) - left.min()
    return found


def gain(before: Floats, after: Floats) -> tuple[float, float, float]:
    """What is taken off the mean, and where 95 of 100 bootstraps of the clients have it."""
    less = before - after
    rng = np.random.default_rng(1)
    means = less[rng.integers(0, len(less), (N_BOOTSTRAP, len(less)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(less.mean()), float(low), float(high)


def harmed(setting: Setting, more_ms: Floats) -> dict[str, float]:
    """Clients that are worse off, and by how much."""
    worst = [number for number in np.argsort(-more_ms) if more_ms[number] > HARM_MS]
    return {f"{setting.clients[number].name} {setting.clients[number].country}": float(more_ms[number]) for number in worst}


def judged(measured: Sequence[Measured], fits: Fits) -> Iterator[dict[str, Any]]:
    for each in measured:
        for n_pops in POP_COUNTS:
            setting = each.setting(n_pops)
            for down in DOWN:
                before: Floats | None = None
                for term in TERMS:
                    found = regrets(setting, fits, term, down)
                    row = {"set": each.name, "n_pops": n_pops, "n_clients": len(found), "pops": down, "term": term}
                    row |= {"mean_ms": found.mean(), "p90_ms": np.percentile(found, 90), "p99_ms": np.percentile(found, 99)}
                    if before is not None:
                        row |= {"gain_ms": gain(before, found), "harmed": harmed(setting, found - before)}
                    before = found
                    yield row


def text_of(row: dict[str, Any]) -> str:
    figures = f"{row['mean_ms']:5.2f} / {row['p90_ms']:5.1f} / {row['p99_ms']:5.1f}"
    text = f"  {row['pops']:5s} {row['term']:10s} {figures}"
    if "gain_ms" in row:
        mean, low, high = row["gain_ms"]
        text += f"   less {mean:5.2f} [{low:5.2f}, {high:5.2f}]   harmed {len(row['harmed']) / row['n_clients']:5.1%}"
    goal = GOALS.get((row["set"], row["pops"]))
    if goal and row["n_pops"] == 25 and row["term"] != "line":
        mean, p99 = goal
        is_met = round(row["mean_ms"], 1) <= mean and (p99 is None or row["p99_ms"] <= p99)
        text += f"   goal {mean:g}{'' if p99 is None else f' / {p99:g}'}: {'holds' if is_met else 'MISSED'}"
    return text


def main(given: Sequence[str]) -> None:
    measured = [Measured(DATA / name) for name in SETS]
    fits = Fits({each.name: pairs_of(each) for each in measured})
    rows, head = [], None
    for row in judged(measured, fits):
        if head != (head := (row["set"], row["n_pops"])):
            print(f"{row['set']}, {row['n_pops']} PoPs, {row['n_clients']} clients")
        print(text_of(row), flush=True)
        if row.get("harmed"):
            print("        " + ", ".join(f"{name} {more_ms:.0f}" for name, more_ms in row["harmed"].items()))
        rows.append(row)
    if given:  # a file for the figures
        Path(given[0]).write_text(json.dumps(rows, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
