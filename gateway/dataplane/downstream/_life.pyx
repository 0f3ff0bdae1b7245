"""Who may follow whom stands in allowed_after(); every change goes through move()."""
from libc.string cimport memcpy, memset

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._holders cimport leave_holder, mark_busy, mark_calm
from gateway.dataplane.downstream._resting cimport *
from gateway.dataplane.exchange._account cimport close_account, end_attempt, note_cut, note_given_up
from gateway.dataplane.exchange._blame cimport is_cut
from gateway.dataplane.exchange._flow cimport begin_body
from gateway.dataplane.exchange._remains cimport free_remains
from gateway.dataplane.exchange._waits cimport end_waits
from gateway.dataplane.http1._words cimport METHOD_HEAD
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport BAD_TRANSITIONS, count
from gateway.dataplane.shared._snapshot cimport hold, let_go
from gateway.dataplane.shared._tally cimport give_place
from gateway.dataplane.transport._buffers cimport close_buffer, put_spare, take_spare
from gateway.dataplane.transport._connection cimport bury
from gateway.dataplane.transport._stream cimport *
from gateway.dataplane.transport._transport cimport end as say_end, end_with_reset
from gateway.dataplane.upstream._pools cimport drop_upstream, put_back
from gateway.dataplane.upstream._queue cimport leave_line
from routing_core._atomic cimport add_own, add_shared
from routing_core._memory cimport EXCHANGE, take


cdef inline int bit(ExchangeState state) noexcept nogil:
    return 1 << <int>state


cdef int allowed_after(ExchangeState state) noexcept nogil:
    if state == QUEUED:         # also the state in which an exchange begins
        return bit(REACHING) | bit(AWAITING) | bit(QUEUED) | bit(REPLYING) | bit(ENDED)
    if state == REACHING:
        return bit(AWAITING) | bit(REACHING) | bit(QUEUED) | bit(REPLYING) | bit(ENDED)
    if state == AWAITING:
        return bit(ANSWERING) | bit(TUNNELLING) | bit(REACHING) | bit(AWAITING) | bit(QUEUED) | bit(REPLYING) | bit(ENDED)
    if state == ANSWERING or state == TUNNELLING or state == REPLYING:
        return bit(ENDED)
    return 0


cdef void move(Core *core, Exchange *exchange, ExchangeState to) noexcept nogil:
    if not allowed_after(exchange.state) & bit(to):
        count(core.column, BAD_TRANSITIONS)
    exchange.state = to
    # A deadline belongs to a state: the wait in a queue must not end the connecting that follows it.
    end_waits(core, exchange)
    set_deadline(core, exchange.downstream, NEVER_MS)
    if exchange.upstream != NULL:
        set_deadline(core, exchange.upstream, NEVER_MS)


cdef void begin_use(Core *core, Connection *connection) noexcept nogil:
    connection.n_exchanges += 1
    connection.n_under_way += 1
    if connection.n_under_way == 1:
        leave_rest(core, connection)
        mark_busy(connection)
        add_own(&core.column.idle[connection.listener], -1)
        add_own(&core.column.active[connection.listener], 1)


cdef void end_use(Core *core, Connection *connection) noexcept nogil:
    connection.n_under_way -= 1
    if connection.n_under_way == 0:
        mark_calm(connection)
        add_own(&core.column.active[connection.listener], -1)
        add_own(&core.column.idle[connection.listener], 1)


cdef Exchange *open_exchange(Core *core, Stream *downstream) noexcept nogil:
    cdef Exchange *exchange = <Exchange *>take_spare(&core.spare_exchanges)
    if exchange != NULL:
        memset(exchange, 0, sizeof(Exchange))
    else:
        exchange = <Exchange *>take(EXCHANGE, sizeof(Exchange))
        if exchange == NULL:
            return NULL
    exchange.downstream = downstream
    exchange.started_us = core.now_us
    exchange.began_us = clock_us(core)
    exchange.snapshot = core.snapshot
    memcpy(exchange.client, downstream.connection.peer, 16)
    exchange.minor = 1
    begin_body(&exchange.up)
    hold(core.snapshot, core.number)
    downstream.state = EXCHANGING
    downstream.exchange = exchange
    downstream.n_passed = 0
    set_deadline(core, downstream, NEVER_MS)
    begin_use(core, downstream.connection)
    return exchange


# --- The end ---

cdef bint is_of_no_use(const Exchange *exchange) noexcept nogil:
    """Whether a reset takes nothing from the endpoint: it has answered, or begun to, what has no body; or it never gets the whole of a
    request, for the client is gone or the answer was early. A whole request without an answer may still lie there unread, a whole body
    unread behind its answer, and what a tunnel was given is still to arrive."""
    if exchange.state == TUNNELLING:
        return False
    return (exchange.method == METHOD_HEAD or not exchange.up.is_done
            or (exchange.state == ANSWERING and exchange.up.framing == NO_BODY))


cdef void release_upstream(Core *core, Exchange *exchange, bint is_reusable) noexcept nogil:
    """The attempt is over: its accounts and its connection. A tunnel's rows may be another's as soon as it is in flight there no more:
    whatever its end says of them is said before."""
    cdef Stream *upstream = exchange.upstream
    if exchange.endpoint != NULL:
        end_attempt(core, exchange)
    if upstream == NULL:
        return
    exchange.upstream = NULL
    upstream.exchange = NULL
    if is_reusable:
        close_buffer(core, &upstream.input)
        put_back(core, upstream)
        return
    if is_of_no_use(exchange):
        end_with_reset(upstream)    # no port of ours waits: clients choose how many such requests there are
    drop_upstream(core, upstream)


