"""Who waits at one worker stands in a list; since when the first of it has waited is published to the others, and a place that comes free
goes to the worker where someone has waited longest."""
from libc.stdint cimport INT64_MAX, int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._account cimport begin_queueing, end_queueing
from gateway.dataplane.shared._calls cimport call_for_pool, is_turning
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._places cimport has_place, is_wait_taken
from gateway.dataplane.transport._stream cimport resume_later
from routing_core._atomic cimport add_shared, load_in_order, load_relaxed, store_in_order, store_relaxed
from routing_core._figures cimport EndpointColumn


cdef bint is_full(const Core *core, const UpstreamPool *pool) noexcept nogil:
    return pool.idle == NULL and not has_place(core, pool)


# --- Who is next ---

cdef void wake_first(Core *core, UpstreamPool *pool) noexcept nogil:
    if pool.first_waiting != NULL:
        resume_later(core, pool.first_waiting.downstream)


cdef inline int64_t ahead_ms(const Core *core) noexcept nogil:
    """This worker's own come first by a part of the longest wait, for another has to make a connection: so that all have their turn in
    good time, and connections move seldom."""
    return core.snapshot.settings.queue_ms // (4 * core.n_workers)


cdef int next_in_line(const Core *core, const UpstreamPool *pool, int64_t ahead) noexcept nogil:
    """The worker at which someone has waited longest for the endpoint, this one's own by so much longer; -1: none."""
    cdef int64_t own = load_relaxed(&pool.columns[core.number].waits_since_ms)
    cdef int64_t least = own - ahead if own else INT64_MAX
    cdef int64_t since
    cdef int worker, found = core.number if own else -1
    for worker in range(core.n_workers):
        since = load_in_order(&pool.columns[worker].waits_since_ms)
        if worker != core.number and 0 < since < least and is_turning(core, worker):
            least = since
            found = worker
    return found


cdef int other_in_line(const Core *core, const UpstreamPool *pool, int64_t ahead) noexcept nogil:
    """The worker that comes before this one; -1: none. A moment later it may be another, or none: ask once."""
    cdef int worker
    if load_in_order(&pool.share.n_waiting) <= pool.n_waiting:
        return -1
    worker = next_in_line(core, pool, ahead)
    return worker if worker != core.number else -1


cdef bint is_behind_others(const Core *core, const UpstreamPool *pool) noexcept nogil:
    return other_in_line(core, pool, ahead_ms(core)) >= 0


cdef bint is_first_at(const Core *core, const UpstreamPool *pool, const Exchange *exchange) noexcept nogil:
    cdef int64_t since, ahead = ahead_ms(core)
    cdef int worker
    for worker in range(core.n_workers):
        since = load_in_order(&pool.columns[worker].waits_since_ms)
        if 0 < since < exchange.queued_ms - (0 if worker == core.number else ahead) and is_turning(core, worker):
            return False
    return True


cdef void tell_next(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef int worker = other_in_line(core, pool, ahead_ms(core))
    if worker >= 0 and has_place(core, pool):
        call_for_pool(core, worker, pool.row)
    else:
        wake_first(core, pool)


cdef void ask_for_idle(Core *core, UpstreamPool *pool) noexcept nogil:
    """Connections that another worker does not use count as well: it is to give one."""
    cdef const EndpointColumn *column
    cdef int64_t n_idle, most = 0
    cdef int worker, found = -1
    if has_place(core, pool):
        return
    for worker in range(core.n_workers):
        column = &pool.columns[worker]
        n_idle = load_relaxed(&column.idle)
        if worker != core.number and n_idle > most and is_turning(core, worker):
            most = n_idle
            found = worker
    if found >= 0:
        call_for_pool(core, found, pool.row)


cdef void look_again(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef int worker
    if not has_place(core, pool):
        ask_for_idle(core, pool)
        return
    worker = other_in_line(core, pool, -1)      # who has just come passes nobody, not even of the same millisecond
    if worker >= 0:
        call_for_pool(core, worker, pool.row)
    else:
        wake_first(core, pool)


# --- Who waits ---

cdef void publish_first(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef EndpointColumn *own = &pool.columns[core.number]
    store_relaxed(&own.n_waiting, pool.n_waiting)
    # In order: who gives a place away sees it, or look_again() sees that place.
    store_in_order(&own.waits_since_ms, pool.first_waiting.queued_ms if pool.first_waiting != NULL else 0)


cdef Exchange *before_in_line(UpstreamPool *pool, const Exchange *exchange) noexcept nogil:
    """Behind whom it stands; NULL: it is the first. Who has waited, here or for another one, is before those who came later."""
    cdef Exchange *before = NULL
    cdef Exchange *at = pool.first_waiting
    if not exchange.is_its_turn or at == NULL or pool.last_waiting.queued_as < exchange.queued_as:
        return pool.last_waiting
    while at.queued_as < exchange.queued_as:
        before = at
        at = at.next
    return before


cdef bint enqueue(Core *core, UpstreamPool *pool, Exchange *exchange, bint is_busy) noexcept nogil:
    cdef Exchange *before
    if exchange.is_its_turn:
        add_shared(&pool.share.n_waiting, 1)
    elif is_wait_taken(core, pool, is_busy):
        core.n_ever_queued += 1
        exchange.queued_as = core.n_ever_queued
        exchange.queued_ms = clock_us(core) // 1000
    else:
        return False
    exchange.queue = pool
    exchange.queued_row = pool.row
    before = before_in_line(pool, exchange)
    exchange.next = before.next if before != NULL else pool.first_waiting
    if before != NULL:
        before.next = exchange
    else:
        pool.first_waiting = exchange
    if before == pool.last_waiting:
        pool.last_waiting = exchange
    pool.n_waiting += 1
    core.n_queued += 1
    begin_queueing(core, exchange)
    publish_first(core, pool)
    return True


cdef void dequeue(Core *core, Exchange *exchange) noexcept nogil:
    cdef UpstreamPool *pool = exchange.queue
    cdef Exchange *before = NULL
    cdef Exchange *at
    if pool == NULL:
        return
    at = pool.first_waiting
    while at != exchange:
        before = at
        at = at.next
    if before == NULL:
        pool.first_waiting = exchange.next
    else:
        before.next = exchange.next
    if pool.last_waiting == exchange:
        pool.last_waiting = before
    pool.n_waiting -= 1
    core.n_queued -= 1
    end_queueing(core, exchange)
    add_shared(&pool.share.n_waiting, -1)
    publish_first(core, pool)
    exchange.queue = NULL
    exchange.next = NULL


cdef void leave_line(Core *core, Exchange *exchange) noexcept nogil:
    cdef UpstreamPool *pool = exchange.queue
    dequeue(core, exchange)
    if pool != NULL and not is_full(core, pool):
        pass_on(core, pool)
