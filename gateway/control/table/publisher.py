"""Publisher: from what is known now to the snapshot that workers use. The one place that publishes.

Owns the table, locator and compiled settings in use, their generation, and when a change becomes a table: changes within
10 ms become one. Must not know who changes what.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.control.health.gates import Gate, Gates
from gateway.control.sources.world import World
from gateway.control.table.builder import Built, Change, build, endpoint_key
from gateway.control.table.rows import Key, Rows
from gateway.control.table.settings import settings_of
from gateway.dataplane import CompiledSettings, Snapshots
from gateway.model import Config
from geoip import Locator
from routing_core import Figures, Table, TableSpec

logger = logging.getLogger("isochrone.table")

COALESCE_S = 0.010


@dataclass(slots=True, kw_only=True)
class Publisher:
    config: Config
    world: World
    rows: Rows
    figures: Figures
    gates: Gates
    locator: Locator
    clock: Callable[[], float]
    on_select: Callable[[list[Gate]], None]  # endpoints that want a probe
    on_collect: Callable[[list[Key]], None] = lambda gone: None  # identities whose rows were given back
    wake: Callable[[], None] = lambda: None  # has sleeping workers look
    # A new table has endpoints that take nothing yet, or pools that nothing is known of: its figures must say so.
    on_newcomers: Callable[[Config, TableSpec], None] = lambda config, spec: None
    affinity_key: bytes = b""  # cookies are signed with it
    table: Table = field(init=False)
    snapshots: Snapshots = field(init=False)
    settings: CompiledSettings = field(init=False)
    built_at: float = field(init=False)  # monotonic: the age of the table
    build_s: float = 0.0  # what the last build took
    _built: Built | None = None  # what the last table was made of
    _planned: asyncio.Handle | None = None
    _planned_at: float = 0.0  # by the loop's clock; uvloop's handles know it only where there is half a millisecond to wait

    def __post_init__(self) -> None:
        self.settings = CompiledSettings(settings_of(self.config), self.figures.n_workers)
        began = self.clock()
        built = build(self.config, self.world, self.rows, 1, self.affinity_key)
        self.table = Table(built.spec, self.figures)
        self.built_at = self.clock()
        self.build_s = self.built_at - began
        begun = self._prepare(built, None)
        self.snapshots = Snapshots(self.table, self.locator, self.settings)
        self._settle(built, None, begun)

    @property
    def generation(self) -> int:
        """Of the table in use. Snapshots are counted apart: a new locator or new settings keep the table."""
        return self.table.spec.generation

    @property
    def is_due(self) -> bool:
        """Whether something has changed since this table."""
        return self._planned is not None

    def request(self, coalesce_s: float = COALESCE_S) -> None:
        """Something changed: a new table within `coalesce_s` (0 where the source has gathered changes already). When building takes
        longer than that, no more than half of the time goes into it."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(coalesce_s, self.build_s if self.clock() - self.built_at < self.build_s else 0.0)
        if self._planned is not None:
            if self._planned_at <= at:
                return
            self._planned.cancel()
        self._planned, self._planned_at = loop.call_at(at, self._rebuild), at

    def publish(self) -> None:
        """A new table now. On an error the last one stays."""
        self._swap(self.config, self.world, self.locator, self.settings)

    def publish_locator(self, locator: Locator) -> None:
        """The same table with a new idea of where clients are."""
        self.locator = locator
        self.snapshots.publish(self.table, self.locator, self.settings)
        self.wake()

    def publish_config(self, config: Config, locator: Locator, world: World | None = None) -> None:
        """All of a new configuration at once, with the world as it makes it. On an error all is as it was."""
        self._swap(config, world or self.world, locator, CompiledSettings(settings_of(config), self.figures.n_workers))

    def collect(self) -> None:
        """Free what workers have let go of, then the rows that nobody can reach any more."""
        self.snapshots.reclaim()
        gone = self.rows.collect(self.snapshots.generations())
        if gone:
            self.on_collect(gone)

    def stop(self) -> None:
        """No table that was asked for comes any more."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None

    def _rebuild(self) -> None:
        self._planned = None
        try:
            self.publish()
        except Exception:  # a bug in a source must not take the last good table away
            logger.exception("no new table: the last one stays")

    def _swap(self, config: Config, world: World, locator: Locator, settings: CompiledSettings) -> None:
        """What can fail comes first, and touches nothing that is in use."""
        self.snapshots.reserve()
        began = self.clock()
        try:
            built = build(config, world, self.rows, self.snapshots.generation + 1, self.affinity_key, self._built)
            table = Table(built.spec, self.figures, self.table)
        except BaseException:
            # Rows that only this table would have had were in no snapshot: they are free at the next look.
            self.rows.keep(frozenset() if self._built is None else self._built.used, self.snapshots.generation)
            raise
        self.stop()
        self.config, self.table, self.locator, self.settings = config, table, locator, settings
        if world is not self.world:
            self.world.become(world)
        self.built_at = self.clock()
        self.build_s = self.built_at - began
        before = self._built
        changes = built.since(before) if before is not None and before.config is config else None
        begun = self._prepare(built, changes)
        self.snapshots.publish(table, locator, settings)
        self._settle(built, changes, begun)

    def _prepare(self, built: Built, changes: list[Change] | None) -> list[Gate]:
        """Before workers see the table: gates and figures as they will find them. A pool whose endpoints are all new has nobody who
        takes requests until a probe has been there; decided by yesterday's figures they would be refused. A new pool has none: by the
        figures of an empty row it would take its whole share at once. `changes`: since the last table;
        None: it is another configuration."""
        before = self._built
        has_new_pools = changes is None and (before is None or not built.parts.keys() <= before.parts.keys())
        if changes is not None:
            begun = []
            for change in changes:
                came = [(known.identity, row, service, known.origin) for known, row, service in change.came]
                begun += self.gates.change(change.pool, came, change.went)
        else:
            begun = self.gates.select((known.identity, row, service, known.origin) for known, row, service in built.selected)
        if has_new_pools or not all(gate.is_taking for gate in begun):
            self.on_newcomers(self.config, built.spec)
        return begun

    def _settle(self, built: Built, changes: list[Change] | None, begun: list[Gate]) -> None:
        generation = self.snapshots.generation
        if changes is not None:
            for change in changes:
                came = (endpoint_key(known.identity) for known, _, _ in change.came)
                self.rows.change(came, map(endpoint_key, change.went), generation)
        else:
            self.rows.keep(built.used, generation)
        self._built = built
        self.on_select(begun)
        self.wake()
        if logger.isEnabledFor(logging.DEBUG):
            n_endpoints = sum(len(part.known) for part in built.parts.values())
            logger.debug(
                "table", extra={"generation": self.generation, "endpoints": n_endpoints, "build_ms": round(self.build_s * 1000, 1)}
            )
