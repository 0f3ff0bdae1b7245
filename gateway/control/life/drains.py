"""Drains: the operator's word on single PoPs. New requests go elsewhere at once, running ones finish; progress can be seen.

Must not know HTTP or the command line. Only the operator takes the word back: it survives reloads, also one in which the PoP is gone
for a while, and where there is a `state_dir` the end of the process.

Gateways may share the file: each has its own drains in it, by its name, and starts with those. One that is not in it
yet, as after another name, starts with the last word that any of them was given: a drain that is forgotten would send requests where the
operator wants none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.control.process import kept
from gateway.control.process.blocking import in_thread
from gateway.control.table.publisher import Publisher
from gateway.errors import IsochroneError, StartError
from gateway.model import Config
from routing_core import Figures

logger = logging.getLogger("isochrone.drain")

FILE = "drains.json"
KEEP_S = 5.0  # an operator waits no longer for the disk
AGAIN_S = 5.0  # until what could not be written is tried again


class DrainsUnusable(StartError):
    """The file of the drains can't be read. Starting without it would send requests where the operator wants none."""


class UnknownPop(IsochroneError):
    status = 404


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one PoP's drain."""

    pop: str
    is_drained: bool  # the operator's word
    in_flight: int  # exchanges that still run there
    since_s: float | None  # seconds since the drain was asked for, in this process or since it began
    is_kept: bool = False  # the word, given or taken back, outlives this process
    not_kept: str | None = None  # why it does not, although there is a place for it

    @property
    def is_done(self) -> bool:
        return self.is_drained and self.in_flight == 0


def path_of(config: Config) -> Path | None:
    return None if config.state_dir is None else config.state_dir / FILE


class _File(msgspec.Struct):
    """As it is written."""

    drained: set[str]  # the last word of any of them: for one that is not in it yet, and for releases that know nothing else
    by_gateway: dict[str, set[str]] = {}


def name_in(config: Config) -> str:
    """By which a gateway has its drains in the file: all that have none are one."""
    return config.gateway.name or ""


