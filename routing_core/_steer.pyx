"""One pass over the PoPs estimates each, another gathers those near the fastest; then two draws among these.

The window. Near-equals are the usable PoPs with `estimate < best + window`. Each is drawn with weight
`endpoints * (1 - (estimate - best) / window)^3`: it fades out toward the edge, so a PoP that drifts across it moves no traffic at
once, and so fast that the prior alone costs clients no more than "nearest" would (docs/latency.md). Two are drawn (the same one
twice is legal); the one with the lower `(estimate + 1 ms) * (1 + in flight / endpoints)` serves. So an idle service goes to the
fastest but for a small share, and load spreads over its near-equals before a queue builds up. With equal load per endpoint a
lower estimate never gets a smaller share: it is drawn more often, and wins against more of the others.
A vague location widens the window to what its radius is worth in time by the prior, at most WIDEST times the configured one.
"""
from libc.math cimport INFINITY

from routing_core._atomic cimport load_relaxed
from routing_core._figures cimport SCALE
from routing_core._latency cimport PATH, estimate
from routing_core._location cimport UNKNOWN
from routing_core._random cimport next_double, next_u64
from routing_core._table cimport CLIENT_POP

from routing_core import _figures

REASONS = _figures.REASONS
FAILURES = (None, "no_permitted_pop", "no_endpoint")    # index is Failure
EVIDENCE = ("prior", "path")                            # index is Evidence

cdef enum:
    PANIC_BELOW = SCALE // 2    # sum of the availabilities
    WIDEST = 4


# The request's draw, hashed with the PoP, against what the PoP admits: independent from PoP to PoP.
cdef inline bint is_over(uint64_t draw, uint64_t salt, int64_t admit) noexcept nogil:
    cdef uint64_t value = (draw ^ salt) * 0xBF58476D1CE4E5B9u
    value = (value ^ (value >> 31)) * 0x94D049BB133111EBu
    return <int64_t>(value >> 54) >= admit      # 10 bits: SCALE


cdef bint is_usable(const Weighed *weighed, const Candidate *candidate) noexcept nogil:
    return candidate.pool.n_endpoints > 0 if weighed.is_panic else candidate.is_available


cdef int64_t in_flight_in(const Pool *pool, int n_workers) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(n_workers):
        total += load_relaxed(&pool.columns[worker].in_flight)
    return total


cdef double cost_of(const Candidate *candidate, int n_workers) noexcept nogil:
    cdef double load = <double>in_flight_in(candidate.pool, n_workers) / candidate.pool.n_endpoints
    return (candidate.estimate.ms + 1) * (1 + load)


cdef double window_weight(const Candidate *candidate, double best_ms, double window_ms) noexcept nogil:
    cdef double excess = candidate.estimate.ms - best_ms
    cdef double nearness = 1
    if excess > 0:
        nearness = 1 - excess / window_ms if excess < window_ms else 0.0
    return candidate.pool.n_endpoints * nearness * nearness * nearness


cdef double widened(const TableData *table, const Route *route, const Location *client) noexcept nogil:
    cdef double vague_ms
    if route.leg != CLIENT_POP:
        return route.window_ms
    vague_ms = min(table.slope_ms_per_km * client.accuracy_km, WIDEST * route.window_ms)
    return max(route.window_ms, vague_ms)


# First pass: the permitted PoPs that the operator has not drained, each with its estimate and whether this request may use it.
# On the way, what nearly always is the answer: the fastest of all, and of those that may be used. find_best() knows the rest.
cdef void look_at_all(const TableData *table, const Route *route, const Location *client, uint64_t draw, Weighed *out) noexcept nogil:
    cdef int64_t admit, availability = 0
    cdef bint has_path = False
    cdef double lowest = INFINITY, best = INFINITY
    cdef Candidate *candidate
    cdef const Pool *pool
    cdef int32_t i, n = 0
    out.fastest = -1
    out.best = -1
    for i in range(route.n_candidates):
        pool = route.candidates[i]
        if pool.pop.is_drained:
            continue
        candidate = &out.candidates[n]
        admit = load_relaxed(&pool.gate.admit)
        candidate.pool = pool
        estimate(table, route.leg, pool, client, &candidate.estimate)
        candidate.admit = admit * (1.0 / SCALE)
        candidate.is_available = pool.n_endpoints > 0 and admit > 0
        candidate.is_passed = admit < SCALE and candidate.is_available and is_over(draw, pool.pop.salt, admit)
        candidate.is_in_window = False
        has_path |= candidate.estimate.evidence == PATH
        if pool.n_endpoints > 0:
            availability += load_relaxed(&pool.gate.availability)
        if candidate.estimate.ms < lowest:
            lowest = candidate.estimate.ms
            out.fastest = n
        if candidate.estimate.ms < best and candidate.is_available and not candidate.is_passed:
            best = candidate.estimate.ms
            out.best = n
        n += 1
    out.n = n
    out.is_panic = availability < PANIC_BELOW
    out.is_ordered = client.source == UNKNOWN if route.leg == CLIENT_POP else not (has_path or table.has_gateway)


cdef int32_t find_widest(const Weighed *weighed) noexcept nogil:
    cdef const Candidate *candidate
    cdef const Candidate *most
    cdef int32_t i, widest = -1
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if not is_usable(weighed, candidate):
            continue
        if widest >= 0:
            most = &weighed.candidates[widest]
            if candidate.admit < most.admit or (candidate.admit == most.admit and (
                    weighed.is_ordered or candidate.estimate.ms >= most.estimate.ms)):
                continue
        widest = i
    return widest


