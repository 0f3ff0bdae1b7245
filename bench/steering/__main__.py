"""How well the decision steers, on published round-trip times: `make bench NAME=steering`.

    python -m bench.steering                        # regret on every set of bench/data with 12, 25 and 50 PoPs, and all scenarios
    python -m bench.steering --data DIR --pops N --json OUT --picks FILE        # regret alone
    python -m bench.steering --down best --clients EU --paths known             # the same of a part, with one or the other changed
    python -m bench.steering --scenario pop-dies --svg OUT                      # one scenario alone
    python -m bench.steering --work 200,1.2,400 --pops 12                       # regret with measured service times
    python -m bench.steering --real                                             # the simulator against processes alone

Regret: the round trip to the PoP a request goes to less the lowest one of its client. Policies: every PoP alike (random), the PoP nearest
to the middle of the client's country (centroid), the nearest (nearest), the product's own decision by its prior alone (ours), the best.
The same where the PoPs know the paths among each other (ours, by paths). With --down a PoP of each client serves nobody: its best one, or
the one to which the policy would send it; the regret is then against the best of the others.
DIR: one set, or a folder of sets, as bench/data/README.md describes them; N: the PoPs are the places whose pop_set is at most N. The
picks of one setting are client, pop, share: ids of places.csv and what share of the client's requests ours sends there, so that
anyone may compute the regret himself.

--work MEAN_MS,SIGMA,PER_S: the same with service times measured while it runs: requests take a log-normal time of that mean and width, so
many come a second, and every PoP has room. Beside the regret of the prior alone; with the swing of the PoP whose share moves most.

Scenarios: a world in time, simulated on the product's core and control turns (simulator.py); what happens and which goals must hold then
is told in scenarios.py, outages.py and unsure.py. They play on the worldwide set with 12 PoPs. Whether processes do what is simulated:
real.py.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import importlib.metadata
import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.proxy.__main__ import machine
from bench.steering import noise, outages, policies, report, scenarios, unsure
from bench.steering.data import Floats, Measured, Setting, sets_in
from bench.steering.outcome import Outcome
from bench.steering.real import LONG, compare
from bench.steering.regret import judge
from geoip.countries import CONTINENTS

DATA = Path("bench/data")
RESULTS = Path("bench/results")
POP_COUNTS = (12, 25, 50)
WORLD, WORLD_POPS = "wondernetwork-2018-11", 12
SCENARIOS = scenarios.SCENARIOS | outages.SCENARIOS | unsure.SCENARIOS
OURS = {"ours": policies.ours, "ours, by paths": policies.ours_by_paths}
LEFT_OUT = {"known": "ours", "unknown": "ours, by paths"}  # of what is printed


def arguments(given: Sequence[str]) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.steering", description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="a set, or a folder of sets; default %(default)s")
    parser.add_argument("--pops", type=int, action="append", metavar="N", help="how many PoPs; default 12, 25 and 50")
    parser.add_argument("--window", type=float, metavar="MS", help="of ours, instead of the default: what would another be worth")
    parser.add_argument("--work", action="append", default=[], metavar="MEAN_MS,SIGMA,PER_S", help="service times measured while it runs")
    parser.add_argument("--down", choices=("best", "own"), help="each client's best PoP is down, or the one it would be sent to")
    parser.add_argument("--clients", choices=CONTINENTS, metavar="CONTINENT", help=f"of one alone: {', '.join(CONTINENTS)}")
    parser.add_argument("--paths", choices=("known", "unknown"), help="among the PoPs; default: both, and the picks are of unknown ones")
    parser.add_argument("--picks", type=Path, metavar="FILE", help="CSV of ours; wants one set and one number of PoPs")
    parser.add_argument("--scenario", action="append", default=[], choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--real", action="store_true", help="a gateway and six PoPs as processes: do they do what is simulated?")
    parser.add_argument("--json", type=Path, metavar="OUT", help="figures")
    parser.add_argument("--svg", type=Path, metavar="OUT", help="picture of the regret, or of the scenarios where they are named")
    found = parser.parse_args(given)
    found.wants_regret = not (found.scenario or found.real or found.work)
    found.real = found.real or not given
    found.scenarios = found.scenario or ([] if given else list(SCENARIOS))
    found.time_svg = found.svg if found.scenario else None
    if found.scenario:
        found.svg = None
    if not given:
        found.json, found.svg, found.time_svg = (RESULTS / name for name in ("steering.json", "steering.svg", "steering-time.svg"))
    found.pops = found.pops or list(POP_COUNTS)
    return found


def judged(setting: Setting, options: argparse.Namespace) -> report.Judged:
    asked = {name: policy for name, policy in policies.POLICIES.items() if name != LEFT_OUT.get(options.paths)}
    if options.window is not None:
        asked |= {name: partial(OURS[name], window_ms=options.window) for name in OURS if name in asked}
    if options.down == "best":
        setting = setting.without(setting.rtt_ms.argmin(axis=1).tolist())
    shares = {name: policy(setting) for name, policy in asked.items()}
    if options.down != "own":
        return report.Judged(setting, shares, judge(setting, shares))
    # Each without its own, and beside the nearest without that one.
    figures = {}
    for name, policy in asked.items():
        alone = setting.without(shares[name].argmax(axis=1).tolist())
        shares[name] = policy(alone)
        figures[name] = judge(alone, {"nearest": policies.nearest(alone), name: shares[name]})[name]
    return report.Judged(setting, shares, figures)


def write_picks(path: Path, setting: Setting, picked: Floats) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("client", "pop", "share"))
        for client, shares in zip(setting.clients, picked.tolist(), strict=True):
            rows.writerows((client.id, pop.id, repr(share)) for pop, share in zip(setting.pops, shares, strict=True) if share > 0)


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("isochrone", "numpy")}
    return {"python": sys.version.split()[0], "kernel": os.uname().release, **found}


def regret_of(found: Sequence[report.Judged]) -> list[dict[str, Any]]:
    """As it is written."""
    return [
        {
            "set": one.setting.name,
            "n_pops": len(one.setting.pops),
            "n_clients": len(one.setting.clients),
            "policies": {name: {key: round(value, 6) for key, value in dataclasses.asdict(it).items()} for name, it in one.figures.items()},
        }
        for one in found
    ]


def play(names: Sequence[str]) -> dict[str, Outcome]:
    """The scenarios, one after the other."""
    setting = Measured(DATA / WORLD).setting(WORLD_POPS) if names else None
    outcomes = {}
    for name in names:
        assert setting is not None
        outcomes[name] = SCENARIOS[name](setting)
        print(f"{name}: {sum(not goal.holds for goal in outcomes[name].goals)} goals missed", file=sys.stderr, flush=True)
    return outcomes


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    logging.getLogger("isochrone").setLevel(logging.CRITICAL)  # what control would log of every endpoint
    try:
        works = [noise.Noisy.parse(text) for text in options.work]
        sets = sets_in(options.data) if options.wants_regret or works else []
        if options.picks and (len(sets) != 1 or len(options.pops) != 1 or len(works) > 1):
            raise ValueError(
                f"--picks: wants one set, one --pops and one --work at most, got {len(sets)}, {len(options.pops)}, {len(works)}"
            )
        if works and options.down:
            raise ValueError("--work: not with --down")
        if options.svg and options.down == "own":
            raise ValueError("--svg: not with --down own, where each policy is judged by other regrets")
        settings = [measured.setting(n_pops) for measured in sets for n_pops in options.pops]
        if options.clients is not None:
            settings = [setting.within(options.clients) for setting in settings]
        found = [judged(setting, options) for setting in settings if options.wants_regret]
    except ValueError as error:
        print(f"bench.steering: {error}", file=sys.stderr)
        return 2
    outcomes = play(options.scenarios)
    noises = [(setting, noisy, noise.play(setting, noisy)[0]) for setting in settings for noisy in works]
    agreement = compare(Measured(DATA / WORLD).setting(WORLD_POPS), LONG) if options.real else None
    command = shlex.join(["python", "-m", "bench.steering", *given])
    head = {
        "bench": "steering",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "down": options.down,
        "clients": options.clients,
        "machine": machine(),
        "versions": versions(),
        "limits": report.LIMITS,
    }
    print(command)
    print(", ".join(f"{key} {value}" for key, value in (machine() | versions()).items()))
    if found:
        print(report.table(found))
        print(f"\n{report.verdict(found)}")
    if noises:
        print(report.noise_table(noises))
    if outcomes:
        print(report.scenario_table(outcomes))
    if agreement:
        print(report.agreement_table(agreement))
    for path in (options.json, options.svg, options.time_svg, options.picks):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        figures = {name: report.scenario_figures(outcome) for name, outcome in outcomes.items()}
        written = {**head, "regret": regret_of(found), "noise": report.noise_figures(noises), "scenarios": figures}
        if agreement:
            written["agreement"] = report.agreement_figures(agreement)
        options.json.write_text(json.dumps(written, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(report.picture(found, f"share of requests further than so many ms from their best PoP; {command}"))
    if options.time_svg:
        options.time_svg.write_text(report.time_picture(outcomes, f"simulated; {WORLD}, {WORLD_POPS} PoPs; {command}"))
    if options.picks:
        picked = noises[0][2].shares if noises else next(found[0].shares[name] for name in OURS if name in found[0].shares)
        write_picks(options.picks, settings[0], picked)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
