"""Isochrone beside nginx, HAProxy and a plain aiohttp proxy: CPU a request, rates, latencies, idle memory, in one run.

    make bench-peers                            # nginx, HAProxy and Envoy of today, beside the distribution's
    make bench NAME=proxy                       # five rounds of 2 s each, about ten minutes
    python bench/proxy/run.py --quick           # does it run at all: one round of 1 s; writes to build/bench
    python bench/proxy/run.py --rounds 9 --seconds 3

Rounds alternate: each measures every proxy once, in turning order, so that what else the machine does falls on all alike. On two
CPUs the proxies have the first, wrk and the backend the second. Where the machine lets it, the bench runs in a network namespace of its
own with cubic or reno, whatever the machine's congestion control is. Ratios to nginx are of the same round; compare them, not
microseconds of different machines or days. The kinds of load, and what each proxy has to do, are in load.py and configurations.py.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.proxy import peers, report
from bench.proxy.configurations import Site
from bench.proxy.load import KEEP_ALIVE, KINDS, MOST_TRIES, Kind, Round, idle_bytes, pin, play, raise_descriptors, spent, threads_us, wrk
from bench.proxy.peers import Running
from bench.proxy.recorder import Recorder, ask, check, digest

INSTALL = "apt-get install nginx-light haproxy wrk"
SETTLE_S = 0.3
ALONE = "ISOCHRONE_BENCH_ALONE"  # set: this is the process inside the namespace, or there is none


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/proxy/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "5")), help="or ROUNDS; default 5")
    parser.add_argument(
        "--seconds", type=int, default=int(os.environ.get("SECONDS", "2")), help="of a round (whole: wrk's), or SECONDS; default 2"
    )
    parser.add_argument("--idle", type=int, default=5000, metavar="N", help="idle connections; default %(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, 200 idle connections")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="default bench/results, with --quick build/bench")
    found = parser.parse_args(given)
    if found.quick:
        found.rounds, found.seconds, found.idle = 1, 1, 200
    found.results = found.results or Path("build/bench" if found.quick else "bench/results")
    return found


def cpus() -> tuple[str, str]:
    """Of the proxies, of the load: one of two, else one and the others."""
    mine = sorted(os.sched_getaffinity(0))
    return str(mine[0]), ",".join(map(str, mine[1:] or mine))


def free_ports(names: Sequence[str]) -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: int(one.getsockname()[1]) for name, one in zip(names, sockets, strict=True)}


def machine() -> dict[str, Any]:
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else os.uname().machine,
        "cpus": len(os.sched_getaffinity(0)),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def scrape(site: Site, name: str) -> None:
    """Metrics are on, and read while the load runs, as Prometheus would (more often than it does)."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{site.ports[f'{name}-admin']}/metrics", timeout=2) as got:
        got.read()


