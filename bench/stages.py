"""One keep-alive request through the data plane, stage by stage: instructions by callgrind, time by perf.

    python -m bench.stages              # both; needs valgrind, perf, nginx and wrk; about a minute

Instructions: a worker is driven turn by turn over socket pairs inside valgrind, which counts what runs within turn() and leaves
out the kernel: exact, the same on every machine with the same compiler. Time: a real gateway under load is sampled by the clock
(perf needs no counters of the CPU for that), user code by module, the kernel by system call. bench/results/stages.json and .svg.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.proxy import peers, recorder
from bench.proxy.__main__ import cpus, free_ports
from bench.proxy.configurations import HOST, POPS, SMALL_BYTES, Site
from bench.proxy.load import KEEP_ALIVE, raise_descriptors, spent, wrk
from bench.proxy.peers import Running

RESULTS = Path("bench/results")
TURN = "__pyx_f_7gateway_9dataplane_7reactor_7_worker_turn"
# Stages in the order of a request. By function where it has a name here, else by module; what is in neither list (memcpy, append) is
# the work of who calls it.
BY_FUNCTION = {
    "_bearings.find_route": "match the route",
    "_head.parse_request": "parse the request's head",
    "_head.parse_response": "parse the answer's head",
    "_ids.settle_ids": "compose the request's head",
    "_forward.compose_request": "compose the request's head",
    "_forward.begin_response": "compose the answer's head",
    "_life.open_exchange": "open and end the exchange",
    "_life.end": "open and end the exchange",
    "_life.finish": "open and end the exchange",
}
BY_MODULE = {
    "_worker": "reactor: events, turn",
    "_events": "reactor: events, turn",
    "_snapshot": "reactor: events, turn",
    "_drain": "reactor: events, turn",
    "_timers": "timers",
    "_connection": "buffers, reading",
    "_stream": "buffers, reading",
    "_plain": "buffers, reading",
    "_request": "begin: from bytes to a decision",
    "_client": "identify the client, locate",
    "_cache": "identify the client, locate",
    "_locator": "identify the client, locate",
    "_routes": "match the route",
    "_steer": "steer: choose the PoP",
    "_latency": "steer: choose the PoP",
    "_endpoints": "choose the endpoint",
    "_pools": "upstream pool",
    "_queue": "upstream pool",
    "_attempts": "drive the exchange",
    "_life": "open and end the exchange",
    "_flow": "relay: judge, send",
    "_answer": "parse the answer's head",
    "_account": "account",
    "_budget": "account",
}
# A sample does not say who called.
HELPERS = {"_head": "parse both heads: fields", "_forward": "compose both heads: append"}
STAGES = (
    "reactor: events, turn", "timers", "buffers, reading", "parse the request's head", "begin: from bytes to a decision",
    "identify the client, locate", "match the route", "compose the request's head", "steer: choose the PoP", "choose the endpoint",
    "upstream pool", "open and end the exchange", "drive the exchange", "relay: judge, send", "parse the answer's head",
    "compose the answer's head", "account",
)  # fmt: skip

# What a call of the kernel costs on this side of it. In a process with threads the C library makes each a point of cancellation.
CALLS = re.compile(r"asynccancel|sendmsg|recv|epoll_wait|syscall")


def function_of(symbol: str) -> str:
    """`__pyx_f_7gateway_9dataplane_5proxy_8_forward_append.isra.0` is `_forward.append`; "" for what is not ours."""
    if not symbol.startswith("__pyx_f_"):
        return ""
    rest, module = symbol.removeprefix("__pyx_f_").partition(".")[0], ""
    while (length := re.match(r"\d+", rest)) is not None:
        begin = length.end()
        module = rest[begin : begin + int(length[0])]
        rest = rest[begin + int(length[0]) + 1 :]
    return f"{module}.{rest}"


def stage_of(symbol: str) -> str | None:
    function = function_of(symbol)
    return BY_FUNCTION.get(function) or BY_MODULE.get(function.partition(".")[0]) if not is_helper(function) else None


def is_helper(function: str) -> bool:
    """Shared by two stages, so the caller's."""
    return function.startswith(("_head.", "_forward.")) and function not in BY_FUNCTION


# --- Instructions ---


