"""Reload: a new configuration, whole or not at all. Reads, judges, prepares; swaps only when nothing can fail any more. The file is read
when somebody asks for it; what another source says is put in use by itself, with the file as it is in use.

Owns the order of these steps, what can't change without a restart, and what is known of the reloads so far. Requests in flight keep
the snapshot they began with; rows, gates, drains and what was learned stay. Must not know how a table is built.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.control.life import drains
from gateway.control.life.stranding import deserted
from gateway.control.process.blocking import in_thread
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.geo import Geo, Prepared
from gateway.control.sources.merge import Merge, Said
from gateway.control.sources.resolver import Resolver
from gateway.control.sources.wanted import names_of
from gateway.control.sources.world import World
from gateway.control.table.publisher import Publisher
from gateway.errors import IsochroneError
from gateway.model import Config, Loaded

logger = logging.getLogger("isochrone.reload")

READ_S = 30.0
RESOLVE_S = 3.0  # for names that are new; the swap waits no longer
HEAR_S = 3.0  # likewise for Services of clusters
AGAIN_S = 5.0  # what another source said, and could not be put in use, is tried again


@dataclass(frozen=True, slots=True)
class Outcome:
    is_done: bool
    lines: tuple[str, ...] = ()  # why not, one fault a line
    warnings: tuple[str, ...] = ()  # what `check` says of the one in use now, and what only this process can know, one a line

    @property
    def result(self) -> str:
        """As metrics name it."""
        return "applied" if self.is_done else "refused"


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


@dataclass(slots=True, kw_only=True)
class Reload:
    load: Callable[[], Loaded]  # the file; blocking; ConfigError has every fault
    merge: Merge
    publisher: Publisher
    sources: Sources
    resolver: Resolver
    geo: Geo
    on_config: list[Callable[[Config], None]] = field(default_factory=list)  # told of each configuration put in use
    wall: Callable[[], float] = time.time
    hear_s: float = HEAR_S
    counts: dict[str, int] = field(default_factory=lambda: {"applied": 0, "refused": 0})
    ended_at: dict[str, float] = field(init=False)  # by result: Unix time of the last one of the file
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _next: asyncio.Future[Outcome] | None = None  # of the one that waits for its turn

    def __post_init__(self) -> None:
        self.ended_at = {"applied": self.wall(), "refused": 0.0}  # what it began with was put in use as well

    async def run(self) -> Outcome:
        """Never raises for what a configuration holds. All that are asked for while one is under way are one: it reads the file after
        the last of them was asked for. What no one foresaw is raised to all of them; when the one that reads is cancelled, another does."""
        while (theirs := self._next) is not None:
            await asyncio.wait([theirs])
            if not theirs.cancelled():
                return theirs.result()
        mine = self._next = asyncio.get_running_loop().create_future()
        try:
            async with self._one_at_a_time:
                self._next = None
                outcome = await self._run()
            mine.set_result(outcome)
            return outcome
        except Exception as error:
            mine.set_exception(error)
            mine.exception()  # or, where nobody shares it, asyncio calls it never retrieved
            raise
        finally:
            if self._next is mine:  # cancelled before its turn came
                self._next = None
            mine.cancel()  # changes nothing where there is an outcome

    async def follow(self, source: str) -> None:
        """One turn: waits until a source, other than the file, has said something, and puts it in use. What could not be is tried again."""
        news = self.merge.news[source]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.merge.with_word(source) == self.merge.in_use else AGAIN_S):
                await news.wait()
        async with self._one_at_a_time:
            news.clear()
            said = self.merge.with_word(source)
            if said != self.merge.in_use:
                outcome = await self._judged(lambda: Loaded(said.file, ()), lambda _: said)
                self.counts[outcome.result] += 1

    async def _run(self) -> Outcome:
        outcome = await self._judged(self.load, self.merge.with_file)
        self.counts[outcome.result] += 1
        self.ended_at[outcome.result] = self.wall()
        return await self._renewed(outcome) if outcome.is_done else outcome

    async def _renewed(self, outcome: Outcome) -> Outcome:
        """Ways to clusters may lead elsewhere since: whether that is in use as well. It was nothing to wait for before the swap: they
        are no part of the configuration, and their endpoints stay."""
        lines = await self.sources.renewed(self.hear_s)
        for line in lines:
            logger.warning("%s", line)
        return replace(outcome, warnings=(*outcome.warnings, *lines))

    async def _judged(self, load: Callable[[], Loaded], said_with: Callable[[Config], Said]) -> Outcome:
        try:
            loaded = await in_thread("reload", load, READ_S)
            said = said_with(loaded.config)
            loaded = replace(loaded, config=await in_thread("merge", said.merged, READ_S))
            if faults := frozen_faults(self.publisher.config, loaded.config):
                return self._refuse(faults)
            prepared = await self.geo.prepare(loaded.config)
            await self.resolver.first(names_of(loaded.config) - self.resolver.answers.keys(), RESOLVE_S)
            await self.sources.first(loaded.config, self.hear_s)
            drained = frozenset(self.publisher.world.drained)
            left = await in_thread("stranded", partial(deserted, loaded.config, drained), READ_S) if drained else []
            return self._swap(said, loaded, prepared, left)
        except IsochroneError as error:
            return self._refuse(str(error).splitlines())
        except TimeoutError:
            return self._refuse(["the files could not be read in time"])
        except OSError as error:  # as where no thread can be started
            reason = error.strerror or str(error)
            return self._refuse([reason if error.filename is None else f"{error.filename}: {reason}"])
        except (ValueError, MemoryError) as error:
            return self._refuse([str(error) or "not enough memory for the new table"])
        finally:
            # No longer those of one that was refused.
            self.resolver.want(names_of(self.publisher.config))
            self.sources.expect_none()

    def _swap(self, said: Said, loaded: Loaded, prepared: Prepared, left: list[str]) -> Outcome:
        """All is tried before the one step that changes anything; nothing fails after it. `said`: what was loaded is made of it; `left`:
        what drains leave without a PoP."""
        config, locator = loaded.config, prepared.locator()
        world = self.sources.plan(config)
        refused = [f"geoip: {fault}; looked at again now" for fault in prepared.refused]
        known = frozenset(self.publisher.config.refused)
        refused += [f"refused: {one}" for one in config.refused if one not in known]
        lost = [*self._unresolved(config), *self.sources.unheard(config, world), *self._refused(world)]
        before, after = ([pop.name for pop in one.pops] for one in (self.publisher.config, config))
        warnings = (*map(str, loaded.warnings), *refused, *lost, *drains.absent(world.drained, before, after), *left)
        self.publisher.publish_config(config, locator, world)
        self.merge.in_use = said
        self.sources.follow(config)
        self.geo.use(prepared, locator)
        for tell in self.on_config:
            tell(config)
        for warning in warnings:
            logger.warning("%s", warning)
        logger.info("reloaded", extra={"table": self.publisher.generation, "warnings": len(warnings)})
        return Outcome(True, warnings=warnings)

    def _unresolved(self, config: Config) -> list[str]:
        """Names that no name server has answered yet."""
        answers = {name: self.resolver.answers[name] for name in sorted(names_of(config))}
        return [
            f"{name}: no address for this name yet ({answer.error or f'no answer within {RESOLVE_S:g} s'}); "
            "a backend of which no endpoint is known keeps those it had"
            for name, answer in answers.items()
            if answer.answered_at is None and not answer.addresses
        ]

    def _refused(self, world: World) -> list[str]:
        """Pools in which endpoints are refused that were not so far."""
        lines = []
        for pool, refused in world.refused.items():
            if new := sorted((str(one), why) for one, why in (refused.items() - self.publisher.world.refused.get(pool, {}).items())):
                left = "" if world.pools.get(pool) else "; no endpoint is left there"
                lines.append(f"service {pool[0]} in {pool[1]}: {len(new)} refused, such as {': '.join(new[0])}{left}")
        return lines

    def _refuse(self, lines: list[str]) -> Outcome:
        for line in lines:
            logger.error("reload refused: %s", line)
        return Outcome(False, tuple(lines))
