"""Transport: how bytes go over a connection. What a kind of it has to bring is in `_core`; here is what everyone else calls.

Nobody else touches the descriptor of a connection, but who makes it. Nothing here blocks. What "there is no more" means is each transport's
own word: a socket that is read dry tells of what comes next, and records that were taken in one piece do not.
Must not know what is said on a connection, nor which side of the gateway it is.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Connection
from gateway.dataplane.transport._linux cimport iovec

# Reads once, at most `room` bytes, which is above 0. How many came; 0: the peer has ended; BLOCKED, BROKEN. is_readable says whether more
# may be there now.
cdef inline ssize_t read(Connection *connection, char *at, size_t room) noexcept nogil:
    return connection.transport.read(connection, at, room)

# Sends what goes at once. How many bytes went; BLOCKED, which is_writable says too, BROKEN. has_more: more follows, and may go with it.
cdef inline ssize_t write(Connection *connection, const iovec *parts, int n, bint has_more) noexcept nogil:
    return connection.transport.write(connection, parts, n, has_more)

# Whether a byte has come, or an end: a look at the connection itself, which knows before epoll tells.
cdef inline bint peek(const Connection *connection) noexcept nogil:
    return connection.transport.peek(connection)

# Of one that was CONNECTING and has an event: whether the peer is there.
cdef inline bint has_connected(const Connection *connection) noexcept nogil:
    return connection.transport.has_connected(connection)

# All is said: the peer reads an end, and may go on itself.
cdef inline void end(Connection *connection) noexcept nogil:
    connection.transport.end(connection)

# Bytes that were sent and that the peer's system has not got yet; -1: nobody knows.
cdef inline int64_t unsent(const Connection *connection) noexcept nogil:
    return connection.transport.unsent(connection)

# How long what came last has lain here; -1: nobody knows.
cdef inline int64_t lay_ms(const Connection *connection) noexcept nogil:
    return connection.transport.lay_ms(connection)

# Whoever closes it from here on resets it: what was not sent yet is lost, and no port waits.
cdef inline void end_with_reset(Connection *connection) noexcept nogil:
    connection.transport.end_with_reset(connection)

cdef inline void close(Connection *connection) noexcept nogil:
    connection.transport.close(connection)
