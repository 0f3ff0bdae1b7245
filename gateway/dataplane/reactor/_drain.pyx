"""Connections that have been idle for a second end by a half-close and a wait for the client's end; what has never been used, a second
after the closing began."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._accept cimport follow_listeners
from gateway.dataplane.downstream._holders cimport free_holders
from gateway.dataplane.downstream._life cimport HEARD_MS, abort, close_downstream, linger_on
from gateway.dataplane.downstream._resting cimport leave_rest, oldest_idle
from gateway.dataplane.shared._counters cimport FORCED_IDLE, FORCED_REQUEST, FORCED_TUNNEL
from gateway.dataplane.shared._snapshot cimport ABORTING, CLOSING, Orders, orders_of
from gateway.dataplane.transport._buffers cimport free_spares
from gateway.dataplane.transport._connection cimport free_connections, sweep_graveyard
from gateway.dataplane.transport._stream cimport leave_list, resume_later, set_deadline
from gateway.dataplane.transport._timers cimport Timer, expire_all
from gateway.dataplane.transport._transport cimport peek
from gateway.dataplane.upstream._pools cimport drop_upstream, free_pools
from routing_core._atomic cimport add_own, load_relaxed, store_relaxed

cdef enum:
    IDLE_A_TICK = 256       # a millisecond or two


cdef void follow_orders(Core *core) noexcept nogil:
    cdef const Orders *orders = orders_of(core.board)
    cdef int64_t phase = load_relaxed(&orders.phase)
    cdef bint is_new = phase != core.phase
    if phase >= <int64_t>CLOSING and core.phase < <int64_t>CLOSING:
        core.closing_ms = core.now_ms
    core.phase = phase
    if is_new and phase == <int64_t>ABORTING:
        cut_all(core)
    elif is_new and phase == <int64_t>CLOSING:
        close_idle(core)
    store_relaxed(&core.column.phase, phase)
    if load_relaxed(&orders.version) != core.version:
        follow_listeners(core)


cdef void close_idle(Core *core) noexcept nogil:
    """The oldest, as many as delay the others little."""
    cdef int listener
    cdef int left = IDLE_A_TICK
    cdef Connection *downstream
    for listener in range(MAX_LISTENERS):
        downstream = oldest_idle(core, listener)
        while downstream != NULL and left > 0 and core.now_ms - downstream.idle_ms >= HEARD_MS:
            left -= 1
            leave_rest(core, downstream)
            end_idle(core, downstream)
            downstream = oldest_idle(core, listener)


cdef void end_idle(Core *core, Connection *downstream) noexcept nogil:
    """Those that have had an answer end now; those that have not yet said a word may still be about to."""
    cdef int64_t left_ms = core.closing_ms + HEARD_MS - core.now_ms
    if downstream.n_exchanges == 0 and left_ms > 0:
        if downstream.own.deadline_ms > core.now_ms + left_ms:
            set_deadline(core, &downstream.own, left_ms)
    elif has_come(&downstream.own):     # more is ready than one turn takes: an answer will announce the end. Or it has ended itself
        resume_later(core, &downstream.own)
    else:
        linger_on(core, &downstream.own)


cdef bint has_come(Stream *downstream) noexcept nogil:
    if downstream.input.begin < downstream.input.end:
        return True
    downstream.is_readable = peek(downstream)
    return downstream.is_readable


cdef void cut_all(Core *core) noexcept nogil:
    expire_all(&core.wheel, on_cut, core)


cdef void end_stream(Core *core, Stream *stream) noexcept nogil:
    if stream.exchange != NULL:
        abort(core, stream.exchange, GATEWAY_SIDE)
    elif stream.pool != NULL:
        drop_upstream(core, stream)
    else:
        close_downstream(core, stream)


cdef void on_cut(void *owner, Timer *timer) noexcept nogil:
    cdef Core *core = <Core *>owner
    cdef Stream *stream = <Stream *>timer
    cdef Exchange *exchange = stream.exchange
    if exchange != NULL:
        add_own(&core.column.forced[<int>FORCED_TUNNEL if exchange.state == TUNNELLING else <int>FORCED_REQUEST], 1)
    elif stream.pool == NULL:
        add_own(&core.column.forced[<int>FORCED_IDLE], 1)
    end_stream(core, stream)


# --- The worker's end ---

cdef void forget_all(StreamList *streams) noexcept nogil:
    while leave_list(streams) != NULL:
        pass


cdef void close_all(Core *core) noexcept nogil:
    # Every connection is on the wheel, so expiring all ends all.
    core.is_accepting = False
    expire_all(&core.wheel, on_end, core)
    forget_all(&core.resumed)
    forget_all(&core.postponed)
    forget_all(&core.starved)
    sweep_graveyard(core)
    free_spares(core)
    free_connections(core)
    free_holders(core)
    free_pools(core)


cdef void on_end(void *owner, Timer *timer) noexcept nogil:
    end_stream(<Core *>owner, <Stream *>timer)
