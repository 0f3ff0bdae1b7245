"""Others: where one sequence of objects has such as another one has not. By identity, and by functions that loop in C.

For sequences of thousands of which a few are other objects than before: a change then costs what it changes, and some nanoseconds for
each that it does not. Must not know what the objects are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import is_, rshift


def keys_of(objects: Iterable[object]) -> Iterator[int]:
    """One for each object while it is alive. Ids are multiples of 16, of which a table of hashes makes long walks: so does CPython's own
    hash of a pointer."""
    return map(rshift, map(id, objects), repeat(4))


def places_of_others(some: Sequence[object], than: Sequence[object]) -> list[int]:
    """Where in `some` stands what is no object of `than`, in order. Both are alive, so that an id means one object."""
    first = _common(some, than)
    most = min(len(some), len(than)) - first
    last = min(_common(some[::-1], than[::-1]), most)
    middle = some[first : len(some) - last]
    places = dict(zip(keys_of(middle), range(first, first + len(middle)), strict=True))
    return sorted(places[one] for one in places.keys() - set(keys_of(than[first : len(than) - last])))


def _common(some: Sequence[object], than: Sequence[object]) -> int:
    """How many are the same at their beginnings."""
    same = list(map(is_, some, than))
    return len(same) if all(same) else same.index(False)
