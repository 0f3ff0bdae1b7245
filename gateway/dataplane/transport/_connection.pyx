"""Structs go round in the worker's own free list."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.fcntl cimport F_DUPFD_CLOEXEC, fcntl
from posix.unistd cimport close as close_descriptor

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._counters cimport CLOSED, count
from gateway.dataplane.transport._buffers cimport close_buffer
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._stream cimport NEVER_MS
from gateway.dataplane.transport._timers cimport arm, disarm
from gateway.dataplane.transport._transport cimport close
from routing_core._memory cimport CONNECTION, give, take


cdef enum:
    POINTER_BITS = 48       # of an address of a process, on x86-64 and arm64


cdef bint watch(Core *core, int fd, uint64_t told, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = told
    return epoll_ctl(core.epoll, EPOLL_CTL_ADD, fd, &event) == 0


cdef Connection *heard_of(uint64_t told) noexcept nogil:
    cdef Connection *connection = <Connection *><uintptr_t>(told & ((<uint64_t>1 << POINTER_BITS) - 1))
    return connection if connection.life == told >> POINTER_BITS else NULL


cdef bint watch_peer(Core *core, Connection *connection) noexcept nogil:
    cdef uint64_t told = <uint64_t><uintptr_t>connection | <uint64_t>connection.life << POINTER_BITS
    return watch(core, connection.fd, told, EPOLLIN | EPOLLOUT | EPOLLRDHUP | <uint32_t>EPOLLET)


cdef Connection *open_connection(Core *core, int fd, StreamState state, const Transport *transport) noexcept nogil:
    cdef Connection *connection = core.spare_connections
    cdef uint16_t life
    if connection != NULL:
        core.spare_connections = connection.next
        life = connection.life
        memset(connection, 0, sizeof(Connection))
        connection.life = life + 1
    else:
        connection = <Connection *>take(CONNECTION, sizeof(Connection))
        if connection == NULL:
            close_descriptor(fd)
            return NULL
    connection.fd = fd
    connection.own.connection = connection
    connection.own.transport = transport
    connection.own.state = state
    if not watch_peer(core, connection):
        close(&connection.own)
        connection.next = core.spare_connections
        core.spare_connections = connection
        return NULL
    connection.own.deadline_ms = core.now_ms + NEVER_MS
    arm(&core.wheel, &connection.own.timer, connection.own.deadline_ms)
    return connection


cdef bint move_down(Core *core, Connection *connection, int limit) noexcept nogil:
    cdef int fd = connection.fd
    cdef int low = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    if low < 0:
        return False
    connection.fd = low
    if low < limit and watch_peer(core, connection):
        epoll_ctl(core.epoll, EPOLL_CTL_DEL, fd, NULL)      # closing it is not enough while the socket has another number
        close_descriptor(fd)
        return True
    connection.fd = fd
    close_descriptor(low)
    return False


cdef void local_address(const Connection *connection, sockaddr_storage *out) noexcept nogil:
    cdef uint32_t size = sizeof(sockaddr_storage)
    out.ss_family = AF_UNIX
    getsockname(connection.fd, <sockaddr *>out, &size)


cdef void bury(Core *core, Connection *connection) noexcept nogil:
    connection.own.state = DEAD
    connection.own.exchange = NULL
    connection.next = core.graveyard
    core.graveyard = connection
    disarm(&connection.own.timer)
    close(&connection.own)
    close_buffer(core, &connection.own.input)
    count(core.column, CLOSED)


cdef void sweep_graveyard(Core *core) noexcept nogil:
    cdef Connection *connection
    cdef Connection *following = core.graveyard
    core.graveyard = NULL
    while following != NULL:
        connection = following
        following = connection.next
        if connection.own.is_listed:     # still on such a list: next time
            connection.next = core.graveyard
            core.graveyard = connection
        else:
            connection.next = core.spare_connections
            core.spare_connections = connection


cdef void free_connections(Core *core) noexcept nogil:
    cdef Connection *connection
    while core.spare_connections != NULL:
        connection = core.spare_connections
        core.spare_connections = connection.next
        give(CONNECTION, connection)
