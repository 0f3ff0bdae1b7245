"""Turns what pydantic found into faults with line, path, what came and what is legal. Owns their wording; must not judge values itself."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config import _leaves as leaves
from gateway.config._limits import Config
from gateway.config._places import Section
from gateway.config._tree import Loc, Node, Step
from gateway.errors import Fault

LATER = {("listeners", "tls")}  # keys of coming versions, without list positions
_MAX_SHOWN = 60
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_QUOTED = re.compile(r"[^\w./-]")  # within [] more would need quotes in one place or another


def sections(annotation: Any, *, is_item: bool = False) -> Iterator[tuple[type[Section], bool]]:
    """The sections that a field's annotation speaks of, and whether each is an item of a list: more than one where a mapping and a list
    of other mappings are legal."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, is_item
    for argument in typing.get_args(annotation):
        yield from sections(argument, is_item=is_item or typing.get_origin(annotation) is tuple)


def all_sections() -> list[type[Section]]:
    """The whole file's section and every one in it, outer ones first; each once."""
    found: list[type[Section]] = [Config]
    waiting: list[type[Section]] = [Config]
    while waiting:
        inner = [section for known in waiting.pop(0).model_fields.values() for section, _ in sections(known.annotation)]
        new = [section for section in dict.fromkeys(inner) if section not in found]
        found += new
        waiting += new
    return found


def section_at(loc: Loc) -> type[Section] | None:
    """The model that reads what stands at `loc`."""
    section: type[Section] | None = Config
    for n, step in enumerate(loc):
        if isinstance(step, str):
            known = section.model_fields.get(step) if section else None
            found = list(sections(known.annotation)) if known else []
            has_position = isinstance(loc[n + 1], int) if n + 1 < len(loc) else False
            found.sort(key=lambda alternative: alternative[1] != has_position)
            section = found[0][0] if found else None
    return section


def place(root: Node, loc: Loc) -> tuple[int, str]:
    """Line and path of what stands at `loc`, or of the nearest thing around it.

    In the path an item of a list is called by its name (a backend by its PoP), as an operator calls it.
    """
    node: Node | None = root
    line, path = root.line, ""
    for step in loc:
        inner = node.at(step) if node else None
        if isinstance(step, int):
            if node is None or not isinstance(node.value, list):
                continue  # one value where a list is legal too: pydantic saw a list of one
            path += _item_name(node, step)
        else:
            path += f".{step}" if path else step
        if inner is not None:
            line = inner.line
        if (
            node is not None
            and isinstance(step, str)
            and step in node.key_lines
            and (inner is None or isinstance(inner.value, dict | list))
        ):
            line = node.key_lines[step]
        node = inner
    return line, path


def _item_name(node: Node, step: int) -> str:
    items = node.value if isinstance(node.value, list) else []
    for key in ("name", "pop"):
        names = [name.value for item in items if (name := item.at(key)) is not None]
        mine = items[step].at(key) if step < len(items) else None
        if mine is not None and isinstance(mine.value, str) and mine.value and names.count(mine.value) == 1:
            return f".{mine.written or mine.value}"
    return f"[{node.positions[step] if node.positions else step}]"


def node_at(root: Node, loc: Loc) -> Node | None:
    node: Node | None = root
    for step in loc:
        if node is None:
            return None
        if isinstance(step, int) and not isinstance(node.value, list):
            continue
        node = node.at(step)
    return node