# In panic, and without a place: look_at_all() went by health and by estimate. Draws refuse nobody: when all were passed over, the widest.
cdef void find_best(Weighed *out) noexcept nogil:
    cdef const Candidate *candidate
    cdef int32_t i
    if out.is_ordered:
        out.fastest = 0
    if out.is_panic or out.is_ordered:
        out.best = -1
        for i in range(out.n):
            candidate = &out.candidates[i]
            if not is_usable(out, candidate) or (candidate.is_passed and not out.is_panic):
                continue
            if out.best < 0 or (not out.is_ordered and candidate.estimate.ms < out.candidates[out.best].estimate.ms):
                out.best = i
    if out.best < 0:
        out.best = find_widest(out)


cdef void add_to_window(Weighed *out, int32_t i, double weight) noexcept nogil:
    out.candidates[i].is_in_window = True
    out.window[out.n_window] = i
    out.weights[out.n_window] = weight
    out.total_weight += weight
    out.n_window += 1


cdef void find_window(Weighed *out) noexcept nogil:
    cdef const Candidate *best = &out.candidates[out.best]
    cdef const Candidate *candidate
    cdef double edge = best.estimate.ms + out.window_ms
    cdef double weight
    cdef int32_t i
    if not out.is_panic and (out.is_ordered or best.is_passed):
        add_to_window(out, out.best, 1)
        return
    for i in range(out.n):
        candidate = &out.candidates[i]
        if out.is_panic:
            weight = candidate.pool.n_endpoints
        elif candidate.estimate.ms <= edge and candidate.is_available and not candidate.is_passed:
            weight = window_weight(candidate, best.estimate.ms, out.window_ms)
        else:
            continue
        if weight > 0:
            add_to_window(out, i, weight)


cdef void weigh(const TableData *table, const Route *route, const Location *client, uint64_t draw, Weighed *out) noexcept nogil:
    out.n_workers = table.n_workers
    out.window_ms = widened(table, route, client)
    out.n_window = 0
    out.total_weight = 0
    look_at_all(table, route, client, draw, out)
    find_best(out)
    out.failure = DECIDED
    if out.n == 0:
        out.failure = NO_PERMITTED_POP
    elif out.best < 0:
        out.failure = NO_ENDPOINT
    else:
        find_window(out)


cdef int32_t draw_one(const Weighed *weighed, Random *rng) noexcept nogil:
    cdef double left = next_double(rng) * weighed.total_weight
    cdef int32_t i
    for i in range(weighed.n_window - 1):
        left -= weighed.weights[i]
        if left < 0:
            return weighed.window[i]
    return weighed.window[weighed.n_window - 1]


cdef int32_t pick(const Weighed *weighed, Random *rng) noexcept nogil:
    cdef int32_t one, other
    if weighed.n_window == 1:
        return weighed.window[0]
    one = draw_one(weighed, rng)
    if weighed.is_panic:
        return one
    other = draw_one(weighed, rng)
    if other != one and cost_of(&weighed.candidates[other], weighed.n_workers) < cost_of(&weighed.candidates[one], weighed.n_workers):
        return other
    return one


cdef Reason reason_of(const Weighed *weighed) noexcept nogil:
    cdef const Candidate *fastest = &weighed.candidates[weighed.fastest]
    if weighed.is_panic:
        return PANIC
    if weighed.is_ordered:
        return ORDER
    if not fastest.is_available:
        return FAILOVER
    if fastest.is_passed and weighed.fastest != weighed.best:
        return SPILL
    return WINDOW if weighed.n_window > 1 else FASTEST


# Whether one is a better fallback than other: not passed over, then by estimate (or in the configured order, in which they stand).
cdef inline bint is_before(const Weighed *weighed, const Candidate *one, const Candidate *other) noexcept nogil:
    if one.is_passed != other.is_passed and not weighed.is_panic:
        return other.is_passed
    return not weighed.is_ordered and one.estimate.ms < other.estimate.ms


cdef void find_fallbacks(const Weighed *weighed, int32_t chosen, Decision *out) noexcept nogil:
    cdef const Candidate *best[MAX_FALLBACKS]
    cdef const Candidate *candidate
    cdef int32_t i, k
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if i == chosen or not is_usable(weighed, candidate):
            continue
        k = out.n_fallbacks
        if k == MAX_FALLBACKS:
            if not is_before(weighed, candidate, best[MAX_FALLBACKS - 1]):
                continue
            k -= 1
        else:
            out.n_fallbacks += 1
        while k > 0 and is_before(weighed, candidate, best[k - 1]):
            best[k] = best[k - 1]
            k -= 1
        best[k] = candidate
    for k in range(out.n_fallbacks):
        out.fallbacks[k] = best[k].pool


cdef void choose(const Weighed *weighed, Random *rng, Decision *out) noexcept nogil:
    cdef int32_t chosen
    out.failure = weighed.failure
    out.reason = NONE
    out.pool = NULL
    out.n_fallbacks = 0
    if weighed.failure != DECIDED:
        return
    chosen = pick(weighed, rng)
    out.reason = reason_of(weighed)
    out.pool = weighed.candidates[chosen].pool
    out.estimate = weighed.candidates[chosen].estimate
    find_fallbacks(weighed, chosen, out)


cdef void steer(const TableData *table, const Route *route, const Location *client, Random *rng, Weighed *scratch,
                Decision *out) noexcept nogil:
    weigh(table, route, client, next_u64(rng), scratch)
    choose(scratch, rng, out)
