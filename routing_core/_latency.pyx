"""Distances without an inverse cosine from the C library: a polynomial costs a quarter and is exact enough."""
from libc.math cimport copysign, sqrt
from libc.stdint cimport int64_t

from routing_core._atomic cimport load_relaxed
from routing_core._location cimport UNKNOWN, unit_vector
from routing_core._table cimport GATEWAY_POP

# Fitted by bench/fit_prior.py to the round trips in bench/data; its error is in docs/latency.md.
globals()["PRIOR"] = (9.66, 0.01776)   # in C the name is a word of Evidence

cdef double RADIUS_KM = 6371.0088       # mean radius of the earth (IUGG)
cdef double HALF_TURN = 3.141592653589793


cdef inline double arc_km(double dot) noexcept nogil:
    # acos(a) = sqrt(1 - a) * p(a) for a in [0, 1]: p interpolates at the Chebyshev nodes, so its relative error, and with it the
    # distance's, is below 1e-6. (numpy: Chebyshev.interpolate(lambda a: arccos(a) / sqrt(1 - a), 5, domain=[0, 1]).)
    # Without a branch: which hemisphere a PoP is in is nothing that a processor could predict.
    cdef double sign = copysign(1, dot)
    cdef double a = sign * dot
    cdef double angle
    a = a if a < 1 else 1.0     # two unit vectors, rounded
    angle = sqrt(1 - a) * (1.57079488 + a * (-0.214496254 + a * (0.0877499488 + a * (-0.0446098233 + a * (
        0.0189549494 + a * -0.00418096854)))))
    return RADIUS_KM * ((1 - sign) * (0.5 * HALF_TURN) + sign * angle)


cdef double distance_km(double dot) noexcept nogil:
    return arc_km(dot)


cdef inline double prior_ms(const TableData *table, double km) noexcept nogil:
    return table.intercept_ms + table.slope_ms_per_km * (km if km >= 0 else RADIUS_KM * HALF_TURN)


# The seam: what a client's network has been measured at enters here.
cdef inline void path_ms(const TableData *table, Leg leg, const Pool *pool, const Location *client, Estimate *out) noexcept nogil:
    cdef int64_t measured_us = -1
    cdef double km = -1
    if leg == GATEWAY_POP:
        measured_us = load_relaxed(&pool.gate.path_us)
        if table.has_gateway:
            km = arc_km(pool.pop.x * table.gateway_x + pool.pop.y * table.gateway_y + pool.pop.z * table.gateway_z)
    elif client.source != UNKNOWN:
        km = arc_km(pool.pop.x * client.x + pool.pop.y * client.y + pool.pop.z * client.z)
    out.distance_km = km
    out.path_ms = measured_us * 0.001 if measured_us >= 0 else prior_ms(table, km)
    out.evidence = PATH if measured_us >= 0 else PRIOR


cdef void estimate(const TableData *table, Leg leg, const Pool *pool, const Location *client, Estimate *out) noexcept nogil:
    path_ms(table, leg, pool, client, out)
    # Unknown is 0, on purpose: a PoP that has not answered yet is tried, and known after that.
    out.service_ms = load_relaxed(&pool.gate.service_us) * 0.001
    out.ms = out.path_ms + out.service_ms


def great_circle_km(double lat1, double lon1, double lat2, double lon2) -> float:
    """What the decision uses, for tests and explain."""
    cdef double a[3]
    cdef double b[3]
    unit_vector(lat1, lon1, a)
    unit_vector(lat2, lon2, b)
    return distance_km(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