def drive(n: int) -> None:
    """n requests through one worker, turn by turn. This is what runs inside valgrind."""
    import routing_core
    from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
    from geoip import Locator, Override
    from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec

    figures, counters = Figures(1), Counters(1)
    rows = [figures.acquire("endpoint") for _ in POPS]
    pools = tuple(PoolSpec(i, figures.acquire("pool"), (EndpointSpec(row, "127.0.0.1", 9),), 1) for i, row in enumerate(rows))
    spec = TableSpec(
        1,
        tuple(PopSpec(name, lat, lon) for name, lat, lon, _ in POPS),
        (ServiceSpec("shop", figures.acquire("service"), pools),),
        (RouteSpec("shop", 0, hosts=(HOST,)), RouteSpec("rest", 0)),
        *routing_core.PRIOR,
    )
    table = Table(spec, figures)
    settings = CompiledSettings(Settings(trusted=("127.0.0.0/8",)), 1)
    snapshots = Snapshots(table, Locator(overrides=[Override("81.2.69.0/24", 51.5, -0.13)]), settings)
    now_us = 1_000_000_000
    worker = Worker(0, snapshots, figures, counters, now_us=now_us)
    client, ours = socket.socketpair()
    upstream, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    worker.adopt_downstream(ours.detach())
    worker.adopt_upstream(theirs.detach(), rows[0])
    request = f"GET / HTTP/1.1\r\n{recorder.FIELDS}\r\n".encode()
    body = "x" * SMALL_BYTES
    answer = (
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 08:53:09 GMT\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n{body}"
    ).encode()
    for _ in range(n):
        client.sendall(request)
        worker.turn(now_us := now_us + 50)
        assert upstream.recv(4096).startswith(b"GET / HTTP/1.1\r\n")
        upstream.sendall(answer)
        worker.turn(now_us := now_us + 50)
        assert client.recv(4096).endswith(body.encode())
    worker.close()


def read_callgrind(path: Path) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Own instructions by function, and those of each call (with all below it) by caller and callee."""
    names: dict[str, str] = {}
    own: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[tuple[str, str]] = collections.Counter()
    function = callee = ""
    is_call = False

    def name(text: str) -> str:
        number, _, given = text.partition(" ")
        return names.setdefault(number, given) if given else names[number]

    for line in path.read_text().splitlines():
        if line.startswith("fn="):
            function = name(line[3:])
        elif line.startswith("cfn="):
            callee = name(line[4:])
        elif line.startswith("calls="):
            is_call = True
        elif line[:1] in "+-*0123456789" and len(fields := line.split()) == 2:
            if is_call:
                calls[function, callee] += int(fields[1])
            else:
                own[function] += int(fields[1])
            is_call = False
    return own, calls


def instructions(n: int) -> dict[str, float]:
    """By stage, per request."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        ran = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={TURN}", f"--callgrind-out-file={out}",
             sys.executable, "-m", "bench.stages", "--drive", str(n)],
            capture_output=True, text=True, timeout=600, env={**os.environ, "PYTHONMALLOC": "malloc"},
        )  # fmt: skip
        if ran.returncode != 0:
            raise SystemExit(f"bench/stages: {ran.stderr[-2000:]}")
        own, calls = read_callgrind(out)
    found: collections.Counter[str] = collections.Counter()
    for symbol, count in own.items():
        if stage := stage_of(symbol):
            found[stage] += count
    for (caller, callee), count in calls.items():
        if (stage := stage_of(caller)) and stage_of(callee) is None:
            found[stage] += count
    return {stage: round(found[stage] / n, 1) for stage in STAGES}


# --- Time ---


