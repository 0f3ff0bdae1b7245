"""YAML as a tree that knows its lines. Owns the syntax of the file; must not know any key of it.

Composed from PyYAML's events, not by its loader: so every doubled key, tag and cyclic alias is a fault with its line beside
all others, nesting and aliases are bounded (a page of aliases can stand for billions of values), and plain scalars follow
YAML 1.2's core schema, where `NO` is Norway and `22:30` a text, not a boolean and a number of the base 60.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

Step = str | int
Loc = tuple[Step, ...]

MAX_DEPTH = 32
MAX_VALUES = 500_000  # aliases counted as often as they are used

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same grammar; libyaml's is ten times faster, not every build has it
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
# No wider than what PyYAML's writer quotes in a text, or an effective configuration would not read back as itself.
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,24}([eE][-+][0-9]{1,3})?")  # 0.00023818510158716408 is as long as a float is written
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SyntaxFault(NamedTuple):
    line: int
    loc: Loc
    text: str


@dataclass(slots=True)
class Node:
    """One value of the file."""

    line: int  # from 1: of a scalar its own, of a mapping or list that of its key
    value: dict[str, Node] | list[Node] | str | int | float | bool | None
    key_lines: dict[str, int] = field(default_factory=dict)
    n_values: int = 1
    positions: list[int] | None = None  # of a list's items in the file, once some were taken out
    written: str | None = None  # as it stands in the file, where that refers to something outside it
    text: str = ""  # then: what came

    def at(self, step: Step) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(step)) if isinstance(step, str) else None
        if isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None

    def plain(self) -> Any:
        """Without the lines; lists as tuples, since the models are immutable."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return tuple(node.plain() for node in self.value)
        return self.value

    def retype(self) -> bool:
        """Makes a text of what came as something else, or the other way round: within {} quotes are needed that mean nothing. Whether
        anything has changed."""
        if isinstance(self.value, dict):
            return sum(node.retype() for node in self.value.values() if not isinstance(node.value, dict | list | str)) > 0
        other = self.text if not isinstance(self.value, str) else plain_scalar(self.text)
        is_new = self.written is not None and self.text != "" and type(other) is not type(self.value)
        if is_new:
            self.value = other
        return is_new

    def without(self, steps: set[Step]) -> None:
        """Takes entries out, in place; what is left keeps its lines and its positions in the file."""
        if isinstance(self.value, dict):
            self.value = {key: node for key, node in self.value.items() if key not in steps}
        elif isinstance(self.value, list):
            positions = self.positions or list(range(len(self.value)))
            kept = [step for step in range(len(self.value)) if step not in steps]
            self.value, self.positions = [self.value[step] for step in kept], [positions[step] for step in kept]


class _Stop(Exception):
    """Nothing more can be read; the fault is noted."""


class _Composer:
    def __init__(self, text: str, resolve: Callable[[str], str]) -> None:
        self.resolve = resolve
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.anchors: dict[str, Node | None] = {}  # None while it is being composed
        self.faults: list[SyntaxFault] = []

    def stop(self, line: int, loc: Loc, text: str) -> _Stop:
        self.faults.append(SyntaxFault(line, loc, text))
        return _Stop()

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self.stop(_line(event), (), "must be one YAML document, a second one begins here")
                root = self.node(next(self.events), (), 0, _line(event))
        return root

    def node(self, event: Any, loc: Loc, depth: int, key_line: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), line, loc)
        if event.tag is not None:
            self.faults.append(SyntaxFault(line, loc, f"must have no YAML tag, got {event.tag}"))
        if depth > MAX_DEPTH:
            raise self.stop(line, (), f"must not be nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event, loc, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(loc, depth, key_line)
        else:
            node = self.mapping(loc, depth, key_line)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any, loc: Loc, line: int) -> Node:
        try:
            text = self.resolve(event.value)
        except ValueError as error:
            self.faults.append(SyntaxFault(line, loc, str(error)))
            return Node(line, None, written=event.value)
        value = plain_scalar(text) if event.implicit[0] else text
        return Node(line, value) if text == event.value else Node(line, value, written=event.value, text=text)

    def alias(self, anchor: str, line: int, loc: Loc) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            why = "the value it stands in" if anchor in self.anchors else "an anchor that is not set before it"
            self.faults.append(SyntaxFault(line, loc, f"must not refer to {why}, got *{anchor}"))
            return Node(line, None)
        return node

    def sequence(self, loc: Loc, depth: int, line: int) -> Node:
        items: list[Node] = []
        node = Node(line, items)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, (*loc, len(items)), depth + 1, _line(event)))
            self.count(node, items[-1], loc)
        return node

    def mapping(self, loc: Loc, depth: int, line: int) -> Node:
        entries: dict[str, Node] = {}
        node = Node(line, entries)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key_line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.stop(key_line, loc, "must have plain text as keys")
            key = event.value
            value = self.node(next(self.events), (*loc, key), depth + 1, key_line)
            self.count(node, value, loc)
            if key in entries:
                self.faults.append(SyntaxFault(key_line, (*loc, key), f"must be given once, was given in line {node.key_lines[key]}"))
                continue
            entries[key] = value
            node.key_lines[key] = key_line
        return node

    def count(self, node: Node, value: Node, loc: Loc) -> None:
        node.n_values += value.n_values
        if node.n_values > MAX_VALUES:
            raise self.stop(value.line, loc, f"must not have more than {MAX_VALUES} values, aliases counted as often as they are used")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def plain_scalar(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_tree(text: str, resolve: Callable[[str], str] = str) -> tuple[Node | None, list[SyntaxFault]]:
    """The tree and what is wrong with it as YAML; no tree when it can't be read to its end. Nothing else is raised.

    `resolve` gives what a scalar refers to; ValueError is a fault of its line."""
    found = UNPRINTABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        return None, [SyntaxFault(line, (), f"must be printable text, got the character U+{ord(found[0]):04X}")]
    composer = _Composer(text, resolve)
    try:
        root = composer.document()
    except _Stop:
        return None, composer.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        lines = text.splitlines() or [""]
        line = min(mark.line + 1 if mark else 1, len(lines))  # the end of the file is no line of its own
        has_tab = "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        said = f"must be YAML: {error.problem or 'can not be read'}{context}"
        if "${" in lines[line - 1]:
            said += '; within {} and [] a reference stands in quotes: "${NAME}"'
        return None, [*composer.faults, SyntaxFault(line, (), "must be indented by spaces, got a tab" if has_tab else said)]
    return root or Node(1, {}), composer.faults
