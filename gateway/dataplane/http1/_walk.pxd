"""Walk: a place in the text of a head, and the steps that take it on, over what requests and responses share.

Inline, all of it: what calls across modules goes through pointers that are
filled in at import, and a fuzz target never imports.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from gateway.dataplane.http1._octets cimport Octets, find_control, find_field, reads_as_known, token_octets
from gateway.dataplane.http1._words cimport (
    BAD, CAUSE_FIELD_NAME, CAUSE_FIELD_VALUE, CAUSE_HEAD_TOO_LARGE, CAUSE_LINE_END, CAUSE_NONE, CAUSE_START_LINE, CAUSE_VERSION,
    FIELD_UNDERSCORED, Field, NEED_DATA, RejectCause, UNDERSCORES_DROPPED, UNDERSCORES_REFUSED, Underscores, Verdict, WHOLE)

cdef enum:
    MAX_LIMIT = 1 << 30     # offsets are 32 bits

# A walk over one text.
cdef struct Walk:
    Octets text
    Octets at
    Octets end              # where the text ends, or the limit
    bint is_full            # the limit is reached: more than is here will not be looked at
    Underscores underscores     # of a request
    bint takes_non_ascii    # of a request, in its target
    RejectCause cause

cdef inline Verdict refuse(Walk *walk, RejectCause cause) noexcept nogil:
    walk.cause = cause
    return BAD

# The longest prefix that may be looked at: a head that has not ended in it is too large.
cdef inline void begin_walk(Walk *walk, const char *text, size_t length, size_t limit) noexcept nogil:
    walk.text = <Octets>text
    walk.at = walk.text
    limit = min(limit, <size_t>MAX_LIMIT)
    walk.end = walk.text + min(length, limit)
    walk.is_full = length >= limit
    walk.underscores = UNDERSCORES_REFUSED
    walk.takes_non_ascii = False
    walk.cause = CAUSE_NONE

# CRLF; `otherwise` is the cause where neither CR nor LF stands.
cdef inline Verdict take_line_end(Walk *walk, RejectCause otherwise) noexcept nogil:
    if walk.at == walk.end:
        return NEED_DATA
    if walk.at[0] == c'\n':
        return refuse(walk, CAUSE_LINE_END)
    if walk.at[0] != c'\r':
        return refuse(walk, otherwise)
    if walk.end - walk.at < 2:
        return NEED_DATA
    if walk.at[1] != c'\n':
        return refuse(walk, CAUSE_LINE_END)
    walk.at += 2
    return WHOLE

cdef inline Verdict take_version(Walk *walk, int *minor) noexcept nogil:
    cdef const char *mask = "HTTP/0.0"     # 0 for any digit
    cdef int i
    for i in range(8):
        if walk.end - walk.at <= i:
            return NEED_DATA
        if (not c'0' <= walk.at[i] <= c'9') if mask[i] == c'0' else (walk.at[i] != <unsigned char>mask[i]):
            return refuse(walk, CAUSE_START_LINE)
    if walk.at[5] != c'1':
        return refuse(walk, CAUSE_VERSION)
    minor[0] = 0 if walk.at[7] == c'0' else 1
    walk.at += 8
    return WHOLE

cdef inline Verdict take_name(Walk *walk, const unsigned char *octets, Field *field) noexcept nogil:
    cdef Octets at = walk.at
    cdef Octets end = walk.end
    cdef bint has_underscore = False
    while at < end and octets[at[0]]:
        at += 1
    if at < end and at[0] == c'_' and walk.underscores != UNDERSCORES_REFUSED:
        has_underscore = True
        while at < end and token_octets[at[0]]:
            at += 1
    if at - walk.at > 0xffff:
        return refuse(walk, CAUSE_HEAD_TOO_LARGE)
    if at == end:
        return NEED_DATA
    if at[0] != c':' or at == walk.at:
        return refuse(walk, CAUSE_FIELD_NAME)
    field.name_at = <uint32_t>(walk.at - walk.text)
    field.name_length = <uint16_t>(at - walk.at)
    field.id = <uint8_t>find_field(walk.at, at - walk.at)
    if has_underscore and (walk.underscores == UNDERSCORES_DROPPED or reads_as_known(walk.at, at - walk.at)):
        field.id = FIELD_UNDERSCORED
    field.is_named_by_connection = False
    walk.at = at + 1
    return WHOLE

# Up to the first control octet that is not HTAB.
cdef inline void take_text(Walk *walk) noexcept nogil:
    cdef Octets at = find_control(walk.at, walk.end)
    while at < walk.end and at[0] == c'\t':
        at = find_control(at + 1, walk.end)
    walk.at = at

cdef inline Verdict take_value(Walk *walk, Field *field) noexcept nogil:
    cdef Octets start = walk.at
    cdef Octets stop
    cdef Verdict verdict
    while start < walk.end and (start[0] == c' ' or start[0] == c'\t'):
        start += 1
    walk.at = start
    take_text(walk)
    stop = walk.at
    verdict = take_line_end(walk, CAUSE_FIELD_VALUE)
    if verdict == WHOLE:
        while stop > start and (stop[-1] == c' ' or stop[-1] == c'\t'):
            stop -= 1
        field.value_at = <uint32_t>(start - walk.text)
        field.value_length = <uint32_t>(stop - start)
        field.line_end_at = <uint32_t>(walk.at - walk.text)
    return verdict
