"""Gate: imports of the Cython sources, which import-linter cannot see, point one way.

usage: python -m tests.checks.imports
    gateway -> {k8s, geoip} -> routing_core; the data plane knows neither control nor k8s.
Also: no textual `include`, no relative import (the full name says which room a module comes from).
"""

import re
import sys
from pathlib import Path

from tests.checks.pyx import ROOMS, code_only, sources, statements

OURS = {"routing_core", "geoip", "k8s", "gateway", "bench", "tests"}
# What a room may know of ours, beside itself.
MAY_KNOW = {"routing_core": (), "geoip": ("routing_core",), "gateway/dataplane": ("routing_core", "geoip")}
FOREIGN = {"kubernetes", "maxminddb", "asyncio", "logging", "uvloop", "aiohttp"}  # no .pyx has business with these
FROM = re.compile(r"from\s+([\w.]+)\s+c?import\s+([\w.* ,()]+)")
PLAIN = re.compile(r"c?import\s+([\w., ]+)")


def imported(statement: str) -> list[str]:
    """Full names of the modules a statement imports or cimports; for `from a import b` it is a.b."""
    text = statement.strip()
    if found := FROM.match(text):
        return [f"{found[1]}.{name.strip(' ()').split(' as ')[0]}" for name in found[2].split(",") if name.strip(" ()")]
    if found := PLAIN.match(text):
        return [name.strip().split(" as ")[0] for name in found[1].split(",")]
    return []


def is_within(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room.replace('/', '.')}.")


def faults_in(path: Path, text: str) -> list[str]:
    """What is wrong in one source, a line each."""
    faults = []
    room = next(room for room in ROOMS if path.is_relative_to(room))
    allowed = (room, *MAY_KNOW[room])
    for number, _, statement in statements(code_only(text)):
        if re.match(r"\s*include\s", statement):
            faults.append(f"{path}:{number}: textual include")
        for name in imported(statement):
            top = name.split(".")[0]
            if not top:
                faults.append(f"{path}:{number}: relative import {name}")
            elif top in FOREIGN or (top in OURS and not any(is_within(name, known) for known in allowed)):
                faults.append(f"{path}:{number}: {room} must not know {name}")
    return faults


def main() -> int:
    paths = sources(".pyx", ".pxd")
    faults = [fault for path in paths for fault in faults_in(path, path.read_text())]
    print("\n".join(faults), end="\n" if faults else "")
    print(f"imports: {len(paths)} Cython sources, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
