"""Joined: the endpoints of one Service behind one port, from slices that change one by one. Knows no I/O; what a slice means is `slices`'.

A change costs what it changes: slices are immutable, so one that is the same object is not read again; of a slice that changed only
those endpoints are read that it did not have before, and one that says the same is the same object as before; and where a change
concerns few addresses, only those are joined anew. The result is that of `merge()` over all slices, always.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, count, takewhile
from operator import attrgetter, eq, ne

from k8s.objects import EndpointSlice, SliceEndpoint
from k8s.slices import IPV4_FIRST, Candidate, Endpoint, candidate, joined, merge, port_number, version_of

FEW = 200  # addresses: above, all are joined anew, which costs some microseconds each

_Key = tuple[str, int]
_KEY = attrgetter("key")


@dataclass(frozen=True, slots=True)
class _Part:
    """What one slice contributes. The versions in it are of the slices in which an endpoint was read: see `word`."""

    piece: EndpointSlice
    port: str
    number: int | None  # of the port; None: nothing is read
    read: list[Candidate | None]  # of the slice's endpoints, in their order; None: passed over
    found: dict[_Key, Candidate]  # of several with one address the last

    @property
    def doubled(self) -> set[_Key]:
        """Addresses that it has more than once."""
        those = [one.key for one in self.read if one is not None]
        return {key for key, times in Counter(those).items() if times > 1} if len(those) > len(self.found) else set()

    def word(self, key: _Key) -> list[Candidate]:
        """On one address, to be compared with that of other slices."""
        if key not in self.found:
            return []
        version = version_of(self.piece)
        return [one._replace(version=version) for one in self.read if one is not None and one.key == key]


def _key_of(endpoint: Endpoint) -> _Key:
    return endpoint.address, endpoint.port


class Joined:
    def __init__(self, families: Sequence[str] = IPV4_FIRST) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()  # sorted; the same object until they change
        self._families = families
        self._parts: dict[str, _Part] = {}  # by the slice's name
        self._doubled: set[_Key] = set()  # addresses that more than one slice, or one more than once, speaks of

    def prefer(self, families: Sequence[str]) -> None:
        """Of a pod with several the first of these that it has."""
        if families != self._families:
            self._families = families
            self._take(self._join_all())

    def follow(self, slices: Mapping[str, EndpointSlice], ports: Mapping[str, str]) -> None:
        """These are all slices, by name; `ports`: with the name of the port that is read in each, where there is one."""
        families = {part.piece.address_type for part in self._parts.values()}
        before, self._parts = self._parts, {}
        touched: set[_Key] = set()
        for name, port in ports.items():
            old, piece = before.pop(name, None), slices[name]
            if old is not None and old.piece is piece and old.port == port:
                self._parts[name] = old
                continue
            part = self._parts[name] = _read(piece, port, old)
            touched |= self._touched(part, old)
        for gone in before.values():
            touched |= gone.found.keys()
        if not touched:
            return
        # Which family of a pod counts hangs on what else it has, and on what it had.
        families |= {part.piece.address_type for part in self._parts.values()}
        self._take(self._join_some(touched) if len(touched) <= FEW and len(families) == 1 else self._join_all())

    def _take(self, endpoints: tuple[Endpoint, ...]) -> None:
        if endpoints != self.endpoints:
            self.endpoints = endpoints

    def _touched(self, new: _Part, old: _Part | None) -> set[_Key]:
        """Of which addresses a slice may now mean something else. With its version it has another word where several have one."""
        before = {} if old is None else dict(zip(map(id, old.read), old.read, strict=True))
        after = dict(zip(map(id, new.read), new.read, strict=True))
        others = (before.get(one) or after.get(one) for one in before.keys() ^ after.keys())
        said = {one.key for one in others if one is not None}
        return said | {key for key in self._doubled if key in new.found or (old is not None and key in old.found)}

    def _join_all(self) -> tuple[Endpoint, ...]:
        seen: set[_Key] = set()
        self._doubled = set()
        for part in self._parts.values():
            self._doubled |= seen & part.found.keys()
            self._doubled |= part.doubled
            seen |= part.found.keys()
        unique = (one for part in self._parts.values() for key, one in part.found.items() if key not in self._doubled)
        doubled = (one for part in self._parts.values() for key in self._doubled for one in part.word(key))
        return merge(chain(unique, doubled), self._families)

    def _join_some(self, touched: set[_Key]) -> tuple[Endpoint, ...]:
        endpoints = list(self.endpoints)
        for key in touched:
            several = [one for part in self._parts.values() for one in part.word(key)]
            (self._doubled.add if len(several) > 1 else self._doubled.discard)(key)
            place = bisect_left(endpoints, key, key=_key_of)
            is_there = place < len(endpoints) and _key_of(endpoints[place]) == key
            endpoints[place : place + is_there] = [joined(several).endpoint] if several else []
        return tuple(endpoints)


def _read(piece: EndpointSlice, port: str, before: _Part | None) -> _Part:
    number, version = port_number(piece, port), version_of(piece)
    if number is None:
        return _Part(piece, port, number, [], {})
    endpoints = piece.endpoints or []
    if before is None or before.number != number or before.piece.address_type != piece.address_type:
        before = _Part(piece, port, number, [], {})
        read, places = _kept(endpoints, [], [])
    else:
        read, places = _kept(endpoints, before.piece.endpoints or [], before.read)
    for place in places:
        one = candidate(endpoints[place], number, piece.address_type, version)
        read[place] = None if one is None else _again(one, before.found.get(one.key))
    those = list(filter(None, read))
    return _Part(piece, port, number, read, dict(zip(map(_KEY, those), those, strict=True)))


def _kept(
    these: Sequence[SliceEndpoint], before: Sequence[SliceEndpoint], read: list[Candidate | None]
) -> tuple[list[Candidate | None], Iterable[int]]:
    """What was read of endpoints before, in the places of these, and the places in which these are others. A controller writes them where
    they were, adds at the end, and closes the gaps of those that went."""
    if len(these) == len(before):
        return read.copy(), compress(count(), map(ne, these, before))
    most = min(len(these), len(before))
    first = _run(map(eq, these, before))
    last = min(_run(map(eq, reversed(these), reversed(before))), most - first)
    gap: list[Candidate | None] = [None] * (len(these) - first - last)
    return [*read[:first], *gap, *read[len(read) - last :]], range(first, first + len(gap))


def _run(same: Iterable[bool]) -> int:
    """How many are true at the beginning."""
    return sum(1 for _ in takewhile(bool, same))


def _again(one: Candidate, known: Candidate | None) -> Candidate:
    """The same object as before, or the same endpoint, where it says the same."""
    if known is None or known.endpoint != one.endpoint:
        return one
    return known if known.said == one.said and known.family == one.family else one._replace(endpoint=known.endpoint)
