"""Stream: its deadline, what is read from it, and the lists of those to look at again without an event.

Must not know what is said on a stream, nor how many a connection carries.
"""
from libc.stdint cimport int64_t, uint32_t

from gateway.dataplane._core cimport Buffer, Core, Stream, StreamList
from gateway.dataplane.transport._timers cimport arm
from gateway.dataplane.transport._transport cimport read as read_some

cdef enum:
    NEVER_MS = 1 << 30          # from now: a deadline that is none

# Cheap when the deadline moves on: the timer is armed again only when it fires early.
cdef inline void set_deadline(Core *core, Stream *stream, int64_t in_ms) noexcept nogil:
    stream.deadline_ms = core.now_ms + in_ms
    if stream.timer.before == NULL or stream.timer.due_ms > stream.deadline_ms:
        arm(&core.wheel, &stream.timer, stream.deadline_ms)

# Not while it is on a list.
cdef void enter_list(StreamList *streams, Stream *stream) noexcept nogil
# NULL: nobody is left.
cdef Stream *leave_list(StreamList *streams) noexcept nogil
# To be looked at again in this turn, after the events.
cdef inline void resume_later(Core *core, Stream *stream) noexcept nogil:
    if not stream.is_listed:
        enter_list(&core.resumed, stream)

# In a later turn: it has had its share of this one.
cdef inline void postpone(Core *core, Stream *stream) noexcept nogil:
    if not stream.is_listed:
        enter_list(&core.postponed, stream)

# How long what has come last has lain in the socket before this turn, where the worker may have come late to it; 0: not, or nobody knows.
cdef int64_t lay_us(const Core *core, const Stream *stream) noexcept nogil

# Reads once into the input buffer, which must be open and have room.
cdef inline ssize_t fill(Stream *stream) noexcept nogil:
    cdef Buffer *buffer = &stream.input
    cdef ssize_t n = read_some(stream, buffer.at + buffer.end, buffer.capacity - buffer.end)
    buffer.end += <uint32_t>max(n, <ssize_t>0)
    return n
