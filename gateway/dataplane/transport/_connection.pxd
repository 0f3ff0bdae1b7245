"""Connection: how one begins, waits and ends; its deadline.

Must not know what is said on a connection, nor what an exchange is.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gateway.dataplane._core cimport Buffer, Connection, Core, Stream, StreamList, StreamState, Transport
from gateway.dataplane.transport._linux cimport sockaddr_storage
from gateway.dataplane.transport._timers cimport arm
from gateway.dataplane.transport._transport cimport read as read_some

cdef enum:
    NEVER_MS = 1 << 30          # from now: a deadline that is none

cdef bint watch(Core *core, Connection *connection, uint32_t events) noexcept nogil
# Whose event it is that epoll tells; NULL: of one that is gone. A descriptor that is closed stays watched for as long as a child that was
# just forked has it too, and its memory may be another connection by then.
cdef Connection *heard_of(uint64_t told) noexcept nogil
# What a downstream or an upstream is watched for: both directions, edge-triggered.
cdef bint watch_peer(Core *core, Connection *connection) noexcept nogil
# Owns fd from here on, also when it fails: then NULL.
cdef Connection *open_connection(Core *core, int fd, StreamState state, const Transport *transport) noexcept nogil
# Closes it, which is not DEAD yet; freed after the batch. What points to it is the caller's affair.
cdef void bury(Core *core, Connection *connection) noexcept nogil
# To the lowest number of a descriptor that is free, which the kernel gives, where that is below the limit.
cdef bint move_down(Core *core, Connection *connection, int limit) noexcept nogil
# Where the peer connected to. Its family is AF_UNIX where nobody knows.
cdef void local_address(const Connection *connection, sockaddr_storage *out) noexcept nogil
cdef void sweep_graveyard(Core *core) noexcept nogil
# Back to the heap; while the worker runs they stay, see heard_of.
cdef void free_connections(Core *core) noexcept nogil
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

# A listener's rings of idle downstreams and of those that linger, by age. Their ends are their heads in core. Whoever is in one of them may
# go for others.
cdef void enter_idle(Core *core, Connection *downstream) noexcept nogil
cdef void enter_lingering(Core *core, Connection *downstream) noexcept nogil
cdef void leave_idle(Core *core, Connection *downstream) noexcept nogil     # either
cdef Connection *oldest_idle(Core *core, int listener) noexcept nogil
cdef Connection *oldest_lingering(Core *core, int listener) noexcept nogil

# How long what has come last has lain in the socket before this turn, where the worker may have come late to it; 0: not, or nobody knows.
cdef int64_t lay_us(const Core *core, const Stream *stream) noexcept nogil

# Reads once into the input buffer, which must be open and have room.
cdef inline ssize_t fill(Stream *stream) noexcept nogil:
    cdef Buffer *buffer = &stream.input
    cdef ssize_t n = read_some(stream, buffer.at + buffer.end, buffer.capacity - buffer.end)
    buffer.end += <uint32_t>max(n, <ssize_t>0)
    return n
