"""Last words: what each cluster last said of its Services, in `state_dir`, for a start while its API server is gone.

Owns the file. A cluster that answers has the word at once; what it said before is only what nobody has contradicted yet, and its age is
shown. Must not know pools or tables. A file that can't be used, or that others may write, is said and left aside: the gateway then
starts as it would without one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.config import Config, KubernetesAccess
from gateway.control import kept
from gateway.control.blocking import in_thread
from k8s import Cluster, Endpoint, ServiceKey, is_endpoint

logger = logging.getLogger("isochrone.sources")

FILE = "endpoints.json"
LOOK_S = 5.0  # between looks at whether there is something to write
RENEW_S = 60.0  # after so long it is written for the age alone
WRITE_S = 5.0  # the end of the process waits no longer for the disk


class LastWord(NamedTuple):
    endpoints: tuple[Endpoint, ...]
    heard_at: float  # Unix time
    server: str = ""  # whose word it is: Cluster.server


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
    heard_at: float
    endpoints: tuple[Endpoint, ...]
    server: str = ""


_decoder = msgspec.json.Decoder(list[_Word])


def path_of(config: Config) -> Path | None:
    return None if config.state_dir is None else config.state_dir / FILE


def load(path: Path | None) -> Words:
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
            one.endpoints, one.heard_at, one.server
        )
        for one in found
    }


def way_of(access: KubernetesAccess) -> Way:
    return access.context, None if access.kubeconfig is None else str(access.kubeconfig), access.in_cluster


@dataclass(slots=True)
class LastWords:
    """`clusters`: those that are followed, with the way to each and what is wanted of it."""

    path: Path | None
    clock: Callable[[], float]
    clusters: Callable[[], Iterable[tuple[KubernetesAccess, Cluster, Iterable[ServiceKey]]]] = tuple
    wall: Callable[[], float] = time.time
    words: Words = field(init=False)  # of the last process; the cluster's own word goes first
    _written: dict[tuple[Way, ServiceKey], tuple[Endpoint, ...]] = field(init=False)
    _written_at: float = float("-inf")
    _is_failing: bool = False

    def __post_init__(self) -> None:
        self.words = load(self.path)
        self._written = {key: word.endpoints for key, word in self.words.items()}

    def of(self, access: KubernetesAccess, key: ServiceKey) -> LastWord | None:
        return self.words.get((way_of(access), key))

    def age_s(self, access: KubernetesAccess, key: ServiceKey) -> float | None:
        """Since this was said to the last process; None: it was not. Never below 0, whatever the machine's clock did meanwhile."""
        word = self.of(access, key)
        return None if word is None else max(0.0, self.wall() - word.heard_at)

    async def turn(self) -> None:
        """Write where there is news, or the age is old."""
        if self.path is None:
            return
        now = dict(self._current())
        said = {key: word.endpoints for key, word in now.items()}
        is_news = said.keys() != self._written.keys() or any(self._written[key] is not endpoints for key, endpoints in said.items())
        if not is_news and (not said or self.clock() - self._written_at < RENEW_S):
            return
        try:
            await in_thread("last words", lambda: _write(self.path, now), WRITE_S)
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
                age_s = cluster.age_s(self.clock(), key)
                if cluster.is_synced(key) and age_s is not None:
                    yield (way, key), LastWord(cluster.endpoints(key), self.wall() - age_s, cluster.server or "")
                elif (way, key) in self.words:
                    yield (way, key), self.words[way, key]


def _write(path: Path | None, words: Words) -> None:
    assert path is not None
    found = [
        _Word(*way, key.namespace, key.service, key.port, word.heard_at, word.endpoints, word.server) for (way, key), word in words.items()
    ]
    kept.write(path, msgspec.json.encode(found))
