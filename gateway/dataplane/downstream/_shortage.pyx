"""Of the clients that hold most in buffers each is cut down to half of what the one with most of all has: the slowest go first, those whose
head is not whole before those that are served. Who holds little is never cut, so a client that is polite keeps what it has.

A new head of one that was cut would only take what was made free for others: it is closed.

Each worker cuts among its own connections, by what the others have published of theirs. It does so when a head comes that finds no room,
and, while that has been so for any of them, each tick: what is too much may be elsewhere. Where nobody has too much (many clients with
little each; hops and this machine, which are held to nothing), heads wait in their sockets until something has ended.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._holders cimport mark_begun
from gateway.dataplane.downstream._life cimport close_downstream, end_downstream
from gateway.dataplane.shared._calls cimport is_turning
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport BUFFER_WAITS, EVICTED_FOR_BUFFERS, count
from gateway.dataplane.transport._buffers cimport give_back, has_room, shed_spare_buffers
from gateway.dataplane.transport._stream cimport enter_list, leave_list, postpone
from routing_core._atomic cimport load_relaxed, store_relaxed

cdef enum:
    LITTLE_BYTES = 2 * LARGE_BYTES  # at one worker: who holds no more is not cut
    CUT_PARTS = 8           # a cut makes such a part of the room free, so that there need not be one for each head
    APART_MS = 20           # at least, from cut to cut: each looks at all who hold a buffer
    SHORT_MS = 1000         # behind the last head without room


cdef inline int64_t held_in(const Buffer *buffer) noexcept nogil:
    return buffer.capacity if buffer.at != NULL else 0


cdef int64_t held_for(const Stream *downstream) noexcept nogil:
    """In buffers, by it and by its exchange."""
    cdef const Exchange *exchange = downstream.exchange
    cdef int64_t held = held_in(&downstream.input)
    if exchange != NULL:
        held += held_in(&exchange.up.head) + held_in(&exchange.down.head)
        if exchange.upstream != NULL:
            held += held_in(&exchange.upstream.input)
        if exchange.note.text != NULL:
            held += <int64_t>SMALL_BYTES
    return held


cdef int64_t weigh(Holder *holder) noexcept nogil:
    cdef const Connection *downstream
    cdef int line
    holder.held = 0
    for line in range(<int>BEGUN, <int>N_HELD_LINES):
        downstream = holder.lines[line].first
        while downstream != NULL:
            holder.held += held_for(&downstream.own)
            downstream = downstream.held_after
    return holder.held


cdef int64_t weigh_all(Core *core) noexcept nogil:
    """What the client has that holds most, here."""
    cdef Holder *holder
    cdef int64_t most = 0
    cdef int slot
    for slot in range(N_HOLDER_SLOTS):
        holder = core.holders.slots[slot]
        while holder != NULL:
            most = max(most, weigh(holder))
            holder = holder.next
    return most


cdef int64_t most_elsewhere(const Core *core) noexcept nogil:
    cdef int64_t most = 0
    cdef int worker
    for worker in range(core.n_workers):
        if worker != core.number and is_turning(core, worker):
            most = max(most, load_relaxed(&(core.column + (worker - core.number)).heaviest))
    return most


cdef int64_t cut_holder(Core *core, Holder *holder, int64_t too_much, const Connection *spared) noexcept nogil:
    """Returns what it has given up."""
    cdef Connection *downstream
    cdef Connection *following
    cdef int64_t held, given_up = 0
    cdef int line
    for line in range(<int>BEGUN, <int>N_HELD_LINES):
        following = holder.lines[line].first
        while following != NULL and given_up < too_much and holder.n > 1:
            downstream = following
            following = downstream.held_after
            held = held_for(&downstream.own)
            if held == 0 or downstream == spared:
                continue
            given_up += held
            end_downstream(core, downstream)
            count(core.column, EVICTED_FOR_BUFFERS)
    return given_up


cdef void cut(Core *core, const Connection *spared) noexcept nogil:
    cdef int64_t room = core.snapshot.settings.buffers_for_new
    cdef int64_t wanted = load_relaxed(&core.stock.held) - room + room // CUT_PARTS
    cdef int64_t most = weigh_all(core)
    cdef int64_t level = max(max(most, most_elsewhere(core)) // 2, <int64_t>LITTLE_BYTES)
    cdef Holder *holder
    cdef Holder *following
    cdef int slot
    core.cut_ms = core.now_ms
    core.level = level
    store_relaxed(&core.column.heaviest, most)
    if most <= level:
        return
    for slot in range(N_HOLDER_SLOTS):
        following = core.holders.slots[slot]
        while following != NULL and wanted > 0:
            holder = following
            following = holder.next     # what is cut may be gone then
            if holder.held > level:
                wanted -= cut_holder(core, holder, min(holder.held - level, wanted), spared)
    shed_spare_buffers(core)            # what was closed when there was room again


cdef void await_room(Core *core, Stream *downstream) noexcept nogil:
    if downstream.input.at != NULL:
        mark_begun(downstream.connection)
    if downstream.is_listed:
        return
    count(core.column, BUFFER_WAITS)
    enter_list(&core.starved, downstream)


cdef bint finds_room(Core *core, Stream *downstream) noexcept nogil:
    cdef const Holder *holder = downstream.connection.holder
    if has_room(core, 0):
        return True
    store_relaxed(&core.stock.short_ms, clock_us(core) // 1000)
    shed_spare_buffers(core)
    give_back(core)
    if not has_room(core, 0) and not core.gives_back and core.now_ms - core.cut_ms >= <int64_t>APART_MS:
        cut(core, downstream.connection)
        give_back(core)
    if has_room(core, 0):
        return True
    if not core.gives_back and holder != NULL and holder.held > core.level:
        close_downstream(core, downstream)
        count(core.column, EVICTED_FOR_BUFFERS)
    else:
        await_room(core, downstream)
    return False


cdef void resume_starved(Core *core) noexcept nogil:
    while core.starved.first != NULL:
        postpone(core, leave_list(&core.starved))


cdef void go_on_giving(Core *core) noexcept nogil:
    give_back(core)
    if core.starved.first != NULL and has_room(core, 0):
        resume_starved(core)


cdef void tend_shortage(Core *core) noexcept nogil:
    if clock_us(core) // 1000 - load_relaxed(&core.stock.short_ms) < SHORT_MS:
        shed_spare_buffers(core)
        give_back(core)
        if not has_room(core, 0) and not core.gives_back:
            cut(core, NULL)
    elif load_relaxed(&core.column.heaviest):
        store_relaxed(&core.column.heaviest, 0)
    resume_starved(core)
