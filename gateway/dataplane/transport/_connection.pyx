"""Structs go round in the worker's own free list; a deadline is a field, its timer follows lazily."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.unistd cimport close as close_descriptor

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._counters cimport CLOSED, count
from gateway.dataplane.transport._buffers cimport close_buffer
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._timers cimport arm, disarm
from gateway.dataplane.transport._transport cimport close, lay_ms
from routing_core._atomic cimport add_own
from routing_core._memory cimport CONNECTION, give, take


cdef enum:
    POINTER_BITS = 48       # of an address of a process, on x86-64 and arm64
    NOTED_US = 10000        # what has lain for less is not asked for: the kernel tells it in its own ticks


cdef bint watch(Core *core, Connection *connection, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = <uint64_t><uintptr_t>connection | <uint64_t>connection.life << POINTER_BITS
    return epoll_ctl(core.epoll, EPOLL_CTL_ADD, connection.fd, &event) == 0


cdef Connection *heard_of(uint64_t told) noexcept nogil:
    cdef Connection *connection = <Connection *><uintptr_t>(told & ((<uint64_t>1 << POINTER_BITS) - 1))
    return connection if connection.life == told >> POINTER_BITS else NULL


cdef bint watch_peer(Core *core, Connection *connection) noexcept nogil:
    return watch(core, connection, EPOLLIN | EPOLLOUT | EPOLLRDHUP | <uint32_t>EPOLLET)


cdef Connection *open_connection(Core *core, int fd, ConnectionState state, const Transport *transport) noexcept nogil:
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
    connection.transport = transport
    connection.state = state
    if not watch_peer(core, connection):
        close(connection)
        connection.next = core.spare_connections
        core.spare_connections = connection
        return NULL
    connection.deadline_ms = core.now_ms + NEVER_MS
    arm(&core.wheel, &connection.timer, connection.deadline_ms)
    return connection


cdef void bury(Core *core, Connection *connection) noexcept nogil:
    leave_idle(core, connection)
    connection.state = DEAD
    connection.exchange = NULL
    connection.next = core.graveyard
    core.graveyard = connection
    disarm(&connection.timer)
    close(connection)
    close_buffer(core, &connection.input)
    count(core.column, CLOSED)


cdef void sweep_graveyard(Core *core) noexcept nogil:
    cdef Connection *connection
    cdef Connection *following = core.graveyard
    core.graveyard = NULL
    while following != NULL:
        connection = following
        following = connection.next
        if connection.is_resumed:       # still on such a list: next time
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


cdef void resume_later(Core *core, Connection *connection) noexcept nogil:
    if not connection.is_resumed:
        connection.is_resumed = True
        connection.next_resumed = core.resumed
        core.resumed = connection


cdef void postpone(Core *core, Connection *connection) noexcept nogil:
    if not connection.is_resumed:
        connection.is_resumed = True
        if core.postponed == NULL:
            core.postponed = connection
        else:
            core.last_postponed.next_resumed = connection
        core.last_postponed = connection
        core.n_postponed += 1


cdef void enter_ring(Core *core, Connection *ring, Connection *downstream) noexcept nogil:
    downstream.older = ring.older       # the head's "older" is the newest: it is linked in at the end
    downstream.newer = ring
    ring.older.newer = downstream
    ring.older = downstream
    add_own(&core.column.resting[downstream.listener], 1)


cdef void enter_idle(Core *core, Connection *downstream) noexcept nogil:
    downstream.idle_ms = core.now_ms
    enter_ring(core, &core.idle[downstream.listener], downstream)


cdef void enter_lingering(Core *core, Connection *downstream) noexcept nogil:
    enter_ring(core, &core.lingering[downstream.listener], downstream)


cdef void leave_idle(Core *core, Connection *downstream) noexcept nogil:
    if downstream.older != NULL:
        downstream.older.newer = downstream.newer
        downstream.newer.older = downstream.older
        downstream.older = downstream.newer = NULL
        add_own(&core.column.resting[downstream.listener], -1)


cdef inline Connection *oldest_of(Connection *ring) noexcept nogil:
    return ring.newer if ring.newer != ring else NULL


cdef Connection *oldest_idle(Core *core, int listener) noexcept nogil:
    return oldest_of(&core.idle[listener])


cdef Connection *oldest_lingering(Core *core, int listener) noexcept nogil:
    return oldest_of(&core.lingering[listener])


cdef int64_t lay_us(const Core *core, const Connection *connection) noexcept nogil:
    cdef int64_t lay = lay_ms(connection) if core.apart_us >= NOTED_US else 0
    return min(max(lay, 0) * 1000, core.apart_us)
