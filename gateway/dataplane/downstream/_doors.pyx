"""The kernel wakes the first idle worker that is told of a listener (EPOLLEXCLUSIVE), and that is nearly always the same one. So who has
some connections more than the least leaves the door, and sees to it that the one with the least is told before.

Nobody who waits is forgotten:
- the last that is told stays: one leaves by an atomic step that takes its bit off where another one's is left;
- a bit is set before its worker is added to epoll, and looked at again by a worker behind its own leaving: set by then, it adds itself;
- one that is added is told at once of who waits already (EPOLL_CTL_ADD looks);
- one leaves only behind a try to accept: for whom the kernel woke nobody else, that try was made. All who came while it was awake
  were told to others as well;
- a listener that is to be left is left behind such a try too: it may be shared with another process, whom nobody would tell;
- what goes wrong all the same, such as a worker that is told and does not run, is found by the tick: every worker tries one accept.

The thread that invites writes another worker's epoll, which the kernel locks; nothing else of that worker. By the descriptor that it knows
itself: the invited one may have forgotten it by then. Who looks at the order behind its invitation, and takes it back where nobody is to
accept there any more, leaves nothing in that epoll: an invitation that came before the other's own leaving went with it, and one that came
behind it, by the lock, sees the order on which the other has left.
"""
from libc.errno cimport EEXIST, errno
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._calls cimport is_turning
from gateway.dataplane.shared._counters cimport Column
from gateway.dataplane.shared._snapshot cimport LAST, duty_at
from gateway.dataplane.transport._connection cimport watch
from gateway.dataplane.transport._linux cimport EPOLL_CTL_DEL, EPOLLEXCLUSIVE, EPOLLIN, epoll_ctl
from routing_core._atomic cimport clear_bits, is_replaced, load_pointer, load_relaxed, set_bits, store_relaxed

cdef enum:
    SLACK = 4               # more than the least that nobody minds: a change of the door costs two system calls
    SLACK_SHARE = 16        # and this part of the least


cdef inline int64_t bit_of(int worker) noexcept nogil:
    return <int64_t>(<uint64_t>1 << worker)


cdef inline const Column *column_of(const Core *core, int worker) noexcept nogil:
    return core.column + (worker - core.number)


cdef bint enter(Core *core, const Listener *listener) noexcept nogil:
    set_bits(&core.doors.doors[listener.number].members, bit_of(core.number))
    if watch(core, listener.fd, listener.number, EPOLLIN | <uint32_t>EPOLLEXCLUSIVE) or errno == EEXIST:
        return True
    clear_bits(&core.doors.doors[listener.number].members, bit_of(core.number))
    return False


cdef void take_off(Core *core, const Listener *listener) noexcept nogil:
    clear_bits(&core.doors.doors[listener.number].members, bit_of(core.number))
    epoll_ctl(core.epoll, EPOLL_CTL_DEL, listener.fd, NULL)


cdef int enter_doors(Core *core) noexcept nogil:
    cdef int i, failed
    store_relaxed(&core.column.takes, 1)
    for i in range(MAX_LISTENERS):
        if core.listeners[i].fd >= 0 and not enter(core, &core.listeners[i]):
            failed = errno
            leave_doors(core)
            return failed
    return 0


cdef void leave_doors(Core *core) noexcept nogil:
    cdef int i
    store_relaxed(&core.column.takes, 0)
    for i in range(MAX_LISTENERS):
        if core.listeners[i].fd >= 0:
            core.listeners[i].is_readable = False
            take_off(core, &core.listeners[i])


cdef void forget_doors(Core *core) noexcept nogil:
    cdef int i
    store_relaxed(&core.column.takes, 0)
    for i in range(MAX_LISTENERS):
        clear_bits(&core.doors.doors[i].members, bit_of(core.number))


cdef int least_loaded(const Core *core, int64_t *least) noexcept nogil:
    """Of the others that accept, and turn; -1: there is none."""
    cdef const Column *column
    cdef int worker, found = -1
    least[0] = INT64_MAX
    for worker in range(core.n_workers):
        column = column_of(core, worker)
        if (worker != core.number and load_relaxed(&column.takes) and is_turning(core, worker)
                and load_relaxed(&column.n_open) < least[0]):
            least[0] = load_relaxed(&column.n_open)
            found = worker
    return found


cdef bint invite(Core *core, int worker, const Listener *listener) noexcept nogil:
    """False: it can't be told, or is not to be any more."""
    cdef int64_t *members = &core.doors.doors[listener.number].members
    cdef Core *other = <Core *>load_pointer(&core.doors.desks[worker].core)
    if load_relaxed(members) & bit_of(worker):
        return True
    if other == NULL or not enter(other, listener):
        return False
    if load_relaxed(&column_of(core, worker).takes) and duty_at(core.board, listener.number) >= LAST:
        return True
    take_off(other, listener)       # it has stopped meanwhile: it would not leave again
    return False


cdef bint leave(Core *core, Listener *listener) noexcept nogil:
    """False: nobody else is told."""
    cdef int64_t *members = &core.doors.doors[listener.number].members
    cdef int64_t mine = bit_of(core.number)
    cdef int64_t seen = load_relaxed(members)
    while seen & mine:
        if seen == mine:
            return False
        if is_replaced(members, seen, seen & ~mine):
            break
        seen = load_relaxed(members)
    epoll_ctl(core.epoll, EPOLL_CTL_DEL, listener.fd, NULL)
    if load_relaxed(members) & mine:
        enter(core, listener)       # invited while it left
    return True


cdef bint stays(Core *core, Listener *listener) noexcept nogil:
    cdef int64_t least = 0
    cdef int64_t n_open = load_relaxed(&core.column.n_open)
    cdef int worker
    if n_open <= core.may_hold:
        return True
    worker = least_loaded(core, &least)
    core.may_hold = least if worker < 0 else least + max(<int64_t>SLACK, least // SLACK_SHARE)
    return n_open <= core.may_hold or not invite(core, worker, listener) or not leave(core, listener)


cdef bint comes_back(Core *core, Listener *listener) noexcept nogil:
    if not stays(core, listener):
        return False
    enter(core, listener)           # each tick, whatever its bit says: who invited it may have taken it off again
    return True
