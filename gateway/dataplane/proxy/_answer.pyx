"""Interim answers are passed down as they come; the final one settles framing, reuse and close."""
from libc.stdint cimport int32_t, int64_t, uint32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._life cimport HEARD_MS
from gateway.dataplane.downstream._room cimport ends_for_room
from gateway.dataplane.exchange._account cimport note_answer, note_first_byte
from gateway.dataplane.exchange._flow cimport ALONE_BYTES, begin_body
from gateway.dataplane.http1._head cimport ResponseHead, has_end, is_idempotent, parse_response
from gateway.dataplane.http1._octets cimport Octets, has_prefix, is_word, number
from gateway.dataplane.http1._words cimport BAD, FIELD_OTHER, FIELD_RETRY_AFTER, METHOD_HEAD, WHOLE, Field, Verdict
from gateway.dataplane.proxy._affinity cimport append_cookie, cookie_bytes
from gateway.dataplane.proxy._forward cimport append_debug, begin_response, end_head
from gateway.dataplane.shared._snapshot cimport CLOSING, LAMEDUCK, Orders, orders_of
from gateway.dataplane.transport._buffers cimport grow_buffer, make_room, open_buffer
from gateway.dataplane.transport._stream cimport fill, lay_us, postpone
from gateway.dataplane.transport._transport cimport peek
from routing_core._atomic cimport load_relaxed
from routing_core._figures cimport SCALE, reason_text
from routing_core._random cimport next_u64


cdef enum:
    MAX_READS = 16          # a turn
    RETRY_AFTER_S = 300     # no answer keeps anyone away for longer
    ROOM_BYTES = 512        # what is added to a head, but for a cookie, is shorter


cdef bint announces_end(Core *core, Stream *downstream) noexcept nogil:
    cdef const Orders *orders = orders_of(core.board)
    cdef int64_t phase = load_relaxed(&orders.phase)
    # Who always has its next request on the way would never hear of it: what came later is dropped (RFC 9112 9.6).
    if core.phase >= <int64_t>CLOSING and core.now_ms - core.closing_ms >= HEARD_MS:
        return True
    if phase < <int64_t>LAMEDUCK and not ends_for_room(core, downstream.connection):
        return False
    # Its next request is in the buffer, or on the socket and not yet looked at.
    if downstream.input.begin < downstream.input.end or (downstream.is_readable and peek(downstream)):
        return False
    return phase != <int64_t>LAMEDUCK or <int64_t>(next_u64(&core.rng) % SCALE) < load_relaxed(&orders.close_share)


cdef Framing framing_of(const Exchange *exchange, const ResponseHead *head) noexcept nogil:
    if exchange.method == METHOD_HEAD or head.status == 204 or head.status == 304:
        return NO_BODY
    if head.is_chunked:
        return BY_CHUNKS
    return BY_LENGTH if head.content_length >= 0 else BY_END


cdef Answered pass_interim(Exchange *exchange, const char *text, const ResponseHead *head) noexcept nogil:
    """1xx but 101: to those who understand it; 100 to those who wait for it. The answer itself is still to begin."""
    exchange.first_byte_us = 0
    exchange.has_heard = True
    if exchange.minor >= 1 and (head.status != 100 or exchange.expects_continue):
        exchange.expects_continue = exchange.expects_continue and head.status != 100    # once told is enough
        begin_response(&exchange.down.head, text, head, NO_BODY, False, False, False)
        if not end_head(&exchange.down.head):
            return ANSWER_BAD   # more interim answers than anyone can want
    return ANSWER_NEEDS_DATA


cdef uint32_t room_for_own_fields(const Exchange *exchange) noexcept nogil:
    return <uint32_t>ROOM_BYTES + cookie_bytes(exchange)


cdef void append_own_fields(Buffer *out, const Exchange *exchange) noexcept nogil:
    append_cookie(out, exchange)
    if exchange.snapshot.settings.has_debug_fields:
        append_debug(out, &exchange.pool.pop.name, reason_text(exchange.decision.reason))


cdef bint is_event_stream(const char *text, const ResponseHead *head) noexcept nogil:
    """Server-sent events: it begins when the server has something to tell."""
    cdef const Field *field
    cdef Octets value
    cdef int32_t k
    for k in range(head.n_fields):
        field = &head.fields[k]
        if field.id != FIELD_OTHER or not is_word(<Octets>text + field.name_at, field.name_length, "content-type"):
            continue
        value = <Octets>text + field.value_at
        if not has_prefix(value, field.value_length, "text/event-stream", 17):
            return False
        return field.value_length == 17 or value[17] == c';' or value[17] == c' ' or value[17] == c'\t'
    return False


cdef int64_t find_retry_after(const char *text, const ResponseHead *head) noexcept nogil:
    """In ms, of the first field; 0 without one. A date (RFC 9110 10.2.3) would need a clock that agrees with its sender's: it says 0."""
    cdef int32_t i
    for i in range(head.n_fields):
        if head.fields[i].id == FIELD_RETRY_AFTER:
            return max(min(number(<Octets>text + head.fields[i].value_at, head.fields[i].value_length), <int64_t>RETRY_AFTER_S), 0) * 1000
    return 0


cdef bint may_be_followed(const Exchange *exchange, const ResponseHead *head) noexcept nogil:
    """By a body that must not be there. Who sends one may do so a while later: it would be the next client's answer."""
    return exchange.method == METHOD_HEAD or (head.status == 204 and (head.is_chunked or head.content_length > 0))


