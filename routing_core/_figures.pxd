"""Figures: what is live about endpoints, pools, services and PoPs. One row each, outside the tables: it survives swaps.

A row has a column per worker, written by that worker only, read by anyone; and a gate, written by control only.
All are relaxed 64-bit atomics; no cache line has two writers but a service's debt, which is written only while
something is owed, and an endpoint's share, which is written as connections to it begin, end and are waited for. Rows
live in blocks that never move, so a table holds plain pointers into them. A row is used again only after every worker
has seen a newer table and nothing is in flight on it: control's duty, see Figures.release.
Must not know tables, sockets or clocks.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from routing_core._atomic cimport add_own, load_relaxed, store_relaxed

cdef enum:
    MAX_WORKERS = 64
    N_CODES = 64            # slots for status codes: see slot_of_code
    N_BUCKETS = 16          # upper bounds in ms: BUCKETS_MS, then infinity
    N_REASONS = 16          # Reason of _steer.pxd
    SCALE = 1024            # fixed point of shares and weights
    N_VERSIONS = 8          # of a pool's estimate: a cache line
    DEBT_SPANS = 7          # for which is kept how many retries were granted
    PACED_STEPS = 7         # how many versions' time a change of an estimate takes to reach every request
    GROUPS = 8              # of client networks, by their hash: see group_of
    GROUP_CELLS = 4         # half a cell a group
    SLOW_TIMES = 8          # the mean of the last good answers: beyond that it is a tail. As control's MOST_TIMES
    SQUARE_BITS = 6         # the unit of times that are squared is 64 us: or the sum would soon have run through 64 bits

cdef enum GateState:
    ADMITTING = 0           # takes exchanges
    PROBING = 1             # a probe is under way or not yet judged; takes none
    SHUT = 2                # takes none
    SILENT = 3              # takes none, and nobody answers there: what waits there waits in vain

cdef enum RetryOutcome:
    RETRY_GOOD              # a retry that led to an answer
    RETRY_BAD               # a retry that failed as well
    RETRY_REFUSED_BUDGET    # there was no budget for it
    RETRY_REFUSED_TRIES     # the tries were used up
    RETRY_REFUSED_UNSAFE    # not idempotent, or body gone, or bytes were answered
    N_RETRY_OUTCOMES

# --- An endpoint (four cache lines a worker: what a choice reads, what others read where a limit is reached, and what is only counted) ---
cdef struct EndpointColumn:
    int64_t in_flight           # exchanges that have this endpoint
    int64_t connections         # open, idle ones included
    int64_t attempts
    int64_t connect_failures    # shuts the gate at once, for all workers: see is_admitting
    int64_t failures            # resets, timeouts and garbage after the connect
    int64_t latency_us          # peak EWMA of time to first byte as this worker saw it; 0: nothing yet
    int64_t latency_at_ms
    int64_t latency_ns          # the same, finer, or small steps would be lost: private to _endpoints
    int64_t answers             # whose status is no gateway's error
    int64_t errors              # 502, 503 and 504 from the endpoint, resets, timeouts and garbage; failed connects not
    int64_t first_bytes         # with first_byte_us, the sum: time to first byte
    int64_t first_byte_us
    int64_t server_errors       # of the answers, the other 5xx, and those cut behind their head
    int64_t tunnels             # of those in flight
    int64_t waits_since_ms      # who waits here first, by the clock; 0: nobody
    int64_t n_waiting           # for a connection
    int64_t bad_by[GROUP_CELLS]     # errors and server errors by group, see add_to_group
    int64_t good_by[GROUP_CELLS]    # all other answers likewise
    int64_t slow_by[GROUP_CELLS]    # of all answers: those far slower than the pool's good ones are
    int64_t idle                # of the connections: they carry no exchange
    int64_t awaiting            # of those in flight: the endpoint has what it needs and owes the first byte
    int64_t also_unused[2]

cdef struct EndpointShare:      # one cache line: what workers have of its limits; all write it, none for an exchange on a pooled connection
    int64_t n_open              # connections, tunnels apart
    int64_t n_waiting           # exchanges that wait for one
    int64_t unused[6]

cdef struct EndpointGate:       # two cache lines; the first is control's
    int64_t state               # GateState
    int64_t forgiven            # connect failures (sum of the columns) that a successful probe has outdated
    int64_t weight              # of SCALE: slow start
    int64_t has_answered        # whether its last probe was answered, whatever the answer said; before the first one: no
    int64_t unused[4]
    EndpointShare share

# --- A pool: one service in one PoP ---
cdef struct PoolColumn:
    int64_t in_flight           # exchanges that have an endpoint, or wait in one's queue
    int64_t connect_us          # sums, with their counts
    int64_t connects
    int64_t first_byte_us
    int64_t first_bytes
    int64_t waiting             # of those in flight: in an endpoint's queue, or the endpoint has what it needs and owes the first byte
    int64_t lay_us              # sum of what first bytes lay here before a worker saw them; no part of first_byte_us
    int64_t duration_us
    int64_t durations
    int64_t bytes_up
    int64_t bytes_down
    int64_t attempts
    int64_t failures            # resets, timeouts, garbage; and exchanges for which nobody there could be reached
    int64_t server_errors       # answers 5xx
    int64_t rate_limited        # answers 429
    int64_t retry_after_ms      # sum of what these asked for
    int64_t codes[N_CODES]
    int64_t reasons[N_REASONS]
    int64_t first_byte_buckets[N_BUCKETS]
    int64_t duration_buckets[N_BUCKETS]
    int64_t answered_by[GROUP_CELLS]    # by group, see add_to_group: all answers
    int64_t limited_by[GROUP_CELLS]     # those of 429
    int64_t bad_by[GROUP_CELLS]         # failures and server errors
    int64_t good_us             # mean of the last good answers' time to first byte; 0: none yet
    int64_t tunnels             # of those in flight: no load, and nothing of a capacity
    int64_t served_squares      # sum of the squares of service times, in units as of SQUARE_BITS
    int64_t unused
    int64_t held[GROUPS]        # of those in flight: they go on for as long as their client likes, by its group. See note_hold
    int64_t waiting_by[GROUPS]  # of `waiting`, by group
    int64_t served_us_by[GROUPS]    # service times, summed by group of the client: see add_served
    int64_t served_by[GROUPS]       # their counts

cdef struct PoolGate:           # three cache lines
    int64_t admit               # of SCALE: the share of requests it takes: availability * shed * ramp
    int64_t availability        # of SCALE: min(1, 1.4 * ready / total)
    int64_t shed                # of SCALE: what its headroom and its PoP's let through; without a capacity its queue
    int64_t ramp                # of SCALE: below all while it comes back
    int64_t penalty_us          # what failures and refusals add to every estimate; not paced
    int64_t samples             # behind service_us
    int64_t service_us          # the latest, for people; decisions take a version
    int64_t path_us
    # Estimates as they were published, the latest PACED_STEPS + 1: see pack_version.
    int64_t versions[N_VERSIONS]
    int64_t answering           # how many of its endpoints answer, see is_answering; for panics
    int64_t spared              # of those in flight, what its capacity is not filled by: see beyond_part
    int64_t spared_in_pop       # the same of its PoP's
    int64_t all_zones           # of SCALE: the share of requests for which its zones are alike; the others prefer the own one
    int64_t most_us             # for which a service time counts at most; 0: as it is. See add_served
    int64_t spread_us           # of service_us: one standard deviation of what it may be in truth; 0: nothing is known of it
    int64_t hope_us             # where too little is known of its service time: the least that it may well be; -1: enough is known
    int64_t usual               # in flight: as many as are no sign of a queue, by what it had lately

# --- A PoP: all services in it ---
cdef struct PopColumn:          # one cache line a worker
    int64_t in_flight
    int64_t tunnels             # of these
    int64_t unused[6]

# --- The whole gateway ---
cdef struct Pace:               # one cache line
    # In 1/SCALE of a version's time, since the first began: the newest version is pace >> 10. A request is decided by the version that was
    # the newest some time ago, drawn evenly from the last PACED_STEPS versions' times: so no change moves them all at once.
    int64_t phase
    int64_t times               # how often a version of any pool has been written that was another before
    int64_t paths               # how often its path was another
    int64_t unused[5]

cdef struct Crew:               # one cache line: the workers
    int64_t n_workers
    int64_t hung                # bits: those that hang. Nobody waits for what they have: see is_hung
    int64_t unused[6]

# Of a worker that hangs counts what it has counted, and nothing of what it has: what is in flight there is as if it were not. Its columns
# are left as they are, and with its bit all of that is back.
cdef inline bint is_hung(const Crew *crew, int worker) noexcept nogil:
    return load_relaxed(&crew.hung) >> worker & 1

# Path and service time of one version in one cell: both change at once. Path -1: unknown; service 0: unknown.
cdef inline int64_t pack_version(int64_t path_us, int64_t service_us) noexcept nogil:
    return <int64_t>(<uint64_t>path_us << 32) | service_us  # shifted unsigned: -1 is legal

cdef inline int64_t path_in(int64_t version) noexcept nogil:
    return version >> 32

cdef inline int64_t service_in(int64_t version) noexcept nogil:
    return version & <int64_t>0xFFFFFFFFu

# --- A service ---
cdef struct ServiceColumn:      # one cache line
    int64_t retries[N_RETRY_OUTCOMES]
    int64_t in_flight           # requests, from their decision to their end
    int64_t unused[2]

cdef struct ServiceDebt:        # two cache lines, of all workers: private to _budget
    int64_t owed_milli          # thousandths of retries that requests have not paid for yet
    int64_t span                # the number of the one under way
    int64_t granted[DEBT_SPANS]  # retries, by span
    int64_t peak                # most in flight when a retry was asked for, in this span
    int64_t peak_before         # and in the one before
    int64_t unused[5]

# --- Groups of client networks, /24 and /48: so that what one client does is told from what befalls all ---
# The group of a client's address of 16 bytes. Who is in a network can't leave its group.
cdef int group_of(const uint8_t *client) noexcept nogil

# One more of a group, in cells of the caller's own. 32 bits each: between two looks none comes back to where it was, as a byte would.
cdef inline void add_to_group(int64_t *cells, int group) noexcept nogil:
    cdef int64_t *cell = &cells[group // 2]
    cdef uint64_t was = <uint64_t>load_relaxed(cell)
    cdef uint64_t mask = <uint64_t>0xFFFFFFFF << (32 * (group % 2))
    store_relaxed(cell, <int64_t>((was & ~mask) | ((was + (<uint64_t>1 << (32 * (group % 2)))) & mask)))

# One service time: of an answer what its first byte took, less the gateway's own path. One that took many times as long as others do
# counts for so much and no more: heavy tails are what a mean over few of them is made of.
cdef inline void add_served(PoolColumn *own, const PoolGate *gate, int group, int64_t first_byte_us) noexcept nogil:
    cdef int64_t path_us = load_relaxed(&gate.path_us)
    cdef int64_t most_us = load_relaxed(&gate.most_us)
    cdef int64_t us = first_byte_us - path_us if path_us > 0 else first_byte_us
    cdef uint64_t root
    us = us if us > 0 else 0
    if us > most_us and most_us > 0:
        us = min(us, max(most_us, SLOW_TIMES * own.good_us))    # where all take that long it is no tail
    root = <uint64_t>us >> SQUARE_BITS
    add_own(&own.served_us_by[group], us)
    add_own(&own.served_by[group], 1)
    add_own(&own.served_squares, <int64_t>(root * root))

# 0..N_CODES-1. The codes of RFC 9110 and what proxies use have a slot each; others share one per class.
cdef int slot_of_code(int code) noexcept nogil
# The metric label of a Reason of _steer.pxd.
cdef const char *reason_text(int reason) noexcept nogil
cdef int bucket_of_us(int64_t us) noexcept nogil

# The sum of something that workers have now, over those that do not hang: of the cell that is worker 0's, with so many cells a column.
cdef int64_t sum_levels(const int64_t *first, int stride, const Crew *crew) noexcept nogil
# The one predicate on a gate: its state, and no connect failure that is not forgiven.
cdef bint is_admitting(const EndpointGate *gate, const EndpointColumn *columns, int n_workers) noexcept nogil
# Nobody answers there, not even by a refusal.
cdef inline bint is_silent(const EndpointGate *gate) noexcept nogil:
    return load_relaxed(&gate.state) == SILENT

# What a panic asks instead: it admits, or would but for what probes were answered or outliers were judged by. Nobody has been refused there
# since it last answered.
cdef bint is_answering(const EndpointGate *gate, const EndpointColumn *columns, int n_workers) noexcept nogil

cdef class Figures:
    cdef readonly int n_workers
    cdef void **blocks              # owned: blocks of rows, private to _figures.pyx
    cdef int n_blocks
    cdef list kinds                 # per row: what it is, or None when free
    cdef list free_rows             # by kind
    cdef Pace *pace                 # owned
    cdef Crew *crew                 # owned
    cdef void *row_block(self, int row) except NULL
    cdef int add_block(self, int kind) except -1
    cdef int64_t *columns_of(self, int row, int kind, int gate_cells, int column_cells) except NULL
    cdef void put_version(self, PoolGate *gate, int slot, int64_t version) noexcept
    # Of a row of that kind; columns are [n_workers]. Raise IndexError for another kind's or a free row.
    cdef EndpointGate *endpoint_gate(self, int row) except NULL
    cdef EndpointColumn *endpoint_columns(self, int row) except NULL
    cdef PoolGate *pool_gate(self, int row) except NULL
    cdef PoolColumn *pool_columns(self, int row) except NULL
    cdef ServiceDebt *service_debt(self, int row) except NULL
    cdef ServiceColumn *service_columns(self, int row) except NULL
    cdef PopColumn *pop_columns(self, int row) except NULL
