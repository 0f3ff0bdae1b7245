"""Keeps a copy of one collection of an API server, by list and watch, after client-go's rules (tools/cache/reflector.go).

Owns the order of lists and watches, resource versions, backoff. Must not know what the objects mean. Whatever the server does
(gone, 403, half-open, flooding, garbage) the copy stays as it last was; only a list or an event that decodes changes it.

`turn()` is one list or one watch and answers how long to wait before the next; `run()` is the loop around it. State between
turns: the copy, `_version` (where the next watch starts), and whether a list is due.

    list due -- list ok --> watch -- ended, cut off or fell silent after an event --> watch again from the last version
        ^                     |
        |                     +-- 429 --> watch again, after a backoff
        +---------------------+-- 410, any other refusal, garbage, or nothing streamed: list due, after a backoff
        +-- another server than the last list came from: list due, of any version

A watch that streams nothing, not even the bookmark of each minute, is believed no further: a server whose versions went back (an etcd
restored from a backup) accepts a watch from ahead of them and says nothing in it for ever, and shows no other sign.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, Generic

import aiohttp
import msgspec

from k8s._api import Api, refused
from k8s._budget import Budget
from k8s.access import ClusterAccess
from k8s.errors import ApiError, CutOffError, GarbageError, K8sError, UnreachableError
from k8s.objects import Bookmark, HasMetadata, ObjectList, ObjectT, Status, WatchEvent

logger = logging.getLogger("isochrone.k8s")

_event_decoder = msgspec.json.Decoder(WatchEvent)
_bookmark_decoder = msgspec.json.Decoder(Bookmark)
_status_decoder = msgspec.json.Decoder(Status)


@dataclass(frozen=True, slots=True)
class Timing:
    """Every deadline and limit of a reflector, in seconds and bytes. The defaults are client-go's where it has one."""

    connect_s: float = 10.0
    first_list_s: float = 0.25  # within which a reflector begins, drawn at random: many begin together, in many gateways
    list_s: float = 60.0  # a whole list; client-go has no limit
    watch_s: tuple[int, int] = (300, 600)  # asked of the server, drawn at random, so that watches do not end together
    watch_grace_s: float = 30.0  # past that, a server that ignores what was asked is left
    read_s: tuple[float, float] = (90.0, 120.0)  # HTTP/1.1 has no ping, but a bookmark comes each 60 s: silence is a dead peer
    backoff_min_s: float = 0.8
    backoff_max_s: float = 30.0  # before jitter, which may double it
    backoff_reset_s: float = 120.0
    short_watch_s: float = 1.0  # a watch that ends sooner is paced, one without an event a fault: else it would be a hot loop
    line_bytes: int = 16 * 2**20  # a slice of 1000 endpoints is 350 kB; etcd takes no object above 1.5 MB
    list_bytes: int = 256 * 2**20


