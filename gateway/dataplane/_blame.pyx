"""Each excuse says whose doing it was: what none of them covers is the endpoint's failure."""
from gateway.dataplane._core cimport *
from gateway.dataplane._head cimport CAUSE_HEAD_TOO_LARGE, CAUSE_NONE, CAUSE_TOO_MANY_FIELDS, ResponseHead
from gateway.dataplane._waits cimport awaits_continue

cdef enum:
    TIRED_US = 1000000      # an upload that has gone on for less has tired nobody
    RACE_MS = 100           # what a restart, or a peer's own patience, ends at once
    RACES_APART_MS = 10000  # who ends more of them fails


cdef bint has_tired(const Core *core, const Exchange *exchange) noexcept nogil:
    """The client owes of its body, and has for long: servers end that, and it says nothing of them."""
    return (not exchange.up.is_whole and exchange.up.ready == 0 and not exchange.downstream.is_readable and not awaits_continue(exchange)
            and core.now_us - exchange.started_us >= TIRED_US)


cdef bint is_close_race(Core *core, UpstreamPool *pool) noexcept nogil:
    """Of a pooled connection that ended as it was used: the peer's right (RFC 9112 9.3.1), but not of every second one."""
    if pool.raced_ms == 0 or core.now_ms - pool.raced_ms >= RACES_APART_MS:
        pool.raced_ms = core.now_ms
    return core.now_ms - pool.raced_ms < RACE_MS


cdef bint is_peers_right(Core *core, const Exchange *exchange) noexcept nogil:
    cdef const Connection *upstream = exchange.upstream
    return has_tired(core, exchange) or (upstream.is_reused and not exchange.has_heard and is_close_race(core, upstream.pool))


cdef bint is_by_us(const ResponseHead *head, const Exchange *exchange) noexcept nogil:
    """A head over our limits; one that has no room behind interim ones, which the client does not take; or the tunnel that the client
    asked for, before it has said all of its request."""
    if head.cause == CAUSE_NONE and head.status == 101:
        return exchange.is_upgrade and head.is_upgrade and not exchange.up.is_done
    return head.cause == CAUSE_NONE or head.cause == CAUSE_HEAD_TOO_LARGE or head.cause == CAUSE_TOO_MANY_FIELDS
