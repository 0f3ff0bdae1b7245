"""Counts of the candidates by their availability say how many are out without sorting them."""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from routing_core._atomic cimport load_relaxed
from routing_core._layout cimport Pool


cdef int64_t leave_out(Weighed *weighed, int64_t availability) noexcept nogil:
    cdef int32_t counts[POOR]
    cdef Candidate *candidate
    cdef int32_t i, limit = 0, may_go = weighed.n // 2     # what of these the dead ones leave
    cdef int64_t gone = 0
    memset(counts, 0, sizeof(counts))
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if not candidate.is_available:
            may_go -= 1
        elif candidate.availability < POOR:
            counts[candidate.availability] += 1
    if may_go <= 0:
        return availability
    while limit < POOR and counts[limit] <= may_go:
        may_go -= counts[limit]
        gone += counts[limit] * limit
        limit += 1
    if limit < POOR:            # of some that are alike: the last ones
        gone += may_go * limit
    if availability - gone < PANIC_BELOW:
        return availability
    for i in range(weighed.n - 1, -1, -1):
        candidate = &weighed.candidates[i]
        if not candidate.is_available or candidate.availability > limit:
            continue
        if candidate.availability == limit:
            if limit == POOR or may_go == 0:
                continue
            may_go -= 1
        candidate.is_left_out = True
        candidate.is_available = candidate.is_passed = False
    return availability - gone


cdef bint has_answering(const Weighed *weighed) noexcept nogil:
    cdef const Pool *pool
    cdef int32_t i
    for i in range(weighed.n):
        pool = weighed.candidates[i].pool
        if pool.n_endpoints > 0 and load_relaxed(&pool.gate.answering) > 0:
            return True
    return False


# The count is up to 100 ms old, and may be of a table before.
cdef int64_t n_in_panic(const Weighed *weighed, const Candidate *candidate) noexcept nogil:
    if weighed.has_answering:
        return min(load_relaxed(&candidate.pool.gate.answering), <int64_t>candidate.pool.n_endpoints)
    return candidate.pool.n_endpoints
