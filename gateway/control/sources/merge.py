"""Merge: what each source of objects said last, and the configuration that all of it makes.

The file is the first of them: it is read when it is asked for, and of it all is used or nothing. Any other speaks by itself, each time
with all that it has, sound or refused object by object (`gateway.model.merged` says by which rule they are joined). What one says leaves
what the others said as it was: it is put in use with what of the others is in use, not with a newer word of theirs, which may be one that
can't be used. Sources come in the order in which they were added, behind the file, and keep their places.

Must not know how a source comes to its objects, nor how a configuration is put in use: who does that notes here what is in use.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from gateway.model import Config, Objects, merged

FILE = "file"  # as its objects have it


class Said(NamedTuple):
    """At one time, by all."""

    file: Config
    others: tuple[Objects | None, ...]  # in their order; None: not a word yet

    def merged(self) -> Config:
        others = [one for one in self.others if one is not None]
        return merged(self.file, others) if others else self.file


class Merge:
    """Belongs to the thread of the event loop."""

    def __init__(self, file: Config) -> None:
        self.in_use = Said(file, ())
        self.news: dict[str, asyncio.Event] = {}  # by source, but for the file: it has said something
        self._others: dict[str, Objects | None] = {}

    def add(self, source: str) -> Callable[[Objects], None]:
        """Another source, by the name that its objects have; and how it says what it has. Before the gateway runs."""
        if source == FILE or source in self._others:
            raise ValueError(f"source: must have a name of its own, got {source!r}")
        self._others[source], self.news[source] = None, asyncio.Event()
        self.in_use = Said(self.in_use.file, (*self.in_use.others, None))

        def say(objects: Objects) -> None:
            self._others[source] = objects
            self.news[source].set()

        return say

    def with_word(self, source: str) -> Said:
        """What this one said last, with all else that is in use."""
        used = zip(self._others, self.in_use.others, strict=True)
        return Said(self.in_use.file, tuple(self._others[name] if name == source else objects for name, objects in used))

    def with_file(self, file: Config) -> Said:
        """This of the file, with what of the others is in use."""
        return Said(file, self.in_use.others)

    @property
    def silent(self) -> list[str]:
        """Sources of which nothing is in use yet."""
        return [source for source, objects in zip(self._others, self.in_use.others, strict=True) if objects is None]

    def refused(self, config: Config) -> dict[str, int]:
        """How many objects of each source are refused in a configuration that was merged here."""
        counts = Counter(one.identity.source for one in config.refused)
        return {source: counts[source] for source in (FILE, *self._others)}
