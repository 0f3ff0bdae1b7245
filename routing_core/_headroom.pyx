"""Sums over the workers' columns, of those that do not hang. Of two capacities the tighter one holds."""
from routing_core._atomic cimport load_relaxed


cdef int64_t requests_in(const Pool *pool, const Crew *crew) noexcept nogil:
    cdef int64_t hung = load_relaxed(&crew.hung)
    cdef int64_t total = 0
    cdef int worker
    for worker in range(<int>crew.n_workers):
        if not hung >> worker & 1:
            total += load_relaxed(&pool.columns[worker].in_flight) - load_relaxed(&pool.columns[worker].tunnels)
    return total


cdef int64_t requests_in_pop(const Pool *pool, const Crew *crew) noexcept nogil:
    cdef int64_t hung = load_relaxed(&crew.hung)
    cdef int64_t total = 0
    cdef int worker
    for worker in range(<int>crew.n_workers):
        if not hung >> worker & 1:
            total += load_relaxed(&pool.pop.columns[worker].in_flight) - load_relaxed(&pool.pop.columns[worker].tunnels)
    return total


cdef double free_share(const Pool *pool, const Crew *crew) noexcept nogil:
    cdef double free = 1
    if pool.high > 0:
        free = 1 - <double>(requests_in(pool, crew) - load_relaxed(&pool.gate.spared)) / pool.high
    if pool.pop.high > 0:
        free = min(free, 1 - <double>(requests_in_pop(pool, crew) - load_relaxed(&pool.gate.spared_in_pop)) / pool.pop.high)
    return free


cdef bint is_out_of_room(const Pool *pool, const Crew *crew) noexcept nogil:
    return has_limit(pool) and free_share(pool, crew) <= 0