def samples(text: str) -> collections.Counter[tuple[str, str]]:
    """`perf script`'s stacks, counted as ("kernel", system call) or ("user", stage, or where else)."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for stack in re.split(r"\n\s*\n", text.strip("\n")):
        symbols = [line.split(None, 1)[1].split("+0x")[0].split(" (")[0].strip() for line in stack.splitlines() if len(line.split()) > 1]
        if not symbols:
            continue
        call = next((match[1] for symbol in symbols if (match := re.match(r"__(?:x64_|arm64_)?sys_(\w+)", symbol))), None)
        if call is not None:
            found["kernel", call] += 1
        elif any("syscall_64" in symbol or symbol.startswith(("asm_", "el0")) for symbol in symbols):
            found["kernel", "entry, exit, interrupts"] += 1
        else:
            function = function_of(symbols[0])
            outside = "C library: calls" if CALLS.search(symbols[0]) else "C library, control thread"
            found["user", stage_of(symbols[0]) or HELPERS.get(function.partition(".")[0], outside)] += 1
    return found


def timed(seconds: int) -> dict[str, Any]:
    """A gateway under load: CPU us a request, and by what."""
    proxy_cpus, load_cpus = cpus()
    spoken = recorder.Recorder()
    with contextlib.closing(spoken), tempfile.TemporaryDirectory(prefix="isochrone-bench-") as folder:
        ports = {**free_ports(["isochrone", "isochrone-admin", "backend", "backend-2"]), "recorder": spoken.port}
        site = Site(Path(folder), ports, proxy_cpus, load_cpus)
        with peers.started(site, ["isochrone"]) as running:
            pid = running["isochrone"].process.pid
            wrk(ports["isochrone"], KEEP_ALIVE, 1, load_cpus)
            before = spent([pid])
            n = wrk(ports["isochrone"], KEEP_ALIVE, seconds, load_cpus)["requests"]
            cpu_us = spent([pid]).since(before).total / n
            found = sampled(pid, ports["isochrone"], seconds, load_cpus, Path(folder))
            calls = system_calls(running["isochrone"], ports["isochrone"], load_cpus)
    total = found.total()
    parts = [{"side": side, "what": what, "us": round(cpu_us * count / total, 3)} for (side, what), count in found.most_common()]
    return {"cpu_us": round(cpu_us, 3), "samples": total, "parts": parts, "system_calls": calls}


def sampled(pid: int, port: int, seconds: int, load_cpus: str, folder: Path) -> collections.Counter[tuple[str, str]]:
    data = folder / "perf.data"
    record = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-g", "-p", str(pid), "-o", str(data), "--", "sleep", str(seconds)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wrk(port, KEEP_ALIVE, seconds + 1, load_cpus)
    if record.wait(60) != 0 or not data.exists():
        raise SystemExit(f"bench/stages: perf may not sample here: {record.stderr.read() if record.stderr else ''}")
    script = subprocess.run(["perf", "script", "-i", str(data), "-F", "ip,sym"], capture_output=True, text=True, check=True)
    return samples(script.stdout)


def system_calls(running: Running, port: int, load_cpus: str) -> dict[str, float]:
    """Per request, counted by strace (which slows everything: for counts only). Empty without strace."""
    if not shutil.which("strace"):
        return {}
    out = running.log.with_suffix(".strace")
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", str(out), "-p", str(running.process.pid)], stderr=subprocess.DEVNULL)
    time.sleep(0.5)  # until it is attached to every thread
    n = wrk(port, KEEP_ALIVE, 2, load_cpus)["requests"]
    tracer.send_signal(2)
    tracer.wait(10)
    lines = [line.split() for line in out.read_text().splitlines() if re.match(r"\s*\d+\.\d+", line)]
    return {fields[-1]: round(int(fields[3]) / n, 2) for fields in lines if fields[-1] != "total" and int(fields[3]) / n >= 0.01}


# --- What is said ---


def table(result: dict[str, Any]) -> str:
    counted, by_time = result["instructions"], result["time"]
    total = sum(counted.values())
    rule = "| --- | ---: | ---: |"
    lines = [f"instructions of one keep-alive request in user code: {total:,.0f}", "", "| stage | instructions | share |", rule]
    lines += [f"| {stage} | {count:,.0f} | {100 * count / total:.1f} % |" for stage, count in counted.items()]
    if by_time:
        lines += ["", f"CPU of one keep-alive request: {by_time['cpu_us']:.2f} us ({by_time['samples']} samples)", ""]
        lines += ["| where | us | share |", rule]
        sides = {side: sum(part["us"] for part in by_time["parts"] if part["side"] == side) for side in ("kernel", "user")}
        for side, us in sides.items():
            lines.append(f"| **{side}** | **{us:.2f}** | **{100 * us / by_time['cpu_us']:.1f} %** |")
            parts = [part for part in by_time["parts"] if part["side"] == side and part["us"] >= 0.01]
            lines += [f"| {part['what']} | {part['us']:.2f} | {100 * part['us'] / by_time['cpu_us']:.1f} % |" for part in parts]
        lines += ["", "system calls a request: " + ", ".join(f"{name} {count:.2f}" for name, count in by_time["system_calls"].items())]
    return "\n".join(lines)


def picture(result: dict[str, Any]) -> str:
    """Two lists of bars: time by part, instructions by stage."""
    counted = [(stage, float(count), f"{count:,.0f}", "#2f6fb0") for stage, count in result["instructions"].items()]
    panels = [("user code of one request: instructions", counted)]
    if result["time"]:
        colours = {"kernel": "#7a8794", "user": "#2f6fb0"}
        parts = [part for part in result["time"]["parts"] if part["us"] >= 0.02]
        bars = [(f"{part['side']}: {part['what']}", part["us"], f"{part['us']:.2f} us", colours[part["side"]]) for part in parts]
        panels.insert(0, (f"CPU of one request: {result['time']['cpu_us']:.1f} us", bars))
    body: list[str] = []
    y = 16
    for title, bars in panels:
        body.append(f'<text x="12" y="{y + 12}" font-weight="bold">{title}</text>')
        y += 22
        most = max(value for _, value, _, _ in bars)
        for name, value, label, colour in bars:
            length = value / most * 340
            body.append(f'<text x="262" y="{y + 13}" text-anchor="end">{name}</text>')
            body.append(f'<rect x="270" y="{y + 1}" width="{length:.1f}" height="15" rx="2" fill="{colour}"/>')
            body.append(f'<text x="{278 + length:.1f}" y="{y + 13}">{label}</text>')
            y += 21
        y += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {y}" font-family="sans-serif" font-size="13" fill="#222">'
        f'<rect width="720" height="{y}" fill="#fff"/>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=__doc__, formatter_class=raw)
    parser.add_argument("--requests", type=int, default=2000, help="inside valgrind; default %(default)s")
    parser.add_argument("--seconds", type=int, default=4, help="of sampling; default %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive)
        return
    if lacking := [*(name for name in ("valgrind", "perf") if not shutil.which(name)), *peers.missing()]:
        raise SystemExit(f"bench/stages: no {', '.join(lacking)}: apt-get install valgrind linux-perf strace nginx-light wrk")
    raise_descriptors()
    result = {"instructions": instructions(options.requests), "time": timed(options.seconds), "versions": peers.versions([])}
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "stages.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.results / "stages.svg").write_text(picture(result))
    print(table(result))


if __name__ == "__main__":
    main()
