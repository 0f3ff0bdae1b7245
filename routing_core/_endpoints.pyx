"""Two available endpoints are drawn, the cheaper one wins. Draws fail over to a walk, so what is available is always found.

Those of the gateway's own zone come first in a pool, and are asked first: the others only when none of them is available, and for the
share of requests that would be too much for those that are left.
"""
from libc.math cimport exp

from routing_core._atomic cimport load_relaxed, store_release
from routing_core._figures cimport SCALE, is_admitting, is_answering
from routing_core._random cimport next_double, next_u64

cdef enum:
    WALKED = 4                  # pools up to this size are walked at once: drawing would look at all of them anyway
    DRAWS = 8                   # of which two must hit; a pool with half of its endpoints shut misses one time in 28
    UNKNOWN_US = 1000000        # an endpoint that has not answered yet but has requests waiting (Finagle's penalty, a second)

cdef enum Fitness:
    FIT
    FIT_BUT_SLOW_START          # left out this time, taken when there is no other
    AT_LIMIT
    UNFIT

cdef struct Ask:                # what one choice is about
    const Pool *pool
    const int32_t *tried
    Random *rng
    int64_t max_open
    int64_t now_ms
    int worker
    int n_workers
    const Crew *crew
    int n_tried
    int32_t n                   # the first so many of the pool's endpoints
    Heed heed


cdef inline int32_t below(Random *rng, int32_t n) noexcept nogil:
    return <int32_t>(next_double(rng) * n)


# What is in flight without tunnels: one may live for days.
cdef int64_t requests_of(const EndpointColumn *columns, const Crew *crew) noexcept nogil:
    cdef int64_t hung = load_relaxed(&crew.hung)
    cdef int64_t total = 0
    cdef int worker
    for worker in range(<int>crew.n_workers):
        if not hung >> worker & 1:
            total += load_relaxed(&columns[worker].in_flight) - load_relaxed(&columns[worker].tunnels)
    return total


cdef int64_t load_of(const EndpointGate *gate, const EndpointColumn *columns, const Crew *crew) noexcept nogil:
    cdef int64_t hung = load_relaxed(&crew.hung)
    cdef int64_t total = requests_of(columns, crew) + load_relaxed(&gate.share.n_waiting)
    cdef int worker
    if hung:
        for worker in range(<int>crew.n_workers):
            if hung >> worker & 1:      # the share has them all
                total -= load_relaxed(&columns[worker].n_waiting)
    return max(total, 0)


# For its weight.
cdef double tunnels_of(const Endpoint *endpoint, const Crew *crew) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(<int>crew.n_workers):
        total += load_relaxed(&endpoint.columns[worker].tunnels)
    return <double>total / endpoint.weight


cdef bint is_at_limit(const Pool *pool, const Endpoint *endpoint, const Crew *crew) noexcept nogil:
    return pool.max_in_flight > 0 and requests_of(endpoint.columns, crew) >= pool.max_in_flight


# Its connections are as many as may be, and none of them is idle at any worker.
cdef bint is_taken(const Ask *ask, const Endpoint *endpoint) noexcept nogil:
    return load_relaxed(&endpoint.gate.share.n_open) >= ask.max_open and requests_of(endpoint.columns, ask.crew) >= ask.max_open


cdef Fitness fitness_of(const Ask *ask, const Endpoint *endpoint) noexcept nogil:
    cdef int64_t weight
    cdef int i
    for i in range(ask.n_tried):
        if ask.tried[i] == endpoint.row:
            return UNFIT
    if ask.heed == ADMITTING_ONLY and not is_admitting(endpoint.gate, endpoint.columns, ask.n_workers):
        return UNFIT
    if ask.heed == ANSWERING_ONLY and not is_answering(endpoint.gate, endpoint.columns, ask.n_workers):
        return UNFIT
    if is_at_limit(ask.pool, endpoint, ask.crew) or is_taken(ask, endpoint):
        return AT_LIMIT
    weight = load_relaxed(&endpoint.gate.weight)
    if weight < SCALE and ask.heed == ADMITTING_ONLY and next_double(ask.rng) * SCALE >= weight:
        return FIT_BUT_SLOW_START
    return FIT


cdef double cost_of(const Ask *ask, const Endpoint *endpoint) noexcept nogil:
    cdef const EndpointColumn *own = &endpoint.columns[ask.worker]
    cdef int64_t waiting = load_of(endpoint.gate, endpoint.columns, ask.crew)
    cdef int64_t latency_us = load_relaxed(&own.latency_us)
    cdef int64_t age_ms = ask.now_ms - load_relaxed(&own.latency_at_ms)
    cdef double us = latency_us
    if latency_us == 0:     # in a panic one that was asked before and has not answered is no newcomer
        us = UNKNOWN_US if waiting > 0 or (ask.heed != ADMITTING_ONLY and load_relaxed(&own.attempts) > 0) else 0
    elif age_ms > 0 and load_relaxed(&own.awaiting) == 0:   # while it is owed an answer nobody knows it to be any better
        us *= exp(-<double>age_ms / DECAY_MS)
    return us * (waiting + 1) / endpoint.weight


