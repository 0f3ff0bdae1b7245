"""Both passes leave the same: what of a candidate is asked later goes by its place among the rule's, not by where it stands here."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._atomic cimport load_relaxed
from routing_core._available cimport PANIC_BELOW, POOR, has_answering, leave_out
from routing_core._decision cimport is_named_in
from routing_core._figures cimport SCALE, service_in
from routing_core._headroom cimport is_out_of_room
from routing_core._latency cimport PATH, Evidence, Start, estimate, find_start
from routing_core._layout cimport Pool
from routing_core._shortlists cimport Near
from routing_core._random cimport mixed


# The request's draw, hashed with the PoP, against what the PoP admits: independent from PoP to PoP.
cdef inline bint is_over(uint64_t draw, uint64_t salt, int64_t admit) noexcept nogil:
    return <int64_t>(mixed(draw ^ salt) >> 54) >= admit     # 10 bits: SCALE


# All of a candidate but its estimate.
cdef inline void look_at(const Pool *pool, uint64_t draw, int32_t place, Candidate *out) noexcept nogil:
    cdef int64_t admit = load_relaxed(&pool.gate.admit)
    out.pool = pool
    out.admit = admit * (1.0 / SCALE)
    out.availability = load_relaxed(&pool.gate.availability)
    out.place = out.rank = place
    out.is_available = pool.n_endpoints > 0 and admit > 0
    out.is_passed = admit < SCALE and out.is_available and is_over(draw, pool.pop.salt, admit)
    out.is_full = False
    out.is_left_out = False
    out.is_in_window = False


cdef void look_at_all(const TableData *table, const Route *route, const Asked *asked, int slot, Weighed *out) noexcept nogil:
    cdef Start start
    cdef int64_t availability = 0
    cdef bint has_path = False, has_available = False
    cdef int32_t n_poor = 0, fastest_at = -1, best_at = -1, n_candidates = out.rule.n_candidates if out.rule != NULL else 0
    cdef const Pool **pools = out.rule.candidates if out.rule != NULL else NULL
    cdef double lowest = INFINITY, best = INFINITY
    cdef Candidate *candidate
    cdef const Pool *pool
    cdef int32_t i, n = 0
    find_start(table, route.leg, asked.client, slot, &start)
    for i in range(n_candidates):
        pool = pools[i]
        if pool.pop.is_drained or is_named_in(asked, pool):
            continue
        candidate = &out.candidates[n]
        look_at(pool, out.draw, i, candidate)
        estimate(table, &start, pool, slot, &candidate.estimate)
        has_available |= candidate.is_available
        has_path |= candidate.estimate.evidence == PATH
        if candidate.is_available:
            availability += candidate.availability
            n_poor += candidate.availability < POOR
        if candidate.estimate.ms < lowest:
            lowest = candidate.estimate.ms
            fastest_at = n
        if candidate.estimate.ms < best and candidate.is_available and not candidate.is_passed:
            best = candidate.estimate.ms
            best_at = n
        n += 1
    out.n = n
    out.has_all = True
    out.is_short = out.needs_room = False
    out.fastest = fastest_at
    out.best = best_at
    out.has_available = has_available
    if n_poor > 0:
        availability = leave_out(out, availability)
        if best_at >= 0 and out.candidates[best_at].is_left_out:
            out.best = -1
    out.is_panic = availability < PANIC_BELOW
    out.has_answering = out.is_panic and has_answering(out)
    out.is_placeless = not (start.is_known or has_path)
    out.is_ordered = out.is_placeless


cdef bint look_along(const Shortlist *shortlist, double least_ms, bint asks_room, int slot, Weighed *out) noexcept nogil:
    cdef double best = INFINITY, second = INFINITY, third = INFINITY, limit = INFINITY, ms
    cdef double window_ms = out.window_ms
    cdef bint has_path = shortlist.is_known
    cdef int64_t availability = 0
    cdef int32_t i, n = 0, fastest_at = -1, best_at = -1
    cdef const Near *near
    cdef const Pool *pool
    cdef Candidate *candidate
    out.has_all = shortlist.is_whole
    for i in range(shortlist.n):
        near = &shortlist.nearest[i]
        if near.path_ms + least_ms > limit:
            out.has_all = False
            break
        pool = out.rule.candidates[near.at]
        if pool.pop.is_drained:
            continue
        candidate = &out.candidates[n]
        look_at(pool, out.draw, near.at, candidate)
        candidate.estimate.path_ms = near.path_ms
        candidate.estimate.service_ms = service_in(load_relaxed(&pool.gate.versions[slot])) * 0.001
        candidate.estimate.penalty_ms = load_relaxed(&pool.gate.penalty_us) * 0.001
        candidate.estimate.distance_km = near.distance_km
        candidate.estimate.evidence = <Evidence>near.evidence
        ms = candidate.estimate.ms = candidate.estimate.path_ms + candidate.estimate.service_ms + candidate.estimate.penalty_ms
        has_path |= near.evidence == PATH
        if fastest_at < 0 or is_faster(candidate, &out.candidates[fastest_at]):
            fastest_at = n
        if candidate.is_available:
            if candidate.availability < POOR:
                return False
            availability += candidate.availability
            if asks_room and is_out_of_room(pool, out.crew):
                candidate.is_full = candidate.is_passed = True
            if candidate.is_passed:
                if out.is_hashed:
                    window_ms = out.window_ms * SPILL_WINDOWS
            elif best_at < 0 or is_faster(candidate, &out.candidates[best_at]):
                best_at = n
                third, second, best = second, best, ms
            elif ms < third:
                third = max(second, ms)
                second = min(second, ms)
            if third < INFINITY:
                limit = max(third, best + window_ms)
        n += 1
    else:
        if not shortlist.is_whole:
            return False
    out.n = n
    out.fastest = fastest_at
    out.best = best_at
    out.has_available = True
    out.is_panic = out.has_answering = out.is_placeless = out.is_ordered = False
    out.is_short = out.needs_room = False
    return best_at >= 0 and availability >= PANIC_BELOW and has_path
