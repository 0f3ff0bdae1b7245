"""A side that is waited for twice is late when it is late for both; a tunnel is one wait, whichever way a byte goes."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._settings cimport Settings
from gateway.dataplane.transport._stream cimport NEVER_MS, set_deadline


cdef void end_wait(Core *core, Flow *flow) noexcept nogil:
    if flow.waits_for == CLIENT_SIDE:
        flow.waited_us += core.now_us - flow.waits_since_us
    flow.waits_for = NO_SIDE


cdef int64_t client_patience(const Core *core, const Exchange *exchange, const Flow *flow) noexcept nogil:
    """How long the client may keep its body waiting from now, in ms. All its pauses together may last as long as one, and a second more
    for each body_rate bytes that it has sent or read: a byte now and then must not hold an endpoint's connection for ever."""
    cdef const Settings *settings = settings_of(core, exchange)
    cdef int64_t left
    if settings.body_rate == 0 or exchange.state == REPLYING or exchange.pool.service.is_long_lived:
        return settings.body_progress_ms
    left = settings.body_progress_ms - flow.waited_us // 1000 + (flow.bytes - flow.ready) * 1000 // settings.body_rate
    return max(min(left, settings.body_progress_ms), 0)


cdef void wait_for(Core *core, Exchange *exchange, Flow *flow, Side side) noexcept nogil:
    if exchange.state == TUNNELLING or (flow.waits_for == side and not flow.has_moved):
        return
    end_wait(core, flow)
    flow.has_moved = False
    flow.waits_for = side
    flow.waits_since_us = core.now_us
    if side == CLIENT_SIDE:
        flow.due_ms = core.now_ms + client_patience(core, exchange, flow)
    elif exchange.state == AWAITING and flow == &exchange.down:
        flow.due_ms = core.now_ms + settings_of(core, exchange).first_byte_ms
    else:
        flow.due_ms = core.now_ms + settings_of(core, exchange).body_progress_ms


cdef void wait_for_answer(Core *core, Exchange *exchange, bint is_owed) noexcept nogil:
    cdef Side side = UPSTREAM_SIDE if is_owed else NO_SIDE
    if exchange.down.waits_for != side:
        wait_for(core, exchange, &exchange.down, side)


cdef bint awaits_continue(const Exchange *exchange) noexcept nogil:
    # Whoever has begun without being told owes the rest; what was kept for another attempt still lies behind the head.
    return (exchange.expects_continue and not exchange.up.is_whole and exchange.up.keeps
            and exchange.downstream.input.end == exchange.body_at)


cdef void end_waits(Core *core, Exchange *exchange) noexcept nogil:
    end_wait(core, &exchange.up)
    end_wait(core, &exchange.down)


cdef int64_t client_due(const Exchange *exchange) noexcept nogil:
    """0: it is not waited for."""
    cdef int64_t due_ms = exchange.up.due_ms if exchange.up.waits_for == CLIENT_SIDE else 0
    return max(due_ms, exchange.down.due_ms) if exchange.down.waits_for == CLIENT_SIDE else due_ms


cdef int64_t upstream_due(const Exchange *exchange) noexcept nogil:
    """0: it is not waited for. One whose answer the client does not take may be held up by that, and take no more of the request."""
    cdef int64_t due_ms = exchange.down.due_ms if exchange.down.waits_for == UPSTREAM_SIDE else 0
    if exchange.up.waits_for == UPSTREAM_SIDE and (exchange.state == AWAITING or due_ms):
        due_ms = max(due_ms, exchange.up.due_ms)
    return due_ms


cdef void set_due(Core *core, Stream *stream, int64_t due_ms) noexcept nogil:
    set_deadline(core, stream, due_ms - core.now_ms if due_ms else NEVER_MS)


cdef void settle_deadlines(Core *core, Exchange *exchange) noexcept nogil:
    if exchange.state != TUNNELLING:
        set_due(core, exchange.downstream, client_due(exchange))
        if exchange.upstream != NULL:
            set_due(core, exchange.upstream, upstream_due(exchange))
    elif exchange.up.has_moved or exchange.down.has_moved:
        exchange.up.has_moved = exchange.down.has_moved = False
        set_deadline(core, exchange.downstream, core.snapshot.settings.tunnel_idle_ms)
        set_deadline(core, exchange.upstream, core.snapshot.settings.tunnel_idle_ms)