class Backoff:
    """Exponential, with full jitter, back at the start after a quiet time."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._next_s = timing.backoff_min_s
        self._last_at = float("-inf")

    def wait_s(self, now: float, rng: random.Random) -> float:
        if now - self._last_at > self._timing.backoff_reset_s:
            self._next_s = self._timing.backoff_min_s
        self._last_at = now
        wait_s = self._next_s
        self._next_s = min(2.0 * wait_s, self._timing.backoff_max_s)
        return wait_s * (1.0 + rng.random())


class Reflector(Generic[ObjectT]):
    """A copy of the objects of one kind in one namespace that a selector picks."""

    def __init__(
        self,
        api: Api,
        path: str,
        kind: type[ObjectT],
        selector: dict[str, str],
        on_change: Callable[[Collection[str]], None],
        *,
        budget: Budget | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`path` of the collection; `selector`: labelSelector or fieldSelector. `on_change(names)` comes after objects (of these names),
        synced or error moved. `budget`: the thread's, for decoding."""
        self.path: Final = path
        self.objects: dict[str, ObjectT] = {}  # by name
        self.is_synced = False  # a list was received once
        self.contact_at: float | None = None  # the last list, event or bookmark, by `clock`
        self.listed_from: str | None = None  # the identity of the server that the last list came from
        self.error: str | None = None  # of the last attempt; None once the server streams again
        self._api = api
        self._selector = selector
        self._on_change = on_change
        self._timing = timing or Timing()
        self._clock = clock
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._backoff = Backoff(self._timing)
        self._kind = kind.__name__
        self._list_decoder = msgspec.json.Decoder(ObjectList[kind])  # type: ignore[valid-type]  # a type made at run time
        self._object_decoder = msgspec.json.Decoder(kind)
        # First whatever the server has in its cache ("0"), at no cost to etcd; then nothing older than what was seen; and once
        # the server says that a version is gone, the newest (""), which costs it a quorum read.
        self._version = "0"
        self._is_list_due = True
        self._events = 0  # of this watch, bookmarks included
        self._is_streaming = False  # this watch was accepted
        self._budget = budget or Budget()

    async def run(self) -> None:
        """Until cancelled. Raises nothing else."""
        await self._sleep(self._rng.uniform(0.0, self._timing.first_list_s))
        while True:
            await self._sleep(await self.turn())

    async def turn(self) -> float:
        """One list, or one watch to its end. The seconds to wait before the next turn."""
        started_at = self._clock()
        is_list = self._is_list_due
        self._is_streaming, self._events = False, 0
        error: K8sError | None = None
        try:
            access = await self._api.access()
            if access.identity != self.listed_from:
                # Versions of one server mean nothing to another: from there this would be a version of the past, or of the future.
                self._version, self._is_list_due, is_list = "0", True, True
            await (self._list(access) if is_list else self._watch(access))
        except K8sError as caught:
            error = caught
        except Exception as caught:  # what a hostile answer can still run into (deep nesting is a RecursionError): never the end
            error = GarbageError(f"{type(caught).__name__}: {caught}")
        lasted_s = self._clock() - started_at
        if not is_list and not self._events and not (isinstance(error, ApiError) and error.is_busy):
            self._is_list_due = True
        if is_list or (error is not None and not isinstance(error, UnreachableError)):
            return 0.0 if error is None else self._failed(error)
        if self._is_streaming and lasted_s >= self._timing.short_watch_s:
            # It ended (or was cut, or fell silent) after it had worked: no reason to wait, but not all gateways at once.
            if error is not None and not isinstance(error, CutOffError):
                self._set_error(str(error))
            return self._rng.uniform(0.0, self._timing.backoff_min_s)
        if self._events and error is None:
            return self._timing.short_watch_s
        return self._failed(error or UnreachableError("the watch was closed at once, without an event"))

    def _failed(self, error: K8sError) -> float:
        wait_s = self._backoff.wait_s(self._clock(), self._rng)
        if isinstance(error, ApiError):
            if error.is_expired:
                self._version = ""
            self._is_list_due = self._is_list_due or not error.is_busy
            wait_s = max(wait_s, (error.retry_after_s or 0.0) * self._rng.uniform(1.0, 1.5))
        elif not isinstance(error, UnreachableError):
            # Not understood, so an event may have been missed; or access could not be loaded, and a list does no harm.
            self._is_list_due = True
        self._set_error(str(error))
        return wait_s

    def _set_error(self, error: str | None) -> None:
        if error != self.error:
            self.error = error
            self._on_change(())

    async def _list(self, access: ClusterAccess) -> None:
        timeout = aiohttp.ClientTimeout(total=self._timing.list_s, sock_connect=self._timing.connect_s)
        body = bytearray()
        # No limit= (pages): these lists are of one Service, and pages other than from the cache would go to etcd.
        async with self._api.get(access, self.path, {**self._selector, "resourceVersion": self._version}, timeout) as response:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._timing.list_bytes:
                    raise GarbageError(f"a list of more than {self._timing.list_bytes} bytes")
        try:
            found: ObjectList[ObjectT] = self._list_decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise GarbageError(f"a list that is none: {error}") from error
        version = found.metadata.resource_version
        if found.kind != f"{self._kind}List" or not version:
            raise GarbageError(f"a list of kind {found.kind!r}, version {version!r}, where {self._kind}List was asked for")
        if found.metadata.continue_:
            raise GarbageError("a part of a list, where the whole was asked for")
        # What is as it was stays the same object: whoever read it need not read it again.
        listed = {_name(one): one for one in found.items or ()}
        objects = {name: before if (before := self.objects.get(name)) == one else one for name, one in listed.items()}
        self.contact_at = self._clock()
        self._version, self.listed_from = version, access.identity
        self._is_list_due = False
        # The error stays until the watch streams as well: a list that works beside a watch that is refused is half of it.
        names = {name for name, one in objects.items() if self.objects.get(name) is not one} | (self.objects.keys() - objects.keys())
        self.objects = objects
        if names or not self.is_synced:
            self.is_synced = True
            self._on_change(names)

    async def _watch(self, access: ClusterAccess) -> None:
        asked_s = self._rng.randint(*self._timing.watch_s)
        params = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(asked_s),
        }
        timeout = aiohttp.ClientTimeout(
            total=asked_s + self._timing.watch_grace_s,
            sock_connect=self._timing.connect_s,
            sock_read=self._rng.uniform(*self._timing.read_s),
        )
        async with self._api.get(access, self.path, params, timeout) as response:
            self._is_streaming = True
            # Not cleared at once: a server that accepts each watch and closes it would otherwise flicker between well and ill.
            cleared = asyncio.get_running_loop().call_later(self._timing.short_watch_s, self._set_error, None)
            try:
                async for lines in self._lines(response.content):
                    await self._take(lines)
            finally:
                cleared.cancel()

    async def _lines(self, content: aiohttp.StreamReader) -> AsyncIterator[Iterable[bytes]]:
        """Whole lines as they arrive. What is left at the end is part of an event that the next watch brings again."""
        rest = bytearray()
        async for chunk in content.iter_any():
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                rest += chunk
            else:
                rest += head
                lines = bytes(rest).split(b"\n")
                rest = bytearray(tail)
                yield lines
            if len(rest) > self._timing.line_bytes:
                raise GarbageError(f"a line of more than {self._timing.line_bytes} bytes")

    async def _take(self, lines: Iterable[bytes]) -> None:
        started_at = self._clock()
        changed: set[str] = set()
        try:
            for line in lines:
                if line and not line.isspace() and (name := self._apply(line)) is not None:
                    changed.add(name)
        finally:
            if changed:
                self._on_change(changed)
        # A server that floods is read more slowly: other clusters share this thread.
        if rest_s := self._budget.rest_s(started_at, self._clock()):
            await self._sleep(rest_s)

    def _apply(self, line: bytes) -> str | None:
        """One line of a watch. The name of the object if the copy changed."""
        try:
            event = _event_decoder.decode(line)
            match event.type:
                case "ADDED" | "MODIFIED" | "DELETED":
                    return self._apply_object(event.type, self._object_decoder.decode(event.object))
                case "BOOKMARK":
                    self._seen(_bookmark_decoder.decode(event.object).metadata.resource_version)
                case "ERROR":
                    raise refused(_status_decoder.decode(event.object), 0)
                case _:
                    # From a newer API, perhaps. As client-go: said, and passed over; it does not count as contact.
                    logger.warning("%s: watch event of unknown type %r passed over", self.path, event.type[:40])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise GarbageError(f"a watch event that is none: {error}") from error
        return None

    def _apply_object(self, kind: str, changed: ObjectT) -> str | None:
        name = _name(changed)
        before = self.objects.get(name)
        if kind == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = changed
        self._seen(changed.metadata.resource_version)
        is_changed = before is not None if kind == "DELETED" else before != changed
        return name if is_changed else None

    def _seen(self, version: str | None) -> None:
        self._events += 1
        self.contact_at = self._clock()
        self._version = version or self._version
        self._set_error(None)


def _name(found: HasMetadata) -> str:
    if not found.metadata.name:
        raise GarbageError("an object without a name")
    return found.metadata.name
