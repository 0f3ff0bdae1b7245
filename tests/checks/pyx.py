"""Reads Cython sources for the checks: which functions run without the GIL, which lines are theirs.

Owns the little of Cython's grammar that the checks need. Must not know what a check does with it.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOMS = ("routing_core", "geoip", "gateway/dataplane")

_TEXT = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', re.DOTALL)
_CLASS = re.compile(r"(?:cdef\s+)?class\s+(\w+)")
_HEAD = re.compile(r"cp?def\s+(?!extern\b|class\b).*?\b(\w+)\(")
_NOGIL = re.compile(r"(.*)\bnogil\s*:")


@dataclass(frozen=True)
class Function:
    """A function whose body runs without the GIL."""

    path: Path
    number: int  # line of its head
    qualified: tuple[str, ...]  # class, if any, and name
    clause: str  # what stands between the arguments and `nogil`, e.g. "noexcept"
    lines: dict[int, str]  # number and text of each line of code, head included

    @property
    def symbol(self) -> str:
        """Its name in the generated C."""
        parts = [*self.path.with_suffix("").parts, *self.qualified[:-1]]
        return "__pyx_f_" + "".join(f"{len(part)}{part}_" for part in parts) + self.qualified[-1]


def sources(*suffixes: str) -> list[Path]:
    """The Cython sources, relative to the project: of all rooms, or of those in the variable ROOMS (as in setup.py)."""
    rooms = os.environ.get("ROOMS", " ".join(ROOMS)).split()
    return sorted(path for room in rooms for suffix in suffixes for path in Path(room).rglob(f"*{suffix}"))


def code_only(text: str) -> str:
    """The text with comments and the inside of strings made blank; lines and columns stay as they are."""

    def blank(found: re.Match[str]) -> str:
        quote = "" if found[0].startswith("#") else found[0][0]
        return quote + re.sub(r"[^\n]", " ", found[0][len(quote) : len(found[0]) - len(quote)]) + quote

    return _TEXT.sub(blank, text)


def statements(code: str) -> list[tuple[int, int, str]]:
    """Number of the first line, number of the last and joined text of each logical line of `code_only` text."""
    found = []
    first, depth, parts = 0, 0, list[str]()
    for number, line in enumerate(code.splitlines(), 1):
        if not parts and not line.strip():
            continue
        first = first if parts else number
        is_continued = line.endswith("\\")
        parts.append(line.removesuffix("\\").strip() if parts else line.removesuffix("\\").rstrip())
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        if depth <= 0 and not is_continued:
            found.append((first, number, " ".join(parts)))
            depth, parts = 0, []
    return found


def _nogil_head(statement: str) -> tuple[str, str] | None:
    """Name and exception clause, when the statement is the head of a nogil function."""
    head = _HEAD.match(statement)
    if head is None:
        return None
    depth, end = 1, head.end()
    while depth and end < len(statement):
        depth += (statement[end] == "(") - (statement[end] == ")")
        end += 1
    clause = _NOGIL.match(statement[end:])
    return (head[1], clause[1].strip()) if clause else None


def nogil_functions(path: Path) -> list[Function]:
    """Functions with a body in this .pyx or .pxd that are declared `nogil`."""
    text = path.read_text()
    lines = text.splitlines()
    found: list[Function] = []
    classes: list[tuple[int, str]] = []
    inside: tuple[int, Function] | None = None
    for first, last, statement in statements(code_only(text)):
        indent = len(statement) - len(statement.lstrip())
        if inside and indent <= inside[0]:
            inside = None
        if inside is None:
            classes = [(outer, name) for outer, name in classes if outer < indent]
            if is_class := _CLASS.match(statement.strip()):
                classes.append((indent, is_class[1]))
            elif head := _nogil_head(statement.strip()):
                qualified = (*(name for _, name in classes), head[0])
                inside = (indent, Function(path, first, qualified, head[1], {}))
                found.append(inside[1])
        if inside:
            inside[1].lines.update({number: lines[number - 1] for number in range(first, last + 1)})
    return found
