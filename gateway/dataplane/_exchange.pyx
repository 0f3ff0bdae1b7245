"""An attempt ends in an answer's head, or in fail_attempt(), which alone decides on a retry."""
from libc.stdint cimport int32_t, int64_t, uint32_t

from gateway.dataplane._account cimport (
    begin_attempt, clock_us, count_retry, note_connect, note_failure, note_hold, note_pool_failure, note_tunnel, note_wait)
from gateway.dataplane._answer cimport *
from gateway.dataplane._blame cimport is_by_us, is_peers_right
from gateway.dataplane._buffers cimport close_buffer, open_buffer
from gateway.dataplane._connection cimport *
from gateway.dataplane._core cimport *
from gateway.dataplane._counters cimport *
from gateway.dataplane._elsewhere cimport heed_nothing, next_fallback, next_pool
from gateway.dataplane._flow cimport *
from gateway.dataplane._head cimport METHOD_HEAD, is_idempotent
from gateway.dataplane._life cimport *
from gateway.dataplane._linux cimport SHUT_WR, SO_ERROR, SOL_SOCKET, getsockopt, shutdown
from gateway.dataplane._places cimport free_place
from gateway.dataplane._pools cimport *
from gateway.dataplane._remains cimport keep_remains
from gateway.dataplane._reply cimport compose_reply
from gateway.dataplane._snapshot cimport has_closed
from gateway.dataplane._waits cimport awaits_continue, is_for_client, settle_deadlines, wait_for, wait_for_answer
from routing_core._budget cimport spend
from routing_core._endpoints cimport AVAILABLE, FULL, NO_ENDPOINT_ADMITS, Availability, choose_endpoint
from routing_core._figures cimport *
from routing_core._table cimport Endpoint

cdef enum Failed:           # how an attempt ended without an answer
    FAILED_CONNECT          # no connection: refused, unreachable, too slow
    FAILED_RESET            # the connection ended before a byte of the answer; interim ones are none
    FAILED_TIMEOUT          # no answer in time
    FAILED_GARBAGE          # an answer that is no HTTP, or not for this request
    FAILED_BY_US            # an answer that this client or our own limit left no way to pass on: nobody's failure there


# --- Attempts ---

