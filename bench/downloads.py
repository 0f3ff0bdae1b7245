"""Small requests beside eight fast downloads: their p99 against that of calm, round by round, of the same run.

    make bench NAME=downloads                   # seven rounds of 2 s a load, two minutes; needs nginx and wrk
    .venv/bin/python -m bench.downloads --quick # does it run at all: one round of 1 s; writes to build/bench

A round measures each of three once, in turning order: the backend by itself (what this machine makes of the load, without anybody
between), nginx and Isochrone. Small requests come at a fixed rate below saturation, first alone, then beside eight connections that
download 1 MiB after 1 MiB as fast as it comes. All rounds are shown, also the bad ones. A round in which others had the machine is played
again, a few times at most. bench/results/downloads.json and .svg.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.proxy import peers
from bench.proxy.__main__ import apart, cpus, free_ports, machine, say
from bench.proxy.configurations import Site
from bench.proxy.load import MOST_TAKEN, MOST_TRIES, Kind, raise_descriptors, taken_s, wrk
from bench.proxy.peers import Running
from bench.proxy.recorder import Recorder

SMALL = Kind("small", "keep-alive GET at some 2,000 a second, 16 connections", "/", 16, rest_ms=8)
FAST = Kind("fast", "GET of 1 MiB, 8 keep-alive connections", "/1m", 8, per="MiB")
NAMES = ("backend", "nginx", "isochrone")
TITLES = {"backend": "nobody between", "nginx": "nginx", "isochrone": "Isochrone"}
COLOURS = {"backend": "#b9b3c4", "nginx": "#7a8794", "isochrone": "#2f6fb0"}
GOAL = 3.0
SETTLE_S = 0.3


@dataclasses.dataclass(frozen=True)
class Round:
    """One of the three, in one round."""

    calm_p50_ms: float
    calm_p99_ms: float
    beside_p50_ms: float
    beside_p99_ms: float
    small_per_s: float  # beside downloads
    mib_per_s: float
    taken: float  # of one CPU, by others; above MOST_TAKEN the last of MOST_TRIES

    @property
    def ratio(self) -> float:
        return self.beside_p99_ms / self.calm_p99_ms


def measure(running: Mapping[str, Running], port: int, seconds: int, load_cpus: str, tries: int) -> Round:
    """Calm, then beside downloads that run for longer on both sides."""
    known = {os.getpid(), *(pid for one in running.values() for pid in one.pids())}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(tries):
            before, began = taken_s(known), time.monotonic()
            calm = wrk(port, SMALL, seconds, load_cpus)
            # They share a CPU with the load that measures: that one goes first, or its own delay would be measured.
            downloads = pool.submit(wrk, port, FAST, seconds + 1, load_cpus, ("nice", "-n", "19"))
            time.sleep(SETTLE_S)
            beside = wrk(port, SMALL, seconds, load_cpus)
            fast = downloads.result()
            others, took_s = taken_s(known), time.monotonic() - began
            taken = sum(now - before.get(pid, now) for pid, now in others.items()) / took_s
            if taken <= MOST_TAKEN:
                break
    return Round(
        calm_p50_ms=calm["p50_us"] / 1e3,
        calm_p99_ms=calm["p99_us"] / 1e3,
        beside_p50_ms=beside["p50_us"] / 1e3,
        beside_p99_ms=beside["p99_us"] / 1e3,
        small_per_s=round(beside["requests"] / beside["duration_us"] * 1e6, 1),
        mib_per_s=round(fast["requests"] / fast["duration_us"] * 1e6, 1),
        taken=round(taken, 4),
    )


def play(folder: Path, n_rounds: int, seconds: int, tries: int) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {name: [] for name in NAMES}
    recorder = Recorder()
    names = [name for name in NAMES if name != "backend"]
    ports = free_ports([*NAMES, "backend-2", "isochrone-admin"])
    proxy_cpus, load_cpus = cpus()
    site = Site(folder, {**ports, "recorder": recorder.port}, proxy_cpus, load_cpus)
    with contextlib.closing(recorder), peers.started(site, names) as running:
        for name in NAMES:
            wrk(ports[name], SMALL, 1, load_cpus)
        for number in range(n_rounds):
            turn = number % len(NAMES)
            for name in (*NAMES[turn:], *NAMES[:turn]):
                one = measure(running, ports[name], seconds, load_cpus, tries)
                found[name].append(one)
                say(
                    f"{number + 1}/{n_rounds} {name}: p99 {one.calm_p99_ms:.2f} ms calm, {one.beside_p99_ms:.2f} beside"
                    f" {one.mib_per_s:,.0f} MiB/s: {one.ratio:.2f} x"
                )
    return found


# --- What was measured ---


def table(found: Mapping[str, Sequence[Round]]) -> str:
    """For a person, in Markdown: medians, then every round's ratio."""
    lines = ["| between | p99 calm, ms | beside, ms | p50 calm, ms | beside, ms | MiB/s | ratio of p99 | every round |"]
    lines += ["| --- |" + " ---: |" * 6 + " --- |"]
    for name, rounds in found.items():
        medians = [statistics.median(getattr(one, key) for one in rounds) for key in ("calm_p99_ms", "beside_p99_ms", "calm_p50_ms")]
        medians += [statistics.median(getattr(one, key) for one in rounds) for key in ("beside_p50_ms", "mib_per_s", "ratio")]
        figures = [*(f"{value:.2f}" for value in medians[:4]), f"{medians[4]:,.0f}", f"{medians[5]:.2f}"]
        every = ", ".join(f"{one.ratio:.2f}{'' if one.taken <= MOST_TAKEN else '*'}" for one in rounds)
        lines.append(f"| {TITLES[name]} | {' | '.join(figures)} | {every} |")
    noisy = sum(one.taken > MOST_TAKEN for rounds in found.values() for one in rounds)
    lines.append(f"\n* others had more than {MOST_TAKEN:.0%} of a CPU: {noisy} of them. The goal of Isochrone's: at most {GOAL:.0f}.")
    return "\n".join(lines)


