"""One round of load against one proxy, and what its processes spent on it. Owns wrk and /proc; must not know whose proxy it is.

A round in which others had the machine (processes that are none of the bench's, a hypervisor) is no measurement and is played again.
CPU time is the scheduler's own account (schedstat, nanoseconds), of all threads of all processes of the proxy. Its halves, user
and system, are what the kernel's ticks make of it (utime, stime): a sample of 250 a second, right over many rounds only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import socket
import subprocess
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.proxy import recorder
from bench.proxy.peers import Running

SUMMARY = Path(__file__).with_name("summary.lua")
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kind:
    """What the load asks for, and how."""

    name: str
    title: str
    path: str
    connections: int
    closes: bool = False  # a connection per request
    per: str = "request"  # what a figure is counted by
    post_bytes: int = 0  # a POST with so much body
    rest_ms: int = 0  # mean rest of a connection between requests; 0: a closed loop, as fast as it goes


KEEP_ALIVE = Kind("keep_alive", "keep-alive GET, 64 connections, 128 bytes", "/", 64)
KINDS = (
    KEEP_ALIVE,
    Kind("keep_alive_1", "keep-alive GET, 1 connection", "/", 1),
    Kind("keep_alive_256", "keep-alive GET, 256 connections", "/", 256),
    Kind("fixed_rate", "keep-alive GET at some 8,000 a second, 64 connections", "/", 64, rest_ms=8),
    Kind("new_connection", "a connection per request, 64 at once, 128 bytes", "/", 64, closes=True),
    Kind("post", "keep-alive POST of 4 KiB, 64 connections", "/", 64, post_bytes=4096),
    Kind("body_1mib", "GET of 1 MiB, 8 keep-alive connections", "/1m", 8, per="MiB"),
)
MOST_TAKEN = 0.05  # of one CPU, by others, in a round that counts
MOST_TRIES = 4


@dataclass(frozen=True)
class Spent:
    """CPU since the processes began, us."""

    total: float
    user: float
    system: float

    def since(self, before: Spent) -> Spent:
        return Spent(self.total - before.total, self.user - before.user, self.system - before.system)


@dataclass(frozen=True)
class Round:
    """One round's figures. CPU in us per request (for 1 MiB bodies that is per MiB)."""

    requests: int
    per_s: float
    cpu_us: float
    user_us: float
    system_us: float
    p50_ms: float
    p99_ms: float
    all_us: float  # CPU of proxy, backend and load together
    taken: float  # of one CPU, by others; above MOST_TAKEN the last of MOST_TRIES


def spent(pids: Sequence[int]) -> Spent:
    total_ns, user, system = 0, 0, 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that ended meanwhile
                total_ns += int((task / "schedstat").read_text().split()[0])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11])
        system += int(fields[12])
    return Spent(total_ns / 1e3, user * TICK_US, system * TICK_US)


def taken_s(known: Container[int]) -> dict[int, float]:
    """CPU seconds by process of all that are none of the bench's; by 0 what the hypervisor took."""
    found = {0: int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) * TICK_US / 1e6}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in known:
            with contextlib.suppress(OSError):  # it ended meanwhile
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[11]) + int(fields[12])) * TICK_US / 1e6
    return found


def threads_us(pid: int) -> dict[str, float]:
    """CPU since the process began by name of its threads."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            name = (task / "comm").read_text().strip()
            found[name] = found.get(name, 0.0) + int((task / "schedstat").read_text().split()[0]) / 1e3
    return found


def pin(pid: int, cpu: int, **threads: int) -> None:
    """All threads of a process to one CPU, but those named (worker_1 is worker-1) to their own."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name = (task / "comm").read_text().strip().replace("-", "_")
            os.sched_setaffinity(int(task.name), {threads.get(name, cpu)})


def wrk(port: int, kind: Kind, seconds: int, cpus: str, under: Sequence[str] = ()) -> dict[str, int]:
    """wrk's summary; SystemExit when an answer was no 200, late or cut. `under`: words of a command that runs it."""
    fields = {**recorder.SENT, **({"Connection": "close"} if kind.closes else {})}
    url = f"http://127.0.0.1:{port}{kind.path}"
    command = [
        *under, "taskset", "-c", cpus, "wrk", "-t", "1", "-c", str(kind.connections), "-d", f"{seconds}s", "-s", str(SUMMARY),
        *itertools.chain(*(("-H", f"{name}: {value}") for name, value in fields.items())), url,
    ]  # fmt: skip
    environment = {**os.environ, "BENCH_POST_BYTES": str(kind.post_bytes), "BENCH_REST_MS": str(kind.rest_ms)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, env=environment)
    if ran.returncode != 0:
        raise SystemExit(f"bench/proxy: wrk failed: {ran.stderr or ran.stdout}")
    found: dict[str, int] = json.loads(ran.stdout.splitlines()[-1])
    faults = {name: found[name] for name in ("connect", "read", "write", "status", "timeout") if found[name]}
    if faults or not found["requests"]:
        raise SystemExit(f"bench/proxy: {url}: {found['requests']} answers, errors: {faults}")
    return found


def load_us() -> float:
    """CPU of the load's processes so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6


def play(running: Mapping[str, Running], name: str, port: int, kind: Kind, seconds: int, cpus: str, body: str, tries: int) -> Round:
    """A round against one of `running`, among which is the backend; at most so many tries. `body`: the SHA-256 of the right answer, asked
    for before and after; wrk's bytes must fit its number of answers."""
    sizes = set()
    pids, backend = running[name].pids(), running["backend"].pids()
    known = {os.getpid(), *(pid for one in running.values() for pid in one.pids())}

    def sample() -> None:
        size, got = recorder.ask(port, kind.path, kind.closes)
        assert recorder.digest(got) == body, f"{name}: wrong body"
        sizes.add(size)

    for _ in range(tries):
        sample()
        before, before_backend, before_load, before_others = spent(pids), spent(backend), load_us(), taken_s(known)
        began = time.monotonic()
        found = wrk(port, kind, seconds, cpus)
        used, others, took_s = spent(pids).since(before), taken_s(known), time.monotonic() - began
        all_us = used.total + spent(backend).since(before_backend).total + load_us() - before_load
        sample()
        n = found["requests"]
        # wrk also counts the bytes of answers that were under way at the end.
        least, most = n * min(sizes), (n + kind.connections) * max(sizes)
        if not least <= found["bytes"] <= most:
            raise SystemExit(f"bench/proxy: {name}, {kind.name}: {n} answers, {found['bytes']} bytes ({least} to {most} expected)")
        taken = sum(now - before_others.get(pid, now) for pid, now in others.items()) / took_s
        if taken <= MOST_TAKEN:
            break
    half = used.user + used.system or 1.0
    return Round(
        requests=n,
        per_s=n / found["duration_us"] * 1e6,
        cpu_us=used.total / n,
        user_us=used.total / n * used.user / half,
        system_us=used.total / n * used.system / half,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        all_us=all_us / n,
        taken=taken,
    )


# --- Idle connections ---


def proportional_kib(pids: Sequence[int]) -> int:
    """Memory of the processes, what they share counted once (PSS)."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def idle_bytes(running: Running, port: int, n: int) -> float:
    """What a connection that had one request and is idle now costs a proxy's processes in memory."""
    with contextlib.ExitStack() as stack:
        before = proportional_kib(running.pids())
        for _ in range(n):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=recorder.TIMEOUT_S))
            recorder.ask_on(connection, "/")
        return (proportional_kib(running.pids()) - before) * 1024 / n


def raise_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
