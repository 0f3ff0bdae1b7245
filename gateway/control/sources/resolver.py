"""Resolver: the addresses behind the names of endpoints, looked up off the hot path and kept.

Owns all A and AAAA of each name, again every 30 s; the last good answer stays while a name server fails or says nothing. Must not
know what an address is used for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from gateway.control.process.blocking import in_thread
from gateway.control.process.tasks import Tasks
from gateway.control.sources.ways import has_way

logger = logging.getLogger("isochrone.resolver")

INTERVAL_S = 30.0
RETRY_S = 5.0  # after a failure
DEADLINE_S = 10.0  # glibc asks each server twice for 5 s

LEFT_S = 3600.0
AT_ONCE = 32  # threads of look-ups
Lookup = Callable[[str], Awaitable[tuple[str, ...]]]


async def lookup(name: str) -> tuple[str, ...]:
    """Every address of a name that can be reached from here, by the machine's own resolver; all, where none can: many machines have no
    IPv6, and such endpoints would count for ever as ones that are lost. OSError or TimeoutError when there is no answer."""

    def ask() -> list[str]:
        found = [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
        return [address for address in found if has_way(address)] or found

    return tuple(await in_thread(f"resolve-{name}"[:15], ask, DEADLINE_S))


@dataclass(slots=True)
class Answer:
    """What is known of one name."""

    addresses: tuple[str, ...] = ()  # sorted, so that an answer in another order is the same answer
    due: float = 0.0
    answered_at: float | None = None  # the last good one
    error: str | None = None  # why the last look-up failed; None: it did not
    is_asking: bool = False

    @property
    def is_new(self) -> bool:
        """Neither answered nor failed yet."""
        return self.answered_at is None and self.error is None


@dataclass(slots=True)
class Resolver:
    tasks: Tasks
    clock: Callable[[], float]
    on_change: Callable[[], None]
    ask: Lookup = lookup
    answers: dict[str, Answer] = field(default_factory=dict)
    _n_asking: int = 0
    _left: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)  # of names no longer wanted: the last answer, since when

    def want(self, names: Collection[str]) -> None:
        """The names that are of use from now on. One that is back has the addresses that it had until it is answered: a reload that takes
        another back is no worse off where no name server answers."""
        now = self.clock()
        for name in names:
            if name not in self.answers:
                addresses, left_at = self._left.pop(name, ((), -math.inf))
                self.answers[name] = Answer(addresses if now - left_at < LEFT_S else (), due=now)
        for name in self.answers.keys() - set(names):
            self._left[name] = self.answers.pop(name).addresses, now
        self._left = {name: left for name, left in self._left.items() if now - left[1] < LEFT_S}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The last good answer; empty when there was none yet."""
        answer = self.answers.get(name)
        return answer.addresses if answer is not None else ()

    def turn(self) -> None:
        """Begin the look-ups that are due, those first that have waited longest, so that names that hang hold up the others for no more
        than a round: each is a thread of its own, of which a machine has only so many."""
        now = self.clock()
        due = [(answer.due, name, answer) for name, answer in self.answers.items() if answer.due <= now and not answer.is_asking]
        for _, name, answer in sorted(due)[: max(0, AT_ONCE - self._n_asking)]:
            answer.is_asking = True
            self._n_asking += 1
            self.tasks.start(f"resolve {name}", self._look_up(name, answer))

    async def first(self, names: Collection[str], deadline_s: float) -> None:
        """Wait until each of `names` has an answer or has failed once, not longer than the deadline."""
        self.want({*self.answers, *names})
        self.turn()
        try:
            async with asyncio.timeout(deadline_s):
                while any(self.answers[name].is_new for name in names if name in self.answers):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass  # those that are late come in by on_change

    async def _look_up(self, name: str, answer: Answer) -> None:
        try:
            addresses = tuple(sorted({str(ipaddress.ip_address(found)) for found in await self.ask(name)}))
            if not addresses:
                raise OSError("no address")
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:  # RuntimeError: no thread can be started
            reason = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            if answer.error != reason:
                logger.warning("name not resolved", extra={"host": name, "error": reason, "kept": list(answer.addresses)})
            answer.error = reason
            answer.due = self.clock() + RETRY_S
            return
        finally:
            answer.is_asking = False
            self._n_asking -= 1
        answer.error, answer.answered_at = None, self.clock()
        answer.due = answer.answered_at + INTERVAL_S
        if addresses != answer.addresses:
            logger.info("name resolved", extra={"host": name, "addresses": list(addresses)})
            answer.addresses = addresses
            if self.answers.get(name) is answer:
                self.on_change()