ROW, LEFT, FULL, WIDTH = 34, 130, 520, 720


def picture(found: Mapping[str, Sequence[Round]]) -> str:
    """A row of dots each, one a round, and a line at the goal."""
    most = 1.1 * max(GOAL, *(one.ratio for rounds in found.values() for one in rounds))
    body = ['<text x="12" y="26" font-weight="bold">p99 of small requests beside 8 fast downloads, as a multiple of calm</text>']
    y = 44
    goal = LEFT + GOAL / most * FULL
    for name, rounds in found.items():
        body.append(f'<text x="{LEFT - 10}" y="{y + 21}" text-anchor="end">{TITLES[name]}</text>')
        body.append(f'<path d="M{LEFT} {y + 17}h{FULL}" stroke="#e3e6e9"/>')
        for one in rounds:
            x = LEFT + one.ratio / most * FULL
            hollow = f'fill="#fff" stroke="{COLOURS[name]}" stroke-width="2"'
            fill = f'fill="{COLOURS[name]}" fill-opacity="0.7"' if one.taken <= MOST_TAKEN else hollow
            body.append(f'<circle cx="{x:.1f}" cy="{y + 17}" r="6" {fill}><title>{one.ratio:.2f}</title></circle>')
        y += ROW
    body.append(f'<path d="M{goal:.1f} 40v{y - 40}" stroke="#c0392b" stroke-dasharray="4 3"/>')
    body += [f'<text x="{LEFT + n / most * FULL:.1f}" y="{y + 16}" text-anchor="middle">{n} x</text>' for n in range(int(most) + 1)]
    y += 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="13" fill="#222">'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"


def main(given: Sequence[str]) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.downloads", description=__doc__, formatter_class=raw)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "7")), help="or ROUNDS; default 7")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SECONDS", "2")), help="of a load, or SECONDS; default 2")
    parser.add_argument("--tries", type=int, default=MOST_TRIES, help="of a round in which others had the machine; default %(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="default bench/results, with --quick build/bench")
    options = parser.parse_args(given)
    if options.quick:
        options.rounds, options.seconds, options.tries = 1, 1, 1
    folder = options.results or Path("build/bench" if options.quick else "bench/results")
    if lacking := peers.missing():
        say(f"bench/downloads: NOT MEASURED: no {', '.join(lacking)}: apt-get install nginx-light wrk")
        return 1
    apart("bench.downloads")
    raise_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was begun is also ended
    about = {"machine": machine(), "versions": peers.versions(["nginx"])}
    with tempfile.TemporaryDirectory(prefix="isochrone-bench-") as place:
        found = play(Path(place), options.rounds, options.seconds, options.tries)
    rounds: dict[str, Any] = {
        name: [dataclasses.asdict(one) | {"ratio": round(one.ratio, 3)} for one in each] for name, each in found.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "downloads.json").write_text(json.dumps(about | {"rounds": rounds}, indent=1) + "\n")
    (folder / "downloads.svg").write_text(picture(found))
    print(f"{options.rounds} rounds of {options.seconds} s, medians")
    print(", ".join(f"{key} {value}" for key, value in (about["machine"] | about["versions"]).items()))
    print(f"\n{table(found)}\n\nwritten: {folder}/downloads.json, {folder}/downloads.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
