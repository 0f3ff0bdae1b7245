"""Others: where one sequence of objects has such as another one has not. By identity, and by functions that loop in C.

For sequences of thousands of which a few are other objects than before: a change then costs what it changes, and some nanoseconds for
each that it does not. Must not know what the objects are. All that is compared is alive, so that an id means one object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from operator import indexOf, is_, rshift
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def keys_of(objects: Iterable[object]) -> Iterator[int]:
    """One for each object while it is alive. Ids are multiples of 16, of which a table of hashes makes long walks: so does CPython's own
    hash of a pointer."""
    return map(rshift, map(id, objects), repeat(4))


def ends_of(some: Sequence[object], than: Sequence[object]) -> tuple[int, int]:
    """How many are the same at the beginnings, and of the others at the ends."""
    most = min(len(some), len(than))
    first = _run(some, than, most)
    return first, min(_run(reversed(some), reversed(than), most), most - first) if first < most else 0


def others(some: Sequence[object], than: Sequence[object]) -> tuple[list[int], list[int]]:
    """Where in `some` stands what is no object of `than`, and where in `than` what is none of `some`, both in order."""
    first, last = ends_of(some, than)
    ours: Sequence[int] = range(first, len(some) - last)
    theirs: Sequence[int] = range(first, len(than) - last)
    if len(ours) == len(theirs):  # most of them may stand where they stood
        ours = theirs = [place for place in ours if some[place] is not than[place]]
    mine = dict(zip(keys_of(map(some.__getitem__, ours)), ours, strict=True))
    other = dict(zip(keys_of(map(than.__getitem__, theirs)), theirs, strict=True))
    return sorted(mine[key] for key in mine.keys() - other.keys()), sorted(other[key] for key in other.keys() - mine.keys())


def derived(some: Sequence[T], than: Sequence[T], made: Sequence[U], make: Callable[[T], U]) -> tuple[U, ...]:
    """What `make` makes of each of `some`. `made`: of each of `than`, and used again."""
    first, last = ends_of(some, than)
    middle = some[first : len(some) - last]
    old = dict(zip(keys_of(than[first : len(than) - last]), made[first : len(made) - last], strict=True))
    new = [old[key] if key in old else make(one) for key, one in zip(keys_of(middle), middle, strict=True)]
    return (*made[:first], *new, *made[len(made) - last :])


def _run(some: Iterable[object], than: Iterable[object], most: int) -> int:
    try:
        return indexOf(map(is_, some, than), False)
    except ValueError:  # there is none
        return most
