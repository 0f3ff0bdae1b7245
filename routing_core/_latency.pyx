"""Distances without an inverse cosine from the C library: a polynomial costs a quarter and is exact enough.

Landmarks. What the path from a landmark X to a PoP takes more or less than the prior says of it, the client's own path does too, the more
so the nearer X is. So of the MAX_NEAR landmarks X to which the prior says the shortest paths each weighs w = exp(-prior(X) / NEAR_MS), and

    path(Y) = prior(Y) * (1 + sum of w * known(X, Y) / prior(X, Y)) / (1 + sum of w)

And from the one next to it, N, the path leads on to wherever N's paths lead, so with v = exp(-path(N) / NEXT_MS)

    path(Y) = (1 - v) * path(Y) + v * (path(N) + known(N, Y))    for each Y behind N

which puts none of them before N. N need not serve: where it is down this says who takes over. Both constants were chosen on
the world set with each client's country left out: docs/latency.md. Ratios and not their logarithms: that is worth the same, and needs no
exponential a PoP.
"""
from libc.math cimport INFINITY, exp
from libc.stdint cimport int32_t, int64_t

from routing_core._atomic cimport load_relaxed
from routing_core._figures cimport path_in
from routing_core._layout cimport Pop, TableData
from routing_core._location cimport unit_vector

cdef double NEAR_MS = 20
cdef double NEXT_MS = 40

cdef struct Near:
    int32_t row                 # of the table's landmarks
    double km
    double ms                   # by the prior


# Keeps the nearest, in their order.
cdef int32_t insert_near(Near *found, int32_t n, int32_t row, double km, double ms) noexcept nogil:
    cdef int32_t k = n if n < MAX_NEAR else MAX_NEAR - 1
    if n == MAX_NEAR and ms >= found[k].ms:
        return n
    while k > 0 and ms < found[k - 1].ms:
        found[k] = found[k - 1]
        k -= 1
    found[k] = Near(row=row, km=km, ms=ms)
    return min(n + 1, MAX_NEAR)


# This gateway's own path to a PoP; -1: unknown.
cdef int64_t measured_to(const Pop *pop, int slot) noexcept nogil:
    return path_in(load_relaxed(&pop.gate.versions[slot])) if pop.gate != NULL else -1


cdef double known_ms(const Start *start, int32_t k, int32_t pop, int64_t measured_us) noexcept nogil:
    """From the landmark k; what is measured counts before what is said. Negative: nobody knows."""
    if k == start.own and measured_us >= 0 and pop != start.near[k]:
        return measured_us * 0.001
    return start.paths[k][pop].ms


cdef double by_landmarks(const Start *start, int32_t pop, double km, double ms, int64_t measured_us) noexcept nogil:
    cdef double known, ratios = 1, weights = 1, least = least_ms(km)
    cdef int32_t k
    for k in range(start.n_near):
        known = known_ms(start, k, pop, measured_us)
        if known >= 0:
            ratios += start.weights[k] * known * start.paths[k][pop].per_prior
            weights += start.weights[k]
    ms = max(ms * ratios / weights, least)
    if start.next >= 0 and ms > start.next_ms:
        known = known_ms(start, start.next, pop, measured_us)
        if known >= 0:
            ms = max(ms + start.next_weight * (start.next_ms + known - ms), least)
    return ms


cdef void find_near(const TableData *table, int slot, Start *out) noexcept nogil:
    cdef Near found[MAX_NEAR]
    cdef const Pop *pop
    cdef double km, ms
    cdef int32_t i, k, n = 0, next_one = 0
    for i in range(table.n_landmarks):
        pop = &table.pops[table.landmarks[i]]
        km = distance_km(pop.x * out.x + pop.y * out.y + pop.z * out.z)
        n = insert_near(found, n, i, km, prior_ms(table, out, pop, km))
    out.n_near = n
    out.own = out.next = -1
    for k in range(n):
        out.near[k] = table.landmarks[found[k].row]
        out.paths[k] = &table.paths[<size_t>found[k].row * <size_t>table.n_pops]
        out.weights[k] = exp(-found[k].ms / NEAR_MS)
        if out.near[k] == table.gateway_pop:
            out.own = k
    out.next_ms = INFINITY
    for k in range(n):
        ms = by_landmarks(out, out.near[k], found[k].km, found[k].ms, measured_to(&table.pops[out.near[k]], slot))
        if ms < out.next_ms:
            out.next_ms = ms
            next_one = k
    out.next = next_one
    out.next_weight = exp(-out.next_ms / NEXT_MS)


def great_circle_km(double lat1, double lon1, double lat2, double lon2) -> float:
    """What the decision uses, for tests and explain."""
    cdef double a[3]
    cdef double b[3]
    unit_vector(lat1, lon1, a)
    unit_vector(lat2, lon2, b)
    return distance_km(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
