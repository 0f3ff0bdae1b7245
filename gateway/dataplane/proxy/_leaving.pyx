"""A gate that is silent ends no exchange: one goes when it may be repeated and somebody else would take it at once, or waits on."""
from libc.stdint cimport int32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._life cimport release_upstream
from gateway.dataplane.exchange._account cimport note_failure, note_pool_failure
from gateway.dataplane.exchange._tried cimport CAME_REFUSED, CAME_TO_NOTHING, note_tried
from gateway.dataplane.proxy._attempts cimport (
    attempt, attempt_at, begin_again, has_tries_left, is_paid_for, may_be_repeated, tries_spent)
from gateway.dataplane.proxy._elsewhere cimport (
    FOLLOWED_NOT, FOLLOWED_TO_NOBODY, Followed, follow_newest, foresee_newest, next_fallback)
from gateway.dataplane.shared._snapshot cimport has_closed
from gateway.dataplane.transport._transport cimport peek
from gateway.dataplane.upstream._choice cimport choose
from gateway.dataplane.upstream._pools cimport has_room, next_in_vain
from routing_core._decision cimport Decision
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_ONLY, AVAILABLE, Heed
from routing_core._layout cimport Endpoint, Pool

cdef enum:
    TOLD = 16               # a turn: each that goes costs a connection, and what else has happened waits so long


cdef bint has_come(const Stream *upstream) noexcept nogil:
    """A byte, or an end, that no event has told yet."""
    return upstream.state != CONNECTING and peek(upstream)


cdef bint may_leave(const Exchange *exchange) noexcept nogil:
    return ((exchange.state == REACHING or exchange.state == AWAITING) and exchange.first_byte_us == 0 and may_be_repeated(exchange)
            and has_tries_left(exchange) and not has_come(exchange.upstream))


cdef const Endpoint *find_in(Core *core, Exchange *exchange, const Pool *pool) noexcept nogil:
    """Who would take it at once: to wait it need not go away. In a panic, too, only who answers."""
    cdef Heed heed = ADMITTING_ONLY if exchange.heed == ADMITTING_ONLY else ANSWERING_ONLY
    cdef const Endpoint *endpoint = NULL
    if (not has_closed(core.snapshot, exchange.snapshot, pool.pop)
            and choose(core, exchange, pool, heed, &endpoint) == AVAILABLE and has_room(core, endpoint)):
        return endpoint
    return NULL


cdef const Endpoint *find_place(Core *core, Exchange *exchange, const Pool **pool) noexcept nogil:
    """In the PoP where it is, then in the next ones, by the newest table. The last try is not spent where the others failed, while there is
    another PoP."""
    cdef bint is_last = tries_spent(exchange) + 1 == exchange.snapshot.settings.max_retries
    cdef const Endpoint *endpoint = NULL
    cdef const Pool *here = exchange.pool
    cdef Decision decision = exchange.decision
    cdef int32_t i, following = exchange.next_fallback
    cdef Followed followed = foresee_newest(core, exchange, &decision)
    if followed >= FOLLOWED_TO_NOBODY:
        return NULL
    if followed != FOLLOWED_NOT:
        here = decision.pool
        following = 0
    pool[0] = here
    if not is_last:
        endpoint = find_in(core, exchange, here)
    for i in range(following, decision.n_fallbacks):
        if endpoint != NULL:
            return endpoint
        pool[0] = decision.fallbacks[i]
        endpoint = find_in(core, exchange, pool[0])
    if endpoint == NULL and is_last:
        pool[0] = here
        endpoint = find_in(core, exchange, here)
    return endpoint


cdef void go_to(Core *core, Exchange *exchange, const Pool *pool) noexcept nogil:
    """One of its fallbacks. By a newer table it may have been drawn anew, and it is none of them."""
    cdef int32_t i
    for i in range(exchange.next_fallback, exchange.decision.n_fallbacks):
        if exchange.decision.fallbacks[i] == pool:
            while exchange.pool != pool:
                next_fallback(core, exchange)
            return


cdef void leave(Core *core, Exchange *exchange, const Pool *pool, const Endpoint *endpoint) noexcept nogil:
    cdef bint is_refused = exchange.state == REACHING
    cdef const Pool *before
    note_failure(core, exchange, is_refused)
    exchange.n_refused += is_refused
    note_tried(exchange, exchange.endpoint.row, CAME_REFUSED if is_refused else CAME_TO_NOTHING)
    release_upstream(core, exchange, False)
    exchange.endpoint = NULL
    begin_again(exchange)
    follow_newest(core, exchange, True)
    before = exchange.pool
    go_to(core, exchange, pool)
    if is_refused and exchange.pool != before:
        note_pool_failure(core, exchange, before)
    if exchange.pool != pool or not attempt_at(core, exchange, endpoint, False):
        attempt(core, exchange)


cdef void leave_silent(Core *core) noexcept nogil:
    cdef Stream *upstream
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
