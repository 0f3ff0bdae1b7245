"""Candidates: the first pass of a decision: the permitted PoPs that the operator has not drained, each with its estimate and whether this
request may use it.

On the way, what nearly always is the answer: the fastest of all, and the best of those that may be used. Must not choose.
"""
from libc.stdint cimport int32_t, uint64_t

from routing_core._decision cimport Asked, Candidate, Weighed
from routing_core._layout cimport Route, TableData
from routing_core._shortlists cimport Shortlist

cdef enum:
    SPILL_WINDOWS = 3           # how wide the window is for affinity by hash where a faster one lacks room

cdef inline bint is_faster(const Candidate *one, const Candidate *other) noexcept nogil:
    return one.estimate.ms < other.estimate.ms or (one.estimate.ms == other.estimate.ms and one.place < other.place)

# Before either: `out` has the rule, the draw, the window and whether it is hashed.
cdef void look_at_all(const TableData *table, const Route *route, const Asked *asked, int slot, Weighed *out) noexcept nogil
# Along the shortlist of the client's place, for who is not pinned and leaves nobody out: from where nobody can be near-equal to the best,
# or one of the two that are tried next, nobody is looked at. least_ms: what those take at least besides their paths. asks_room: whether
# each is asked if it is full. False: these don't say it all.
cdef bint look_along(const Shortlist *shortlist, double least_ms, bint asks_room, int slot, Weighed *out) noexcept nogil
