"""One draw a PoP, in the order of the draws until one is not overloaded. Not all can be: their shares sum to less than the bounds."""
from libc.math cimport INFINITY, log
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._headroom cimport requests_in
from routing_core._layout cimport Pool
from routing_core._random cimport mixed

cdef double BOUND = 1.25
cdef double SLACK = 2           # requests an endpoint that are no load yet: else the first one would send its fellows elsewhere


# By size alone: by nearness too, a PoP that becomes a little slower would lose clients though it is still near.
cdef inline double weight_of(const Weighed *weighed, int32_t k) noexcept nogil:
    cdef const Pool *pool = weighed.candidates[weighed.window[k]].pool
    return <double>pool.n_endpoints * pool.weight


# Whether one of the window has more than its share, a quarter above, of what is in flight in all of it.
cdef bint is_overloaded(const Weighed *weighed, int32_t k) noexcept nogil:
    cdef int64_t own = 0, total = 0, found
    cdef double weight = 0
    cdef int32_t i
    for i in range(weighed.n_window):
        found = requests_in(weighed.candidates[weighed.window[i]].pool, weighed.crew)
        total += found
        weight += weight_of(weighed, i)
        if i == k:
            own = found
    return own + 1 > BOUND * (total + 1) * weight_of(weighed, k) / weight + SLACK * weighed.candidates[weighed.window[k]].pool.n_endpoints


cdef int32_t find_rendezvous(const Weighed *weighed, uint64_t key) noexcept nogil:
    cdef double score, best, below = INFINITY
    cdef int32_t i, place = 0
    cdef int32_t _n
    for _n in range(weighed.n_window):
        best = -INFINITY
        for i in range(weighed.n_window):
            # log of a number in (0, 1) over the weight: the largest wins, each in proportion to its weight.
            score = log(((mixed(key ^ weighed.candidates[weighed.window[i]].pool.pop.salt) >> 11) + 0.5) * (1.0 / 9007199254740992.0))
            score /= weight_of(weighed, i)
            if best < score < below:
                best = score
                place = i
        if not is_overloaded(weighed, place):
            break
        below = best
    return weighed.window[place]