class Bench:
    """One run."""

    def __init__(self, site: Site, n_rounds: int, seconds: int, tries: int) -> None:
        self.site = site
        self.n_rounds = n_rounds
        self.seconds = seconds
        self.tries = tries

    def play(self, running: Mapping[str, Running], name: str, kind: Kind, body: str) -> Round:
        if name == "isochrone":
            scrape(self.site, name)
        return play(running, name, self.site.ports[name], kind, self.seconds, self.site.load_cpus, body, self.tries)

    def rounds(self, running: Mapping[str, Running], names: Sequence[str], kind: Kind) -> dict[str, list[Round]]:
        body = digest(ask(self.site.ports["backend"], kind.path)[1])
        found: dict[str, list[Round]] = {name: [] for name in names}
        for number in range(self.n_rounds):
            for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                found[name].append(self.play(running, name, kind, body))
                say(f"{kind.name} {number + 1}/{self.n_rounds} {name}: {found[name][-1].cpu_us:.2f} us a {kind.per}")
        return found

    def warm_up(self, running: Mapping[str, Running], names: Sequence[str]) -> None:
        short = Bench(self.site, 1, 1, 1)
        body = digest(ask(self.site.ports["backend"], "/")[1])
        for name in names:
            short.play(running, name, KEEP_ALIVE, body)

    def at_once(self, *ports: int) -> list[int]:
        """Answers of two loads at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(ports)) as pool:
            return list(pool.map(lambda port: wrk(port, KEEP_ALIVE, self.seconds, self.site.load_cpus)["requests"], ports))

    def workers(self) -> dict[str, Any]:
        """Two workers of one gateway against two gateways of one worker, each on a CPU of its own, under the same two loads.

        The CPUs differ: the second also has the load, whose wake-ups are cheap there. So the ratio is of the requests that the two workers'
        time would have been enough for, at the cost that single ones had on these CPUs, to those that they served.
        """
        first, second = (sorted(os.sched_getaffinity(0)) * 2)[:2]
        rounds: list[dict[str, float]] = []
        with contextlib.ExitStack() as stack:
            running: list[Running] = []
            for name, n in (("isochrone-1", 1), ("isochrone-2", 1), ("isochrone-3", 2)):
                one = Running(name, peers.isochrone(self.site, name, n), str(first), self.site.folder)
                stack.callback(one.stop)
                one.wait_answer(self.site.ports[name])
                running.append(one)
            ports = [self.site.ports[one.name] for one in running]
            pids = [one.process.pid for one in running]
            pin(pids[1], second)
            pin(pids[2], first, worker_1=second)
            for number in range(self.n_rounds):
                before = [spent([pid]).total for pid in pids[:2]]
                counts = self.at_once(*ports[:2])
                cost = [(spent([pid]).total - was) / n for pid, was, n in zip(pids, before, counts, strict=False)]
                threads = threads_us(pids[2])
                n = sum(self.at_once(ports[2], ports[2]))
                used = {name: us - threads.get(name, 0.0) for name, us in threads_us(pids[2]).items()}
                total, on_second = sum(used.values()), used["worker-1"]
                ratio = ((total - on_second) / cost[0] + on_second / cost[1]) / n
                share = on_second / cost[1] / (n * ratio)
                rounds.append({"first_us": cost[0], "second_us": cost[1], "two_us": total / n, "share_on_second": share, "ratio": ratio})
                say(f"workers {number + 1}/{self.n_rounds}: {', '.join(f'{name} {value:.2f}' for name, value in rounds[-1].items())}")
        return {
            "cpus": [first, second],
            **{name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]},
            "rounds": rounds,
        }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(options: argparse.Namespace, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    recorder = Recorder()
    isochrones = ("isochrone", *(f"isochrone-{n}" for n in (1, 2, 3)))
    ports = free_ports([*names, "backend", "backend-2", *isochrones, *(f"{name}-admin" for name in isochrones)])
    proxy_cpus, load_cpus = cpus()
    site = Site(folder, {**ports, "recorder": recorder.port}, proxy_cpus, load_cpus)
    bench = Bench(site, options.rounds, options.seconds, 1 if options.quick else MOST_TRIES)
    proxies: dict[str, dict[str, Any]] = {name: {} for name in names}
    with contextlib.closing(recorder), peers.started(site, names) as running:
        for name in names:
            proxies[name]["fields_at_backend"] = check(recorder, name, site.ports[name])
        bench.warm_up(running, names)
        for kind in KINDS:
            found = bench.rounds(running, names, kind)
            for name in names:
                proxies[name][kind.name] = report.summary(found[name], found["nginx"])
        for name in names:
            proxies[name]["idle_bytes"] = round(idle_bytes(running[name], site.ports[name], options.idle), 1)
            time.sleep(SETTLE_S)  # its connections end before the next one's begin
        for name in names:
            running.pop(name).stop()
        workers = bench.workers()
    return {"proxies": proxies, "workers": workers, "idle_connections": options.idle, "rounds": options.rounds, "seconds": options.seconds}


def apart(module: str = "bench.proxy") -> None:
    """Goes on in a network namespace of its own, without the machine's congestion control: one that paces (BBR) costs everybody timers.

    cubic, the kernel's default, where a namespace may have it (tcp_allowed_congestion_control), else reno: without losses they are one.
    """
    if ALONE in os.environ:
        return
    os.environ[ALONE] = ""
    control = "/proc/sys/net/ipv4/tcp_congestion_control"
    inside = f'ip link set lo up && {{ echo cubic > {control} || echo reno > {control}; }} 2> /dev/null; exec "$@"'
    unshare = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", inside, "sh"]
    if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execvp(unshare[0], [*unshare, sys.executable, "-m", module, *sys.argv[1:]])
    say(f"{module}: no network namespace of its own here: the machine's congestion control is what it is")


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    if lacking := peers.missing():
        say(f"bench/proxy: NOT MEASURED: no {', '.join(lacking)}: {INSTALL}")
        return 1
    apart()
    absent = peers.absent()
    if absent:
        say(f"bench/proxy: NOT ALL PEERS ARE HERE: no {', '.join(absent)}: {INSTALL}; make bench-peers")
    raise_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was begun is also ended
    names = [name for name in peers.PEERS if name not in absent]
    result: dict[str, Any] = {
        "bench": "proxy",
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "bench/proxy/run.py", *given]),
        "machine": machine(),
        "versions": peers.versions(names),
        "missing": absent,
    }
    with tempfile.TemporaryDirectory(prefix="isochrone-bench-") as folder:
        result |= measure(options, Path(folder), names)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "proxy.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.results / "proxy.svg").write_text(report.picture(result))
    print(f"{result['command']}; {options.rounds} rounds of {options.seconds} s, medians")
    print(", ".join(f"{key} {value}" for key, value in (result["machine"] | result["versions"]).items()))
    print(f"\n{report.brief(result)}")
    print(report.table(result))
    print(f"\nwritten: {options.results}/proxy.json, {options.results}/proxy.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
