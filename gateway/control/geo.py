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

from gateway.config import Config
from gateway.control.blocking import in_thread
from gateway.control.settings import home_of, overrides_of, pins_of
from gateway.errors import IsochroneError
from geoip import DatabaseFiles, Locator
from geoip.files import FileStatus

logger = logging.getLogger("isochrone.geoip")

DEADLINE_S = 60.0  # for a new configuration's files: 60 MB from a disk that is busy


class DatabasesRefused(IsochroneError):
    """A new configuration names databases that can't be used."""

    status = 400


@dataclass(frozen=True, slots=True)
class Prepared:
    """Databases of a configuration that is not in use yet."""

    files: DatabaseFiles
    config: Config

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
    _said: dict[str, FileStatus] = field(default_factory=dict)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.files = _files_of(self.config)
        self.locator = _locator_of(self.files, self.config)

    @property
    def statuses(self) -> tuple[FileStatus, ...]:
        return self.files.statuses

    @property
    def missing(self) -> list[str]:
        """Why the configured files that were never loaded can't be used, a line each."""
        return [status.error or f"{status.path}: not loaded yet" for status in self.statuses if status.loaded_at is None]

    async def turn(self) -> None:
        """Look at the files once; a change that is whole and good is in use afterwards. Without a deadline: two looks at once are not
        allowed, and a disk that hangs holds up nothing but this."""
        async with self._one_at_a_time:
            files, config, now = self.files, self.config, self.clock()

            def look() -> Locator | None:
                return _locator_of(files, config) if files.check(now) else None

            locator = await in_thread("geoip", look, None)
            while locator is not None and (files is not self.files or config is not self.config):  # a reload came between
                files, config = self.files, self.config
                locator = await in_thread("geoip", partial(_locator_of, files, config), None)
            self.has_looked = True
            self._say()
            if locator is not None:
                self.locator = locator
                self.on_locator(locator)

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
        faults = [status.error for status in files.statuses if status.error is not None]
        if faults and not is_same:
            raise DatabasesRefused("\n".join(f"geoip: {fault}" for fault in faults))
        return Prepared(files, config)

    def use(self, prepared: Prepared, locator: Locator) -> None:
        self.files, self.config, self.locator = prepared.files, prepared.config, locator

    def _say(self) -> None:
        """One line for each change of a file's fortune."""
        for status in self.statuses:
            before = self._said.get(status.path)
            self._said[status.path] = status
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
