"""Doors: at which listeners workers accept, and when a socket can be let go of. One way for the start, the drain and all in between.

Owns the orders about listeners, by their numbers. Must not know why one comes or goes.

    open -> pause -> open -> refuse_new -> leave -> close

A worker acts on an order once a turn, and says so (`versions` of the counters). A queue that is another process's too, as a successor's, is
left alone: all that a worker takes from it as it leaves is who has just woken it, and nobody else. One that is ours alone is emptied: a
worker that lacks descriptors for it acts when there are some, or is told to leave at once.

The descriptor that a worker knows is never stale. It is closed when each has acted on the order to leave; see follow_listeners for why none
knows it then. For a worker that hangs nobody else waits: the others have left, and the socket goes without it, but its number stays taken
until that worker has acted too, or has ended. One that is shared stays open for as long: with another process at its queue nobody is lost,
and only by its descriptor is such a worker's epoll ever rid of it.

A number is a place in `Listeners.all`. It is given anew when nobody knows the descriptor and the last connection has ended: until then
figures are counted under it, with the name of who had it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.control.life.listeners import HANDSHAKE_S, Listener, Listeners
from gateway.control.life.workers import Workers
from gateway.dataplane import Snapshots

WAIT_S = 0.02  # between looks at who has acted


@dataclass(slots=True)
class Doors:
    snapshots: Snapshots
    workers: Workers
    listeners: Listeners
    _left: dict[int, int] = field(default_factory=dict)  # by number: the version of the order to leave
    _hollow: set[int] = field(default_factory=set)  # closed, but for a worker that may know the descriptor

    @property
    def numbers(self) -> list[int]:
        """Of those that are not closed."""
        return [number for number, one in enumerate(self.listeners.all) if not one.is_closed and number not in self._hollow]

    def add(self, listener: Listener) -> int:
        """Workers accept from one that listens; its number."""
        number = self._free_number()
        self.snapshots.order_listener(number, "leave")  # as it is; ValueError where there is no such number
        self.listeners.all[number : number + 1] = [listener]
        self.open(number)
        return number

    def open(self, number: int) -> None:
        """Workers accept: from the first, or again behind a pause."""
        self._left.pop(number, None)
        self._order(number, "accept", self.listeners.all[number].socket.fileno())

    def pause(self, number: int) -> None:
        """Whoever comes waits in the queue, for the next open() or another process: all of them, from when all workers have left."""
        self._left[number] = self._order(number, "leave")

    def refuse_new(self, number: int) -> None:
        """Where the queue is ours: hold connections back that have not begun. Those under way come through."""
        listener = self.listeners.all[number]
        if not listener.is_shared:
            self._left.pop(number, None)
            # First: workers must know it when they accept one that was held back half-way.
            self._order(number, "last", listener.socket.fileno())
            listener.refuse_new()

    def leave(self, number: int, at_once: bool = False) -> None:
        """For ever: what waits in a queue that is ours is taken before, unless it is to be at once. Twice does no harm."""
        if at_once or number not in self._left:
            is_left_alone = at_once or self.listeners.all[number].is_shared
            self._left[number] = self._order(number, "leave" if is_left_alone else "empty")

    def have_left(self, number: int) -> bool:
        """Whether all workers have that turn."""
        return number in self._left and self.workers.have_acted(self._left[number])

    def close(self, number: int) -> None:
        """Nobody connects any more. What there is of connections goes on."""
        if self._is_known(number):
            self.listeners.all[number].hollow()
            self._hollow.add(number)
        else:
            self.listeners.all[number].close()

    async def remove(self, number: int, deadline_s: float) -> bool:
        """All steps to the end. False: a worker has not left in this time. Then the socket is closed but for that one, see turn()."""
        self.refuse_new(number)
        if not self.listeners.all[number].is_shared:
            await asyncio.sleep(HANDSHAKE_S)
        self.leave(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not self.have_left(number):
                    await asyncio.sleep(WAIT_S)
        self.close(number)
        return number not in self._hollow

    def turn(self) -> None:
        """Close for good what workers that hung have left since."""
        for number in [one for one in self._hollow if not self._is_known(one)]:
            self._hollow.discard(number)
            self.listeners.all[number].close()

    def _order(self, number: int, duty: str, descriptor: int = -1) -> int:
        version = self.snapshots.order_listener(number, duty, descriptor)
        self.workers.wake()
        return version

    def _is_known(self, number: int) -> bool:
        """To a worker, that may accept from it or have it in its epoll."""
        return self.workers.may_lag(self._left.get(number))

    def _free_number(self) -> int:
        counted = self.workers.counters.read()
        for number, one in enumerate(self.listeners.all):
            if one.is_closed and counted["idle"][number] == counted["active"][number] == 0:
                return number
        return len(self.listeners.all)
