"""Counters: what a worker counts about itself and its connections; a column per worker.

A worker writes its own column only; anyone may read all of them, and a sum may be a few events old.
What concerns a service, a PoP or an endpoint is in routing_core._figures.
"""
from libc.stdint cimport int64_t

from gateway.dataplane.http1._words cimport N_CAUSES
from gateway.dataplane.shared._snapshot cimport MAX_LISTENERS
from gateway.dataplane.shared._tally cimport Tally
from geoip._locator cimport N_LOOKUPS
from routing_core._atomic cimport add_own
from routing_core._figures cimport MAX_WORKERS

cdef enum:
    MAX_CAUSES = 64         # the parser's, then those of Cause

cdef enum Figure:
    ACCEPTED
    CLOSED
    TURNS
    LOG_DROPPED             # no room in the log ring
    BAD_TRANSITIONS         # a bug: a state machine was asked for what is not listed
    UPSTREAM_OPENED
    UPSTREAM_REUSED
    EVICTED                 # clients' connections that were closed for another client's
    FIELDS_DROPPED          # of requests, for an underscore in their names
    EVICTED_FOR_BUFFERS     # clients' connections that were closed for what they held in buffers
    BUFFER_WAITS            # of heads, for room in buffers
    N_FIGURES

cdef enum Cause:            # why a request or a connection was refused, after the parser's causes
    CAUSE_SLOW_HEAD
    CAUSE_SLOW_BODY
    CAUSE_BODY_TOO_LARGE
    CAUSE_BAD_BODY          # chunks
    CAUSE_TOO_MANY_CONNECTIONS
    CAUSE_NO_DESCRIPTORS
    CAUSE_NO_MEMORY
    CAUSE_NO_ROUTE
    CAUSE_ROUTE_REFUSED     # what it matches is nobody else's
    CAUSE_NO_PERMITTED_POP
    CAUSE_NO_ENDPOINT
    CAUSE_QUEUE_FULL
    CAUSE_QUEUE_TIMEOUT
    CAUSE_CLIENT_CONNECTIONS    # one client's cap
    CAUSE_CLIENT_EXCHANGES
    CAUSE_LOOP              # it has been here before
    N_OWN_CAUSES

cdef enum BadAnswer:        # why an endpoint's answer was not taken, after the parser's causes
    BAD_CUT = N_CAUSES      # it ended, or was reset, before it was whole
    BAD_BODY                # chunks
    BAD_SWITCH              # a 101 that nobody had asked for, or before the request was whole
    BAD_INTERIM             # more interim answers than there is room for
    N_BAD_ANSWERS

cdef enum Forced:           # what a drain's deadline cut
    FORCED_REQUEST
    FORCED_TUNNEL
    FORCED_IDLE             # clients that did not close in time
    N_FORCED

cdef struct Column:         # whole cache lines, so that no line has two writers
    int64_t figures[16]
    int64_t lookups[8]
    int64_t forced[8]
    int64_t causes[MAX_CAUSES]
    int64_t bad_answers[32]
    int64_t idle[MAX_LISTENERS]         # connections now, by listener
    int64_t active[MAX_LISTENERS]
    int64_t beat_ms                     # when this worker last turned
    int64_t generation                  # of the snapshot it last looked at
    int64_t phase                       # of the orders it last acted on
    int64_t n_open                      # clients' connections now
    int64_t takes                       # whether it accepts: not without descriptors, nor behind the end of a drain
    int64_t heaviest                    # bytes in buffers of the client that holds most in them, when that was last asked, see _shortage
    int64_t version                     # of the listeners' orders it last acted on
    int64_t unused[1]
    int64_t most[MAX_LISTENERS]         # connections of the client that holds most of a listener's, see _holders; one alone may be left out
    int64_t resting[MAX_LISTENERS]      # connections that may go for others: without a request, or a part of one

cdef struct Stock:          # one cache line: buffers, of all workers
    int64_t held                        # bytes taken of memory for them
    int64_t short_ms                    # when a head last found no room, by the clock
    int64_t unused[6]

cdef struct Door:           # one cache line: a listener, to all workers
    int64_t members                     # bits, by worker: who is told of new connections, see _doors
    int64_t n_open                      # clients' connections, of all workers
    int64_t unused[6]

cdef struct Desk:           # whole cache lines: what others ask of a worker, see _calls
    void *core                          # of Core, atomic; NULL: no such worker, or it is gone
    int64_t is_called
    int64_t rows                        # bits: pools that it is to look at
    int64_t descriptors                 # idle connections, whoever's, that it is to close for others' requests
    int64_t unused[4]
    int64_t wanted[MAX_LISTENERS]       # connections that it is to close for others'

cdef struct Doors:
    Desk desks[MAX_WORKERS]
    Door doors[MAX_LISTENERS]

# Inline, in the interface: a call through another module's pointer would cost more than the add.
cdef inline void count(Column *column, Figure figure) noexcept nogil:
    add_own(&column.figures[<int>figure], 1)

cdef inline void count_cause(Column *column, Cause cause) noexcept nogil:
    add_own(&column.causes[<int>N_CAUSES + <int>cause], 1)

cdef class Counters:
    cdef Column *columns    # [n_workers], owned; workers keep this object alive
    cdef Tally *tally       # owned
    cdef Doors *doors       # owned
    cdef Stock *stock       # owned
    cdef readonly int n_workers
    cdef int n_running      # of them, in run(); under the GIL
    cdef Column *column(self, int worker) except NULL
