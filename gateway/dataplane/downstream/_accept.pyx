"""One accept an event: the listener is level-triggered, and a second accept that finds nothing costs 1-3 us. So does one a tick at each
listener, for who was told to nobody that runs."""
from libc.errno cimport EINVAL, EMFILE, ENFILE, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.fcntl cimport F_DUPFD_CLOEXEC, fcntl
from posix.unistd cimport close

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._client cimport is_trusted, read_peer, write_address
from gateway.dataplane.downstream._doors cimport comes_back, enter, enter_doors, leave_doors, stays, take_off
from gateway.dataplane.downstream._holders cimport enter_holder, may_have_more
from gateway.dataplane.downstream._resting cimport enter_idle
from gateway.dataplane.downstream._room cimport make_room, make_room_anywhere
from gateway.dataplane.shared._counters cimport *
from gateway.dataplane.shared._places cimport has_more_clients
from gateway.dataplane.shared._snapshot cimport ACCEPT, EMPTY, LAST, Duty, Orders, duty_at, orders_of
from gateway.dataplane.shared._tally cimport TALLIED_CONNECTIONS, give_place
from gateway.dataplane.transport._connection cimport move_down, open_connection
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._plain cimport PLAIN
from gateway.dataplane.transport._stream cimport set_deadline
from routing_core._atomic cimport add_own, add_shared, load_acquire, load_relaxed, store_release


cdef enum:
    RESERVE = 32            # descriptors
    MANY = 1 << 30


cdef Connection *welcome(Core *core, int fd, int listener, const uint8_t *address) noexcept nogil:
    """A downstream for an accepted socket; owns fd, also when it returns NULL."""
    cdef uint64_t place = 0
    cdef Connection *downstream
    if not may_have_more(core, address, TALLIED_CONNECTIONS, &place):
        count_cause(core.column, CAUSE_CLIENT_CONNECTIONS)
        close(fd)
        return NULL
    downstream = open_connection(core, fd, READING, &PLAIN)
    if downstream == NULL:
        count_cause(core.column, CAUSE_NO_MEMORY)
        give_place(core.tally, core.number, place)
        return NULL
    downstream.place = place
    if fd >= core.accept_limit:
        core.over = downstream
    downstream.listener = listener
    downstream.own.is_writable = True
    memcpy(downstream.peer, address, 16)
    downstream.peer_length = <uint8_t>write_address(downstream.peer, downstream.peer_text)
    downstream.generation = core.snapshot.generation
    downstream.is_trusted = is_trusted(core.snapshot.settings, downstream.peer)
    add_own(&core.column.idle[listener], 1)
    add_own(&core.column.n_open, 1)
    add_shared(&core.doors.doors[listener].n_open, 1)
    count(core.column, ACCEPTED)
    enter_holder(core, downstream)
    enter_idle(core, downstream)
    set_deadline(core, &downstream.own, core.snapshot.settings.request_head_ms)
    return downstream


cdef void lift_bound(Core *core, int listener, int fd, uint16_t family) noexcept nogil:
    """A listener that holds new connections back drops what has come through a router (see Listener.refuse_new), and so would one that was
    in its handshake by then."""
    cdef int none = 0
    if family == AF_UNIX or duty_at(core.board, listener) == ACCEPT:
        return
    setsockopt(fd, IPPROTO_IP, IP_MINTTL, &none, sizeof(none))
    if family == AF_INET6:
        setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &none, sizeof(none))


cdef bint has_moved_over(Core *core) noexcept nogil:
    """Nobody is above the limit, or not any more."""
    if core.over != NULL and move_down(core, core.over, core.accept_limit):
        core.over = NULL
    return core.over == NULL


cdef bint has_descriptors(Core *core) noexcept nogil:
    """Below the limit. A probe or an answer of admin's leaves a low number free now and then: who is above moves there first, or clients
    would take what is left step by step."""
    cdef int fd
    if not has_moved_over(core):
        return False
    fd = fcntl(core.wake, F_DUPFD_CLOEXEC, 0)
    if fd >= 0:
        close(fd)
    return 0 <= fd < core.accept_limit


cdef bint has_knocked(int fd) noexcept nogil:
    """The kernel looks for a free descriptor before it looks for a connection: without one, accept4 fails though nobody is there."""
    cdef pollfd listener = pollfd(fd=fd, events=POLLIN, revents=0)
    return poll(&listener, 1, 0) == 1 and listener.revents & POLLIN != 0    # a hollow one is hung up for ever, see Listener.hollow


