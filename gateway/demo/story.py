"""Story: what happens in the demo, in order. All up; one PoP killed, then brought back; another drained, then taken back.

Owns the order, what is waited for, and what counts as a fault; each scene is facts for a screen. Must not know how they are drawn,
nor how a PoP is killed: see Stage.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.demo.places import Client, Pop, RoundTrips
from gateway.demo.summary import Summary, summarize
from gateway.demo.traffic import PERIOD_S, Flow, Sample

KILLED = "fra"
DRAINED = "sin"
FIXED = "iad"
LOOK_S = 0.02
FOLLOW_S = 0.25  # between two looks at the rows of the scene under way
LOOKS_AGAIN = 10
SETTLE_S = 45.0  # for what must happen: a start, a return; many times what it takes, machines are busy


class Edge(Protocol):
    """What is asked of the gateway."""

    async def explain(self, client: str) -> Mapping[str, Any]: ...
    async def drain(self, pop: str) -> None: ...
    async def undrain(self, pop: str) -> None: ...


class Stage(Protocol):
    """The PoPs' processes."""

    def kill(self, pop: str) -> None:
        """At once: SIGKILL."""

    async def revive(self, pop: str) -> None:
        """Returns when it listens again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One client's requests in a scene."""

    client: Client
    country: str  # where the gateway believes it to be; ISO 3166
    pop: str  # that served the last of them
    estimate_ms: float | None  # the gateway's, of that PoP
    measured_ms: float  # median, to the whole answer
    alternative: str | None  # the best other PoP that could serve
    alternative_ms: float | None
    reason: str
    is_in_window: bool  # whether the gateway holds that PoP for a near-equal of the fastest


@dataclass(slots=True)
class Scene:
    title: str
    clients: Sequence[Client]
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # what should not have happened, beside failed requests