def load(path: Path | None, gateway: str) -> set[str]:
    """The PoPs that were drained when its last process ended. DrainsUnusable when the file is there and can't be used."""
    if path is None:
        return set()
    found = _read(path)
    return found.by_gateway.get(gateway, found.drained)


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(kept.read(path), type=_File)
    except FileNotFoundError:
        return _File(set())
    except OSError as error:
        raise DrainsUnusable(f"drains {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise DrainsUnusable(f'drains {path}: must be {{"drained": [names of PoPs]}}; without the file no PoP is drained') from error


def absent(drained: Collection[str], before: Collection[str], after: Collection[str]) -> list[str]:
    """Drained PoPs that a configuration does not have any more, a line each. What has such a PoP's place by another name takes traffic, and
    nobody can tell whether it is the same site."""
    new = ", ".join(name for name in after if name not in before and name not in drained)
    what = f"; new in it, not drained: {new}" if new else ""
    gone = [name for name in before if name in drained and name not in after]
    return [f"pops: {name} is drained and no longer in the configuration: the drain waits for that name{what}" for name in gone]


@dataclass(slots=True, eq=False)
class _Word:
    """Given to this process: the file has it or not, whoever has waited for that."""

    is_drained: bool
    is_written: bool = False


@dataclass(slots=True)
class PopDrains:
    publisher: Publisher
    figures: Figures
    clock: Callable[[], float]
    path: Path | None = None  # where the word is kept; the drains of the publisher's world came from there
    _since: dict[str, float] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)  # drained, and something still runs there
    _kept: frozenset[str] = frozenset()  # what the file says of this gateway
    _written_as: str | None = None  # by which name the file has its drains, or that it has none: a reload may give it another
    _given: dict[str, _Word] = field(default_factory=dict)  # by PoP, the last
    _writing: threading.Lock = field(default_factory=threading.Lock)  # two at once: the older must not come last
    _fault: str | None = None  # of the last attempt to write

    def __post_init__(self) -> None:
        self._kept = frozenset(self.publisher.world.drained)
        self._since = dict.fromkeys(self._kept, self.clock())

    def drain(self, pop: str) -> Progress:
        """No request that begins after this goes to the PoP."""
        self._check(pop)
        if pop not in self.publisher.world.drained:
            self._publish(self.publisher.world.drained | {pop})
            self._given[pop] = _Word(True)
            self._since[pop] = self.clock()
            self._running.add(pop)
            logger.info("pop drains", extra={"pop": pop, "in_flight": self.in_flight(pop)})
        return self.progress(pop)

    def undrain(self, pop: str) -> Progress:
        """Also of a PoP that the configuration does not have: it would be drained when it comes back."""
        self._check(pop)
        if pop in self.publisher.world.drained:
            self._publish(self.publisher.world.drained - {pop})
            self._given[pop] = _Word(False)
            self._since.pop(pop, None)
            self._running.discard(pop)
            logger.info("pop taken back", extra={"pop": pop})
        return self._progress(pop)

    def progress(self, pop: str) -> Progress:
        self._check(pop)
        return self._progress(pop)

    def _progress(self, pop: str) -> Progress:
        since = self._since.get(pop)
        is_drained = pop in self.publisher.world.drained
        is_kept = self.path is not None and (pop in self._kept) == is_drained
        not_kept = None if is_kept or self.path is None else self._fault or "not written yet"
        return Progress(pop, is_drained, self.in_flight(pop), None if since is None else self.clock() - since, is_kept, not_kept)

    async def keep(self) -> None:
        """Write the word down, in a thread. What can't be written holds for this process alone, until `keep_on` has done it; that is
        logged and can be seen."""
        if self.path is None:
            return
        try:
            await in_thread("drains", self._write, KEEP_S)
        except (OSError, DrainsUnusable) as error:  # TimeoutError is an OSError
            reason = "the disk does not answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            if reason != self._fault:
                logger.error("drains not kept: a restart forgets them", extra={"path": str(self.path), "error": reason})
            self._fault = reason
            return
        if self._fault is not None:
            logger.info("drains kept", extra={"path": str(self.path)})
        self._fault = None

    async def keep_on(self) -> None:
        """What could not be written is tried again; not while a disk that hangs has the last attempt."""
        is_written = self._written_as == name_in(self.publisher.config) and all(word.is_written for word in self._given.values())
        if not is_written and not self._writing.locked():
            await self.keep()

    def turn(self) -> None:
        """Say once when a drain is through."""
        known = {pop.name for pop in self.publisher.config.pops}
        for pop in list(self._running):
            if pop not in known or self.in_flight(pop) == 0:
                self._running.discard(pop)
                if pop in known:
                    logger.info("pop drained", extra={"pop": pop, "took_s": round(self.clock() - self._since[pop], 1)})

    def in_flight(self, pop: str) -> int:
        """Of all services that it has, or had before a reload; at a worker that hangs too: it may go on."""
        row = self.publisher.rows.find("pop", pop)
        return 0 if row is None else self.figures.in_use(row)

    def _publish(self, drained: set[str]) -> None:
        """On an error nothing has changed."""
        world = self.publisher.world
        before, world.drained = world.drained, drained
        try:
            self.publisher.publish()
        except BaseException:
            world.drained = before
            raise

    def _write(self) -> None:
        """Words that are not in the file yet go into what it says: another process of this gateway may have written, as in a restart.
        DrainsUnusable: whatever lies there may be another's drains, and stays."""
        assert self.path is not None
        with self._writing, kept.alone(self.path.parent):
            given = {pop: word for pop, word in dict(self._given).items() if not word.is_written}
            file = _read(self.path)
            name = name_in(self.publisher.config)
            own = set(self._kept) if self._written_as not in (None, name) else file.by_gateway.get(name, set(self._kept))
            to_drain = {pop for pop, word in given.items() if word.is_drained}
            drained = frozenset(own - given.keys() | to_drain)
            file.by_gateway[name] = set(drained)
            file.drained = file.drained - given.keys() | to_drain
            kept.write(self.path, msgspec.json.encode(file, order="deterministic") + b"\n")
            self._kept = drained  # here: whoever asked may have gone
            self._written_as = name
            for word in given.values():
                word.is_written = True

    def _check(self, pop: str) -> None:
        known = [one.name for one in self.publisher.config.pops]
        if pop not in known and pop not in self.publisher.world.drained and pop not in self._given:
            raise UnknownPop(f"there is no PoP {pop!r}; there is: {', '.join(known)}")
