"""Gate: docs/architecture.md shows the house and each room as they are: what its modules say of themselves, and who imports whom.

usage: python -m tests.checks.rooms    writes that anew
A room stands between `<!-- room: FOLDER -->` and `<!-- end -->`. An arrow says who knows whom; one that follows from others is left out.
What a module knows only as a type is no arrow. Must not judge: which way arrows may point is in pyproject.toml and tests/checks/imports.py.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.checks.imports import imported
from tests.checks.layout import head_of
from tests.checks.pyx import code_only, statements

PAGE = Path("docs/architecture.md")
HOUSE = "house"
# What the house is made of: everything else stands in one of these.
ROOMS = (
    "gateway/commands", "gateway/demo", "gateway/pictures", "gateway/simulation", "gateway/config", "gateway/control", "gateway/model",
    "gateway/dataplane", "k8s", "geoip", "routing_core",
)  # fmt: skip
_DRAWING = re.compile(r"(<!-- room: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

Arrows = Mapping[str, set[str]]


def _python_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from _python_names(node)


@cache  # a room is drawn in its own picture and in that of who holds it
def names_in(path: Path) -> set[str]:
    """Full names of what a source imports."""
    text = path.read_text()
    if path.suffix == ".py":
        return set(_python_names(ast.parse(text)))
    return {name for _, _, statement in statements(code_only(text)) for name in imported(statement)}


def sources(folder: Path) -> list[Path]:
    found = (path for suffix in (".py", ".pyx", ".pxd") for path in folder.rglob(f"*{suffix}"))
    return sorted(path for path in found if path.stem != "__init__")


def arrows_between(nodes: Mapping[str, str], paths: Iterable[Path]) -> Arrows:
    """nodes: the dotted beginning of a name, and what stands for all that begins so."""

    def node_of(name: str) -> str | None:
        parts = name.split(".")
        return next((nodes[one] for n in range(len(parts), 0, -1) if (one := ".".join(parts[:n])) in nodes), None)

    arrows: dict[str, set[str]] = {node: set() for node in nodes.values()}
    for path in paths:
        own = node_of(".".join(path.with_suffix("").parts))
        if own is not None:
            arrows[own] |= {node for name in names_in(path) if (node := node_of(name)) not in (None, own)}
    return arrows


def reached(arrows: Arrows, node: str, without: str) -> bool:
    """Whether one comes from `node` to `without` by more than one arrow."""
    seen: set[str] = set()
    waiting = [one for one in arrows[node] if one != without]
    while waiting:
        one = waiting.pop()
        if one == without:
            return True
        if one not in seen:
            seen.add(one)
            waiting.extend(arrows[one])
    return False


def reduced(arrows: Arrows) -> Arrows:
    left = {node: set(known) for node, known in arrows.items()}
    for node in sorted(left):
        for known in sorted(left[node]):
            if reached(left, node, known):
                left[node].discard(known)
    return left


def circles(arrows: Arrows) -> list[str]:
    """Who knows, by others, somebody who knows it."""
    return [
        f"{node} <-> {one}" for node in sorted(arrows) for one in sorted(arrows[node]) if node in arrows[one] or reached(arrows, one, node)
    ]


def modules() -> Arrows:
    """Of the whole tree, each by its full name."""
    paths = [path for top in ("gateway", "k8s", "geoip", "routing_core") for path in sources(Path(top))]
    return arrows_between({name: name for name in (".".join(path.with_suffix("").parts) for path in paths)}, paths)


def drawn(arrows: Arrows) -> str:
    """As a flow chart that Markdown shows."""
    left = reduced(arrows)
    known = set().union(*left.values())
    lines = [f"    {_mark(node)}[{node}]" for node in sorted(arrows) if _mark(node) != node]
    lines += [f"    {_mark(node)}" for node in sorted(arrows) if _mark(node) == node and not left[node] and node not in known]
    lines += [f"    {_mark(node)} --> {' & '.join(map(_mark, sorted(left[node])))}" for node in sorted(left) if left[node]]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def _mark(node: str) -> str:
    return re.sub(r"\W", "_", node)


def house() -> str:
    return drawn(arrows_between({room.replace("/", "."): room for room in ROOMS}, [p for room in ROOMS for p in sources(Path(room))]))


def subject_of(path: Path) -> str:
    """The first sentence that a module, or a package, says of itself; a Cython module says it where it declares."""
    places = (path.with_suffix(".pxd"), path.with_suffix(".py"), path.with_suffix(".pyx"), path / "__init__.py")
    head = next(found for place in places if place.exists() and (found := head_of(place)))
    sentence = re.split(r"\.(?:\s|$)", " ".join(head.split()), maxsplit=1)[0]
    said = sentence.partition(": ")[2] if re.match(r"[A-Z][\w /]*: ", sentence) else sentence
    return (said[0].lower() + said[1:] if re.match(r"[A-Z][a-z]* ?[a-z]", said) else said).replace("|", "\\|")


def room(folder: str) -> str:
    """Its modules, or its rooms where it has some, and the arrows between them."""
    inner = sorted(path for path in Path(folder).iterdir() if path.is_dir() and (path / "__init__.py").exists())
    stems = [path.name for path in inner] or sorted({path.stem for path in sources(Path(folder))})
    lines = ["| | subject |", "| --- | --- |", *(f"| `{stem}` | {subject_of(Path(folder, stem))} |" for stem in stems)]
    picture = drawn(arrows_between({f"{folder.replace('/', '.')}.{stem}": stem for stem in stems}, sources(Path(folder))))
    return "\n".join(["", *lines, "", picture])


def page(text: str) -> str:
    return _DRAWING.sub(lambda found: found[1] + (f"\n{house()}" if found[2] == HOUSE else room(found[2])) + "\n" + found[3], text)


def main() -> int:
    PAGE.write_text(page(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