@dataclass(slots=True)
class Story:
    flow: Flow
    edge: Edge
    stage: Stage
    pops: Sequence[Pop]
    trips: RoundTrips
    on_scene: Callable[[Scene], None]  # a scene has begun
    on_scene_end: Callable[[Scene], None]
    pace: float = 1.0  # how long to look at each scene; 1 is as short as it can be
    is_watched: bool = False  # rows follow the requests; else they are made once, at a scene's end
    scenes: list[Scene] = field(default_factory=list)

    async def run(self) -> Summary:
        """TimeoutError when something does not happen. Errors of requests are in the summary, other faults in the scenes."""
        self.flow.start()
        try:
            first = await self._all_up()
            await self._death([row.client for row in first.rows if row.pop == KILLED])
            await self._return([row.client for row in first.rows if row.pop == KILLED])
            await self._drain([row.client for row in first.rows if row.pop == DRAINED])
        finally:
            await self.flow.stop()
        choices = [(row.client, row.pop) for row in first.rows]
        return summarize(self.flow.samples, choices, self.pops, self.trips, FIXED)

    @property
    def is_good(self) -> bool:
        return not self.flow.errors and not any(scene.faults for scene in self.scenes)

    async def rows(self, scene: Scene, since: float) -> None:
        """Fill the scene's rows from what was begun and has ended since then."""
        by_client: dict[Client, list[Sample]] = {}
        for sample in self.flow.samples:
            if sample.began >= since and sample.error is None:
                by_client.setdefault(sample.client, []).append(sample)
        asked = [client for client in scene.clients if client in by_client]
        scene.rows = [row_of(by_client[client], await self.edge.explain(client.address)) for client in asked]

    # The scenes

    async def _all_up(self) -> Scene:
        scene = self._begin("All six PoPs are up", self.flow.clients)
        await self._look(scene, self._now(), 1.6 * self.pace)
        await self._wait(lambda: len(self._served(scene.clients)) == len(scene.clients), "an answer for every client")
        await self.rows(scene, 0.0)
        for _ in range(LOOKS_AGAIN):
            if all(row.is_in_window for row in scene.rows):
                break
            # Answer and explanation are of two moments: near the edge of a window that can matter once, not each time.
            await self._look(scene, 0.0, PERIOD_S)
            await self.rows(scene, 0.0)
        for row in scene.rows:
            if not row.is_in_window:
                scene.faults.append(f"{row.client.city} is sent to {row.pop}, which is not within the window of the fastest")
        shared = [row.client.city for row in scene.rows if row.reason == "window"]
        if shared:
            scene.notes.append(f"window: near-equals share the traffic ({', '.join(shared)})")
        return self._end(scene)

    async def _death(self, victims: Sequence[Client]) -> None:
        scene = self._begin(f"{KILLED} is killed (SIGKILL) while requests flow", victims)
        self.stage.kill(KILLED)
        killed_at, before = self._now(), len(self.flow.errors)
        await self._wait(lambda: len(self._served(victims, killed_at)) == len(victims), f"other PoPs for the clients of {KILLED}")
        await self._look(scene, killed_at, 1.2 * self.pace)
        await self.rows(scene, killed_at)
        served = [sample for sample in self.flow.samples if sample.began >= killed_at and sample.client in victims and not sample.error]
        first_ms = min((sample.began - killed_at) * 1000 + sample.ms for sample in served)
        errors = len(self.flow.errors) - before
        where = Counter(sample.pop for sample in served)
        scene.notes.append(
            f"{len(served)} requests of its {len(victims)} clients since: {errors} errors; the first answer from elsewhere came"
            f" {first_ms:.0f} ms after the kill; served by {_counts(where)}"
        )
        if where[KILLED]:
            scene.faults.append(f"{where[KILLED]} answers are said to come from {KILLED}, which was dead")
        self._end(scene)

    async def _return(self, home: Sequence[Client]) -> None:
        scene = self._begin(f"{KILLED} is back", home)
        began = self._now()
        await self.stage.revive(KILLED)
        listening_at, before = self._now(), len(self.flow.errors)
        await self._wait(lambda: self._have_been_at(home, KILLED, began), f"the clients of {KILLED} at {KILLED} again")
        back_at = self._now()
        await self._look(scene, back_at, 0.4 * self.pace)
        await self.rows(scene, back_at)
        errors = len(self.flow.errors) - before
        scene.notes.append(f"{back_at - listening_at:.1f} s after it listened again its {len(home)} clients were back: {errors} errors")
        self._end(scene)

    async def _drain(self, moved: Sequence[Client]) -> None:
        scene = self._begin(f"{DRAINED} is drained by the operator, then taken back", moved)
        asked_at, before = self._now(), len(self.flow.errors)
        await self.edge.drain(DRAINED)
        drained_at = self._now()
        await self._look(scene, drained_at, 0.8 * self.pace)
        await self._wait(lambda: len(self._served(moved, drained_at)) == len(moved), f"other PoPs for the clients of {DRAINED}")
        await self.rows(scene, drained_at)
        since = [sample for sample in self.flow.samples if sample.began >= drained_at]
        late = sum(sample.pop == DRAINED for sample in since)
        if late:
            scene.faults.append(f"{late} requests went to {DRAINED} while it was drained")
        taken_back_at = self._now()
        await self.edge.undrain(DRAINED)
        await self._wait(lambda: self._have_been_at(moved, DRAINED, taken_back_at), f"the clients of {DRAINED} at {DRAINED} again")
        empty_ms, back_ms = (drained_at - asked_at) * 1000, (self._now() - taken_back_at) * 1000
        errors = len(self.flow.errors) - before
        scene.notes.append(
            f"empty {empty_ms:.0f} ms after it was asked; of {len(since)} requests since then {late} went there;"
            f" undrained, its {len(moved)} clients were back within {back_ms:.0f} ms: {errors} errors"
        )
        self._end(scene)

    # Waiting

    def _begin(self, title: str, clients: Sequence[Client]) -> Scene:
        scene = Scene(title, clients)
        self.scenes.append(scene)
        self.on_scene(scene)
        return scene

    def _end(self, scene: Scene) -> Scene:
        self.on_scene_end(scene)
        return scene

    def _now(self) -> float:
        return self.flow.clock()

    async def _look(self, scene: Scene, since: float, for_s: float) -> None:
        """Let requests flow while the scene's rows follow."""
        end = self._now() + for_s
        while self._now() < end:
            if self.is_watched:
                await self.rows(scene, since)
            await asyncio.sleep(min(FOLLOW_S, max(0.0, end - self._now())))

    async def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        end = self._now() + SETTLE_S
        while not is_so():
            if self._now() > end:
                raise TimeoutError(f"not within {SETTLE_S:.0f} s: {what}")
            await asyncio.sleep(LOOK_S)

    def _served(self, clients: Sequence[Client], since: float = 0.0) -> set[Client]:
        """Those with an answer to a request that began since."""
        answered = {sample.client for sample in self.flow.samples if sample.began >= since and sample.error is None}
        return answered & set(clients)

    def _have_been_at(self, clients: Sequence[Client], pop: str, since: float) -> bool:
        """Whether each had an answer from the PoP to a request that began since."""
        return {sample.client for sample in self.flow.samples if sample.began >= since and sample.pop == pop} >= set(clients)


def row_of(samples: Sequence[Sample], explained: Mapping[str, Any]) -> Row:
    """From a client's answered requests and the gateway's own explanation of it."""
    pop = samples[-1].pop
    there = [sample for sample in samples if sample.pop == pop]
    candidates = {one["pop"]: one for one in explained["candidates"]}
    others = [one for name, one in candidates.items() if name != pop and one["permitted"] and one["available"] and not one["drained"]]
    other = min(others, key=lambda one: one["estimate_ms"], default=None)
    chosen = candidates.get(pop)
    return Row(
        client=there[0].client,
        country=explained["location"]["country"] or "?",
        pop=pop,
        estimate_ms=chosen["estimate_ms"] if chosen else None,
        measured_ms=statistics.median(sample.ms for sample in there),
        alternative=other["pop"] if other else None,
        alternative_ms=other["estimate_ms"] if other else None,
        reason=Counter(sample.reason for sample in there).most_common(1)[0][0],
        is_in_window=bool(chosen and chosen["share"] > 0),
    )


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{pop} {n}" for pop, n in counted.most_common())
