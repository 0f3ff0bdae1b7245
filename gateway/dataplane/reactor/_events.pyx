"""Who is told of an event is asked by what it is doing; an event may be older than that."""
from libc.stdint cimport int64_t, uint32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._life cimport close_downstream
from gateway.dataplane.exchange._blame cimport note_end
from gateway.dataplane.exchange._flow cimport ALONE_BYTES
from gateway.dataplane.proxy._attempts cimport drive, on_connected, on_late, on_lost, on_unasked
from gateway.dataplane.proxy._queueing cimport resume_queued
from gateway.dataplane.proxy._request cimport on_late_head, receive
from gateway.dataplane.transport._linux cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from gateway.dataplane.transport._stream cimport leave_list, postpone, set_deadline
from gateway.dataplane.transport._timers cimport Timer
from gateway.dataplane.transport._transport cimport peek, read as read_some, unsent
from gateway.dataplane.upstream._pools cimport drop_upstream


cdef void on_downstream(Core *core, Stream *downstream, uint32_t events) noexcept nogil:
    # Both sides of a tunnel may have ended in turn, or ours behind the last answer: what came before the end is still to be read.
    if events & EPOLLERR or (events & EPOLLHUP and downstream.state != LINGERING
                             and not (downstream.exchange != NULL and downstream.exchange.state == TUNNELLING)):
        if downstream.exchange != NULL:
            on_lost(core, downstream)
        else:
            close_downstream(core, downstream)
    elif downstream.state == READING:
        receive(core, downstream)
    elif downstream.state == LINGERING:
        linger_more(core, downstream)
    elif downstream.exchange != NULL:
        drive(core, downstream.exchange)


cdef void linger_more(Core *core, Stream *downstream) noexcept nogil:
    """Reads and forgets, so that the client gets to read the answer. Up to its end: EPOLLHUP tells of that, and not of what lies before
    it unread, on which a close would be a reset."""
    cdef char waste[4096]
    cdef ssize_t came
    cdef int rounds = 0
    while downstream.is_readable and rounds < 16 and core.n_sent <= ALONE_BYTES:
        came = read_some(downstream, waste, sizeof(waste))
        if came == BLOCKED:
            return
        if came <= 0:
            close_downstream(core, downstream)
            return
        core.n_sent += came
        rounds += 1
    if downstream.is_readable:
        postpone(core, downstream)          # a flood: others first, and with other floods one share of a turn


cdef void linger_on_late(Core *core, Stream *downstream) noexcept nogil:
    """Time is up, but not for a client that still takes in the answer: whatever it sent now would cost it the rest."""
    cdef int64_t unread = unsent(downstream)
    if unread > 0 and (downstream.unread == 0 or unread < downstream.unread):
        downstream.unread = unread
        set_deadline(core, downstream, core.snapshot.settings.linger_ms)
    else:
        close_downstream(core, downstream)


cdef bint is_stale(const Stream *upstream) noexcept nogil:
    """The event is of bytes that were read since it was told: who was put off goes on ahead of the events."""
    return not upstream.is_ending and not peek(upstream)


cdef void on_upstream(Core *core, Stream *upstream, uint32_t events) noexcept nogil:
    upstream.connection.heard_in = core.told
    if upstream.state == POOLED:
        if not is_stale(upstream):
            drop_upstream(core, upstream)   # an end, or an answer nobody asked for
    elif upstream.state == CONNECTING:
        if events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            on_connected(core, upstream)
    elif upstream.connection.lent_in == core.told and events & ~<uint32_t>EPOLLOUT and not is_stale(upstream):
        on_unasked(core, upstream)      # this event is older than the request that went up since it was told
    else:
        if upstream.is_ending:
            note_end(core, upstream.exchange)
        if events & (EPOLLERR | EPOLLHUP):
            on_lost(core, upstream)
        else:
            drive(core, upstream.exchange)


cdef void on_event(Core *core, Connection *connection, uint32_t events) noexcept nogil:
    cdef Stream *stream = &connection.own
    cdef StreamState state = stream.state
    if events & EPOLLOUT:
        stream.is_writable = True
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP):
        stream.is_readable = True
        stream.is_ending = stream.is_ending or events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0
    if state == READING or state == EXCHANGING or state == LINGERING:
        on_downstream(core, stream, events)
    elif state != DEAD and (state != POOLED or events & ~<uint32_t>EPOLLOUT):
        on_upstream(core, stream, events)


cdef void resume(Core *core, Stream *stream) noexcept nogil:
    if stream.state == READING:
        receive(core, stream)
    elif stream.state == LINGERING:
        linger_more(core, stream)
    elif stream.exchange != NULL and stream.exchange.state == QUEUED:
        resume_queued(core, stream.exchange)
    elif stream.exchange != NULL:
        drive(core, stream.exchange)


cdef void go_on_with_resumed(Core *core) noexcept nogil:
    cdef int rounds = 0
    cdef int32_t _i
    while core.resumed.first != NULL and rounds < 16:
        rounds += 1
        for _i in range(core.resumed.n):
            resume(core, leave_list(&core.resumed))


cdef void go_on_with_postponed(Core *core) noexcept nogil:
    cdef int32_t left = core.postponed.n
    while left > 0 and core.n_sent <= ALONE_BYTES:
        left -= 1
        resume(core, leave_list(&core.postponed))


cdef void on_due(void *owner, Timer *timer) noexcept nogil:
    cdef Core *core = <Core *>owner
    cdef Stream *stream = <Stream *>timer
    if stream.deadline_ms > core.now_ms:
        set_deadline(core, stream, stream.deadline_ms - core.now_ms)
    elif stream.state == READING:
        on_late_head(core, stream)
    elif stream.state == LINGERING:
        linger_on_late(core, stream)
    elif stream.state == POOLED:
        drop_upstream(core, stream)
    elif stream.exchange != NULL:
        on_late(core, stream)