cdef void end(Core *core, Exchange *exchange) noexcept nogil:
    """Table and memory: what is common to all ends. The downstream is without exchange after it."""
    cdef Buffer note
    move(core, exchange, ENDED)
    exchange.downstream.exchange = NULL
    end_use(core, exchange.downstream.connection)
    give_place(core.tally, core.number, exchange.place)
    if exchange.snapshot != NULL:
        let_go(exchange.snapshot, core.number)
    free_remains(exchange)
    close_buffer(core, &exchange.up.head)
    close_buffer(core, &exchange.down.head)
    if exchange.note.text != NULL:
        note.at = exchange.note.text
        note.capacity = SMALL_BYTES
        close_buffer(core, &note)
    put_spare(&core.spare_exchanges, exchange)


cdef void shed_heads(Core *core, Exchange *exchange) noexcept nogil:
    """Of an exchange that is answered, and goes on: it is not tried again, and what is sent of it nobody needs. Downloads that are read
    slowly, event streams and tunnels last long."""
    cdef Buffer *body = &exchange.downstream.input
    if exchange.up.head.begin == exchange.up.head.end:
        close_buffer(core, &exchange.up.head)
    if exchange.down.head.begin == exchange.down.head.end:
        close_buffer(core, &exchange.down.head)
    if exchange.up.is_done and body.begin == body.end:
        close_buffer(core, body)


cdef void finish(Core *core, Exchange *exchange) noexcept nogil:
    """The answer is sent, whole."""
    cdef Stream *downstream = exchange.downstream
    cdef Stream *upstream = exchange.upstream
    cdef bint is_read = exchange.up.is_done or exchange.state == REPLYING
    cdef bint has_ended = exchange.state == TUNNELLING and exchange.up.is_done      # the client: nothing of it can come any more
    if not is_read:     # an early answer: the rest of the request is nobody's (RFC 9112 9.3)
        downstream.must_close = True
    close_account(core, exchange)
    if upstream != NULL:
        release_upstream(core, exchange, is_read and exchange.is_upstream_reusable and exchange.state == ANSWERING
                         and upstream.input.begin == upstream.input.end)
    end(core, exchange)
    if has_ended:
        close_downstream(core, downstream)
    elif downstream.must_close:
        linger_on(core, downstream)
    else:
        await_next(core, downstream)


cdef void await_next(Core *core, Stream *downstream) noexcept nogil:
    downstream.state = READING
    downstream.has_head_begun = False
    downstream.scanned = 0
    enter_idle(core, downstream.connection)
    set_deadline(core, downstream, core.snapshot.settings.keep_alive_idle_ms)
    if downstream.input.begin < downstream.input.end or downstream.is_readable:
        resume_later(core, downstream)
    else:
        close_buffer(core, &downstream.input)


cdef void linger_on(Core *core, Stream *downstream) noexcept nogil:
    # RFC 9112 9.6: half-close, then read until the client's end, or it may lose the answer to a reset: also when all that has come
    # is read, for more may be on its way. Not behind its end: what came before that is here, and once it is read, to close says the same.
    leave_rest(core, downstream.connection)
    if not downstream.is_ending:
        say_end(downstream)
    downstream.state = LINGERING
    enter_lingering(core, downstream.connection)
    close_buffer(core, &downstream.input)
    set_deadline(core, downstream, core.snapshot.settings.linger_ms)
    if downstream.is_readable:
        resume_later(core, downstream)


cdef void close_downstream(Core *core, Stream *downstream) noexcept nogil:
    cdef Connection *connection = downstream.connection
    if downstream.state != DEAD:
        add_own(&core.column.idle[connection.listener], -1)
        add_own(&core.column.n_open, -1)
        add_shared(&core.doors.doors[connection.listener].n_open, -1)
        if connection == core.over:
            core.over = NULL
        leave_holder(core, connection)
        leave_rest(core, connection)
        give_place(core.tally, core.number, connection.place)
        bury(core, connection)


cdef void abort(Core *core, Exchange *exchange, Side by) noexcept nogil:
    cdef Stream *downstream = exchange.downstream
    if by == CLIENT_SIDE:
        note_given_up(core, exchange)
    elif by == UPSTREAM_SIDE and is_cut(core, exchange):
        note_cut(core, exchange)
    exchange.ended_by = by
    leave_line(core, exchange)
    if exchange.status == 0:
        exchange.status = 499   # nginx's code for a client that went before its answer
    if exchange.state == ANSWERING and (exchange.down.framing == BY_END or exchange.down.is_unchunked):
        end_with_reset(downstream)      # a plain close would look like the answer's end
    close_account(core, exchange)
    release_upstream(core, exchange, False)
    end(core, exchange)
    close_downstream(core, downstream)


cdef void end_downstream(Core *core, Connection *downstream) noexcept nogil:
    if downstream.own.exchange != NULL:
        abort(core, downstream.own.exchange, GATEWAY_SIDE)
    else:
        close_downstream(core, &downstream.own)
