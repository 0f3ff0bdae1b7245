"""Kept fields are copied in runs, one memcpy from one dropped field to the next."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy, strlen

from gateway.dataplane._core cimport BY_CHUNKS, Buffer, Framing
from gateway.dataplane._head cimport *
from gateway.dataplane._settings cimport Settings

cdef enum Keep:
    KEPT = 0
    DROPPED = 1             # hop-by-hop, or the gateway's own word takes its place
    OF_TRUSTED = 2          # kept only from a trusted hop


cdef inline Keep request_rule(uint8_t field_id) noexcept nogil:
    if field_id == FIELD_OTHER or field_id == FIELD_HOST or field_id == FIELD_CONTENT_LENGTH:
        return KEPT
    if (field_id == FIELD_CONNECTION or field_id == FIELD_KEEP_ALIVE or field_id == FIELD_PROXY_CONNECTION or field_id == FIELD_TE
            or field_id == FIELD_TRANSFER_ENCODING or field_id == FIELD_UPGRADE or field_id == FIELD_X_FORWARDED_FOR
            or field_id == FIELD_X_REQUEST_ID or field_id == FIELD_TRACEPARENT or field_id == FIELD_X_ISOCHRONE):
        return DROPPED
    if (field_id == FIELD_X_FORWARDED_PROTO or field_id == FIELD_X_FORWARDED_HOST or field_id == FIELD_FORWARDED
            or field_id == FIELD_X_REAL_IP):
        return OF_TRUSTED
    return KEPT


cdef inline bint is_dropped_from_response(uint8_t field_id) noexcept nogil:
    return (field_id == FIELD_CONNECTION or field_id == FIELD_KEEP_ALIVE or field_id == FIELD_PROXY_CONNECTION or field_id == FIELD_TE
            or field_id == FIELD_TRANSFER_ENCODING or field_id == FIELD_UPGRADE or field_id == FIELD_X_ISOCHRONE)


cdef bint append(Buffer *out, const char *text, uint32_t length) noexcept nogil:
    if length > out.capacity - out.end:
        return False
    memcpy(out.at + out.end, text, length)
    out.end += length
    return True


cdef inline bint append_text(Buffer *out, const char *text) noexcept nogil:
    return append(out, text, <uint32_t>strlen(text))


cdef bint append_number(Buffer *out, long long number) noexcept nogil:
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(c'0' + number % 10)
        number //= 10
        if number == 0:
            return append(out, digits + at, 20 - at)


cdef void write_hex(char *out, unsigned long long number) noexcept nogil:
    cdef const char *digits = "0123456789abcdef"
    cdef int i
    for i in range(16):
        out[i] = digits[number >> (60 - 4 * i) & 15]


cdef bint is_trace(const char *text, uint32_t length) noexcept nogil:
    """Trace Context, level 1: version 00, two ids that are not all zero, flags; lower-case hex."""
    cdef uint32_t i
    cdef bint has_trace = False
    cdef bint has_parent = False
    cdef char c
    if length != TRACE_BYTES or text[0] != c'0' or text[1] != c'0':
        return False
    for i in range(<uint32_t>TRACE_BYTES):
        c = text[i]
        if i == 2 or i == 35 or i == 52:
            if c != c'-':
                return False
            continue
        if not (c'0' <= c <= c'9' or c'a' <= c <= c'f'):
            return False
        has_trace = has_trace or (2 < i < 35 and c != c'0')
        has_parent = has_parent or (35 < i < 52 and c != c'0')
    return has_trace and has_parent


cdef bint is_id(const char *text, uint32_t length) noexcept nogil:
    cdef uint32_t i
    if not 0 < length <= ID_BYTES:
        return False
    for i in range(length):
        if not c'!' <= text[i] <= c'~':
            return False
    return True


cdef void settle_ids(const char *text, const RequestHead *head, unsigned long long a, unsigned long long b, unsigned long long c,
                     Facts *facts) noexcept nogil:
    cdef const Field *field
    cdef int32_t i
    cdef bint has_trace = False
    facts.id_length = 0
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.id == FIELD_TRACEPARENT and not has_trace and is_trace(text + field.value_at, field.value_length):
            memcpy(facts.trace, text + field.value_at, TRACE_BYTES)
            has_trace = True
        elif (field.id == FIELD_X_REQUEST_ID and facts.is_trusted and facts.id_length == 0
                and is_id(text + field.value_at, field.value_length)):
            memcpy(facts.id, text + field.value_at, field.value_length)
            facts.id_length = field.value_length
    if facts.id_length == 0:
        write_hex(facts.id, a)
        write_hex(facts.id + 16, b)
        facts.id_length = 32
    if not has_trace:
        memcpy(facts.trace, "00-", 3)
        write_hex(facts.trace + 3, a ^ c)
        write_hex(facts.trace + 19, b + c)
        facts.trace[35] = c'-'
        write_hex(facts.trace + 36, c | 1)
        memcpy(facts.trace + 52, "-00", 3)


cdef bint append_forwarded_for(Buffer *out, const char *text, const RequestHead *head, const Facts *facts) noexcept nogil:
    """One field: what trusted hops said, then the peer."""
    cdef const Field *field
    cdef int32_t i
    if not append(out, "x-forwarded-for: ", 17):
        return False
    if facts.is_trusted:
        for i in range(head.n_fields):
            field = &head.fields[i]
            if field.id == FIELD_X_FORWARDED_FOR and not field.is_named_by_connection and field.value_length > 0:
                if not append(out, text + field.value_at, field.value_length) or not append(out, ", ", 2):
                    return False
    return append(out, facts.peer, facts.peer_length)


cdef bint append_upgrade(Buffer *out, const char *text, const RequestHead *head) noexcept nogil:
    cdef int32_t i
    for i in range(head.n_fields):
        if head.fields[i].id == FIELD_UPGRADE:
            if not (append(out, "connection: upgrade\r\nupgrade: ", 30)
                    and append(out, text + head.fields[i].value_at, head.fields[i].value_length) and append(out, "\r\n", 2)):
                return False
            return True
    return True


cdef bint append_start(Buffer *out, const char *text, const RequestHead *head, const Facts *facts) noexcept nogil:
    """Origin form, whatever form came; Host is the authority of the absolute form (RFC 9112 3.2.2)."""
    if not (append(out, text + head.method_at, head.method_length) and append(out, " ", 1)):
        return False
    if head.is_asterisk:
        if not append(out, "*", 1):
            return False
    elif not head.is_absolute:
        if not append(out, text + head.target_at, head.target_length):
            return False
    else:
        if not (append(out, text + head.path_at, head.path_length) if head.path_length else append(out, "/", 1)):
            return False
        if head.query_length and not (append(out, "?", 1) and append(out, text + head.query_at, head.query_length)):
            return False
    if not append(out, " HTTP/1.1\r\n", 11):
        return False
    if head.is_absolute:
        return append(out, "host: ", 6) and append(out, text + head.authority_at, head.authority_length) and append(out, "\r\n", 2)
    if head.authority_length == 0:      # HTTP/1.0, which goes on as 1.1 and needs one (RFC 9112 3.2, 3.3)
        return append(out, "host: ", 6) and append(out, facts.local, facts.local_length) and append(out, "\r\n", 2)
    return True


cdef bint append_kept(Buffer *out, const char *text, const RequestHead *head, const Facts *facts, bint *has_proto,
                      bint *has_host) noexcept nogil:
    cdef uint32_t run = head.fields_at
    cdef const Field *field
    cdef Keep rule
    cdef int32_t i
    for i in range(head.n_fields):
        field = &head.fields[i]
        rule = request_rule(field.id)
        if rule == KEPT and not field.is_named_by_connection and not (field.id == FIELD_HOST and head.is_absolute):
            continue
        if rule == OF_TRUSTED and facts.is_trusted and not field.is_named_by_connection:
            has_proto[0] = has_proto[0] or field.id == FIELD_X_FORWARDED_PROTO
            has_host[0] = has_host[0] or field.id == FIELD_X_FORWARDED_HOST
            continue
        if not append(out, text + run, field.name_at - run):
            return False
        run = field.line_end_at
    return append(out, text + run, head.length - 2 - run)


cdef bint compose_request(Buffer *out, const char *text, const RequestHead *head, const Settings *settings,
                          const Facts *facts) noexcept nogil:
    cdef bint has_proto = False
    cdef bint has_host = False
    if not (append_start(out, text, head, facts) and append_kept(out, text, head, facts, &has_proto, &has_host)
            and append_forwarded_for(out, text, head, facts)):
        return False
    if not has_proto and not append(out, "\r\nx-forwarded-proto: http", 25):
        return False
    if not has_host and head.authority_length and not (append(out, "\r\nx-forwarded-host: ", 20)
                                                       and append(out, text + head.authority_at, head.authority_length)):
        return False
    if not (append(out, "\r\nx-request-id: ", 16) and append(out, facts.id, facts.id_length)
            and append(out, "\r\ntraceparent: ", 15) and append(out, facts.trace, TRACE_BYTES)
            and append(out, "\r\nvia: ", 7) and append(out, settings.via, settings.via_length) and append(out, "\r\n", 2)):
        return False
    if head.is_chunked and not append(out, "transfer-encoding: chunked\r\n", 28):
        return False
    if head.is_upgrade and not append_upgrade(out, text, head):
        return False
    return append(out, "\r\n", 2)


cdef bint append_kept_of_response(Buffer *out, const char *text, const ResponseHead *head, bint keeps_length) noexcept nogil:
    cdef uint32_t run = head.fields_at
    cdef const Field *field
    cdef int32_t i
    for i in range(head.n_fields):
        field = &head.fields[i]
        if not (is_dropped_from_response(field.id) or field.is_named_by_connection
                or (field.id == FIELD_CONTENT_LENGTH and not keeps_length)):
            continue
        if not append(out, text + run, field.name_at - run):
            return False
        run = field.line_end_at
    return append(out, text + run, head.length - 2 - run)


cdef bint append_upgraded(Buffer *out, const char *text, const ResponseHead *head) noexcept nogil:
    cdef int32_t i
    if not append(out, "connection: upgrade\r\n", 21):
        return False
    for i in range(head.n_fields):
        if head.fields[i].id == FIELD_UPGRADE and not append(out, text + head.fields[i].name_at,
                                                             head.fields[i].line_end_at - head.fields[i].name_at):
            return False
    return True


cdef bint compose_response(Buffer *out, const char *text, const ResponseHead *head, Framing framing, bint close, bint keep_alive,
                           const char *debug_pop, uint32_t debug_pop_length, const char *debug_reason) noexcept nogil:
    # RFC 9110 8.6: no Content-Length in 1xx and 204.
    cdef bint keeps_length = head.status >= 200 and head.status != 204
    if not (append(out, "HTTP/1.1 ", 9) and append_number(out, head.status) and append(out, " ", 1)
            and append(out, text + head.reason_at, head.reason_length) and append(out, "\r\n", 2)
            and append_kept_of_response(out, text, head, keeps_length)):
        return False
    if head.status == 101:
        if not append_upgraded(out, text, head):
            return False
    elif framing == BY_CHUNKS and not append(out, "transfer-encoding: chunked\r\n", 28):
        return False
    if close and not append(out, "connection: close\r\n", 19):
        return False
    if keep_alive and not append(out, "connection: keep-alive\r\n", 24):
        return False
    if debug_pop != NULL and not (append(out, "x-isochrone-pop: ", 17) and append(out, debug_pop, debug_pop_length)
                                  and append(out, "\r\nx-isochrone-reason: ", 22) and append_text(out, debug_reason)
                                  and append(out, "\r\n", 2)):
        return False
    return append(out, "\r\n", 2)
