"""Last words: what each cluster last said of its Services, in `state_dir`, for a start while its API server is gone, and in memory for a
reload that takes back what the last one took away.

Owns the file. A cluster that answers has the word at once; what it said before is only what nobody has contradicted yet, and its age is
shown. Must not know pools or tables. A file that can't be used, or that others may write, is said and left aside: the gateway then
starts as it would without one.

The machine's clock may be wrong, and be set right at any time. In here all goes by the process's own, which only goes on; that of the
machine is asked for the moments of reading and writing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.control.process import kept
from gateway.control.process.blocking import in_thread
from gateway.model import Config, KubernetesAccess
from k8s import Cluster, Endpoint, ServiceKey, is_endpoint

logger = logging.getLogger("isochrone.sources")

FILE = "endpoints.json"
LOOK_S = 5.0  # between looks at whether there is something to write
RENEW_S = 60.0  # after so long it is written for the age alone
WRITE_S = 5.0  # the end of the process waits no longer for the disk
SKEW_S = 60.0  # clocks of gateways that share the file may differ by so much
UNWANTED_S = 3600.0  # what nobody asks for is forgotten: a change is taken back sooner


class LastWord(NamedTuple):
    endpoints: tuple[Endpoint, ...]
    heard_at: float  # by the clock of this process
    server: str = ""  # whose word it is: Cluster.said_by
    wanted_at: float = float("-inf")  # when a gateway last asked for it: this one, or another that shares the file


Way = tuple[str | None, str | None, bool]  # context, kubeconfig, in_cluster
Words = dict[tuple[Way, ServiceKey], LastWord]


class _Word(msgspec.Struct):
    """As it is written."""

    context: str | None
    kubeconfig: str | None
    in_cluster: bool
    namespace: str
    service: str
    port: str | int
    heard_at: float  # Unix time
    endpoints: tuple[Endpoint, ...]
    server: str = ""
    wanted_at: float = 0.0  # Unix time; in files that do not say so: when it was heard


_decoder = msgspec.json.Decoder(list[_Word])


def path_of(config: Config) -> Path | None:
    return None if config.state_dir is None else config.state_dir / FILE


def load(path: Path | None, epoch_s: float) -> Words:
    """`epoch_s`: the Unix time at which our clock stood at 0."""
    if path is None:
        return {}
    try:
        found = _decoder.decode(kept.read(path))
        if odd := [str(one.identity) for word in found for one in word.endpoints if not is_endpoint(one)]:
            raise ValueError(f"no endpoint: {odd[0]}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else str(error)
        logger.error("the last words of clusters are not used", extra={"path": str(path), "error": reason})
        return {}
    return {
        ((one.context, one.kubeconfig, one.in_cluster), ServiceKey(one.namespace, one.service, one.port)): LastWord(
            one.endpoints, one.heard_at - epoch_s, one.server, max(one.heard_at, one.wanted_at) - epoch_s
        )
        for one in found
    }


def _until(now: float, word: LastWord) -> LastWord:
    """What has a time that is still to come was written by a clock that is ahead, or was: it is of now at the latest."""
    return word._replace(heard_at=min(word.heard_at, now), wanted_at=min(word.wanted_at, now))


def way_of(access: KubernetesAccess) -> Way:
    return access.context, None if access.kubeconfig is None else str(access.kubeconfig), access.in_cluster


@dataclass(slots=True)
class LastWords:
    """`clusters`: those that are followed, with the way to each and what is wanted of it."""

    path: Path | None
    clock: Callable[[], float]
    clusters: Callable[[], Iterable[tuple[KubernetesAccess, Cluster, Iterable[ServiceKey]]]] = tuple
    wall: Callable[[], float] = time.time
    words: Words = field(init=False)  # of the last process, and of clusters followed no longer; a cluster's own word goes first
    _written: dict[tuple[Way, ServiceKey], tuple[Endpoint, ...]] = field(init=False)
    _written_at: float = float("-inf")
    _is_failing: bool = False
    _writing: threading.Lock = field(default_factory=threading.Lock)  # a disk that hangs holds one thread, not one more each time

    def __post_init__(self) -> None:
        now = self.clock()
        self.words = {at: _until(now, word) for at, word in load(self.path, self._epoch_s()).items()}
        self._written = {key: word.endpoints for key, word in self.words.items()}

    def of(self, access: KubernetesAccess, key: ServiceKey) -> LastWord | None:
        return self.words.get((way_of(access), key))

    def age_s(self, access: KubernetesAccess, key: ServiceKey) -> float | None:
        """Since this was said to the last process; None: it was not. Never below 0, whatever the machine's clock did meanwhile."""
        word = self.of(access, key)
        return None if word is None else self.clock() - word.heard_at

    def remember(self, access: KubernetesAccess, key: ServiceKey, cluster: Cluster) -> None:
        """What a cluster, that is asked no longer for this, has said of it."""
        if (word := self._said(cluster, key)) is not None:
            self.words[way_of(access), key] = word
            self._forget()

    def _forget(self) -> None:
        """What nobody has asked for since long. What is asked for stays, however old: it is the last that is known."""
        now = self.clock()
        for at in {(way_of(access), key) for access, _, keys in self.clusters() for key in keys} & self.words.keys():
            self.words[at] = self.words[at]._replace(wanted_at=now)
        self.words = {at: word for at, word in self.words.items() if word.wanted_at > now - UNWANTED_S}

    async def end(self) -> None:
        """Without news too: whoever shares the file throws nothing away that was asked for until now."""
        self._written_at = float("-inf")
        await self.turn()

    async def turn(self) -> None:
        """Forget what is to be forgotten; write where there is news, or the age is old."""
        self._forget()
        if self.path is None or self._writing.locked():
            return
        now: Words = {}
        for at, word in self._current():  # two of one way: one of them is followed until the other has spoken
            if at not in now or word.heard_at >= now[at].heard_at:
                now[at] = word
        said = {key: word.endpoints for key, word in now.items()}
        is_news = said.keys() != self._written.keys() or any(self._written[key] is not endpoints for key, endpoints in said.items())
        if not is_news and (not said or self.clock() - self._written_at < RENEW_S):
            return
        try:
            await in_thread("last words", lambda: self._write(now), WRITE_S)
        except OSError as error:  # TimeoutError is one
            if not self._is_failing:
                reason = "the disk does not answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
                logger.error("endpoints not kept", extra={"path": str(self.path), "error": reason})
            self._is_failing = True
            return
        self._is_failing = False
        self._written, self._written_at = said, self.clock()

    def _current(self) -> Iterator[tuple[tuple[Way, ServiceKey], LastWord]]:
        """Of what is wanted: what its cluster says, and where that has not spoken yet, what it said to the last process."""
        for access, cluster, keys in self.clusters():
            way = way_of(access)
            for key in keys:
                if (word := self._said(cluster, key)) is not None:
                    yield (way, key), word
                elif (way, key) in self.words:
                    yield (way, key), self.words[way, key]

    def _said(self, cluster: Cluster, key: ServiceKey) -> LastWord | None:
        now = self.clock()
        age_s = cluster.age_s(now, key)
        if age_s is None or not cluster.is_synced(key):
            return None
        return LastWord(cluster.endpoints(key), now - age_s, cluster.said_by(key) or "", now)

    def _write(self, own: Words) -> None:
        with self._writing:
            _write(self.path, own, self.clock(), self._epoch_s())

    def _epoch_s(self) -> float:
        return self.wall() - self.clock()


def _write(path: Path | None, own: Words, now: float, epoch_s: float) -> None:
    """Another gateway may share the file: what that asked for stays until nobody has for long, and of one Service the newer word."""
    assert path is not None
    with kept.alone(path.parent):
        found = load(path, epoch_s)
        words = {at: _until(now, word) for at, word in found.items() if word.wanted_at > now - UNWANTED_S}
        for at, word in own.items():
            if at not in words or word.heard_at >= words[at].heard_at or found[at].heard_at > now + SKEW_S:
                words[at] = word
            words[at] = words[at]._replace(wanted_at=now)
        _replace(path, words, epoch_s)


def _replace(path: Path, words: Words, epoch_s: float) -> None:
    found = [
        _Word(*way, key.namespace, key.service, key.port, word.heard_at + epoch_s, word.endpoints, word.server, word.wanted_at + epoch_s)
        for (way, key), word in words.items()
    ]
    kept.write(path, msgspec.json.encode(found))