cdef bint is_paid_for(Core *core, Exchange *exchange) noexcept nogil:
    # What wrote no byte costs the PoPs nothing: it does not draw on the budget.
    return not exchange.has_sent or spend(exchange.service.debt, exchange.service.columns, core.n_workers,
                                          &exchange.snapshot.settings.budget, clock_us(core) // 1000)


cdef void attempt(Core *core, Exchange *exchange) noexcept nogil:
    cdef const Endpoint *endpoint = NULL
    cdef Availability found
    while True:
        found = NO_ENDPOINT_ADMITS
        if not has_closed(core.snapshot, exchange.snapshot, exchange.pool.pop):
            found = choose_endpoint(exchange.pool, core.number, core.n_workers, core.now_ms, &core.rng, exchange.tried, exchange.n_tried,
                                    exchange.heed, &endpoint)
        if found == AVAILABLE or found == FULL:
            if attempt_at(core, exchange, endpoint, found == FULL):
                return
            continue
        if exchange.n_tried > exchange.n_tried_before:
            note_pool_failure(core, exchange)
        if not next_pool(core, exchange) and not heed_nothing(exchange):
            if exchange.n_attempts:
                give_up(core, exchange, 502)
            else:
                refuse(core, exchange, 503, CAUSE_NO_ENDPOINT, False)
            return


cdef bint attempt_at(Core *core, Exchange *exchange, const Endpoint *endpoint, bint is_at_limit) noexcept nogil:
    """False: failed at once, and another is to be chosen."""
    cdef UpstreamPool *pool = pool_of(core, endpoint)
    cdef Connection *upstream = NULL
    cdef Lack lack = LACKS_NOTHING
    if pool == NULL:
        refuse(core, exchange, 503, CAUSE_NO_MEMORY, False)
        return True
    if is_at_limit:         # of exchanges
        return wait_at(core, exchange, pool, True)
    if pool.first_waiting != NULL and not exchange.is_its_turn:
        return wait_for_place(core, exchange, pool)
    if not exchange.wants_fresh:
        upstream = borrow(core, pool, not is_idempotent(exchange.method))
    if upstream == NULL:
        if (others_are_first(core, pool) and not exchange.is_its_turn) or not take_place(core, pool):
            return wait_for_place(core, exchange, pool)
        upstream = reach(core, pool, endpoint, &lack)
        if upstream == NULL:
            free_place(pool)
            if lack != LACKS_ROOM:      # there nobody else has any either: the tick tries again
                pass_on(core, pool)
    if lack == LACKS_ROOM:
        return wait_at(core, exchange, pool, True)
    exchange.n_attempts += 1
    if lack == LACKS_OWN:        # no endpoint's fault
        refuse(core, exchange, 503, CAUSE_NO_DESCRIPTORS, False)
        return True
    exchange.endpoint = endpoint
    exchange.is_its_turn = False    # that was it: another try waits behind those who are there
    begin_attempt(core, exchange)
    if upstream == NULL:
        return not may_go_on(core, exchange, FAILED_CONNECT)
    exchange.upstream = upstream
    upstream.exchange = exchange
    upstream.scanned = 0
    if upstream.state == CONNECTING:
        move(core, exchange, REACHING)
        set_deadline(core, upstream, exchange.snapshot.settings.connect_ms)
    else:
        begin_sending(core, exchange)
    return True


cdef bint wait_at(Core *core, Exchange *exchange, UpstreamPool *pool, bint is_busy) noexcept nogil:
    """False: no room to wait here, but another PoP may have some."""
    if not enqueue(core, pool, exchange, is_busy):
        if next_pool(core, exchange):
            return False
        refuse(core, exchange, 503, CAUSE_QUEUE_FULL, False)
        return True
    move(core, exchange, QUEUED)
    set_deadline(core, exchange.downstream, exchange.snapshot.settings.queue_ms)
    return True


cdef bint wait_for_place(Core *core, Exchange *exchange, UpstreamPool *pool) noexcept nogil:
    if not wait_at(core, exchange, pool, False):
        return False
    look_again(core, pool)
    return True


cdef void resume_queued(Core *core, Exchange *exchange) noexcept nogil:
    """It may be its turn: there is, or may be, room at its endpoint."""
    cdef UpstreamPool *pool = exchange.queue
    cdef Connection *downstream = exchange.downstream
    cdef int64_t deadline_ms = downstream.deadline_ms
    # A gate that has shut meanwhile is no place to wait at, nor is a PoP that was drained.
    if pool.first_waiting != exchange or (is_full(core, pool) and is_admitting(pool.gate, pool.columns, core.n_workers)
                                          and not has_closed(core.snapshot, exchange.snapshot, exchange.pool.pop)):
        return
    dequeue(core, exchange)
    exchange.is_its_turn = True
    attempt(core, exchange)
    if downstream.exchange == exchange and exchange.state == QUEUED:
        set_deadline(core, downstream, deadline_ms - core.now_ms)   # the wait is one, however often it is looked at
    if exchange.queue != pool:
        pass_on(core, pool)                     # there may be room for more than one
        if pool.first_waiting != NULL:
            ask_for_idle(core, pool)


cdef void begin_sending(Core *core, Exchange *exchange) noexcept nogil:
    move(core, exchange, AWAITING)
    exchange.has_sent = exchange.has_heard = False
    exchange.sent_us = core.now_us
    exchange.is_up_broken = False
    exchange.up.head.begin = 0
    drive(core, exchange)


cdef void on_connected(Core *core, Connection *upstream) noexcept nogil:
    cdef int error = 0
    cdef uint32_t size = sizeof(error)
    if getsockopt(upstream.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 or error != 0:
        fail_attempt(core, upstream.exchange, FAILED_CONNECT)
        return
    upstream.state = SERVING_UPSTREAM
    upstream.is_writable = True
    note_connect(core, upstream.exchange)
    begin_sending(core, upstream.exchange)


cdef void begin_again(Exchange *exchange) noexcept nogil:
    """From the request's first byte: what was sent still lies in the client's buffer."""
    exchange.n_retries += 1
    exchange.has_sent = False
    exchange.queued_us = 0
    exchange.up.head.begin = 0
    exchange.downstream.input.begin = exchange.body_at
    if exchange.up.framing == BY_LENGTH:
        exchange.up.left = exchange.body_length
    begin_body(&exchange.up)


cdef bint may_go_on(Core *core, Exchange *exchange, Failed how) noexcept nogil:
    """Ends a failed attempt. True: prepared for the next one; False: the client has been given its answer."""
    cdef bint was_reused = exchange.upstream != NULL and exchange.upstream.is_reused
    cdef int32_t row = exchange.endpoint.row
    cdef bint has_raced = how == FAILED_RESET and was_reused and not exchange.has_heard
    if how != FAILED_BY_US and not (how == FAILED_RESET and is_peers_right(core, exchange)):
        note_failure(core, exchange, how == FAILED_CONNECT)
    release_upstream(core, exchange, False)
    exchange.endpoint = NULL
    if how == FAILED_TIMEOUT or how == FAILED_GARBAGE or how == FAILED_BY_US:
        give_up(core, exchange, 504 if how == FAILED_TIMEOUT else 502)
        return False
    if not may_be_repeated(exchange):
        count_retry(core, exchange, RETRY_REFUSED_UNSAFE)
        give_up(core, exchange, 502)
        return False
    if not has_tries_left(exchange):
        count_retry(core, exchange, RETRY_REFUSED_TRIES)
        give_up(core, exchange, 502)
        return False
    if not is_paid_for(core, exchange):
        count_retry(core, exchange, RETRY_REFUSED_BUDGET)
        give_up(core, exchange, 502)
        return False
    begin_again(exchange)
    exchange.has_raced = exchange.has_raced or has_raced     # where it was, on a fresh connection
    exchange.wants_fresh = exchange.wants_fresh or how == FAILED_RESET
    if not was_reused:
        exchange.tried[exchange.n_tried] = row
        exchange.n_tried += 1
    # The next endpoint, then the next PoP: the last try is not spent where the others failed.
    if tries_spent(exchange) == exchange.snapshot.settings.max_retries:
        if how == FAILED_CONNECT:
            note_pool_failure(core, exchange)
        next_pool(core, exchange)
    return True


cdef void fail_attempt(Core *core, Exchange *exchange, Failed how) noexcept nogil:
    if may_go_on(core, exchange, how):
        attempt(core, exchange)


cdef void give_up(Core *core, Exchange *exchange, int status) noexcept nogil:
    if exchange.n_retries:
        count_retry(core, exchange, RETRY_BAD)
    reply(core, exchange, status, False)


# --- The gateway's own answers ---

cdef void refuse(Core *core, Exchange *exchange, int status, Cause cause, bint close) noexcept nogil:
    count_cause(core.column, cause)
    exchange.cause = <int32_t>N_CAUSES + <int32_t>cause
    reply(core, exchange, status, close)


cdef bint begin_reply(Core *core, Exchange *exchange, int status, bint close, uint32_t room) noexcept nogil:
    cdef Connection *downstream = exchange.downstream
    leave_line(core, exchange)
    if exchange.upstream != NULL or exchange.endpoint != NULL:
        release_upstream(core, exchange, False)
        exchange.endpoint = NULL
    exchange.status = status
    if exchange.down.head.begin < exchange.down.head.end:
        abort(core, exchange, GATEWAY_SIDE)     # an interim answer is stuck half-way: nothing can be said behind it
        return False
    move(core, exchange, REPLYING)
    # A body that is still to come can't be told from the next request, nor a tunnel that will not be.
    if (close or exchange.close_asked or exchange.is_upgrade or not exchange.up.is_whole or exchange.up.ready
            or announces_end(core, downstream)):
        downstream.must_close = True
    close_buffer(core, &exchange.down.head)
    if not open_buffer(core, &exchange.down.head, room):
        abort(core, exchange, GATEWAY_SIDE)
        return False
    return True


cdef void reply(Core *core, Exchange *exchange, int status, bint close) noexcept nogil:
    cdef Connection *downstream = exchange.downstream
    if begin_reply(core, exchange, status, close, SMALL_BYTES):
        compose_reply(&exchange.down.head, status, exchange.cause, exchange.method == METHOD_HEAD, downstream.must_close,
                      exchange.minor == 0 and not downstream.must_close)
        drive(core, exchange)


# --- Relay ---

cdef void drive(Core *core, Exchange *exchange) noexcept nogil:
    if relay(core, exchange):
        settle_deadlines(core, exchange)
        if exchange.upstream != NULL:
            note_hold(core, exchange, exchange.state != TUNNELLING and is_for_client(exchange))


cdef bint relay(Core *core, Exchange *exchange) noexcept nogil:
    """False: the exchange is in other hands now, or none of it is under way."""
    cdef bint is_sending = not exchange.up.is_done and not exchange.is_up_broken
    if exchange.state == REPLYING:
        return drive_reply(core, exchange)
    if exchange.state != AWAITING and exchange.state != ANSWERING and exchange.state != TUNNELLING:
        return False
    if is_sending and not drive_up(core, exchange):
        return False
    if exchange.state == AWAITING:
        if not drive_answer(core, exchange):
            return False
        # Behind the request there may be the tunnel's first bytes already; what an early answer leaves of an upload waits anew; and who
        # was told to continue owes its body.
        if not exchange.up.is_done and not exchange.is_up_broken and not drive_up(core, exchange):
            return False
    return exchange.state == AWAITING or drive_down(core, exchange)


cdef bint drive_up(Core *core, Exchange *exchange) noexcept nogil:
    """False: the exchange is in other hands now."""
    cdef Flow *up = &exchange.up
    cdef Pumped pumped = pump(core, up, exchange.downstream, exchange.upstream, False)
    cdef bint is_held_back = pumped == PUMP_WAIT_SOURCE and awaits_continue(exchange)
    exchange.has_sent = exchange.has_sent or exchange.up.head.begin > 0
    if exchange.state == AWAITING:
        if up.has_moved or not is_held_back:
            exchange.sent_us = core.now_us
        note_wait(core, exchange, pumped != PUMP_WAIT_SOURCE or is_held_back)
        wait_for_answer(core, exchange, is_held_back or pumped == PUMP_DONE or pumped == PUMP_SINK_BROKEN)
    if pumped == PUMP_DONE:
        if exchange.state == TUNNELLING:
            shutdown(exchange.upstream.fd, SHUT_WR)
        wait_for(core, exchange, up, NO_SIDE)
        return True
    if pumped == PUMP_WAIT_SOURCE:
        wait_for(core, exchange, up, NO_SIDE if is_held_back else CLIENT_SIDE)
        return True
    if pumped == PUMP_WAIT_SINK:
        wait_for(core, exchange, up, UPSTREAM_SIDE)
        return True
    if pumped == PUMP_GO_ON:
        wait_for(core, exchange, up, NO_SIDE)
        postpone(core, exchange.downstream)
        return True
    if pumped == PUMP_SINK_BROKEN:
        if exchange.upstream.is_reused and not exchange.has_sent:
            fail_attempt(core, exchange, FAILED_RESET)      # what may lie there answers another request
            return False
        exchange.is_up_broken = True    # it may have answered before it ended
        exchange.upstream.is_readable = True
        wait_for(core, exchange, up, NO_SIDE)
        return True
    if exchange.state != AWAITING or pumped == PUMP_ENDED or pumped == PUMP_BROKEN:
        abort(core, exchange, CLIENT_SIDE)
    elif pumped == PUMP_BAD:
        refuse(core, exchange, 400, CAUSE_BAD_BODY, True)
    elif pumped == PUMP_TOO_LARGE:
        refuse(core, exchange, 413, CAUSE_BODY_TOO_LARGE, True)
    else:
        refuse(core, exchange, 503, CAUSE_NO_MEMORY, True)
    return False


cdef bint drive_answer(Core *core, Exchange *exchange) noexcept nogil:
    """Reads the answer's head, as far as it has come. False: the exchange is in other hands now."""
    cdef Answered answered = read_answer(core, exchange)
    # Interim answers go at once; a final head goes with the first of its body.
    if (answered != ANSWER_BEGINS and answered != ANSWER_IS_TUNNEL
            and send_head(&exchange.down, exchange.downstream) == PUMP_SINK_BROKEN):
        abort(core, exchange, CLIENT_SIDE)      # an interim answer met no client
        return False
    if answered == ANSWER_NEEDS_DATA:
        return True
    if answered == ANSWER_BEGINS or answered == ANSWER_IS_TUNNEL:
        move(core, exchange, ANSWERING if answered == ANSWER_BEGINS else TUNNELLING)
        if exchange.n_retries:
            count_retry(core, exchange, RETRY_GOOD)
        if answered == ANSWER_IS_TUNNEL:
            begin_tunnel(core, exchange)
        return True
    if answered == ANSWER_IS_OLD or (answered == ANSWER_ENDED and exchange.first_byte_us == 0):
        exchange.first_byte_us = 0
        fail_attempt(core, exchange, FAILED_RESET)
    elif answered == ANSWER_NO_MEMORY:
        refuse(core, exchange, 503, CAUSE_NO_MEMORY, True)
    elif answered == ANSWER_BAD and is_by_us(&core.response, exchange):
        fail_attempt(core, exchange, FAILED_BY_US)
    else:
        fail_attempt(core, exchange, FAILED_GARBAGE)
    return False


cdef void begin_tunnel(Core *core, Exchange *exchange) noexcept nogil:
    set_apart(core, exchange.upstream)
    note_tunnel(core, exchange)
    exchange.down.has_moved = True      # its idleness begins here
    exchange.up.framing = exchange.down.framing = RAW
    exchange.up.limit = 0
    exchange.up.keeps = False
    begin_body(&exchange.up)
    begin_body(&exchange.down)
    keep_remains(core, exchange)


cdef bint drive_down(Core *core, Exchange *exchange) noexcept nogil:
    """False: the exchange has ended."""
    cdef Connection *downstream = exchange.downstream
    cdef bint was_done = exchange.down.is_done
    cdef Pumped pumped = PUMP_DONE
    if not was_done:
        pumped = pump(core, &exchange.down, exchange.upstream, downstream, downstream.must_close)
    if pumped == PUMP_WAIT_SOURCE or pumped == PUMP_WAIT_SINK:
        wait_for(core, exchange, &exchange.down, UPSTREAM_SIDE if pumped == PUMP_WAIT_SOURCE else CLIENT_SIDE)
        shed_heads(core, exchange)
    elif pumped == PUMP_GO_ON:
        wait_for(core, exchange, &exchange.down, NO_SIDE)
        postpone(core, downstream)
    elif pumped != PUMP_DONE:
        abort(core, exchange, CLIENT_SIDE if pumped == PUMP_SINK_BROKEN else UPSTREAM_SIDE)
        return False
    elif exchange.state == TUNNELLING and not exchange.up.is_done and not exchange.is_up_broken:
        if not was_done:
            shutdown(downstream.fd, SHUT_WR)
    else:
        finish(core, exchange)
        return False
    return True


cdef bint drive_reply(Core *core, Exchange *exchange) noexcept nogil:
    """False: the exchange has ended."""
    cdef Pumped pumped = send_head(&exchange.down, exchange.downstream)
    if pumped == PUMP_WAIT_SINK:
        wait_for(core, exchange, &exchange.down, CLIENT_SIDE)
    elif pumped == PUMP_DONE:
        finish(core, exchange)
    else:
        abort(core, exchange, CLIENT_SIDE)
    return pumped == PUMP_WAIT_SINK


# --- Lost, late ---

cdef void on_lost(Core *core, Connection *connection) noexcept nogil:
    cdef Exchange *exchange = connection.exchange
    if connection == exchange.downstream:
        abort(core, exchange, CLIENT_SIDE)
    else:                       # what it said before is still to be read
        connection.is_readable = True
        drive(core, exchange)


cdef void on_unasked(Core *core, Connection *upstream) noexcept nogil:
    if upstream.exchange.state == AWAITING:
        fail_attempt(core, upstream.exchange, FAILED_RESET)
    else:                       # it broke while the request went up, and what lay there was taken for the answer
        abort(core, upstream.exchange, UPSTREAM_SIDE)


cdef void on_late(Core *core, Connection *connection) noexcept nogil:
    """A deadline is of a state and of the side that it waited for: move() leaves none of the state before."""
    cdef Exchange *exchange = connection.exchange
    cdef bint is_upstream = connection == exchange.upstream
    if exchange.state == REACHING and is_upstream:
        fail_attempt(core, exchange, FAILED_CONNECT)
    elif exchange.state == AWAITING and is_upstream:
        fail_attempt(core, exchange, FAILED_TIMEOUT)
    elif exchange.state == AWAITING:
        refuse(core, exchange, 408, CAUSE_SLOW_BODY, True)
    elif exchange.state == QUEUED:
        leave_line(core, exchange)
        if next_fallback(core, exchange):   # of this decision alone: it may wait as long again in each of them
            attempt(core, exchange)
        else:
            refuse(core, exchange, 503, CAUSE_QUEUE_TIMEOUT, False)
    else:
        abort(core, exchange, UPSTREAM_SIDE if is_upstream else CLIENT_SIDE)
