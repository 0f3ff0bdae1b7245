"""The one tree of exceptions. Owns what an error means to the one who handles it; must not know where it comes from.

Each error knows its side, the status a client would be given, and whether trying again is safe. What the data plane meets
while it serves is a status code there, never an exception: these are the control plane's and the command line's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

Side = Literal["downstream", "upstream", "internal"]


def escaped(text: str) -> str:
    """One line, whatever a value, a file or a client put into it; and no escape sequence of theirs reaches a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class IsochroneError(Exception):
    """Anything this program refuses or fails at in a way it foresaw: its text is for a person, in one line."""

    side: ClassVar[Side] = "internal"
    status: ClassVar[int] = 500
    is_retry_safe: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong (or, from `check`, doubtful) in a configuration: `FILE:LINE: PATH: what is legal, got what came`."""

    file: str
    line: int | None  # from 1; None when the file as a whole is meant
    path: str  # "pops.fra.lat"; empty when the file as a whole is meant
    text: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return escaped(": ".join(part for part in (where, self.path, self.text) if part))  # a quoted key of the file may hold anything


class ConfigError(IsochroneError):
    """A configuration that can't be used, with every fault found, in the order of the file. Its text has one line for each."""

    status = 400  # to `POST /reload`

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        super().__init__("\n".join(map(str, self.faults)))


class StartError(IsochroneError):
    """The gateway can't begin to serve: an address in use, too few descriptors, a folder it may not read."""

    status = 503