def came(node: Node | None) -> str:
    """What stood in the file, short."""
    if node is not None and node.written is not None:
        return node.written
    if node is None or node.value is None:
        return "nothing"
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    shown = repr(node.value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."


def translate(error: ValidationError, root: Node, file: str) -> list[Fault]:
    return [_fault(detail, root, file) for detail in error.errors(include_url=False) if not _is_echo(detail, root)]


def _is_echo(detail: ErrorDetails, root: Node) -> bool:
    """A list whose items are all faulty is called too short besides."""
    return detail["type"] == "too_short" and bool((node := node_at(root, detail["loc"])) and node.value)


def _fault(detail: ErrorDetails, root: Node, file: str) -> Fault:
    loc = detail["loc"]
    line, path = place(root, loc)
    got = f", got {came(node_at(root, loc))}"
    match detail["type"]:
        case leaves.ILLEGAL:
            text = detail["msg"] if ", got " in detail["msg"] else detail["msg"] + got + _unquoted(detail["msg"], node_at(root, loc))
        case leaves.FAULT:
            text = detail["msg"]
        case "missing":
            text = f"must be given{_meaning(loc)}"
        case "extra_forbidden":
            text = _unknown_key(loc)
        case "too_short":
            text = "must have at least one item, got an empty list"
        case "too_long":
            text = f"must have at most {detail['ctx']['max_length']} items, got {detail['ctx']['actual_length']}"
        case "tuple_type":
            text = f"must be a list{_of_what(loc)}{got}{_as_list(loc, node_at(root, loc))}"
        case "model_type" | "model_attributes_type" | "dict_type":
            legal = section_at(loc)
            text = "must be a mapping" + (f" with keys among {', '.join(legal.model_fields)}" if legal else "") + got
        case _:  # nothing else is declared; should it be one day, it is still a fault in words
            text = f"must be legal: {detail['msg']}{got}"
    return Fault(file, line, path, text)


def _unquoted(legal: str, node: Node | None) -> str:
    """For a number that was written as a text, which in a fault looks like the number."""
    is_text = node is not None and not node.written and isinstance(node.value, str)
    return "; in quotes it is a text" if is_text and "number" in legal and _NUMBER.fullmatch(str(node and node.value)) else ""


def _of_what(loc: Loc) -> str:
    """What a list of mappings has: whoever wrote one mapping, by name perhaps, sees how each is written."""
    inner = section_at((*loc, 0))
    return f" of mappings, each with a dash and keys among {', '.join(inner.model_fields)}" if inner else ""


def _as_list(loc: Loc, node: Node | None) -> str:
    """How the one value that stands there is written as a list; nothing for what is no value."""
    if node is None or node.value is None or node.written or isinstance(node.value, dict | list):
        return ""
    shown = f'"{node.value}"' if isinstance(node.value, str) and _QUOTED.search(node.value) else came(node).strip("'")
    return f"; write {loc[-1]}: [{shown}]" if len(shown) <= _MAX_SHOWN else ""


def _meaning(loc: Loc) -> str:
    section = section_at(loc[:-1])
    known = section.model_fields.get(str(loc[-1])) if section else None
    meaning = (known.description or "").split("\n")[0].partition(". ")[0].rstrip(".") if known else ""
    return f": {meaning[0].lower()}{meaning[1:]}" if meaning else ""


def _unknown_key(loc: Loc) -> str:
    key = str(loc[-1])
    names = tuple(str(step) for step in loc if isinstance(step, str))
    if names in LATER:
        return "is not in this version"
    section = section_at(loc[:-1])
    legal = list(section.model_fields) if section else []
    if key == "<<":
        return "must not be merged into: write *alias as a value instead"
    near = difflib.get_close_matches(key, legal, 1)
    return f"is no key here{f', did you mean {near[0]}?' if near else '.'} Legal: {', '.join(legal)}"


def retype(root: Node, error: ValidationError) -> bool:
    """Where what came from outside the file is faulty: the same as a text, or as what it would be without quotes. Whether to look again."""
    nodes = [node_at(root, detail["loc"]) for detail in error.errors(include_url=False, include_context=False, include_input=False)]
    return sum(node.retype() for node in nodes if node is not None) > 0  # each of them


def prune(root: Node, error: ValidationError) -> None:
    """Takes what is faulty (for a missing key: what lacks it) out of the tree, so that the rest can be judged too."""
    taken: dict[int, tuple[Node, set[Step]]] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        steps = list(_real_steps(root, detail["loc"]))  # a missing key has no step: its parent's is the last
        if steps:
            node, step = steps[-1]
            taken.setdefault(id(node), (node, set()))[1].add(step)
    for node, gone in taken.values():
        node.without(gone)


def _real_steps(root: Node, loc: Loc) -> Iterator[tuple[Node, Step]]:
    node = root
    for step in loc:
        if isinstance(step, int) and not isinstance(node.value, list):
            continue
        inner = node.at(step)
        if inner is None:
            return
        yield node, step
        node = inner
