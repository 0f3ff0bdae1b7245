"""First come, first served, of those who may have what there is: who may not holds up nobody behind it."""
from libc.stdint cimport int32_t, int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._tried cimport forget
from gateway.dataplane.proxy._attempts cimport attempt, has_tries_left
from gateway.dataplane.proxy._elsewhere cimport FOLLOWED_NOT, FOLLOWED_STAYS, Followed, follow_newest
from gateway.dataplane.shared._snapshot cimport has_closed
from gateway.dataplane.transport._stream cimport resume_later, set_deadline
from gateway.dataplane.upstream._choice cimport would_move
from gateway.dataplane.upstream._queue cimport ask_for_idle, dequeue, is_full, others_are_first, pass_on
from routing_core._figures cimport is_admitting

cdef enum:
    LOOKED_AT = 16          # of a line: each costs a choice


cdef bint is_back(const Core *core, int32_t row) noexcept nogil:
    cdef const UpstreamPool *block = core.pools[row // BLOCK_POOLS]
    cdef const UpstreamPool *pool = block + row % BLOCK_POOLS
    return block != NULL and pool.columns != NULL and is_admitting(pool.gate, pool.columns, core.n_workers)


cdef void forget_refusals(const Core *core, Exchange *exchange) noexcept nogil:
    """Who refused its connection has had nothing of it, and where its gate admits again a probe has found it well since."""
    cdef int32_t i
    if exchange.refused == 0:
        return
    for i in range(exchange.n_tried - 1, -1, -1):
        if exchange.refused >> i & 1 and has_tries_left(exchange) and is_back(core, exchange.tried[i]):
            forget(exchange, i)


cdef bint has_turn(const Core *core, const Exchange *exchange) noexcept nogil:
    cdef const UpstreamPool *pool = exchange.queue
    return pool.first_waiting == exchange and not is_full(core, pool) and not others_are_first(core, pool)


cdef bint would_stay(Core *core, Exchange *exchange) noexcept nogil:
    """A gate that has shut meanwhile is no place to wait at, nor is a PoP that was drained, nor the longer line of two."""
    cdef const UpstreamPool *pool = exchange.queue
    cdef Followed followed = follow_newest(core, exchange, False)
    return ((followed == FOLLOWED_NOT or followed == FOLLOWED_STAYS) and is_admitting(pool.gate, pool.columns, core.n_workers)
            and not has_closed(core.snapshot, exchange.snapshot, exchange.pool.pop) and not would_move(core, exchange))


cdef void look_behind(Core *core, Exchange *exchange) noexcept nogil:
    """The next one who would go. When it has, the first is looked at again, and so on."""
    cdef int _i
    for _i in range(LOOKED_AT):
        exchange = exchange.next
        if exchange == NULL:
            return
        forget_refusals(core, exchange)
        if not would_stay(core, exchange):
            resume_later(core, exchange.downstream)
            return


cdef void resume_queued(Core *core, Exchange *exchange) noexcept nogil:
    """There is, or may be, room at its endpoint, or another one's."""
    cdef UpstreamPool *pool = exchange.queue
    cdef Stream *downstream = exchange.downstream
    cdef int64_t deadline_ms = downstream.deadline_ms
    forget_refusals(core, exchange)
    if has_turn(core, exchange) or not would_stay(core, exchange):
        dequeue(core, exchange)
        exchange.is_its_turn = True
        attempt(core, exchange)
        if downstream.exchange == exchange and exchange.state == QUEUED:
            set_deadline(core, downstream, deadline_ms - core.now_ms)   # the wait is one, however often it is looked at
        if exchange.queue != pool:
            pass_on(core, pool)                 # there may be room for more than one
            if pool.first_waiting != NULL:
                ask_for_idle(core, pool)
        else:                                   # back at its place, as another one's, say: so would those behind it
            look_behind(core, exchange)
    elif pool.first_waiting == exchange:
        look_behind(core, exchange)
