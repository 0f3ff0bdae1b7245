"""A worker knows its own connections, and of the others how many the client has there that holds most, and how many are idle. Those that
it has called for are taken off. New connections are even over the workers, so that a client's are as well."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._holders cimport held_by, most_held
from gateway.dataplane.downstream._life cimport end_downstream
from gateway.dataplane.downstream._resting cimport oldest_idle, oldest_lingering
from gateway.dataplane.shared._calls cimport call_for_descriptor, call_for_room, called_for, is_turning, take_descriptors, take_wanted
from gateway.dataplane.shared._counters cimport EVICTED, Column, count
from gateway.dataplane.shared._places cimport has_more_clients
from gateway.dataplane.transport._transport cimport peek
from gateway.dataplane.upstream._pools cimport drop_any_idle
from routing_core._atomic cimport load_relaxed
from routing_core._random cimport next_u64

cdef enum:
    CLOSED_A_TICK = 256     # a millisecond or two


cdef Connection *spared(Connection *downstream) noexcept nogil:
    """NULL instead of one whose request has come unread: it was accepted a moment ago, or is about to be heard. A queue that many have
    waited in would else end with its last, each going for the next. Who holds most is not spared: it would only have to speak at once."""
    if downstream != NULL and downstream.own.state == READING and downstream.own.input.begin == downstream.own.input.end:
        return NULL if peek(&downstream.own) else downstream
    return downstream


cdef bint make_room(Core *core, int listener, const uint8_t *newcomer) noexcept nogil:
    cdef Connection *downstream = most_held(core, listener, newcomer)
    if downstream == NULL:      # who is answered, and only does not end, goes before who may ask again
        downstream = oldest_lingering(core, listener)
    if downstream == NULL:
        downstream = spared(oldest_idle(core, listener))
    if downstream == NULL:
        return False
    end_downstream(core, downstream)
    count(core.column, EVICTED)
    return True


cdef int64_t offer_of(const Core *core, int worker, int listener, bint of_most) noexcept nogil:
    """How many the client has that holds most there, or how many are idle."""
    cdef const Column *column = core.column + (worker - core.number)
    cdef int64_t n = load_relaxed(&column.most[listener]) if of_most else load_relaxed(&column.resting[listener])
    return n - load_relaxed(&core.doors.desks[worker].wanted[listener])


cdef bint call_who_offers_most(Core *core, int listener, bint of_most, int64_t at_least) noexcept nogil:
    cdef int64_t offer, best = at_least - 1
    cdef int worker, found = -1
    for worker in range(core.n_workers):
        if worker != core.number and is_turning(core, worker):
            offer = offer_of(core, worker, listener, of_most)
            if offer > best:
                best = offer
                found = worker
    if found >= 0:
        call_for_room(core, found, listener)
    return found >= 0


cdef bint make_room_anywhere(Core *core, int listener, const uint8_t *newcomer) noexcept nogil:
    # As most_held(): one of a client that would still have as many as the new one's then; and more than one that could go here.
    cdef int64_t here = max(load_relaxed(&core.column.most[listener]), 1)
    return (call_who_offers_most(core, listener, True, max(here + 1, <int64_t>held_by(core, listener, newcomer) + 2))
            or make_room(core, listener, newcomer)
            or call_who_offers_most(core, listener, False, 1))


cdef bint give_descriptor(Core *core) noexcept nogil:
    """Of a client that is idle, at each listener first the one that holds most: what is under way ends for no request. Else of an upstream
    connection that lies idle."""
    cdef Connection *downstream
    cdef int listener
    for listener in range(MAX_LISTENERS):
        downstream = most_held(core, listener, NULL)
        if downstream == NULL:
            downstream = spared(oldest_idle(core, listener))
        if downstream != NULL:
            end_downstream(core, downstream)
            count(core.column, EVICTED)
            return True
    return drop_any_idle(core)


cdef int64_t idle_at(const Core *core, int worker) noexcept nogil:
    cdef const Column *column = core.column + (worker - core.number)
    cdef int64_t total = -load_relaxed(&core.doors.desks[worker].descriptors)
    cdef int listener
    for listener in range(MAX_LISTENERS):
        total += load_relaxed(&column.resting[listener])
    return total


cdef bint make_room_for_request(Core *core) noexcept nogil:
    cdef int64_t most = 0
    cdef int worker
    # Where no client is idle, any: an upstream connection may be.
    cdef int found = <int>(next_u64(&core.rng) % <uint64_t>core.n_workers)
    if give_descriptor(core):
        return True
    for worker in range(core.n_workers):
        if worker != core.number and is_turning(core, worker) and idle_at(core, worker) > most:
            most = idle_at(core, worker)
            found = worker
    if found != core.number and is_turning(core, found):
        call_for_descriptor(core, found)
    return False


cdef void make_room_for_others(Core *core) noexcept nogil:
    cdef uint8_t nobody[16]
    cdef int64_t wanted
    cdef int listener
    memset(nobody, 0, 16)       # the caller has judged who it is for
    for listener in range(MAX_LISTENERS):
        wanted = take_wanted(core, listener)
        while wanted > 0 and make_room(core, listener, nobody):
            wanted -= 1
    wanted = take_descriptors(core)
    while wanted > 0 and give_descriptor(core):
        wanted -= 1


cdef bint has_surplus(const Core *core, int listener) noexcept nogil:
    cdef int64_t limit = core.snapshot.settings.max_connections
    # One that is to go for a new one is over for a moment.
    return has_more_clients(core, listener, limit) and has_more_clients(core, listener, limit + called_for(core, listener))


cdef void shrink(Core *core) noexcept nogil:
    cdef Connection *downstream
    cdef int left = CLOSED_A_TICK
    cdef int listener
    core.is_shrinking = False
    for listener in range(MAX_LISTENERS):
        while has_surplus(core, listener):
            downstream = oldest_idle(core, listener)
            if downstream == NULL or left == 0:
                core.is_shrinking = True
                break
            left -= 1
            end_downstream(core, downstream)
            count(core.column, EVICTED)


cdef bint ends_for_room(const Core *core, const Connection *downstream) noexcept nogil:
    return core.is_shrinking and has_surplus(core, downstream.listener)
