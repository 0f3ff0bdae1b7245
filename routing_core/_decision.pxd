"""Decision: what a request asks, what is weighed for it, and what comes of it. Declarations; who decides is `_steer`."""
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._figures cimport Crew
from routing_core._latency cimport Estimate
from routing_core._layout cimport MAX_POPS, Pool, Pop, Route, Rule, TableData, Target
from routing_core._location cimport Location
from routing_core._random cimport Random

cdef enum:
    MAX_FALLBACKS = 2           # as many as there are retries
    MAX_LEFT_OUT = 24           # pools of an exchange that is decided anew, eight times
    UNPINNED = 1000             # rank of the first PoP that a pin does not name

cdef enum Reason:               # metric label and JSON: REASONS in _steer.pyx
    NONE                        # no decision: see Failure
    FASTEST                     # the lowest estimate, alone in its window
    WINDOW                      # one of several near-equals
    AFFINITY
    SPILL                       # a better one was passed over: it is short of room or of endpoints
    FAILOVER                    # a better one is not available, or an earlier attempt failed there
    PANIC                       # too little is available: what probes say is ignored
    ORDER                       # location unknown: the configured order
    RAMP                        # a better one has come back, and takes its traffic up step by step
    EXPLORE                     # too little is known of it, and it may well be the better one

cdef enum Failure:
    DECIDED
    NO_PERMITTED_POP            # jurisdiction or the operator's drain left none: 503
    NO_ENDPOINT                 # permitted, but nothing to send to: 503

cdef struct Asked:              # what of a request concerns the choice
    const Location *client
    uint64_t client_key         # hash of the client's network, for what is to be the same each time; 0: nothing is
    uint64_t header_key         # hash of the header that affinity goes by; 0: it is not there
    const Pop *kept             # named by the client's cookie; NULL: none
    bint may_explore            # whether it may be sent where little is known: it does no harm twice, and nothing keeps it elsewhere
    int32_t n_left_out
    const Pool *left_out[MAX_LEFT_OUT]      # as if the operator had drained them, for this request: nobody there could be asked

cdef inline bint is_named_in(const Asked *asked, const Pool *pool) noexcept nogil:
    cdef int32_t i
    for i in range(asked.n_left_out):
        if asked.left_out[i] == pool:
            return True
    return False

cdef struct Candidate:
    const Pool *pool
    Estimate estimate
    double admit                # 0 to 1, as published
    int64_t availability        # of SCALE, as published
    int32_t place               # among the rule's: of two that are alike the first is taken
    int32_t rank                # the same, or in a pin's order
    bint is_available           # has an endpoint, admit > 0, and is not left out
    bint is_left_out            # drained automatically, for this request
    bint is_passed              # admit lies below this request's draw, or it is full
    bint is_full                # as much in flight as it may have
    bint is_in_window

cdef struct Weighed:            # scratch of the caller: one per worker
    Candidate candidates[MAX_POPS]
    int32_t n
    bint has_all                # who may serve; else those near the client
    bint is_short               # of these, and not all are here that matter
    bint needs_room             # likewise: it matters who of them is full
    int32_t best                # index of the best that this request may use; -1
    int32_t fastest             # index of the lowest estimate of all, usable or not; -1
    int32_t n_window
    int32_t window[MAX_POPS]    # indices of the near-equals, by place; when location is unknown or all were passed over: one
    double weights[MAX_POPS]    # of those in the window: how often each is drawn
    double total_weight
    double window_ms            # after widening for a vague location and for affinity
    const Crew *crew
    uint64_t draw               # it was weighed with
    const Rule *rule            # that was found for the client; NULL: none fits
    int32_t pin                 # as Location.pin; 0: none, or none of its PoPs can serve
    bint is_pinned              # the pin decides: not all of its PoPs were passed over
    bint has_available
    bint has_answering          # a PoP with an endpoint that answers; for panics
    bint is_hashed              # affinity by header or network chooses among the window
    bint spills                 # a faster one than the best was passed over because it lacks room
    bint is_panic
    bint is_placeless           # nothing is known of any path
    bint is_ordered             # placeless or pinned: ranks decide
    Failure failure

cdef struct Decision:
    Failure failure
    Reason reason
    bint is_panic               # in which endpoints are chosen by whether they answer
    const Target *target        # of the route: whose service it was decided for
    const Pool *pool            # NULL when failure
    Estimate estimate
    int32_t n_fallbacks
    const Pool *fallbacks[MAX_FALLBACKS]    # best first, pool excluded
