"""Exchange: one request with its answer, from the decision to the last byte: attempts, retries, relay, end.

Must not know epoll, nor how a request's head is read: _request begins an exchange, this carries it on, _life ends it.
"""
from libc.stdint cimport int32_t, uint32_t

from gateway.dataplane._core cimport NO_BODY, Stream, Core, Exchange
from gateway.dataplane.exchange._tried cimport has_rows_left
from gateway.dataplane.http1._head cimport is_idempotent
from gateway.dataplane.shared._counters cimport Cause
from gateway.dataplane.shared._settings cimport MAX_ATTEMPTS
from routing_core._layout cimport Endpoint

# Tries the decided pool, then the fallbacks: the head to send stands in exchange.up.head.
cdef void attempt(Core *core, Exchange *exchange) noexcept nogil
# At this endpoint. is_full: only to wait for it. False: failed at once, and another is to be chosen.
cdef bint attempt_at(Core *core, Exchange *exchange, const Endpoint *endpoint, bint is_full) noexcept nogil
# What another try takes: that nothing is done twice, that some are left, and that the budget has room for it, which is then spent. Connects
# that failed take tries of their own PoP only: the next one is asked as if it were the first, so nobody is lost to PoPs that refuse.
cdef inline bint may_be_repeated(const Exchange *exchange) noexcept nogil:
    return not exchange.has_sent or (is_idempotent(exchange.method) and (exchange.up.framing == NO_BODY or exchange.up.keeps))

cdef inline int32_t tries_spent(const Exchange *exchange) noexcept nogil:
    return exchange.n_retries - exchange.has_raced - exchange.n_refused_before

cdef inline bint has_tries_left(const Exchange *exchange) noexcept nogil:
    return (tries_spent(exchange) < exchange.snapshot.settings.max_retries and has_rows_left(exchange)
            and exchange.n_attempts - exchange.n_refused_before < MAX_ATTEMPTS)

cdef bint is_paid_for(Core *core, Exchange *exchange) noexcept nogil
cdef void begin_again(Exchange *exchange) noexcept nogil
# Answers in the gateway's own name and ends the exchange when that is sent.
cdef void reply(Core *core, Exchange *exchange, int status, bint close) noexcept nogil
# The same but for the head, which the caller writes into exchange.down.head, of that room, before it drives. False: it has ended.
# downstream.must_close says what the head is to say.
cdef bint begin_reply(Core *core, Exchange *exchange, int status, bint close, uint32_t room) noexcept nogil
cdef void refuse(Core *core, Exchange *exchange, int status, Cause cause, bint close) noexcept nogil
# Goes on after an edge on either side.
cdef void drive(Core *core, Exchange *exchange) noexcept nogil
cdef void on_connected(Core *core, Stream *upstream) noexcept nogil
# What came on a pooled connection before the request that was lent it: nobody's answer.
cdef void on_unasked(Core *core, Stream *upstream) noexcept nogil
# A side is gone (reset), or has kept the other waiting for too long.
cdef void on_lost(Core *core, Stream *connection) noexcept nogil
cdef void on_late(Core *core, Stream *connection) noexcept nogil