# Where nothing is known but tunnels (all that a service of WebSockets has), they go to who has fewest.
cdef const Endpoint *cheaper(const Ask *ask, const Endpoint *one, const Endpoint *other) noexcept nogil:
    cdef double cost = cost_of(ask, one), other_cost = cost_of(ask, other)
    if cost == other_cost:
        cost = tunnels_of(one, ask.crew)
        other_cost = tunnels_of(other, ask.crew)
    return other if other_cost < cost else one


# Two different fit ones by drawing; NULL when fewer were met.
cdef const Endpoint *draw_two(const Ask *ask) noexcept nogil:
    cdef const Endpoint *first = NULL
    cdef const Endpoint *endpoint
    cdef int _i
    for _i in range(DRAWS):
        endpoint = &ask.pool.endpoints[below(ask.rng, ask.n)]
        if endpoint != first and fitness_of(ask, endpoint) == FIT:
            if first != NULL:
                return cheaper(ask, first, endpoint)
            first = endpoint
    return NULL


# Looks at every endpoint: two of the fit ones at random (each pair alike), else one in slow start, else the least loaded at its limit.
cdef Availability walk(const Ask *ask, const Endpoint **chosen) noexcept nogil:
    cdef const Endpoint *pair[2]
    cdef const Endpoint *slow = NULL
    cdef const Endpoint *full = NULL
    cdef const Endpoint *endpoint
    cdef int64_t load, least = 0
    cdef int32_t i, place, n_fit = 0, n_slow = 0
    cdef Fitness fitness
    pair[0] = NULL
    pair[1] = NULL
    for i in range(ask.n):
        endpoint = &ask.pool.endpoints[i]
        fitness = fitness_of(ask, endpoint)
        if fitness == FIT:
            n_fit += 1
            place = n_fit - 1 if n_fit <= 2 else below(ask.rng, n_fit)      # a reservoir of two
            if place < 2:
                pair[place] = endpoint
        elif fitness == FIT_BUT_SLOW_START:
            n_slow += 1
            if below(ask.rng, n_slow) == 0:
                slow = endpoint
        elif fitness == AT_LIMIT:
            load = load_of(endpoint.gate, endpoint.columns, ask.crew)
            if full == NULL or load < least:
                full = endpoint
                least = load
    if n_fit >= 2:
        # Ties go to the first: which one that is must be chance.
        chosen[0] = cheaper(ask, pair[0], pair[1]) if next_u64(ask.rng) >> 63 else cheaper(ask, pair[1], pair[0])
        return AVAILABLE
    if n_fit == 1 or slow != NULL:
        chosen[0] = pair[0] if n_fit == 1 else slow
        return AVAILABLE
    chosen[0] = full
    return FULL if full != NULL else NO_ENDPOINT_ADMITS


cdef Availability choose_among(const Ask *ask, const Endpoint **chosen) noexcept nogil:
    if ask.n > WALKED:
        chosen[0] = draw_two(ask)
        if chosen[0] != NULL:
            return AVAILABLE
    return walk(ask, chosen)


cdef bint is_for_all_zones(const Ask *ask) noexcept nogil:
    cdef int64_t share = load_relaxed(&ask.pool.gate.all_zones)
    return share > 0 and next_double(ask.rng) * SCALE < share


# Those of the own zone first.
cdef Availability choose_in_zones(Ask *ask, const Endpoint **chosen) noexcept nogil:
    ask.n = ask.pool.n_endpoints
    if 0 < ask.pool.n_preferred < ask.pool.n_endpoints and not is_for_all_zones(ask):
        ask.n = ask.pool.n_preferred
        if choose_among(ask, chosen) == AVAILABLE:
            return AVAILABLE
        ask.n = ask.pool.n_endpoints
    return choose_among(ask, chosen)


cdef Availability choose_endpoint(const Pool *pool, int worker, const Crew *crew, int64_t max_open, int64_t now_ms, Random *rng,
                                  const int32_t *tried, int n_tried, Heed heed, const Endpoint **chosen) noexcept nogil:
    cdef Ask ask
    cdef Availability found
    ask.pool = pool
    ask.tried = tried
    ask.n_tried = n_tried
    ask.rng = rng
    ask.max_open = max_open
    ask.now_ms = now_ms
    ask.worker = worker
    ask.n_workers = <int>crew.n_workers
    ask.crew = crew
    ask.heed = heed if heed != ANSWERING_FIRST else ANSWERING_ONLY
    found = choose_in_zones(&ask, chosen)
    if found == NO_ENDPOINT_ADMITS and heed == ANSWERING_FIRST:
        ask.heed = ANSWERING_FIRST
        return choose_in_zones(&ask, chosen)
    return found


cdef void observe_latency(EndpointColumn *own, int64_t us, int64_t now_ms) noexcept nogil:
    cdef int64_t age_ms = now_ms - load_relaxed(&own.latency_at_ms)
    cdef double latency_ns = load_relaxed(&own.latency_ns)
    cdef double seen_ns = <double>max(us, 1) * 1000     # 0 would say that nothing is known
    cdef double kept
    if seen_ns < latency_ns:
        kept = exp(-<double>max(age_ms, 0) / DECAY_MS)
        latency_ns = latency_ns * kept + seen_ns * (1 - kept)
    else:
        latency_ns = seen_ns
    store_release(&own.latency_ns, <int64_t>(latency_ns + 0.5))
    store_release(&own.latency_us, max(<int64_t>(latency_ns * 0.001), 1))
    store_release(&own.latency_at_ms, now_ms)
