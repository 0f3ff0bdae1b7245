"""Answer: reads the head of the upstream's answer and works out how it goes down (RFC 9112 6.3).

Must not know attempts: it says what it found.
"""
from libc.stdint cimport uint32_t

from gateway.dataplane._core cimport Buffer, Stream, Core, Exchange

cdef enum Answered:
    ANSWER_NEEDS_DATA
    ANSWER_BEGINS           # exchange.down is set up, its head composed
    ANSWER_IS_TUNNEL        # 101 to a request that asked for it
    ANSWER_IS_OLD           # to no request: the connection had been idle for too long
    ANSWER_ENDED            # the upstream ended or was reset before the head was whole
    ANSWER_BAD
    ANSWER_NO_MEMORY

cdef Answered read_answer(Core *core, Exchange *exchange) noexcept nogil
# Whether this answer is to carry Connection: close because the gateway drains: never before a request that is already here.
cdef bint announces_end(Core *core, Stream *downstream) noexcept nogil
# What the gateway adds to a final head: an affinity cookie, debug fields. The room is for these and for a few short fields beside them.
cdef void append_own_fields(Buffer *out, const Exchange *exchange) noexcept nogil
cdef uint32_t room_for_own_fields(const Exchange *exchange) noexcept nogil
