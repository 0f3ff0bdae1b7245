"""Reload: a new configuration, whole or not at all. Reads, judges, prepares; swaps only when nothing can fail any more.

Owns the order of these steps and what can't change without a restart. Requests in flight keep the snapshot they began with;
rows, gates, drains and what was learned stay. Must not know how a table is built.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.config import Config
from gateway.control.blocking import in_thread
from gateway.control.geo import Geo, Prepared
from gateway.control.publisher import Publisher
from gateway.control.resolver import Resolver
from gateway.control.sources import Sources, names_of
from gateway.errors import IsochroneError

logger = logging.getLogger("isochrone.reload")

READ_S = 30.0
RESOLVE_S = 3.0  # for names that are new; the swap waits no longer


@dataclass(frozen=True, slots=True)
class Outcome:
    is_done: bool
    lines: tuple[str, ...] = ()  # why not, one fault a line


def frozen_faults(old: Config, new: Config) -> list[str]:
    """What differs and can't be changed in a running process, a line each."""
    frozen = {
        "listeners": old.listeners != new.listeners,
        "admin": old.admin != new.admin,
        "status": old.status != new.status,
        "gateway.workers": old.gateway.workers != new.gateway.workers,
        "state_dir": old.state_dir != new.state_dir,
        "affinity_key": old.affinity_key != new.affinity_key,
    }
    return [f"{key}: changed; a restart is needed, this reload changes nothing" for key, is_changed in frozen.items() if is_changed]


@dataclass(slots=True)
class Reload:
    load: Callable[[], Config]  # blocking; ConfigError has every fault
    publisher: Publisher
    sources: Sources
    resolver: Resolver
    geo: Geo
    on_config: list[Callable[[Config], None]] = field(default_factory=list)  # told of each configuration put in use
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> Outcome:
        """Never raises for what a configuration holds."""
        async with self._one_at_a_time:
            try:
                config = await in_thread("reload", self.load, READ_S)
                if faults := frozen_faults(self.publisher.config, config):
                    return self._refuse(faults)
                prepared = await self.geo.prepare(config)
                await self.resolver.first(names_of(config) - self.resolver.answers.keys(), RESOLVE_S)
                return self._swap(config, prepared)
            except IsochroneError as error:
                return self._refuse(str(error).splitlines())
            except TimeoutError:
                return self._refuse(["the files could not be read in time"])
            except (ValueError, MemoryError) as error:
                return self._refuse([str(error) or "not enough memory for the new table"])
            finally:
                self.resolver.want(names_of(self.publisher.config))  # no longer those of one that was refused

    def _swap(self, config: Config, prepared: Prepared) -> Outcome:
        """All is tried before the one step that changes anything; nothing fails after it."""
        locator = prepared.locator()
        self.publisher.publish_config(config, locator, self.sources.plan(config))
        self.sources.follow(config)
        self.geo.use(prepared, locator)
        for tell in self.on_config:
            tell(config)
        logger.info("reloaded", extra={"generation": self.publisher.generation})
        return Outcome(True)

    def _refuse(self, lines: list[str]) -> Outcome:
        for line in lines:
            logger.error("reload refused: %s", line)
        return Outcome(False, tuple(lines))
