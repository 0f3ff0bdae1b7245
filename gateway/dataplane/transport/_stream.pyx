"""A deadline is a field, its timer follows lazily."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Core, Stream, StreamList
from gateway.dataplane.transport._transport cimport lay_ms

cdef enum:
    NOTED_US = 10000        # what has lain for less is not asked for: the kernel tells it in its own ticks


cdef void enter_list(StreamList *streams, Stream *stream) noexcept nogil:
    stream.is_listed = True
    stream.next_listed = NULL
    if streams.first == NULL:
        streams.first = stream
    else:
        streams.last.next_listed = stream
    streams.last = stream
    streams.n += 1


cdef Stream *leave_list(StreamList *streams) noexcept nogil:
    cdef Stream *stream = streams.first
    if stream != NULL:
        streams.first = stream.next_listed
        streams.n -= 1
        stream.is_listed = False
    return stream


cdef int64_t lay_us(const Core *core, const Stream *stream) noexcept nogil:
    cdef int64_t lay = lay_ms(stream) if core.apart_us >= NOTED_US else 0
    return min(max(lay, 0) * 1000, core.apart_us)
