"""Gate: imports of the Cython sources, which import-linter cannot see, point one way.

usage: python -m tests.checks.imports
    gateway -> {k8s, geoip} -> routing_core; the data plane knows neither control nor k8s, and its rooms only those below.
Also: no textual `include`, no relative import (the full name says which room a module comes from).
"""

import ast
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.checks.pyx import ROOMS, code_only, sources, statements

OURS = {"routing_core", "geoip", "k8s", "gateway", "bench", "tests"}
# What a room may know of ours, beside itself.
MAY_KNOW = {"routing_core": (), "geoip": ("routing_core",), "gateway/dataplane": ("routing_core", "geoip")}
# Of the data plane, upper ones first, as import-linter has them for .py: each may know those behind it. Its root holds `_core`, all
# structs, which everyone may know, and which are made of what the lowest rooms declare.
CONTRACTS = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
INNER: list[str] = next(one["layers"] for one in CONTRACTS if one.get("containers") == ["gateway.dataplane"])
STRUCTS = ("transport", "shared", "http1")
# No .pyx has business with these. What the rooms' .py files may not import is in pyproject.toml (import-linter).
FOREIGN = {"kubernetes", "maxminddb", "asyncio", "logging", "random", "select", "socket", "threading", "time", "uvloop", "aiohttp"}
FOREIGN_C = {"routing_core": ("posix", "libc.time", "libc.stdio", "libc.signal")}  # it decides: no sockets, clocks, files
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


def python_imports(text: str) -> list[tuple[str, bool]]:
    """What a .py file imports, and whether it goes on without: inside a `try` that has an answer to ImportError."""
    found = []
    tree = ast.parse(text)
    tries = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type or h) for h in node.handlers)
    ]
    optional = {inner for node in tries for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [(name, node in optional) for name in names]
    return found


def is_within(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room.replace('/', '.')}.")


def is_known(name: str, rooms: Sequence[str]) -> bool:
    return any(is_within(name, room) for room in rooms)


def inner_known(path: Path) -> Sequence[str]:
    """Which rooms of the data plane a source of it may know."""
    inner = path.parts[2]
    return INNER[INNER.index(inner) :] if inner in INNER else STRUCTS


def is_upward(path: Path, name: str) -> bool:
    """Whether a source of the data plane names a room above its own. Lists of names for Python may name all."""
    parts = name.split(".")
    return parts[:2] == ["gateway", "dataplane"] and parts[2] in INNER and parts[2] not in inner_known(path)


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
            elif top in FOREIGN or is_known(name, FOREIGN_C.get(room, ())) or (top in OURS and not is_known(name, allowed)):
                faults.append(f"{path}:{number}: {room} must not know {name}")
            elif room == "gateway/dataplane" and is_upward(path, name):
                faults.append(f"{path}:{number}: {path.parts[2]} must not know {name}")
    return faults


def main() -> int:
    paths = sources(".pyx", ".pxd")
    faults = [fault for path in paths for fault in faults_in(path, path.read_text())]
    print("\n".join(faults), end="\n" if faults else "")
    print(f"imports: {len(paths)} Cython sources, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
