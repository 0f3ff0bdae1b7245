"""Loaded: what a source gives when it is asked for a configuration. Must not know sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import Fault
from gateway.model._objects import Config


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and what in it is doubtful."""

    config: Config
    warnings: tuple[Fault, ...]
    hide: Callable[[str], str] = str  # what is said of it, without what came from outside the file
