"""Joined: the endpoints of one Service behind one port, from slices that change one by one. Knows no I/O; what a slice means is `slices`'.

A change costs what it changes: slices are immutable, so one that is the same object is not read again; an endpoint of a slice that
changed is the same object as before where it says the same; and where a change concerns few addresses, only those are joined anew. The
result is that of `merge()` over all slices, always.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k8s.objects import EndpointSlice
from k8s.slices import IPV4_FIRST, Candidate, Endpoint, candidates, joined, merge

FEW = 200  # addresses: above, all are joined anew, which costs some microseconds each

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one slice contributes."""

    piece: EndpointSlice
    port: str
    found: dict[_Key, list[Candidate]]


def _key_of(endpoint: Endpoint) -> _Key:
    return endpoint.address, endpoint.port


class Joined:
    def __init__(self, families: Sequence[str] = IPV4_FIRST) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()  # sorted; the same object until they change
        self._families = families
        self._parts: dict[str, _Part] = {}  # by the slice's name
        self._doubled: set[_Key] = set()  # addresses that more than one slice, or one more than once, speaks of

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
            part = self._parts[name] = _Part(piece, port, _read(piece, port, {} if old is None else old.found))
            touched |= self._touched({} if old is None else old.found, part.found)
        for gone in before.values():
            touched |= gone.found.keys()
        if not touched:
            return
        # Which family of a pod counts hangs on what else it has, and on what it had.
        families |= {part.piece.address_type for part in self._parts.values()}
        endpoints = self._join_some(touched) if len(touched) <= FEW and len(families) == 1 else self._join_all()
        if endpoints != self.endpoints:
            self.endpoints = endpoints

    def _touched(self, old: dict[_Key, list[Candidate]], new: dict[_Key, list[Candidate]]) -> set[_Key]:
        """Of which addresses a slice may now mean something else. With its version it has another word where several have one."""
        said = {key for key in old.keys() | new.keys() if not _means_the_same(old.get(key), new.get(key))}
        return said | (self._doubled & (old.keys() | new.keys()))

    def _join_all(self) -> tuple[Endpoint, ...]:
        seen: set[_Key] = set()
        self._doubled = set()
        for part in self._parts.values():
            self._doubled |= seen & part.found.keys()
            self._doubled |= {key for key, several in part.found.items() if len(several) > 1}
            seen |= part.found.keys()
        every = (one for part in self._parts.values() for several in part.found.values() for one in several)
        return merge(every, self._families)

    def _join_some(self, touched: set[_Key]) -> tuple[Endpoint, ...]:
        endpoints = list(self.endpoints)
        for key in touched:
            several = [one for part in self._parts.values() for one in part.found.get(key, ())]
            (self._doubled.add if len(several) > 1 else self._doubled.discard)(key)
            place = bisect_left(endpoints, key, key=_key_of)
            is_there = place < len(endpoints) and _key_of(endpoints[place]) == key
            endpoints[place : place + is_there] = [joined(several).endpoint] if several else []
        return tuple(endpoints)


def _read(piece: EndpointSlice, port: str, before: dict[_Key, list[Candidate]]) -> dict[_Key, list[Candidate]]:
    found: dict[_Key, list[Candidate]] = {}
    for one in candidates(piece, port):
        known = before.get(one.key)
        if known is not None and known[0].endpoint == one.endpoint:
            one = one._replace(endpoint=known[0].endpoint)
        found.setdefault(one.key, []).append(one)
    return found


def _means_the_same(old: list[Candidate] | None, new: list[Candidate] | None) -> bool:
    """But for the version of the slice."""
    return (
        old is not None
        and new is not None
        and len(old) == len(new) == 1
        and old[0].endpoint is new[0].endpoint
        and old[0].said == new[0].said
        and old[0].family == new[0].family
    )
