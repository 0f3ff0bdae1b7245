"""Available: which of a request's candidates it may use, when too little is ready. Automatic drain, then panic.

Both look at the PoPs that this request may go to and at no others: what is forbidden to it, or drained by hand, takes nothing off a site
that fails, and its health says nothing about the others'.
"""
from libc.stdint cimport int64_t

from routing_core._decision cimport Candidate, Weighed
from routing_core._figures cimport SCALE

cdef enum:
    POOR = SCALE * 35 // 100    # of 1.4 * ready / total: below it less than a quarter is ready
    PANIC_BELOW = SCALE // 2    # sum of the availabilities

# Takes the poor ones out, the poorest first, but never so many that with the dead ones more than half of the candidates are out. What is
# left of `availability`, the sum of theirs; when that would be a panic, none is taken out.
cdef int64_t leave_out(Weighed *weighed, int64_t availability) noexcept nogil
# Of panics: whether a PoP has an endpoint that answers.
cdef bint has_answering(const Weighed *weighed) noexcept nogil
# How many of its endpoints a panic counts.
cdef int64_t n_in_panic(const Weighed *weighed, const Candidate *candidate) noexcept nogil

# In panic: has an endpoint that answers, or any where none of any PoP does; else is available.
cdef inline bint is_usable(const Weighed *weighed, const Candidate *candidate) noexcept nogil:
    return n_in_panic(weighed, candidate) > 0 if weighed.is_panic else candidate.is_available
