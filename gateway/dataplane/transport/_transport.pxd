"""Transport: how bytes go over a stream. What a kind of it has to bring is in `_core`; here is what everyone else calls.

Nobody else touches the descriptor of a connection, but who makes it. Nothing here blocks. What "there is no more" means is each transport's
own word: a socket that is read dry tells of what comes next, and records that were taken in one piece do not. BLOCKED while is_readable is
still set (of a write, is_writable): something else is waited for, and whoever asked asks again at the stream's next event, whichever it is.
Must not know what is said on a stream, nor which side of the gateway it is.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Stream
from gateway.dataplane.transport._linux cimport iovec

# Reads once, at most `room` bytes, which is above 0. How many came; 0: the peer has ended; BLOCKED, BROKEN. is_readable says whether more
# may be there now.
cdef inline ssize_t read(Stream *stream, char *at, size_t room) noexcept nogil:
    return stream.transport.read(stream, at, room)

# Sends what goes at once. How many bytes went; BLOCKED, which is_writable says too, BROKEN. has_more: more follows, and may go with it.
cdef inline ssize_t write(Stream *stream, const iovec *parts, int n, bint has_more) noexcept nogil:
    return stream.transport.write(stream, parts, n, has_more)

# Whether a byte has come, or an end: a look at the stream itself, which knows before epoll tells.
cdef inline bint peek(const Stream *stream) noexcept nogil:
    return stream.transport.peek(stream)

# Of one that was CONNECTING and has an event: whether the peer is there.
cdef inline bint has_connected(const Stream *stream) noexcept nogil:
    return stream.transport.has_connected(stream)

# All is said: the peer reads an end, and may go on itself.
cdef inline void end(Stream *stream) noexcept nogil:
    stream.transport.end(stream)

# Bytes that were sent and that the peer's system has not got yet; -1: nobody knows.
cdef inline int64_t unsent(const Stream *stream) noexcept nogil:
    return stream.transport.unsent(stream)

# How long what came last has lain here; -1: nobody knows.
cdef inline int64_t lay_ms(const Stream *stream) noexcept nogil:
    return stream.transport.lay_ms(stream)

# Whoever closes it from here on resets it: what was not sent yet is lost, and no port waits.
cdef inline void end_with_reset(Stream *stream) noexcept nogil:
    stream.transport.end_with_reset(stream)

cdef inline void close(Stream *stream) noexcept nogil:
    stream.transport.close(stream)
