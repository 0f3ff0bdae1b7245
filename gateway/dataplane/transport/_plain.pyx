"""Each function is one call of the kernel."""
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from posix.unistd cimport close

from gateway.dataplane._core cimport *
from gateway.dataplane.transport._linux cimport *


cdef ssize_t read_plain(Stream *stream, char *at, size_t room) noexcept nogil:
    cdef ssize_t n = recv(stream.connection.fd, at, room, 0)
    if n > 0:
        # A short read has drained the socket, unless the peer's end lies behind it: what comes later is a new edge.
        if <size_t>n < room and not stream.is_ending:
            stream.is_readable = False
        return n
    if n < 0 and errno != EAGAIN:
        return BROKEN
    stream.is_readable = False
    return n if n == 0 else BLOCKED


cdef ssize_t write_plain(Stream *stream, const iovec *parts, int n, bint has_more) noexcept nogil:
    cdef ssize_t sent
    cdef msghdr message
    cdef int flags = MSG_NOSIGNAL | MSG_MORE if has_more else MSG_NOSIGNAL
    if n == 1:      # the kernel has no vector to read
        sent = send(stream.connection.fd, parts.iov_base, parts.iov_len, flags)
    else:
        memset(&message, 0, sizeof(message))
        message.msg_iov = <iovec *>parts
        message.msg_iovlen = n
        sent = sendmsg(stream.connection.fd, &message, flags)
    if sent >= 0:
        return sent
    if errno != EAGAIN:
        return BROKEN
    stream.is_writable = False
    return BLOCKED


cdef bint peek_plain(const Stream *stream) noexcept nogil:
    cdef char byte = 0
    return recv(stream.connection.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 or errno != EAGAIN


cdef bint has_connected_plain(const Stream *stream) noexcept nogil:
    cdef int error = 0
    cdef uint32_t size = sizeof(error)
    return getsockopt(stream.connection.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 and error == 0


cdef void end_plain(Stream *stream) noexcept nogil:
    shutdown(stream.connection.fd, SHUT_WR)


cdef int64_t unsent_plain(const Stream *stream) noexcept nogil:
    cdef int n = 0
    return n if ioctl(stream.connection.fd, SIOCOUTQ, &n) == 0 else -1


cdef int64_t lay_ms_plain(const Stream *stream) noexcept nogil:
    cdef tcp_info info
    cdef uint32_t size = sizeof(info)
    return info.tcpi_last_data_recv if getsockopt(stream.connection.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 else -1


cdef void end_with_reset_plain(Stream *stream) noexcept nogil:
    cdef linger at_once
    at_once.l_onoff = 1
    at_once.l_linger = 0
    setsockopt(stream.connection.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once))


cdef void close_plain(Stream *stream) noexcept nogil:
    close(stream.connection.fd)


PLAIN.read = read_plain
PLAIN.write = write_plain
PLAIN.peek = peek_plain
PLAIN.has_connected = has_connected_plain
PLAIN.end = end_plain
PLAIN.unsent = unsent_plain
PLAIN.lay_ms = lay_ms_plain
PLAIN.end_with_reset = end_with_reset_plain
PLAIN.close = close_plain
