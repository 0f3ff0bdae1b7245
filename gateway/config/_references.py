"""Values from outside the file: `${NAME}`, `${NAME:-default}`, `${file:PATH}`, and `file:PATH` as a whole value.

Owns their syntax, the reading of what they mean, and that what came is shown nowhere: a fault, a warning and an effective
configuration say the reference instead. Read at each load, so a reload reads anew. Must not know any key.

The syntax is that of the OpenTelemetry Collector and of shells; a value is put in after YAML was read, so it can't become structure.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config._tree import UNPRINTABLE, Loc, Node, Step

MAX_BYTES = 64 << 10  # of a file with one value
_REFERENCE = re.compile(r"\$(?:\$|\{([^{}]*)(\}?))")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FILE = re.compile(r"file:(?!//)(.+)")  # file:// is a URL, and a value of its own
_LEGAL = "must be ${NAME}, ${NAME:-default} or ${file:PATH}, and $$ for a dollar sign"
_MIN_HIDDEN = 4  # shorter ones are found in any text


@dataclass(slots=True)
class References:
    """What one file refers to."""

    folder: Path  # where relative paths start
    environment: Mapping[str, str]
    is_used: bool = False
    _hidden: dict[str, str] = field(default_factory=dict)  # what came -> how it is written

    def resolve(self, text: str) -> str:
        """A scalar of the file with what it refers to put in. ValueError says what is missing, never what came."""
        whole = _FILE.fullmatch(text)
        if whole:
            came = self._content(_put(whole[1], self._one))
        elif "$" in text:
            came = _put(text, self._one)
        else:
            return text
        self.is_used = True
        if came != text.replace("$$", "$"):
            self._hidden[came] = text
        return came

    def hide(self, said: str) -> str:
        """What is said, with the references for what came by them."""
        for came in sorted(self._hidden, key=len, reverse=True):
            if len(came) >= _MIN_HIDDEN:
                for form in (came, repr(came)[1:-1]):
                    said = said.replace(form, self._hidden[came])
        return said

    def _one(self, inner: str) -> str:
        if inner.startswith("file:") and inner != "file:":
            return self._note(self._content(inner.removeprefix("file:")), inner)
        named = _VARIABLE.fullmatch(inner)
        if named is None:
            raise ValueError(f"{_LEGAL}, got ${{{inner}}}")
        name, default = named.groups()
        value = self.environment.get(name, "")
        if not value and default is not None:
            return str(default)
        if not value:
            is_empty = "empty" if name in self.environment else "not set"
            raise ValueError(f"must have the environment variable {name}, which is {is_empty}; ${{{name}:-default}} has a default")
        if UNPRINTABLE.search(value):
            raise ValueError(f"must have printable text in the environment variable {name}")
        return self._note(value, inner)

    def _note(self, came: str, inner: str) -> str:
        self._hidden.setdefault(came, f"${{{inner}}}")
        return came

    def _content(self, name: str) -> str:
        """Of a file with one value, without the line break at its end."""
        try:
            path = self.folder / Path(name).expanduser()
            # A pipe without a writer would hold the reader for ever.
            with open(path, "rb", opener=lambda at, flags: os.open(at, flags | os.O_NONBLOCK)) as stream:
                is_regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
                content = stream.read(MAX_BYTES + 1) if is_regular else b""
        except (OSError, RuntimeError, ValueError) as error:  # of the home folder, and of names that are none
            raise ValueError(f"must refer to a file that can be read, got {name!r}: {getattr(error, 'strerror', None) or error}") from None
        if not is_regular:
            raise ValueError(f"must refer to a regular file, got {name!r}")
        if len(content) > MAX_BYTES:
            raise ValueError(f"must refer to a file of at most {MAX_BYTES >> 10}KiB, got {name!r}")
        try:
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            text = "\0"
        if UNPRINTABLE.search(text):
            raise ValueError(f"must refer to a file with printable text in UTF-8, got {name!r}")
        if not text:
            raise ValueError(f"must refer to a file that is not empty, got {name!r}")
        return text


def _put(text: str, one: Callable[[str], str]) -> str:
    def read(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        if not found[2]:
            raise ValueError(f"{_LEGAL}, got {found[0]!r}")
        return one(found[1])

    return _REFERENCE.sub(read, text)


class Quoted(str):
    """A text of the file that must be one when it is read again, whatever comes."""

    __slots__ = ()


def _as_written(node: Node) -> Any:
    if node.written is None:
        return node.value
    return Quoted(node.written) if isinstance(node.value, str) else node.written


def written_in(root: Node, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    """What of a tree refers to something outside it: where, and how it is written."""
    if root.written is not None:
        yield loc, _as_written(root)
    elif isinstance(root.value, list) and loc[-1:] == ("countries",) and any(item.written for item in root.value):
        yield loc, tuple(_as_written(item) for item in root.value)  # groups stand for many: places are others afterwards
    else:
        steps: list[tuple[Step, Node]] = list(root.value.items()) if isinstance(root.value, dict) else []
        if isinstance(root.value, list):
            steps = list(enumerate(root.value))
        for step, node in steps:
            yield from written_in(node, (*loc, step))


def write_back(dumped: Any, loc: Loc, written: Any) -> Any:
    """A dumped configuration with what is written at `loc` instead of what came."""
    if not loc:
        return written
    step, rest = loc[0], loc[1:]
    if isinstance(dumped, list | tuple):
        n = step if isinstance(step, int) else 0  # one value where a list is legal too
        inner = rest if isinstance(step, int) else loc
        return [write_back(item, inner, written) if m == n else item for m, item in enumerate(dumped)]
    return {**dumped, step: write_back(dumped.get(step), rest, written)} if isinstance(dumped, dict) else written
