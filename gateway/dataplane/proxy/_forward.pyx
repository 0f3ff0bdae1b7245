"""Kept fields are copied in runs, one memcpy from one dropped field to the next.

A trusted hop is believed in the one field that the operator named. What else says whose the request is may be the client's, passed on by
a hop that does not know it: addresses are overwritten with the one believed, and of X-Forwarded-For and Forwarded only the one named is
a chain that goes on.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from gateway.dataplane._core cimport BY_CHUNKS, Buffer, Framing
from gateway.dataplane.downstream._client cimport Span, find_forwarded, take_parameter
from gateway.dataplane.http1._head cimport *
from gateway.dataplane.http1._octets cimport Octets, find_host, is_same, is_token, is_word, next_element, number
from gateway.dataplane.http1._words cimport *
from gateway.dataplane.shared._settings cimport Settings

cdef enum:
    MAX_SCHEME = 16
    MAX_REWRITTEN = 16      # further fields that say the client's address are dropped: bounds what is added

cdef enum Keep:
    KEPT = 0
    DROPPED = 1             # hop-by-hop, or the gateway's own word takes its place
    OF_TRUSTED = 2          # kept only from a trusted hop
    REWRITTEN = 3           # with what is believed of a trusted hop; dropped from anyone else
    OF_TRACE = 4            # kept with the traceparent that it belongs to
    COUNTED = 5             # one less, where the method counts hops

# Of the fields that came, what is not to be added.
cdef struct Kept:
    bint has_proto
    bint has_host
    int n_rewritten


cdef inline Keep request_rule(uint8_t field_id, bint reads_forwarded) noexcept nogil:
    if field_id == FIELD_OTHER or field_id == FIELD_HOST or field_id == FIELD_CONTENT_LENGTH:
        return KEPT
    if (field_id == FIELD_CONNECTION or field_id == FIELD_KEEP_ALIVE or field_id == FIELD_PROXY_CONNECTION or field_id == FIELD_TE
            or field_id == FIELD_TRANSFER_ENCODING or field_id == FIELD_UPGRADE or field_id == FIELD_X_FORWARDED_FOR
            or field_id == FIELD_FORWARDED or field_id == FIELD_X_REQUEST_ID or field_id == FIELD_TRACEPARENT
            or field_id == FIELD_X_ISOCHRONE or field_id == FIELD_UNDERSCORED):
        return DROPPED
    if field_id == FIELD_X_FORWARDED_PROTO or field_id == FIELD_X_FORWARDED_HOST:
        return DROPPED if reads_forwarded else OF_TRUSTED
    if field_id == FIELD_ADDRESS:
        return REWRITTEN
    if field_id == FIELD_TRACESTATE:
        return OF_TRACE
    if field_id == FIELD_MAX_FORWARDS:
        return COUNTED
    return OF_TRUSTED if is_hops_word(field_id) else KEPT


cdef inline bint is_dropped_from_response(uint8_t field_id) noexcept nogil:
    return (field_id == FIELD_CONNECTION or field_id == FIELD_KEEP_ALIVE or field_id == FIELD_PROXY_CONNECTION or field_id == FIELD_TE
            or field_id == FIELD_TRANSFER_ENCODING or field_id == FIELD_UPGRADE or field_id == FIELD_X_ISOCHRONE)


cdef void append(Buffer *out, const char *text, uint32_t length) noexcept nogil:
    if <int64_t>out.end + length > out.capacity:
        out.end = out.capacity + 1      # and so it stays: one look at the end will do
        return
    memcpy(out.at + out.end, text, length)
    out.end += length


cdef inline void append_text(Buffer *out, const char *text) noexcept nogil:
    append(out, text, <uint32_t>strlen(text))


cdef void append_number(Buffer *out, long long value) noexcept nogil:
    cdef char digits[20]
    cdef int at = 20
    while value > 0 or at == 20:
        at -= 1
        digits[at] = <char>(c'0' + value % 10)
        value //= 10
    append(out, digits + at, 20 - at)


cdef void append_chain(Buffer *out, const char *text, const Field *fields, int32_t n_fields, FieldId field_id) noexcept nogil:
    """What was said in a field, in all its lines, as one list that goes on."""
    cdef const Field *field
    cdef int32_t i
    for i in range(n_fields):
        field = fields + i
        if field.id == field_id and not field.is_named_by_connection and field.value_length > 0:
            append(out, text + field.value_at, field.value_length)
            append(out, ", ", 2)


cdef void append_forwarded_for(Buffer *out, const char *text, const RequestHead *head, const Settings *settings,
                               const Facts *facts) noexcept nogil:
    """One field: what trusted hops said, then the peer."""
    append(out, "x-forwarded-for: ", 17)
    if facts.is_trusted and not settings.reads_forwarded:
        append_chain(out, text, head.fields, head.n_fields, FIELD_X_FORWARDED_FOR)
    elif facts.is_forwarded:
        append(out, facts.client, facts.client_length)
        append(out, ", ", 2)
    append(out, facts.peer, facts.peer_length)
    append(out, "\r\n", 2)


cdef void append_forwarded(Buffer *out, const char *text, const RequestHead *head, const Facts *facts) noexcept nogil:
    """RFC 7239: an IPv6 address stands in brackets, and those in quotes."""
    cdef bint is_v6 = memchr(facts.peer, c':', facts.peer_length) != NULL
    append(out, "forwarded: ", 11)
    if facts.is_trusted:
        append_chain(out, text, head.fields, head.n_fields, FIELD_FORWARDED)
    append(out, "for=\"[" if is_v6 else "for=", 6 if is_v6 else 4)
    append(out, facts.peer, facts.peer_length)
    append(out, "]\"\r\n" if is_v6 else "\r\n", 4 if is_v6 else 2)


cdef void append_asked(Buffer *out, const char *text, const RequestHead *head, const Settings *settings, const Facts *facts,
                       const Kept *kept) noexcept nogil:
    """By which scheme and for which host the client asked: as the hop said that is believed, else as it came here."""
    cdef Span proto = Span("http", 4)
    cdef Span host = Span(text + head.authority_at, head.authority_length)
    cdef Span element, found
    if settings.reads_forwarded and facts.is_forwarded and find_forwarded(settings, text, head, &element):
        found = element
        if take_parameter(&found, "proto=", 6) and found.length <= MAX_SCHEME and is_token(<Octets>found.at, found.length):
            proto = found
        found = element
        if take_parameter(&found, "host=", 5) and find_host(<Octets>found.at, <Octets>found.at + found.length):
            host = found
    if not kept.has_proto:
        append(out, "x-forwarded-proto: ", 19)
        append(out, proto.at, <uint32_t>proto.length)
        append(out, "\r\n", 2)
    if not kept.has_host and host.length > 0:
        append(out, "x-forwarded-host: ", 18)
        append(out, host.at, <uint32_t>host.length)
        append(out, "\r\n", 2)


cdef void append_upgrade(Buffer *out, const char *text, const Field *fields, int32_t n_fields) noexcept nogil:
    """What the field says is end to end here, though it is hop by hop: both sides are to become one tunnel."""
    cdef int32_t i
    append(out, "connection: upgrade\r\n", 21)
    for i in range(n_fields):
        if fields[i].id == FIELD_UPGRADE:
            append(out, text + fields[i].name_at, fields[i].line_end_at - fields[i].name_at)


cdef void append_host(Buffer *out, const char *host, uint32_t length) noexcept nogil:
    append(out, "host: ", 6)
    append(out, host, length)
    append(out, "\r\n", 2)


cdef bint has_been_here(const char *text, const RequestHead *head, const Settings *settings) noexcept nogil:
    """Of each element of Via (RFC 9110 7.6.3) the second word, the one behind the protocol. Connection may not hide it."""
    cdef const char *name = settings.via + 4        # "1.1 "
    cdef size_t length = settings.via_length - 4
    cdef Octets at, end, element
    cdef size_t left = 0
    cdef int32_t i
    for i in range(head.n_fields):
        if head.fields[i].id != FIELD_VIA:
            continue
        at = <Octets>text + head.fields[i].value_at
        end = at + head.fields[i].value_length
        while next_element(&at, end, &element, &left):
            while left > 0 and element[0] != c' ' and element[0] != c'\t':
                element += 1
                left -= 1
            while left > 0 and (element[0] == c' ' or element[0] == c'\t'):
                element += 1
                left -= 1
            if (left >= length and memcmp(element, name, length) == 0
                    and (left == length or element[length] == c' ' or element[length] == c'\t')):
                return True
    return False


cdef void append_target(Buffer *out, const char *text, const RequestHead *head) noexcept nogil:
    if not head.is_absolute:
        append(out, text + head.target_at, head.target_length)
        return
    if head.path_length == 0:
        append(out, "/", 1)
    append(out, text + head.path_at, head.path_length)
    if head.query_length:
        append(out, "?", 1)
        append(out, text + head.query_at, head.query_length)


cdef void append_start(Buffer *out, const char *text, const RequestHead *head, const Facts *facts) noexcept nogil:
    """Origin form, whatever form came; Host is the authority of the absolute form (RFC 9112 3.2.2)."""
    append(out, text + head.method_at, head.method_length)
    append(out, " ", 1)
    if head.is_asterisk:
        append(out, "*", 1)
    else:
        append_target(out, text, head)
    append(out, " HTTP/1.1\r\n", 11)
    if head.is_absolute:
        append_host(out, text + head.authority_at, head.authority_length)
    elif head.authority_length == 0:    # HTTP/1.0, which goes on as 1.1 and needs one (RFC 9112 3.2, 3.3)
        append_host(out, facts.local, facts.local_length)


cdef inline bint goes_on(Keep rule, const Field *field, const RequestHead *head, const Facts *facts) noexcept nogil:
    if field.is_named_by_connection:
        return False
    if rule == KEPT:
        return not (field.id == FIELD_HOST and head.is_absolute)
    if rule == COUNTED:
        return head.method != METHOD_OPTIONS
    return rule == OF_TRACE and facts.is_traced


cdef void append_counted(Buffer *out, const char *text, const Field *field) noexcept nogil:
    """One hop less. What is no number, or as large as no route is long, goes on as it came."""
    cdef int64_t left = number(<Octets>text + field.value_at, field.value_length)
    if left < 1:
        append(out, text + field.name_at, field.line_end_at - field.name_at)
        return
    append(out, text + field.name_at, field.name_length)
    append(out, ": ", 2)
    append_number(out, left - 1)
    append(out, "\r\n", 2)


cdef bint ends_here(const char *text, const RequestHead *head) noexcept nogil:
    cdef const Field *field
    cdef int32_t i
    if head.method != METHOD_OPTIONS:
        return False
    for i in range(head.n_fields):
        field = &head.fields[i]
        if (field.id == FIELD_MAX_FORWARDS and not field.is_named_by_connection
                and number(<Octets>text + field.value_at, field.value_length) == 0):
            return True
    return False


cdef void append_kept(Buffer *out, const char *text, const RequestHead *head, const Settings *settings, const Facts *facts,
                      Kept *kept) noexcept nogil:
    cdef uint32_t run = head.fields_at
    cdef const Field *field
    cdef Keep rule
    cdef int32_t i
    for i in range(head.n_fields):
        field = &head.fields[i]
        rule = request_rule(field.id, settings.reads_forwarded)
        if goes_on(rule, field, head, facts):
            continue
        if rule == OF_TRUSTED and facts.is_trusted and not field.is_named_by_connection:
            kept.has_proto = kept.has_proto or field.id == FIELD_X_FORWARDED_PROTO
            kept.has_host = kept.has_host or field.id == FIELD_X_FORWARDED_HOST
            continue
        append(out, text + run, field.name_at - run)
        run = field.line_end_at
        if rule == COUNTED and not field.is_named_by_connection:
            append_counted(out, text, field)
        if rule == REWRITTEN and facts.is_trusted and not field.is_named_by_connection and kept.n_rewritten < MAX_REWRITTEN:
            kept.n_rewritten += 1
            append(out, text + field.name_at, field.name_length)
            append(out, ": ", 2)
            append(out, facts.client, facts.client_length)
            append(out, "\r\n", 2)
    append(out, text + run, head.length - 2 - run)


cdef bint compose_request(Buffer *out, const char *text, const RequestHead *head, const Settings *settings,
                          const Facts *facts) noexcept nogil:
    cdef Kept kept = Kept(has_proto=False, has_host=False, n_rewritten=0)
    append_start(out, text, head, facts)
    append_kept(out, text, head, settings, facts, &kept)
    append_forwarded_for(out, text, head, settings, facts)
    if settings.reads_forwarded:
        append_forwarded(out, text, head, facts)
    append_asked(out, text, head, settings, facts, &kept)
    append(out, "x-request-id: ", 14)
    append(out, facts.id, facts.id_length)
    append(out, "\r\ntraceparent: ", 15)
    append(out, facts.trace, TRACE_BYTES)
    append(out, "\r\nvia: ", 7)
    append(out, settings.via, settings.via_length)
    append(out, "\r\n", 2)
    if head.is_chunked:
        append(out, "transfer-encoding: chunked\r\n", 28)
    if head.is_upgrade:
        append_upgrade(out, text, head.fields, head.n_fields)
    append(out, "\r\n", 2)
    return out.end <= out.capacity


cdef bint is_for_caches(const char *text, const Field *field) noexcept nogil:
    """Cache-Control, or what some shared caches go by in its place (RFC 9213 and its forerunners)."""
    cdef Octets name = <Octets>text + field.name_at
    cdef size_t length = field.name_length
    if field.id != FIELD_OTHER:
        return field.id == FIELD_CACHE_CONTROL
    return (is_word(name, length, "surrogate-control") or is_word(name, length, "edge-control") or is_word(name, length, "x-accel-expires")
            or (length >= 17 and is_same(name + length - 17, "cdn-cache-control", 17)))


cdef void append_kept_of_response(Buffer *out, const char *text, const ResponseHead *head, bint keeps_length,
                                  bint is_private) noexcept nogil:
    cdef uint32_t run = head.fields_at
    cdef const Field *field
    cdef int32_t i
    for i in range(head.n_fields):
        field = &head.fields[i]
        if not (is_dropped_from_response(field.id) or field.is_named_by_connection
                or (field.id == FIELD_CONTENT_LENGTH and not keeps_length) or (is_private and is_for_caches(text, field))):
            continue
        append(out, text + run, field.name_at - run)
        run = field.line_end_at
    append(out, text + run, head.length - 2 - run)
    if is_private:
        append(out, "cache-control: ", 15)
        append_chain(out, text, head.fields, head.n_fields, FIELD_CACHE_CONTROL)
        append(out, "private\r\n", 9)


cdef void append_persistence(Buffer *out, bint close, bint keep_alive) noexcept nogil:
    if close:
        append(out, "connection: close\r\n", 19)
    if keep_alive:
        append(out, "connection: keep-alive\r\n", 24)


cdef void append_debug(Buffer *out, const Text *pop, const char *reason) noexcept nogil:
    append(out, "x-isochrone-pop: ", 17)
    append(out, pop.at, pop.length)
    append(out, "\r\nx-isochrone-reason: ", 22)
    append_text(out, reason)
    append(out, "\r\n", 2)


cdef void begin_response(Buffer *out, const char *text, const ResponseHead *head, Framing framing, bint close, bint keep_alive,
                         bint is_private) noexcept nogil:
    # RFC 9110 8.6: no Content-Length in 1xx and 204.
    cdef bint keeps_length = head.status >= 200 and head.status != 204
    append(out, "HTTP/1.1 ", 9)
    append_number(out, head.status)
    append(out, " ", 1)
    append(out, text + head.reason_at, head.reason_length)
    append(out, "\r\n", 2)
    append_kept_of_response(out, text, head, keeps_length, is_private)
    if head.is_upgrade:     # of a 426 the client must learn what it is to ask for (RFC 9110 15.5.22)
        append_upgrade(out, text, head.fields, head.n_fields)
    if framing == BY_CHUNKS:
        append(out, "transfer-encoding: chunked\r\n", 28)
    append_persistence(out, close, keep_alive)


cdef bint end_head(Buffer *out) noexcept nogil:
    append(out, "\r\n", 2)
    return out.end <= out.capacity
