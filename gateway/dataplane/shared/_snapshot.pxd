"""Snapshot: all that a request reads, as of one moment: table, locator, settings. Published by one atomic pointer.

Control publishes and frees: a worker has let go of a snapshot when it looks at another one and holds it for no exchange. One that hangs
keeps those that it had, and none that came after. Orders (drain) are not part of it: they are written in place, by control alone.
Must not know sockets or exchanges.
"""
from libc.stdint cimport int64_t

from gateway.dataplane.shared._settings cimport Settings
from geoip._locator cimport LocatorData
from routing_core._figures cimport MAX_WORKERS
from routing_core._layout cimport Pool, Pop, TableData

cdef enum:
    MAX_LISTENERS = 16

cdef struct Cell:               # alone on its cache line: it has one writer, a worker
    int64_t value
    int64_t padding[7]

cdef struct Snapshot:
    int64_t generation
    const TableData *table
    const LocatorData *locator
    const Settings *settings
    Snapshot *older             # control's list of those not yet freed
    Cell holds[MAX_WORKERS]     # exchanges that hold this snapshot

cdef enum Phase:
    SERVING
    LAMEDUCK                    # serves everyone, announces the end on answers
    CLOSING                     # idle ones end, every answer announces the end; what still comes in is served
    ABORTING                    # what is left is cut

cdef enum Duty:                 # at a listener, from least to most
    LEAVE                       # out of its door and away from its queue, which may be another process's; its descriptor is forgotten
    EMPTY                       # what waits there is taken before
    LAST                        # as ACCEPT, while it holds new connections back: see lift_bound
    ACCEPT

cdef struct ListenerOrder:
    int64_t duty                # Duty
    int64_t fd                  # another one only while the duty is below LAST, and every worker has acted on that

cdef struct Orders:             # written by control alone
    int64_t phase               # Phase
    int64_t close_share         # of SCALE: answers that carry Connection: close
    int64_t version             # of what follows; written behind it
    ListenerOrder listeners[MAX_LISTENERS]

cdef struct Board               # what control and workers share; private to _snapshot.pyx

# The newest snapshot, valid until the next look; declares that this worker uses no other one but those it holds.
cdef const Snapshot *look(Board *board, int worker) noexcept nogil
cdef const Orders *orders_of(Board *board) noexcept nogil
# As it is ordered now.
cdef Duty duty_at(Board *board, int listener) noexcept nogil
# This worker is gone: it uses no snapshot at all.
cdef void leave(Board *board, int worker) noexcept nogil
cdef void hold(const Snapshot *snapshot, int worker) noexcept nogil
cdef void let_go(const Snapshot *snapshot, int worker) noexcept nogil
# The same service in the same PoP, as the newest snapshot has it; NULL: it has none.
cdef const Pool *pool_in(const Snapshot *newest, const Pool *pool) noexcept nogil
# Whether a PoP of an older snapshot, which was open to a request then, has since been drained by the operator, or removed. One of its name
# in another place is another one: who may go there is to be decided.
cdef bint has_closed(const Snapshot *newest, const Snapshot *older, const Pop *pop) noexcept nogil

cdef class Snapshots:
    cdef Board *board               # owned; workers keep this object alive
    cdef readonly int64_t generation
    cdef Snapshot *spare            # owned; for the next publish; NULL: not reserved
    cdef dict kept                  # generation -> Python objects that the snapshot points into
    cdef int free_older(self, Snapshot **link, bint only_let_go) except -1
