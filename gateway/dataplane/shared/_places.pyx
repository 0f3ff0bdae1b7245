"""Cells that all workers write; what a worker that hangs has in them stands in its own columns. Only where a limit is reached, or passed,
is that looked at."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._counters cimport Column
from routing_core._atomic cimport add_shared, is_replaced, load_in_order, load_relaxed
from routing_core._figures cimport EndpointColumn, is_hung


cdef bint is_taken(int64_t *cell, int64_t limit) noexcept nogil:
    cdef int64_t seen = load_relaxed(cell)
    while seen < limit:
        if is_replaced(cell, seen, seen + 1):
            return True
        seen = load_relaxed(cell)
    return False


# --- An endpoint's ---

cdef int64_t lost_places(const Core *core, const UpstreamPool *pool) noexcept nogil:
    cdef const EndpointColumn *column
    cdef int64_t total = 0
    cdef int worker
    for worker in range(core.n_workers):
        column = &pool.columns[worker]
        if is_hung(core.crew, worker):
            total += load_relaxed(&column.connections) - load_relaxed(&column.tunnels)
    return total


cdef int64_t lost_waits(const Core *core, const UpstreamPool *pool) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(core.n_workers):
        if is_hung(core.crew, worker):
            total += load_relaxed(&pool.columns[worker].n_waiting)
    return total


cdef bint is_place_taken(const Core *core, UpstreamPool *pool) noexcept nogil:
    cdef int64_t limit = core.snapshot.settings.max_upstream
    return is_taken(&pool.share.n_open, limit) or is_taken(&pool.share.n_open, limit + lost_places(core, pool))


cdef void free_place(UpstreamPool *pool) noexcept nogil:
    add_shared(&pool.share.n_open, -1)


cdef bint has_place(const Core *core, const UpstreamPool *pool) noexcept nogil:
    # In order: behind one's own entry into the line, a place that came free before is seen.
    cdef int64_t n_open = load_in_order(&pool.share.n_open)
    cdef int64_t limit = core.snapshot.settings.max_upstream
    return n_open < limit or n_open < limit + lost_places(core, pool)


cdef bint is_overfull(const Core *core, const UpstreamPool *pool) noexcept nogil:
    cdef int64_t n_open = load_relaxed(&pool.share.n_open)
    cdef int64_t limit = core.snapshot.settings.max_upstream
    return n_open > limit and n_open > limit + lost_places(core, pool)


cdef int64_t free_places(const Core *core, const UpstreamPool *pool) noexcept nogil:
    """Of the endpoint's, those without a request, where some are connections that lie idle: the others are on their way to who waits."""
    cdef const EndpointColumn *column
    cdef int64_t n_idle = 0, n_requests = 0
    cdef int worker
    for worker in range(core.n_workers):
        if is_hung(core.crew, worker):
            continue
        column = &pool.columns[worker]
        n_idle += load_relaxed(&column.idle)
        n_requests += load_relaxed(&column.in_flight) - load_relaxed(&column.tunnels)
    return max(core.snapshot.settings.max_upstream - n_requests, 0) if n_idle > 0 else 0


cdef bint is_wait_taken(const Core *core, UpstreamPool *pool, bint is_busy) noexcept nogil:
    cdef int64_t limit = core.snapshot.settings.max_queue
    if is_taken(&pool.share.n_waiting, limit):
        return True
    limit += lost_waits(core, pool)
    return is_taken(&pool.share.n_waiting, limit if is_busy else limit + free_places(core, pool))


# --- A listener's ---

cdef int64_t lost_clients(const Core *core, int listener) noexcept nogil:
    cdef const Column *column
    cdef int64_t total = 0
    cdef int worker
    for worker in range(core.n_workers):
        column = core.column + (worker - core.number)
        if is_hung(core.crew, worker):
            total += load_relaxed(&column.idle[listener]) + load_relaxed(&column.active[listener])
    return total


cdef bint has_more_clients(const Core *core, int listener, int64_t of_them) noexcept nogil:
    cdef int64_t n_open = load_relaxed(&core.doors.doors[listener].n_open)
    return n_open > of_them and n_open > of_them + lost_clients(core, listener)
