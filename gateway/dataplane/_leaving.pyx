"""A gate that is silent ends no exchange: one goes when it may be repeated and somebody else would take it at once, or waits on."""
from libc.stdint cimport int32_t

from gateway.dataplane._account cimport note_failure, note_pool_failure
from gateway.dataplane._connection cimport would_block
from gateway.dataplane._core cimport *
from gateway.dataplane._elsewhere cimport next_fallback
from gateway.dataplane._exchange cimport (
    attempt, attempt_at, begin_again, has_tries_left, is_paid_for, may_be_repeated, tries_spent)
from gateway.dataplane._life cimport release_upstream
from gateway.dataplane._pools cimport has_room, next_in_vain
from gateway.dataplane._snapshot cimport has_closed
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_ONLY, AVAILABLE, choose_endpoint
from routing_core._table cimport Endpoint, Pool

cdef enum:
    TOLD = 16               # a turn: each that goes costs a connection, and what else has happened waits so long


cdef bint has_come(const Connection *upstream) noexcept nogil:
    """A byte, or an end, that no event has told yet."""
    return upstream.state != CONNECTING and not would_block(upstream)


cdef bint may_leave(const Exchange *exchange) noexcept nogil:
    return ((exchange.state == REACHING or exchange.state == AWAITING) and exchange.first_byte_us == 0 and may_be_repeated(exchange)
            and has_tries_left(exchange) and not has_come(exchange.upstream))


cdef const Endpoint *find_in(Core *core, Exchange *exchange, const Pool *pool) noexcept nogil:
    """Who would take it at once: to wait it need not go away. In a panic, too, only who answers."""
    cdef const Endpoint *endpoint = NULL
    if (not has_closed(core.snapshot, exchange.snapshot, pool.pop)
            and choose_endpoint(pool, core.number, core.n_workers, core.now_ms, &core.rng, exchange.tried, exchange.n_tried,
                                ADMITTING_ONLY if exchange.heed == ADMITTING_ONLY else ANSWERING_ONLY, &endpoint) == AVAILABLE
            and has_room(core, endpoint)):
        return endpoint
    return NULL


cdef const Endpoint *find_place(Core *core, Exchange *exchange, const Pool **pool) noexcept nogil:
    """In the PoP where it is, then in the next ones. The last try is not spent where the others failed, while there is another PoP."""
    cdef bint is_last = tries_spent(exchange) + 1 == exchange.snapshot.settings.max_retries
    cdef const Endpoint *endpoint = NULL
    cdef int32_t i
    pool[0] = exchange.pool
    if not is_last:
        endpoint = find_in(core, exchange, exchange.pool)
    for i in range(exchange.next_fallback, exchange.decision.n_fallbacks):
        if endpoint != NULL:
            return endpoint
        pool[0] = exchange.decision.fallbacks[i]
        endpoint = find_in(core, exchange, pool[0])
    if endpoint == NULL and is_last:
        pool[0] = exchange.pool
        endpoint = find_in(core, exchange, pool[0])
    return endpoint


cdef void leave(Core *core, Exchange *exchange, const Pool *pool, const Endpoint *endpoint) noexcept nogil:
    note_failure(core, exchange, exchange.state == REACHING)
    if exchange.state == REACHING and pool != exchange.pool:
        note_pool_failure(core, exchange)
    exchange.tried[exchange.n_tried] = exchange.endpoint.row
    exchange.n_tried += 1
    release_upstream(core, exchange, False)
    exchange.endpoint = NULL
    begin_again(exchange)
    while exchange.pool != pool:
        next_fallback(core, exchange)
    if not attempt_at(core, exchange, endpoint, False):
        attempt(core, exchange)


cdef void leave_silent(Core *core) noexcept nogil:
    cdef Connection *upstream
    cdef Exchange *exchange
    cdef const Endpoint *endpoint
    cdef const Pool *pool = NULL
    cdef int _i
    for _i in range(TOLD):
        upstream = next_in_vain(core)
        if upstream == NULL:
            return
        exchange = upstream.exchange
        if may_leave(exchange):
            endpoint = find_place(core, exchange, &pool)
            if endpoint != NULL and is_paid_for(core, exchange):
                leave(core, exchange, pool, endpoint)