cdef bint accept_one(Core *core, Listener *listener) noexcept nogil:
    cdef sockaddr_storage peer
    cdef uint32_t size = sizeof(peer)
    cdef uint8_t address[16]
    cdef int number = listener.number
    cdef int fd = accept4(listener.fd, <sockaddr *>&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if (errno == EMFILE or errno == ENFILE) and has_knocked(listener.fd):
            count_cause(core.column, CAUSE_NO_DESCRIPTORS)
            memset(address, 0, 16)      # whose it is shows only once it is accepted
            if make_room(core, number, address):
                return True
            stop_accepting(core)    # or this event would come again at once, for nothing; the next tick tries anew
        elif errno == EINVAL:       # shut down by another process that has it: epoll would tell of that without end. The tick looks on
            take_off(core, listener)
        return False
    read_peer(&peer, address)
    if has_more_clients(core, number, core.snapshot.settings.max_connections - 1):
        count_cause(core.column, CAUSE_TOO_MANY_CONNECTIONS)
        if not make_room_anywhere(core, number, address):
            close(fd)
            return True
    if fd >= core.accept_limit:     # what is left is for those who look after the gateway
        count_cause(core.column, CAUSE_NO_DESCRIPTORS)
        make_room(core, number, address)
    lift_bound(core, number, fd, peer.ss_family)    # TCP_NODELAY it has from its listener
    welcome(core, fd, number, address)
    if not has_moved_over(core):
        stop_accepting(core)
        return False
    return True


cdef void stop_accepting(Core *core) noexcept nogil:
    leave_doors(core)
    core.is_accepting = False


cdef int start_accepting(Core *core) noexcept nogil:
    cdef int failed = enter_doors(core)
    core.is_accepting = failed == 0
    return failed


cdef void on_knock(Core *core, Listener *listener) noexcept nogil:
    # An event may be older than the order to stop, and one to an invitation be here before the order to begin.
    listener.is_readable = core.is_accepting and listener.fd >= 0 and accept_one(core, listener) and stays(core, listener)


cdef void accept_more(Core *core) noexcept nogil:
    cdef int i
    for i in range(MAX_LISTENERS):
        if core.listeners[i].is_readable:
            on_knock(core, &core.listeners[i])


cdef void try_doors(Core *core) noexcept nogil:
    cdef int i
    core.may_hold = 0
    for i in range(MAX_LISTENERS):
        if core.listeners[i].fd >= 0 and core.is_accepting and accept_one(core, &core.listeners[i]) and core.is_accepting:
            core.listeners[i].is_readable = comes_back(core, &core.listeners[i])


cdef int begin_at(Core *core, Listener *listener, int fd) noexcept nogil:
    cdef int failed
    listener.fd = fd
    if not core.is_accepting or enter(core, listener):
        return 0
    failed = errno
    stop_accepting(core)
    return failed


cdef bint end_at(Core *core, Listener *listener, bint takes_all) noexcept nogil:
    """Whether it has left. A queue that is ours is closed next: who waits there for a descriptor is taken once there is one."""
    take_off(core, listener)
    listener.is_readable = False
    if takes_all:
        while has_descriptors(core) and accept_one(core, listener):
            pass
        if has_knocked(listener.fd):
            if core.is_accepting:       # who is idle makes room, for one a turn: or they would go who have just come, and had none yet
                accept_one(core, listener)
            return False
    else:
        # The kernel may have woken this worker alone for one, and nobody else who accepts there knows of it. All who came while it was
        # awake, and all who come from here on, are told to others.
        accept_one(core, listener)
    listener.fd = -1
    return True


cdef int follow_listeners(Core *core) noexcept nogil:
    """A descriptor that a worker knows is open, and the same listener's. Control leaves it open until the worker has said that it has acted
    on an order to leave. By then it has forgotten it, has taken it out of its own epoll and, see _doors, out of all that it has invited
    there; so nobody's has it when all have said so. Until then another one is not ordered under that number."""
    cdef const Orders *orders = orders_of(core.board)
    cdef int64_t version = load_acquire(&orders.version)    # what is ordered from here on is looked at once more
    cdef Listener *listener
    cdef Duty duty
    cdef bint has_acted = True
    cdef int i, failed = 0
    for i in range(MAX_LISTENERS):
        listener = &core.listeners[i]
        duty = duty_at(core.board, i)
        if listener.fd < 0 and duty >= LAST:
            failed = begin_at(core, listener, <int>load_relaxed(&orders.listeners[i].fd)) or failed
        elif listener.fd >= 0 and duty < LAST:
            has_acted = end_at(core, listener, duty == EMPTY) and has_acted
    if has_acted:       # else the next turn looks again
        core.version = version
        store_release(&core.column.version, version)
    return failed


cdef tuple limits_of(int64_t n_descriptors, int n_workers):
    """Where workers stop to accept, and to reach upstreams: admin and status answer also when clients have taken all."""
    cdef int64_t limit = min(n_descriptors, <int64_t>MANY) if n_descriptors >= 0 else <int64_t>MANY
    # Each worker may be one over; and as many as control's own listeners may have: see most_connections.
    cdef int64_t reserve = min(RESERVE + 2 * n_workers + limit // 32, limit // 4)
    return limit - reserve, limit - reserve // 2
