"""Traffic: the demo's clients, each of which keeps asking at a fixed pace, whatever becomes of its earlier requests.

Owns pace and samples; must not know PoPs or processes. The client it asks with (client.py) counts what others quietly ask for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.control.process.tasks import Tasks
from gateway.demo import client as http
from gateway.demo.places import Client

PERIOD_S = 0.2  # of each client
DEADLINE_S = 5.0  # of one request


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times are monotonic seconds."""

    client: Client
    began: float
    ms: float  # to the end of the whole answer
    pop: str = ""
    reason: str = ""
    error: str | None = None


@dataclass(slots=True)
class Flow:
    """All clients' requests."""

    port: int
    clients: Sequence[Client]
    clock: Callable[[], float] = time.perf_counter  # finer than the loop's own
    samples: list[Sample] = field(default_factory=list)  # in the order of their ends
    _tasks: Tasks = field(default_factory=Tasks)
    _http: http.Client = field(init=False)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _is_asking: bool = False

    def __post_init__(self) -> None:
        self._http = http.Client(self.port, DEADLINE_S)

    def start(self) -> None:
        self._is_asking = True
        for number, client in enumerate(self.clients):
            self._tasks.start(f"client {client.city}", self._keep_asking(client, PERIOD_S * number / len(self.clients)))

    async def stop(self) -> None:
        """No further request; those under way end."""
        self._is_asking = False
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DEADLINE_S)
        await self._tasks.stop(DEADLINE_S)
        self._http.close()

    @property
    def errors(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.error is not None]

    async def _keep_asking(self, client: Client, wait_s: float) -> None:
        due = self.clock() + wait_s
        while True:
            await asyncio.sleep(due - self.clock())
            if not self._is_asking:
                return
            asked = self._tasks.start(f"request of {client.city}", self._ask(client))
            self._under_way.add(asked)
            asked.add_done_callback(self._under_way.discard)
            due += PERIOD_S

    async def _ask(self, client: Client) -> None:
        began = self.clock()
        try:
            answer = await self._http.ask("GET", "/", {"x-forwarded-for": client.address})
        except http.Fault as fault:
            self.samples.append(Sample(client, began, self._since_ms(began), error=str(fault)))
            return
        pop, reason = answer.fields.get("x-isochrone-pop", ""), answer.fields.get("x-isochrone-reason", "")
        refused = None if answer.status == 200 else f"status {answer.status}"
        self.samples.append(Sample(client, began, self._since_ms(began), pop, reason, refused))

    def _since_ms(self, began: float) -> float:
        return (self.clock() - began) * 1000
