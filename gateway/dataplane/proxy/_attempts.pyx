"""An attempt ends in an answer's head, or in fail_attempt(), which alone decides on a retry.

Over 400 lines: one state machine; each step may begin any other.
"""
from libc.stdint cimport int32_t, uint32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._life cimport *
from gateway.dataplane.downstream._room cimport make_room_for_request
from gateway.dataplane.exchange._account cimport (
    begin_attempt, count_retry, note_bad_answer, note_connect, note_failure, note_hold, note_pool_failure, note_tunnel, note_wait)
from gateway.dataplane.exchange._blame cimport fault_of, is_by_us, is_peers_right
from gateway.dataplane.exchange._flow cimport *
from gateway.dataplane.exchange._remains cimport keep_remains
from gateway.dataplane.exchange._tried cimport CAME_REFUSED, CAME_TO_NOTHING, has_rows_left, note_tried
from gateway.dataplane.exchange._waits cimport awaits_continue, is_for_client, settle_deadlines, wait_for, wait_for_answer
from gateway.dataplane.http1._head cimport is_idempotent
from gateway.dataplane.http1._words cimport METHOD_HEAD
from gateway.dataplane.proxy._answer cimport *
from gateway.dataplane.proxy._elsewhere cimport (
    FOLLOWED_AWAY, FOLLOWED_TO_NOBODY, FOLLOWED_TO_REFUSAL, Followed, follow_newest, heed_less, next_fallback, next_pool, passes_by)
from gateway.dataplane.proxy._reply cimport compose_reply
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport *
from gateway.dataplane.shared._places cimport free_place
from gateway.dataplane.transport._buffers cimport close_buffer, open_buffer
from gateway.dataplane.transport._stream cimport *
from gateway.dataplane.transport._transport cimport end as say_end, has_connected
from gateway.dataplane.upstream._choice cimport choose
from gateway.dataplane.upstream._pools cimport *
from gateway.dataplane.upstream._queue cimport *
from routing_core._budget cimport spend
from routing_core._decision cimport MAX_FALLBACKS
from routing_core._endpoints cimport AVAILABLE, FULL, Availability, is_at_limit
from routing_core._figures cimport *
from routing_core._layout cimport Endpoint, Pool

cdef enum Failed:           # how an attempt ended without an answer
    FAILED_CONNECT          # no connection: refused, unreachable, too slow
    FAILED_RESET            # the connection ended before a byte of the answer; interim ones are none
    FAILED_TIMEOUT          # no answer in time
    FAILED_GARBAGE          # an answer that is no HTTP, or not for this request
    FAILED_BY_US            # an answer that this client or our own limit left no way to pass on: nobody's failure there


# --- Attempts ---

