"""Gate: what an exchange costs the data plane, in instructions and system calls; more than the committed baseline is a fault.

usage: python -m tests.checks.cost [--renew]   (after `make build` with the flags of setup.py; needs valgrind and strace)
A worker between sockets plays each script of SCRIPTS; callgrind counts what runs inside its turns (user instructions: they are the
same on a busy machine), strace lists what it asks of the kernel. --renew writes what was measured to cost.json, for the commit that
means to change it. What befalls many at once (CROWDS) has no baseline: it may cost each of four times as many no more.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("cost.json")
BAR = 0.03  # of the baseline's instructions
# The cost of one exchange is the difference of two runs, divided: what the first exchanges of a worker cost besides is in both.
FEW, MANY = 50, 150
CROWD = 100
GROWTH = 4 * 1.1  # of what four times as many cost; where each walks past half of the others it is over 8
TURN = "__pyx_f_7gateway_9dataplane_7reactor_7_worker_turn"  # the C name of _worker.turn
HEAD = (
    b"GET /catalogue/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/json;q=0.9\r\n"
    b"Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef; theme=dark\r\n"
)
MIB = 1 << 20
IN_CI = os.environ.get("CI") == "true"  # where a skip is an error


def answer(size: int) -> bytes:
    """A whole answer with a body of size bytes."""
    return (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 29 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nCache-Control: no-cache\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (size, bytes(size))
    )


class Script:
    """A worker between a door, a client that stays, and an upstream connection that is kept."""

    def __init__(self) -> None:
        from tests.support.dataplane import Bench

        self.door = socket.create_server(("127.0.0.1", 0))
        self.door.setblocking(False)
        self.bench: Any = Bench(listeners=(self.door,))
        self.client: socket.socket = self.bench.client()
        self.upstream: socket.socket = self.bench.upstream()

    def turn(self) -> None:
        """One turn of the worker, between two calls that fail at once and that strace shows."""
        self.bench.now_us += 50  # a worker that is busy; so few that no housekeeping, each 100 ms, falls into one exchange
        mark("turn")
        self.bench.worker.turn(self.bench.now_us)
        mark("turned")

    def exchange(self, client: socket.socket, request: bytes, size: int, ends: bool = False) -> None:
        """A request goes up, an answer with size bytes of body comes down whole. ends: the client shuts its side behind the request."""
        client.send(request)
        if ends:
            client.shutdown(socket.SHUT_WR)
        self.turn()
        assert self.upstream.recv(1 << 16).endswith(b"\r\n\r\n")
        left, came = answer(size), b""
        while len(came.partition(b"\r\n\r\n")[2]) < size:
            left = left[self.upstream.send(left) :] if left else left
            self.turn()
            with contextlib.suppress(BlockingIOError):  # a turn of the upstream's side alone
                came += client.recv(1 << 20)

    def keep_alive(self) -> None:
        self.exchange(self.client, HEAD + b"\r\n", 1000)

    def mebibyte(self) -> None:
        self.exchange(self.client, HEAD + b"\r\n", MIB)

    def new_connection(self) -> None:
        """Over TCP, from the handshake to the end that the client sees."""
        with socket.create_connection(self.door.getsockname()) as client:
            self.turn()
            self.exchange(client, HEAD + b"Connection: close\r\n\r\n", 1000)
            assert client.recv(1) == b""
        self.turn()

    def client_ends_first(self) -> None:
        """The same, but the client shuts its side right behind the request."""
        with socket.create_connection(self.door.getsockname()) as client:
            self.turn()
            self.exchange(client, HEAD + b"Connection: close\r\n\r\n", 1000, ends=True)
            assert client.recv(1) == b""


SCRIPTS: dict[str, Callable[[Script], None]] = {
    "keep-alive": Script.keep_alive,
    "new connection": Script.new_connection,
    "client ends first": Script.client_ends_first,
    "1 MiB": Script.mebibyte,
}


def dying_pool(script: Script, n: int) -> None:
    """The far ends of n idle connections end, oldest first: the pool uses the newest, so these lie deepest."""
    ends = [script.bench.upstream() for _ in range(n)]
    script.turn()
    for end in ends:
        end.close()
    row = script.bench.rows[0][0]
    while script.bench.figures.read_endpoint(row)["connections"] > 1:  # the script's own stays
        script.turn()


CROWDS: dict[str, Callable[[Script, int], None]] = {"a pool that dies": dying_pool}


def mark(what: str) -> None:
    """A line in strace's output; it fails, and costs the worker nothing."""
    try:
        os.write(-1, what.encode())
    except OSError:
        pass


def play(name: str, times: int) -> None:
    """One script, so many times; or what befalls so many."""
    script = Script()
    if name in CROWDS:
        CROWDS[name](script, times)
        script.bench.close()
        return
    for number in range(times):
        if number == times - 1:
            mark("last")
        SCRIPTS[name](script)
    mark("end")
    script.bench.close()


