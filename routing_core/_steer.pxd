"""Steer: the decision, DESIGN section 1 steps 2 to 6, in one call: no I/O, no clock, nothing allocated but the answer.

weigh() looks at every PoP, choose() draws; explain runs the same weigh() and works out the shares instead of drawing.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._latency cimport Estimate
from routing_core._location cimport Location
from routing_core._random cimport Random
from routing_core._table cimport MAX_POPS, Pool, Route, TableData

cdef enum:
    MAX_FALLBACKS = 2           # as many as there are retries

cdef enum Reason:               # metric label and JSON: REASONS in _steer.pyx
    NONE                        # no decision: see Failure
    FASTEST                     # the lowest estimate, alone in its window
    WINDOW                      # one of several near-equals
    AFFINITY
    SPILL                       # a better one was passed over by admit
    FAILOVER                    # a better one is not available, or an earlier attempt failed there
    PANIC                       # too little is available: health ignored
    ORDER                       # location unknown: the configured order

cdef enum Failure:
    DECIDED
    NO_PERMITTED_POP            # jurisdiction or the operator's drain left none: 503
    NO_ENDPOINT                 # permitted, but nothing to send to: 503

cdef struct Candidate:
    const Pool *pool
    Estimate estimate
    double admit                # 0 to 1, as published
    bint is_available           # has an endpoint, admit > 0
    bint is_passed              # admit lies below this request's draw
    bint is_in_window

cdef struct Weighed:            # scratch of the caller: one per worker
    Candidate candidates[MAX_POPS]
    int32_t n
    int32_t best                # index of the best that this request may use; -1
    int32_t fastest             # index of the lowest estimate of all, usable or not; -1
    int32_t n_window
    int32_t window[MAX_POPS]    # indices of the near-equals; when location is unknown or all were passed over: one
    double weights[MAX_POPS]    # of those in the window: how often each is drawn
    double total_weight
    double window_ms            # after widening for a vague location
    int32_t n_workers
    bint is_panic
    bint is_ordered             # location unknown
    Failure failure

cdef struct Decision:
    Failure failure
    Reason reason
    const Pool *pool            # NULL when failure
    Estimate estimate
    int32_t n_fallbacks
    const Pool *fallbacks[MAX_FALLBACKS]    # best first, pool excluded

# What pick() draws with, for explain, which works out the shares instead.
# In panic: has an endpoint; else is available.
cdef bint is_usable(const Weighed *weighed, const Candidate *candidate) noexcept nogil
# Of two that were drawn the lower one serves: (estimate + 1 ms) * (1 + in flight / endpoints).
cdef double cost_of(const Candidate *candidate, int n_workers) noexcept nogil
# How often one of the window is drawn; 0: outside.
cdef double window_weight(const Candidate *candidate, double best_ms, double window_ms) noexcept nogil
# The usable one that admits most; -1: none is usable.
cdef int32_t find_widest(const Weighed *weighed) noexcept nogil

# draw: one random number for the request; admit is compared with it, hashed with the PoP.
cdef void weigh(const TableData *table, const Route *route, const Location *client, uint64_t draw, Weighed *out) noexcept nogil
cdef void choose(const Weighed *weighed, Random *rng, Decision *out) noexcept nogil
cdef void steer(const TableData *table, const Route *route, const Location *client, Random *rng, Weighed *scratch,
                Decision *out) noexcept nogil
