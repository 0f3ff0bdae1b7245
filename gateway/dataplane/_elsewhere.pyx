"""A decision knows the PoPs as of the last beat, and names three: who finds them all dead, closed or full meanwhile is decided anew."""
from libc.stdint cimport int32_t

from gateway.dataplane._core cimport *
from gateway.dataplane._snapshot cimport has_closed
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_FIRST, ANSWERING_ONLY
from routing_core._steer cimport DECIDED, FAILOVER, MAX_FALLBACKS, MAX_LEFT_OUT, Decision, steer_again
from routing_core._table cimport Pool


cdef void enter_pool(Exchange *exchange, const Pool *pool) noexcept nogil:
    exchange.pool = pool
    exchange.n_tried_before = exchange.n_tried
    exchange.is_its_turn = False
    exchange.queued_us = 0


cdef bint next_fallback(Core *core, Exchange *exchange) noexcept nogil:
    cdef const Pool *pool = NULL
    while pool == NULL or has_closed(core.snapshot, exchange.snapshot, pool.pop):
        if exchange.next_fallback >= exchange.decision.n_fallbacks:
            return False
        pool = exchange.decision.fallbacks[exchange.next_fallback]
        exchange.next_fallback += 1
    enter_pool(exchange, pool)
    exchange.decision.reason = FAILOVER
    return True


cdef void leave_out(Asked *asked, const Pool *pool) noexcept nogil:
    asked.left_out[asked.n_left_out] = pool
    asked.n_left_out += 1


cdef bint decide_anew(Core *core, Exchange *exchange) noexcept nogil:
    """By the same table, which may name who has been drained since: who attempts it looks at that."""
    cdef Decision found = exchange.decision
    cdef int32_t i
    if exchange.asked.n_left_out + 1 + <int32_t>MAX_FALLBACKS > <int32_t>MAX_LEFT_OUT:
        return False
    leave_out(&exchange.asked, found.pool)
    for i in range(found.n_fallbacks):
        leave_out(&exchange.asked, found.fallbacks[i])
    steer_again(exchange.snapshot.table, exchange.route, &exchange.asked, &core.rng, &core.weighed, &found)
    # That too little is left without those is no panic: what is known of the others still holds.
    if found.failure != DECIDED or (found.is_panic and exchange.heed == ADMITTING_ONLY):
        return False
    exchange.decision = found
    exchange.decision.reason = FAILOVER
    exchange.next_fallback = 0
    enter_pool(exchange, found.pool)
    return True


cdef bint next_pool(Core *core, Exchange *exchange) noexcept nogil:
    return next_fallback(core, exchange) or decide_anew(core, exchange)


cdef bint heed_nothing(Exchange *exchange) noexcept nogil:
    if exchange.heed != ANSWERING_ONLY:
        return False
    exchange.heed = ANSWERING_FIRST
    exchange.asked.n_left_out = 0
    exchange.next_fallback = 0
    enter_pool(exchange, exchange.decision.pool)
    return True
