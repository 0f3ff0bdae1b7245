"""Sums over the workers' columns. Of two capacities the tighter one holds."""
from routing_core._atomic cimport load_relaxed


cdef int64_t requests_in(const Pool *pool, int n_workers) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(n_workers):
        total += load_relaxed(&pool.columns[worker].in_flight) - load_relaxed(&pool.columns[worker].tunnels)
    return total


cdef double free_share(const Pool *pool, int n_workers) noexcept nogil:
    cdef double free = 1
    cdef int64_t in_pop = 0
    cdef int worker
    if pool.high > 0:
        free = 1 - <double>(requests_in(pool, n_workers) - load_relaxed(&pool.gate.spared)) / pool.high
    if pool.pop.high > 0:
        for worker in range(n_workers):
            in_pop += load_relaxed(&pool.pop.columns[worker].in_flight) - load_relaxed(&pool.pop.columns[worker].tunnels)
        free = min(free, 1 - <double>(in_pop - load_relaxed(&pool.gate.spared_in_pop)) / pool.pop.high)
    return free


cdef bint is_out_of_room(const Pool *pool, int n_workers) noexcept nogil:
    return has_limit(pool) and free_share(pool, n_workers) <= 0
