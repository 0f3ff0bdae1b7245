"""Steer: the decision in one call: no I/O, no clock, nothing allocated but the answer.

weigh() looks at every PoP, choose() draws; explain runs the same weigh() and works out the shares instead of drawing.
"""
from libc.stdint cimport int32_t, uint64_t

from routing_core._decision cimport Asked, Candidate, Decision, Weighed
from routing_core._figures cimport Crew
from routing_core._layout cimport Route, TableData, Target
from routing_core._shortlists cimport Shortlists
from routing_core._random cimport Random

# What pick() draws with, for explain, which works out the shares instead.
# Of the two that are looked at the lower one serves: (estimate + 1 ms) * (1 + load / endpoints). The load is what is in flight; among
# near-equals what is beyond the usual there: how many are served at a time is no sign of how many can be.
cdef double cost_of(const Weighed *weighed, const Candidate *candidate, bint spills) noexcept nogil
# How often one of the window of `best` is drawn; 0: outside.
cdef double window_weight(const Weighed *weighed, const Candidate *best, const Candidate *candidate, bint spills) noexcept nogil
cdef bint has_spilled(const Weighed *weighed, const Candidate *best) noexcept nogil
# The usable one that admits most; -1: none is usable. When all are full: the least filled.
cdef int32_t find_widest(const Weighed *weighed) noexcept nogil
# All of the pin's were passed over: as for anyone else.
cdef void unpin(Weighed *weighed) noexcept nogil
# Marks what is full now. True: something is.
cdef bint mark_full(Weighed *weighed) noexcept nogil

# Which target of a route: by weight, of those of its split.
cdef const Target *draw_target(const Route *route, const Asked *asked, Random *rng) noexcept nogil
# draw: one random number for the request; admit is compared with it, hashed with the PoP. slot: which version of the estimates.
cdef void weigh(const TableData *table, const Route *route, const Target *target, const Asked *asked, uint64_t draw, int slot,
                Weighed *out) noexcept nogil
cdef void choose(Weighed *weighed, const Route *route, const Asked *asked, Random *rng, Decision *out) noexcept nogil
# shortlists: of this worker; NULL: all PoPs are looked at. The decision is the same, `scratch` has all of them only where NULL.
cdef void steer(const TableData *table, const Route *route, const Asked *asked, Random *rng, Shortlists *shortlists, Weighed *scratch,
                Decision *out) noexcept nogil
# The same once more, for the target that `out` was decided for, when asked.left_out has grown.
cdef void steer_again(const TableData *table, const Route *route, const Asked *asked, Random *rng, Weighed *scratch,
                      Decision *out) noexcept nogil
