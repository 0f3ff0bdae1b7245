"""A trace context is W3C's Trace Context, level 1: version 00."""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.http1._octets cimport htobe64
from gateway.dataplane.http1._words cimport FIELD_TRACEPARENT, FIELD_X_REQUEST_ID, Field
from gateway.dataplane.proxy._forward cimport ID_BYTES, TRACE_BYTES, Facts


cdef void write_hex(char *out, uint64_t value) noexcept nogil:
    """Eight digits at a time, a byte of a word each: 6 more carry a digit from 10 on into its upper half."""
    cdef uint64_t ones = 0x0101010101010101u
    cdef uint64_t word
    cdef int half
    for half in range(2):
        word = value >> (32 - 32 * half) & 0xffffffffu
        word = (word | word << 16) & 0x0000ffff0000ffffu
        word = (word | word << 8) & 0x00ff00ff00ff00ffu
        word = (word | word << 4) & 0x0f0f0f0f0f0f0f0fu
        word += ones * c'0' + ((word + ones * 6) >> 4 & ones) * (c'a' - c'9' - 1)
        word = htobe64(word)
        memcpy(out + 8 * half, &word, 8)


cdef bint is_trace(const char *text, uint32_t length) noexcept nogil:
    """Version 00, two ids that are not all zero, flags; lower-case hex."""
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


cdef void settle_ids(const char *text, const RequestHead *head, uint64_t a, uint64_t b, uint64_t c, Facts *facts) noexcept nogil:
    cdef const Field *field
    cdef int32_t i
    cdef int n_parents = 0
    facts.id_length = 0
    facts.is_traced = False
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.id == FIELD_TRACEPARENT:
            n_parents += 1          # of two nobody knows which is meant
            facts.is_traced = n_parents == 1 and is_trace(text + field.value_at, field.value_length)
            if facts.is_traced:
                memcpy(facts.trace, text + field.value_at, TRACE_BYTES)
        elif (field.id == FIELD_X_REQUEST_ID and facts.is_trusted and facts.id_length == 0
                and is_id(text + field.value_at, field.value_length)):
            memcpy(facts.id, text + field.value_at, field.value_length)
            facts.id_length = field.value_length
    if facts.id_length == 0:
        write_hex(facts.id, a)
        write_hex(facts.id + 16, b)
        facts.id_length = 32
    if not facts.is_traced:
        memcpy(facts.trace, "00-", 3)
        write_hex(facts.trace + 3, a ^ c)
        write_hex(facts.trace + 19, b + c)
        facts.trace[35] = c'-'
        write_hex(facts.trace + 36, c | 1)
        memcpy(facts.trace + 52, "-00", 3)