cdef bint is_paid_for(Core *core, Exchange *exchange) noexcept nogil:
    # What wrote no byte costs the PoPs nothing: it does not draw on the budget.
    return not exchange.has_sent or spend(exchange.service.debt, exchange.service.columns, core.crew,
                                          &exchange.snapshot.settings.budget, clock_us(core) // 1000)


cdef void attempt(Core *core, Exchange *exchange) noexcept nogil:
    cdef const Endpoint *endpoint = NULL
    cdef Availability found
    cdef Followed followed = follow_newest(core, exchange, True)
    if followed >= FOLLOWED_TO_NOBODY:
        give_up_or_refuse(core, exchange, CAUSE_ROUTE_REFUSED if followed == FOLLOWED_TO_REFUSAL else CAUSE_NO_PERMITTED_POP)
        return
    while True:
        found = choose(core, exchange, exchange.pool, exchange.heed, &endpoint)
        if found == AVAILABLE or found == FULL:
            if attempt_at(core, exchange, endpoint, found == FULL and is_at_limit(exchange.pool, endpoint, core.crew)):
                return
            continue
        if exchange.n_refused > exchange.n_refused_before:
            note_pool_failure(core, exchange, exchange.pool)
        if not next_pool(core, exchange) and not heed_less(core, exchange):
            give_up_or_refuse(core, exchange, CAUSE_NO_DESCRIPTORS if exchange.has_lacked else CAUSE_NO_ENDPOINT)
            return


cdef bint attempt_at(Core *core, Exchange *exchange, const Endpoint *endpoint, bint must_wait) noexcept nogil:
    """False: failed at once, and another is to be chosen."""
    cdef UpstreamPool *pool = pool_of(core, endpoint)
    cdef Stream *upstream = NULL
    cdef Lack lack = LACKS_NOTHING
    if pool == NULL:
        refuse(core, exchange, 503, CAUSE_NO_MEMORY, False)
        return True
    if must_wait:           # it is at its limit of exchanges
        return wait_at(core, exchange, pool, True)
    if exchange.is_its_turn:
        if exchange.queued_row != pool.row and not is_first_at(core, pool, exchange):
            return wait_behind(core, exchange, pool)
    elif pool.first_waiting != NULL:
        return wait_behind(core, exchange, pool)
    if not exchange.wants_fresh:
        upstream = borrow(core, pool, not is_idempotent(exchange.method))
    if upstream == NULL:
        if (others_are_first(core, pool) and not exchange.is_its_turn) or not take_place(core, pool):
            return wait_behind(core, exchange, pool)
        upstream = reach_with_room(core, exchange, pool, endpoint, &lack)
    if lack == LACKS_PORT and passes_by(exchange, pool):
        return False
    if lack == LACKS_ROOM or lack == LACKS_DESCRIPTOR or lack == LACKS_PORT:
        return wait_at(core, exchange, pool, True)
    exchange.n_attempts += 1
    if lack != LACKS_NOTHING:    # no endpoint's fault
        refuse(core, exchange, 503, CAUSE_NO_DESCRIPTORS, False)
        return True
    exchange.endpoint = exchange.tried_last = endpoint
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


cdef Stream *reach_with_room(Core *core, Exchange *exchange, UpstreamPool *pool, const Endpoint *endpoint, Lack *lack) noexcept nogil:
    cdef Stream *upstream = reach(core, pool, endpoint, lack)
    if lack[0] == LACKS_DESCRIPTOR and make_room_for_request(core):
        lack[0] = LACKS_NOTHING
        upstream = reach(core, pool, endpoint, lack)
    if upstream == NULL:
        free_place(pool)
        exchange.has_lacked = exchange.has_lacked or lack[0] == LACKS_DESCRIPTOR or lack[0] == LACKS_PORT
    return upstream


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


cdef bint wait_behind(Core *core, Exchange *exchange, UpstreamPool *pool) noexcept nogil:
    """Those who are first, or have all places."""
    if (pool.lacks_port and passes_by(exchange, pool)) or not wait_at(core, exchange, pool, False):
        return False
    look_again(core, pool)
    return True


cdef void begin_sending(Core *core, Exchange *exchange) noexcept nogil:
    move(core, exchange, AWAITING)
    exchange.has_sent = exchange.has_heard = False
    exchange.sent_us = core.now_us
    exchange.is_up_broken = False
    exchange.up.head.begin = 0
    drive(core, exchange)


cdef void on_connected(Core *core, Stream *upstream) noexcept nogil:
    if not has_connected(upstream):
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


cdef bint leave_pool(Core *core, Exchange *exchange, bint is_refused) noexcept nogil:
    """False: it is asked of nobody else."""
    cdef const Pool *pool
    if follow_newest(core, exchange, True) == FOLLOWED_AWAY:
        return True
    pool = exchange.pool
    if not next_pool(core, exchange):
        return False
    if is_refused:
        note_pool_failure(core, exchange, pool)
    return True


cdef bint may_go_on(Core *core, Exchange *exchange, Failed how) noexcept nogil:
    """Ends a failed attempt. True: prepared for the next one; False: the client has been given its answer."""
    cdef bint was_reused = exchange.upstream != NULL and exchange.upstream.is_reused
    cdef int32_t row = exchange.endpoint.row
    cdef bint has_raced = how == FAILED_RESET and was_reused and not exchange.has_heard
    cdef bint is_refused = how == FAILED_CONNECT
    cdef bint has_left
    if how != FAILED_BY_US and not (how == FAILED_RESET and is_peers_right(core, exchange)):
        note_failure(core, exchange, is_refused)
    exchange.n_refused += is_refused
    release_upstream(core, exchange, False)
    exchange.endpoint = NULL
    if how == FAILED_TIMEOUT or how == FAILED_GARBAGE or how == FAILED_BY_US:
        give_up(core, exchange, 504 if how == FAILED_TIMEOUT else 502)
        return False
    if not may_be_repeated(exchange):
        count_retry(core, exchange, RETRY_REFUSED_UNSAFE)
        give_up(core, exchange, 502)
        return False
    if not was_reused:
        note_tried(exchange, row, CAME_REFUSED if is_refused else CAME_TO_NOTHING)
    has_left = not has_tries_left(exchange)
    if has_left and not (is_refused and has_rows_left(exchange) and leave_pool(core, exchange, True)):
        if is_refused:
            note_pool_failure(core, exchange, exchange.pool)
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
    # The next endpoint, then the next PoP: the last try is not spent where the others failed.
    if not has_left and tries_spent(exchange) == exchange.snapshot.settings.max_retries:
        leave_pool(core, exchange, is_refused)
    return True


cdef void fail_attempt(Core *core, Exchange *exchange, Failed how) noexcept nogil:
    if may_go_on(core, exchange, how):
        attempt(core, exchange)


cdef void give_up(Core *core, Exchange *exchange, int status) noexcept nogil:
    if exchange.n_retries:
        count_retry(core, exchange, RETRY_BAD)
    reply(core, exchange, status, False)


cdef void give_up_or_refuse(Core *core, Exchange *exchange, Cause cause) noexcept nogil:
    """Nobody is left, of those who have failed it or of all."""
    if exchange.n_attempts:
        give_up(core, exchange, 502)
    else:
        refuse(core, exchange, 500 if cause == CAUSE_ROUTE_REFUSED else 503, cause, False)


# --- The gateway's own answers ---

cdef void refuse(Core *core, Exchange *exchange, int status, Cause cause, bint close) noexcept nogil:
    count_cause(core.column, cause)
    exchange.cause = <int32_t>N_CAUSES + <int32_t>cause
    reply(core, exchange, status, close)


cdef bint begin_reply(Core *core, Exchange *exchange, int status, bint close, uint32_t room) noexcept nogil:
    cdef Stream *downstream = exchange.downstream
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
    cdef Stream *downstream = exchange.downstream
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
            say_end(exchange.upstream)
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
    elif answered == ANSWER_BAD:
        note_bad_answer(core, exchange, fault_of(&core.response))
        fail_attempt(core, exchange, FAILED_BY_US if is_by_us(&core.response, exchange) else FAILED_GARBAGE)
    else:
        note_bad_answer(core, exchange, <int>BAD_CUT)
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
    cdef Stream *downstream = exchange.downstream
    cdef bint was_done = exchange.down.is_done
    cdef Pumped pumped = PUMP_DONE
    if not was_done:
        pumped = pump(core, &exchange.down, exchange.upstream, downstream, downstream.must_close)
    if pumped == PUMP_WAIT_SOURCE or pumped == PUMP_WAIT_SINK:
        wait_for(core, exchange, &exchange.down, UPSTREAM_SIDE if pumped == PUMP_WAIT_SOURCE else CLIENT_SIDE)
        shed_heads(core, exchange)
        # Nothing is tried again. Most answers end before this costs anything.
        if exchange.snapshot != NULL and (exchange.is_long_lived or exchange.snapshot != core.snapshot):
            keep_remains(core, exchange)
    elif pumped == PUMP_GO_ON:
        wait_for(core, exchange, &exchange.down, NO_SIDE)
        postpone(core, downstream)
    elif pumped != PUMP_DONE:
        if pumped == PUMP_BAD:
            note_bad_answer(core, exchange, <int>BAD_BODY)
        elif exchange.state == ANSWERING and (pumped == PUMP_ENDED or pumped == PUMP_BROKEN):
            note_bad_answer(core, exchange, <int>BAD_CUT)
        abort(core, exchange, CLIENT_SIDE if pumped == PUMP_SINK_BROKEN else GATEWAY_SIDE if pumped == PUMP_NO_MEMORY else UPSTREAM_SIDE)
        return False
    elif exchange.state == TUNNELLING and not exchange.up.is_done and not exchange.is_up_broken:
        if not was_done:
            say_end(downstream)
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

cdef void on_lost(Core *core, Stream *connection) noexcept nogil:
    cdef Exchange *exchange = connection.exchange
    if connection == exchange.downstream:
        abort(core, exchange, CLIENT_SIDE)
    else:                       # what it said before is still to be read
        connection.is_readable = True
        drive(core, exchange)


cdef void on_unasked(Core *core, Stream *upstream) noexcept nogil:
    if upstream.exchange.state == AWAITING:
        fail_attempt(core, upstream.exchange, FAILED_RESET)
    else:                       # it broke while the request went up, and what lay there was taken for the answer
        abort(core, upstream.exchange, UPSTREAM_SIDE)


cdef void on_late(Core *core, Stream *connection) noexcept nogil:
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
        exchange.n_waits += 1       # it may wait as long again elsewhere, but not for as long as tables change
        if exchange.n_waits <= <int32_t>MAX_FALLBACKS and (
                follow_newest(core, exchange, True) == FOLLOWED_AWAY or next_fallback(core, exchange)):
            attempt(core, exchange)
        else:
            refuse(core, exchange, 503, CAUSE_NO_DESCRIPTORS if exchange.has_lacked else CAUSE_QUEUE_TIMEOUT, False)
    else:
        abort(core, exchange, UPSTREAM_SIDE if is_upstream else CLIENT_SIDE)