cdef Answered take_final(Core *core, Exchange *exchange, const char *text, const ResponseHead *head) noexcept nogil:
    cdef Stream *downstream = exchange.downstream
    cdef Flow *down = &exchange.down
    exchange.status = head.status
    down.framing = framing_of(exchange, head)
    down.left = head.content_length
    down.is_unchunked = down.framing == BY_CHUNKS and exchange.minor == 0
    exchange.is_upstream_reusable = not head.close and down.framing != BY_END and not may_be_followed(exchange, head)
    # An answer before the request's end: most likely the rest will not be read, so the client is told (RFC 9112 9.3). And behind an
    # upgrade that is declined may be the tunnel's first bytes, which are no request (CVE-2026-2833).
    if (exchange.close_asked or down.framing == BY_END or down.is_unchunked or not exchange.up.is_done or exchange.is_upgrade
            or announces_end(core, downstream)):
        downstream.must_close = True
    begin_response(&down.head, text, head, NO_BODY if down.is_unchunked else down.framing, downstream.must_close,
                   exchange.minor == 0 and not downstream.must_close, cookie_bytes(exchange) > 0)
    append_own_fields(&down.head, exchange)
    if not end_head(&down.head):
        return ANSWER_BAD
    begin_body(down)
    down.chunks.is_of_answer = True
    exchange.is_long_lived = exchange.pool.service.is_long_lived or is_event_stream(text, head)
    note_answer(core, exchange, head.status, exchange.is_long_lived,
                find_retry_after(text, head) if head.status == 429 or head.status == 503 else 0)
    return ANSWER_BEGINS


cdef Answered take_switch(Core *core, Exchange *exchange, const char *text, const ResponseHead *head) noexcept nogil:
    """101: a tunnel, but only for who asked for one and has said all of the request."""
    if exchange.is_upgrade and head.is_upgrade and exchange.up.is_done:
        begin_response(&exchange.down.head, text, head, NO_BODY, False, False, False)
        if end_head(&exchange.down.head):
            note_answer(core, exchange, 101, True, 0)
            exchange.status = 101
            exchange.downstream.must_close = True
            return ANSWER_IS_TUNNEL
    return ANSWER_BAD


cdef bint is_said_to_idle(const Exchange *exchange, const ResponseHead *head) noexcept nogil:
    """A 408 by which a server ends a connection that was idle (RFC 9110 15.5.9): it crossed the request, which had nothing to be late."""
    return head.status == 408 and exchange.upstream.is_reused and exchange.up.framing == NO_BODY and is_idempotent(exchange.method)


cdef Answered take_head(Core *core, Exchange *exchange, const char *text, const ResponseHead *head) noexcept nogil:
    cdef Buffer *out = &exchange.down.head
    cdef uint32_t needed = head.length + room_for_own_fields(exchange)
    cdef uint32_t mark
    cdef Answered answered
    if out.at == NULL and not open_buffer(core, out, needed):
        return ANSWER_NO_MEMORY
    if out.begin == out.end:
        out.begin = out.end = 0     # the interim answers before are sent
    # Interim answers lie before: what does not fit is found by end_head.
    while out.capacity - out.end < needed and grow_buffer(core, out):
        pass
    mark = out.end
    if is_said_to_idle(exchange, head):
        answered = ANSWER_IS_OLD
    elif head.status == 101:
        answered = take_switch(core, exchange, text, head)
    elif head.status < 200:
        answered = pass_interim(exchange, text, head)
    else:
        answered = take_final(core, exchange, text, head)
    if answered == ANSWER_BAD:
        out.end = mark          # half a head goes to nobody
    return answered


cdef Answered parse(Core *core, Exchange *exchange) noexcept nogil:
    """What lies in the buffer, head by head. ANSWER_NEEDS_DATA: no final head in it."""
    cdef Stream *upstream = exchange.upstream
    cdef Buffer *buffer = &upstream.input
    cdef uint32_t limit = exchange.snapshot.settings.head_bytes
    cdef uint32_t length
    cdef const char *text
    cdef Verdict verdict
    cdef Answered answered
    while buffer.begin < buffer.end:
        text = buffer.at + buffer.begin
        length = buffer.end - buffer.begin
        if exchange.first_byte_us == 0:
            note_first_byte(core, exchange, lay_us(core, upstream))
        if upstream.scanned and length <= limit and not has_end(text, length, &upstream.scanned):
            return ANSWER_NEEDS_DATA
        verdict = parse_response(text, length, limit, &core.response)
        if verdict == BAD:
            return ANSWER_BAD
        if verdict != WHOLE:
            if upstream.scanned == 0:
                has_end(text, length, &upstream.scanned)
            return ANSWER_NEEDS_DATA
        upstream.scanned = 0
        answered = take_head(core, exchange, text, &core.response)
        buffer.begin += core.response.length
        if answered != ANSWER_NEEDS_DATA:
            return answered
    return ANSWER_NEEDS_DATA


cdef Answered read_answer(Core *core, Exchange *exchange) noexcept nogil:
    cdef Stream *upstream = exchange.upstream
    cdef Buffer *buffer = &upstream.input
    cdef Answered answered
    cdef ssize_t came
    for _ in range(MAX_READS):
        if not upstream.is_readable:
            return ANSWER_NEEDS_DATA
        if exchange.has_heard and core.n_sent > ALONE_BYTES:
            break
        if not make_room(core, buffer):
            return ANSWER_NO_MEMORY
        came = fill(upstream)
        if came == BLOCKED:
            return ANSWER_NEEDS_DATA
        if came <= 0:
            return ANSWER_ENDED
        if exchange.has_heard:
            core.n_sent += came
        answered = parse(core, exchange)
        if answered != ANSWER_NEEDS_DATA:
            return answered
    postpone(core, exchange.downstream)     # a flood of interim answers: others first, and with other floods one share of a turn
    return ANSWER_NEEDS_DATA
