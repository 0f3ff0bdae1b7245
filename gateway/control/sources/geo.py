"""Geo: the databases in use and the locator made of them. Watches the files in a thread, hands over a new locator.

Owns when files are looked at and what is said of their faults. Must not know tables or workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gateway.control.process.blocking import begin_in_thread, in_thread
from gateway.errors import IsochroneError
from gateway.model import Config
from geoip import DatabaseFiles, Locator, Override, Pin
from geoip.files import FileStatus, WatchedFile

logger = logging.getLogger("isochrone.geoip")

SOON_S = 1.0  # the shortest check_interval
PATIENCE_S = 5.0  # what takes longer is waited for by the next turns
DEADLINE_S = 60.0  # for a new configuration's files: 60 MB from a disk that is busy


class DatabasesRefused(IsochroneError):
    """A new configuration names databases that can't be used."""

    status = 400


@dataclass(frozen=True, slots=True)
class Prepared:
    """Databases of a configuration that is not in use yet."""

    files: DatabaseFiles
    config: Config

    @property
    def refused(self) -> list[str]:
        """Why what is at a configured path is not in use, a line each, as of the last look."""
        return list(dict.fromkeys(status.error for status in self.files.statuses if status.error is not None))

    def locator(self) -> Locator:
        """ValueError names a bad override. Made at the swap: a file may have been loaded anew since `prepare`."""
        return _locator_of(self.files, self.config)


@dataclass(slots=True)
class Geo:
    config: Config
    clock: Callable[[], float]
    on_locator: Callable[[Locator], None] = lambda locator: None
    has_looked: bool = False  # at every file, once
    files: DatabaseFiles = field(init=False)
    locator: Locator = field(init=False)
    _said: dict[tuple[str, str], FileStatus] = field(default_factory=dict)  # by path and role: one file may have both
    _is_asked: bool = False  # by a reload, to look at once
    _looks: dict[WatchedFile, asyncio.Future[bool]] = field(default_factory=dict)  # under way: one a file

    def __post_init__(self) -> None:
        self.files = _files_of(self.config)
        self.locator = _locator_of(self.files, self.config)

    @property
    def statuses(self) -> tuple[FileStatus, ...]:
        return self.files.statuses

    def by_path(self, wall_s: float) -> dict[str, tuple[float | None, bool]]:
        """Of each file its age in seconds, and whether it is refused in any of its roles."""
        found: dict[str, tuple[float | None, bool]] = {}
        for one in self.statuses:
            age_s, is_refused = found.get(one.path, (None, False))
            found[one.path] = (one.age_s(wall_s) if age_s is None else age_s, is_refused or one.error is not None)
        return found

    @property
    def missing(self) -> list[str]:
        """Why the configured files that were never loaded can't be used, a line each."""
        return [status.error or f"{status.path}: not loaded yet" for status in self.statuses if status.loaded_at is None]

    @property
    def pause_s(self) -> float:
        """How long after a look the next one is due: soon where a file is waited for, or was met while it may have been written."""
        is_soon = self._is_asked or any(one.is_awaited for one in self.files.watched)
        return SOON_S if is_soon else self.config.geoip.check_interval

    async def turn(self) -> None:
        """Look at each file once; a change that is whole and good is in use afterwards. A disk that hangs holds up its own file alone,
        which is not looked at again until it answers. One call at a time."""
        files, self._is_asked = self.files, False
        has_changed = await self._look(files)
        self._say()
        while has_changed and files is self.files:
            config = self.config
            locator = await in_thread("geoip", partial(_locator_of, files, config), None)
            if files is self.files and config is self.config:  # no reload came between
                self.locator = locator
                self.on_locator(locator)
                return

    async def _look(self, files: DatabaseFiles) -> bool:
        """Whether a database is another one now."""
        for one in files.watched:
            if one not in self._looks:
                self._looks[one] = begin_in_thread("geoip", partial(one.check, self.clock()))
        looks = [self._looks[one] for one in files.watched]
        if looks:
            await asyncio.wait(looks, timeout=PATIENCE_S)
        ended = [look for look in looks if look.done()]
        self._looks = {one: look for one, look in self._looks.items() if not look.done()}
        self.has_looked = self.has_looked or len(ended) == len(looks)
        return any(look.result() for look in ended)

    async def prepare(self, config: Config) -> Prepared:
        """What another configuration needs. DatabasesRefused when it names a file that can't be used: then nothing has changed.
        TimeoutError when reading takes too long. Files in use are not looked at:
        their disk may hang, and a reload may lead away from it."""
        async with asyncio.timeout(DEADLINE_S):
            is_same = (config.geoip.city, config.geoip.asn) == (self.config.geoip.city, self.config.geoip.asn)
            files = self.files if is_same else _files_of(config)
            now = self.clock()

            if not is_same:
                await in_thread("geoip", lambda: files.check(now), None)
        prepared = Prepared(files, config)
        if prepared.refused and not is_same:
            raise DatabasesRefused("\n".join(f"geoip: {fault}" for fault in prepared.refused))
        return prepared

    def use(self, prepared: Prepared, locator: Locator) -> None:
        self.files, self.config, self.locator, self._is_asked = prepared.files, prepared.config, locator, True

    def _say(self) -> None:
        """One line for each change of a file's fortune."""
        for status in self.statuses:
            before = self._said.get((status.path, status.role))
            self._said[status.path, status.role] = status
            if status.error is not None and (before is None or before.error != status.error):
                logger.error(
                    "database refused", extra={"database": status.path, "error": status.error, "is_kept": status.loaded_at is not None}
                )
            elif status.error is None and status.loaded_at is not None and (before is None or before.loaded_at != status.loaded_at):
                logger.info("database loaded", extra={"database": status.path, "kind": status.kind, "build_epoch": status.build_epoch})


def _files_of(config: Config) -> DatabaseFiles:
    return DatabaseFiles(_paths(config.geoip.city), _paths(config.geoip.asn))


def _paths(paths: tuple[Path, ...]) -> list[str]:
    return [str(path) for path in paths]


def _locator_of(files: DatabaseFiles, config: Config) -> Locator:
    return Locator(files.cities, files.asns, overrides_of(config), home_of(config), pins_of(config))


def overrides_of(config: Config) -> list[Override]:
    return [
        Override(None if one.prefix is None else str(one.prefix), one.lat, one.lon, one.country, one.asn) for one in config.geoip.overrides
    ]


def pins_of(config: Config) -> list[Pin]:
    """Each with its number in the table's pins, from 1."""
    return [Pin(str(pin.prefix), number) for number, pin in enumerate(config.geoip.pins, 1)]


def home_of(config: Config) -> tuple[float, float] | None:
    """Where this gateway stands, and private clients with it."""
    place = config.gateway.location or next((pop for pop in config.pops if pop.name == config.gateway.pop), None)
    return None if place is None else (place.lat, place.lon)
