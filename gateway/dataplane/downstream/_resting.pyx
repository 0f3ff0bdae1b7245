"""A ring's head points to its oldest one and to its newest."""
from gateway.dataplane._core cimport Connection, Core
from routing_core._atomic cimport add_own


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


cdef void leave_rest(Core *core, Connection *downstream) noexcept nogil:
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