def child(prefix: list[str], name: str, times: int) -> None:
    """Plays it in a process of its own, below a tool."""
    command = [*prefix, sys.executable, "-m", "tests.checks.cost", "--play", name, "--times", str(times)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    if ran.returncode:
        raise SystemExit(f"cost: {' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")


def instructions(name: str, folder: Path, few: int, many: int) -> tuple[int, int]:
    """User instructions inside the worker's turns, of so many and of so many."""

    def count(times: int) -> int:
        out = folder / f"{name.replace(' ', '-')}-{times}"
        tool = [
            "valgrind",
            "--tool=callgrind",
            "--quiet",
            f"--callgrind-out-file={out}",
            "--collect-atstart=no",
            f"--toggle-collect={TURN}",
        ]
        child(tool, name, times)
        totals = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
        if totals is None or not int(totals[1]):
            raise SystemExit(f"cost: callgrind saw nothing of {TURN}; is it still called so?")
        return int(totals[1])

    with ThreadPoolExecutor(2) as two:
        one, other = two.map(count, (few, many))
    return one, other


def of_one(name: str, folder: Path) -> int:
    """Of one exchange."""
    few, many = instructions(name, folder, FEW, MANY)
    return round((many - few) / (MANY - FEW))


def growth_of(name: str, folder: Path) -> tuple[int, int]:
    """Of a crowd, and of one four times as large."""
    return instructions(name, folder, CROWD, 4 * CROWD)


def calls_of(trace: str) -> list[str]:
    """The system calls inside turns of the last exchange, from strace's output; epoll_ctl with what it was asked."""
    last = trace.partition('"last"')[2].partition('"end"')[0]
    found = []
    for turn in re.findall(r'"turn"[^\n]*\n(.*?)^[^\n]*"turned"', last, re.DOTALL | re.MULTILINE):
        found += [" ".join(filter(None, match)) for match in re.findall(r"^(?:\d+ +)?(\w+)\((?:\d+, (EPOLL_CTL_\w+))?", turn, re.MULTILINE)]
    return found


def system_calls(name: str, folder: Path) -> list[str]:
    """What the worker asks of the kernel for one exchange, in order."""
    out = folder / f"{name.replace(' ', '-')}-calls"
    child(["strace", "-qq", "-o", str(out)], name, FEW)
    return calls_of(out.read_text())


def compiler() -> str:
    """The baseline holds for one compiler."""
    version = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    return f"cc {version} {os.uname().machine}"


def faults_of(name: str, now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Where one exchange costs more than its baseline; or asks something else of the kernel, be it less."""
    faults = []
    if now["instructions"] > before["instructions"] * (1 + BAR):
        more = now["instructions"] / before["instructions"] - 1
        faults.append(f"{name}: {now['instructions']} instructions, baseline {before['instructions']}: {more:+.1%}, the bar is {BAR:.0%}")
    if now["calls"] != before["calls"]:
        faults.append(f"{name}: system calls {', '.join(now['calls'])}; baseline {', '.join(before['calls'])}")
    return faults


def faults_of_growth(name: str, few: int, many: int) -> list[str]:
    """Where each of many costs more than each of few."""
    if many <= GROWTH * few:
        return []
    return [f"{name}: {few} instructions for {CROWD} and {many} for {4 * CROWD}: {many / few:.2f} times as many, the bar is {GROWTH:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.checks.cost")
    parser.add_argument("--renew", action="store_true", help="write what was measured as the new baseline")
    parser.add_argument("--play", choices=[*SCRIPTS, *CROWDS], help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.play:
        play(asked.play, asked.times)
        return 0
    if missing := [tool for tool in ("valgrind", "strace") if shutil.which(tool) is None]:
        print(f"SKIPPED cost: {', '.join(missing)} missing; to get it: apt-get install {' '.join(missing)}")
        return int(IN_CI)
    with tempfile.TemporaryDirectory() as folder:
        now: dict[str, dict[str, Any]] = {
            name: {"instructions": of_one(name, Path(folder)), "calls": system_calls(name, Path(folder))} for name in SCRIPTS
        }
        grown = {name: growth_of(name, Path(folder)) for name in CROWDS}
    if asked.renew:
        BASELINE.write_text(json.dumps({"compiler": compiler(), "exchanges": now}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())
    for name, cost in now.items():
        before = baseline["exchanges"][name]["instructions"]
        print(f"{name}: {cost['instructions']} instructions ({cost['instructions'] / before - 1:+.1%}), {len(cost['calls'])} system calls")
    for name, (few, many) in grown.items():
        print(f"{name}: {few} instructions for {CROWD}, {many} for {4 * CROWD} ({many / few:.2f} times as many)")
    faults = [fault for name in SCRIPTS for fault in faults_of(name, now[name], baseline["exchanges"][name])]
    if faults and baseline["compiler"] != compiler():
        print(f"SKIPPED cost: the baseline was made by {baseline['compiler']}, this is {compiler()}")
        return int(IN_CI)
    faults += [fault for name, both in grown.items() for fault in faults_of_growth(name, *both)]
    print("\n".join(faults), end="\n" if faults else "")
    print(
        f"cost: {len(faults)} faults" + ("; where it is meant, renew the baseline: python -m tests.checks.cost --renew" if faults else "")
    )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
