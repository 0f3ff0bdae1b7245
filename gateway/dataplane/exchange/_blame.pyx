"""Each excuse says whose doing it was: what none of them covers is the endpoint's failure."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._waits cimport awaits_continue, settings_of
from gateway.dataplane.http1._head cimport ResponseHead
from gateway.dataplane.http1._words cimport CAUSE_HEAD_TOO_LARGE, CAUSE_NONE, CAUSE_TOO_MANY_FIELDS
from gateway.dataplane.shared._counters cimport BAD_INTERIM, BAD_SWITCH
from routing_core._figures cimport is_admitting

cdef enum:
    TIRED_US = 1000000      # a client that is waited for for less has tired nobody
    RACE_MS = 100           # what a restart, or a peer's own patience, ends at once
    RACES_APART_MS = 10000  # who ends more of them fails


cdef bint keeps_waiting(const Core *core, const Exchange *exchange, const Flow *flow) noexcept nogil:
    """The client was waited for for long, now or, below the pace that is asked of it, in all: servers end that, and it says nothing of
    them."""
    cdef int64_t waits_us = core.now_us - flow.waits_since_us if flow.waits_for == CLIENT_SIDE else 0
    cdef int64_t in_all_us = flow.waited_us + waits_us
    return waits_us >= TIRED_US or (in_all_us >= TIRED_US
                                    and flow.bytes < in_all_us // 1000000 * settings_of(core, exchange).body_rate)


cdef bint has_tired(const Core *core, const Exchange *exchange) noexcept nogil:
    """The client owes of its body, and has for long."""
    return (not exchange.up.is_whole and exchange.up.ready == 0 and not exchange.downstream.is_readable and not awaits_continue(exchange)
            and keeps_waiting(core, exchange, &exchange.up))


cdef bint is_close_race(Core *core, UpstreamPool *pool) noexcept nogil:
    """Of a pooled connection that ended as it was used: the peer's right (RFC 9112 9.3.1), but not of every second one."""
    if pool.raced_ms == 0 or core.now_ms - pool.raced_ms >= RACES_APART_MS:
        pool.raced_ms = core.now_ms
    return core.now_ms - pool.raced_ms < RACE_MS


cdef bint is_peers_right(Core *core, const Exchange *exchange) noexcept nogil:
    cdef const Stream *upstream = exchange.upstream
    return has_tired(core, exchange) or (upstream.is_reused and not exchange.has_heard and is_close_race(core, upstream.pool))


cdef void note_end(const Core *core, Exchange *exchange) noexcept nogil:
    exchange.was_tired = exchange.was_tired or keeps_waiting(core, exchange, &exchange.down)


cdef bint is_cut(const Core *core, const Exchange *exchange) noexcept nogil:
    # Without a length or chunks nobody can tell the end from a cut; streams end with whoever sends them, and so does what an endpoint
    # that leaves had begun; who is sent more of a body than it takes resets; and trailers or chunk extensions may be too long for us alone.
    return (exchange.state == ANSWERING and exchange.down.framing != BY_END and not exchange.is_long_lived and exchange.up.is_done
            and is_admitting(exchange.upstream.pool.gate, exchange.upstream.pool.columns, core.n_workers)
            and not exchange.down.chunks.is_over_limit and not exchange.was_tired and not keeps_waiting(core, exchange, &exchange.down))


cdef int fault_of(const ResponseHead *head) noexcept nogil:
    if head.cause != CAUSE_NONE:
        return <int>head.cause
    return <int>BAD_SWITCH if head.status == 101 else <int>BAD_INTERIM


cdef bint is_by_us(const ResponseHead *head, const Exchange *exchange) noexcept nogil:
    """A head over our limits; one that has no room behind interim ones, which the client does not take; or the tunnel that the client
    asked for, before it has said all of its request."""
    if head.cause == CAUSE_NONE and head.status == 101:
        return exchange.is_upgrade and head.is_upgrade and not exchange.up.is_done
    return head.cause == CAUSE_NONE or head.cause == CAUSE_HEAD_TOO_LARGE or head.cause == CAUSE_TOO_MANY_FIELDS
