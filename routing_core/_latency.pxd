"""Latency: the expected time to first byte of a client at a PoP. GeoIP is the prior, measurements are the evidence.

Seam for a client network's own evidence (per prefix, ASN, country): path_ms is the one place that estimates a path.
"""
from libc.math cimport copysign, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t

from routing_core._atomic cimport load_relaxed
from routing_core._figures cimport path_in, service_in
from routing_core._layout cimport GATEWAY_POP, Leg, Path, Pool, Pop, TableData, subregion_of
from routing_core._location cimport UNKNOWN, Location

cdef extern from *:
    """
    #define LEAST_MS 2.0
    """
    const double LEAST_MS

cdef enum Evidence:             # what the path estimate stands on, weakest first
    PRIOR
    PATH                        # the gateway's own measured round trip

cdef struct Estimate:
    double ms                   # path + service + penalty
    double path_ms
    double service_ms
    double penalty_ms           # what failures and refusals there count as
    double distance_km          # from the client, or by leg gateway-pop from the gateway; -1 when that place is unknown
    Evidence evidence

cdef enum:
    MAX_NEAR = 5                # landmarks of a decision

# No path is shorter than light in fibre on the straight line, and its first and last hop.
cdef inline double least_ms(double km) noexcept nogil:
    return max(km * 0.0105, LEAST_MS)

cdef struct Start:              # where the paths of a decision begin
    Leg leg
    bint is_known               # its place
    double x                    # unit vector
    double y
    double z
    uint16_t country            # 0 when it is not known, or counts for nothing
    const float *borders_ms     # of its subregion, by the other one; of the table
    # --- Where paths between PoPs are known ---
    int32_t n_near              # landmarks near it; 0: nothing of what follows is said
    int32_t near[MAX_NEAR]      # numbers of PoPs
    const Path *paths[MAX_NEAR]     # from each of them, by PoP; of the table
    double weights[MAX_NEAR]
    int32_t own                 # which of them is the PoP of this gateway; -1: none
    int32_t next                # which of them is next to it; -1: not found yet
    double next_ms              # the path to that one
    double next_weight

# --- With their bodies, so that a decision inlines them: a call for each of 300 PoPs would cost it a fifth ---

# Great-circle distance between two unit vectors, error below 1e-3 of the distance from 1 km on (mean radius 6371.0088 km).
cdef inline double distance_km(double dot) noexcept nogil:
    # acos(a) = sqrt(1 - a) * p(a) for a in [0, 1]: p interpolates at the Chebyshev nodes, so its relative error, and with it the
    # distance's, is below 1e-6. (numpy: Chebyshev.interpolate(lambda a: arccos(a) / sqrt(1 - a), 5, domain=[0, 1]).)
    # Without a branch: which hemisphere a PoP is in is nothing that a processor could predict.
    cdef double sign = copysign(1, dot)
    cdef double a = sign * dot
    cdef double angle
    a = a if a < 1 else 1.0     # two unit vectors, rounded
    angle = sqrt(1 - a) * (1.57079488 + a * (-0.214496254 + a * (0.0877499488 + a * (-0.0446098233 + a * (
        0.0189549494 + a * -0.00418096854)))))
    return 6371.0088 * ((1 - sign) * 1.5707963267948966 + sign * angle)     # the earth's mean radius (IUGG)

# Networks meet at home first: a path that crosses a border is longer than its distance says, by how much the subregions say. A PoP whose
# country is not known counts as abroad; for a client of unknown country, and for the gateway's own leg, all are alike.
cdef inline double border_ms(const Start *start, const Pop *pop) noexcept nogil:
    return start.borders_ms[pop.subregion] if start.country != 0 and start.country != pop.country else 0.0

cdef inline double prior_ms(const TableData *table, const Start *start, const Pop *pop, double km) noexcept nogil:
    cdef double ms = table.intercept_ms + table.slope_ms_per_km * (km if km >= 0 else 20015.1)    # half of its circumference
    return ms + border_ms(start, pop)

# The landmarks near a client: those PoPs of which paths to others are known to which its own path is shortest, whatever they serve.
cdef void find_near(const TableData *table, int slot, Start *out) noexcept nogil
# What a path to a PoP comes to by them, `ms` by the rest of the prior. measured_us: this gateway's own path to it; -1: unknown.
cdef double by_landmarks(const Start *start, int32_t pop, double km, double ms, int64_t measured_us) noexcept nogil

# slot: which version of the gateway's own paths, see Pace.
cdef inline void find_start(const TableData *table, Leg leg, const Location *client, int slot, Start *out) noexcept nogil:
    out.leg = leg
    out.n_near = 0
    out.country = 0
    out.borders_ms = table.borders_ms[0]
    if leg == GATEWAY_POP:
        out.is_known = table.has_gateway
        out.x, out.y, out.z = table.gateway_x, table.gateway_y, table.gateway_z
        return
    out.is_known = client.source != UNKNOWN
    out.x, out.y, out.z = client.x, client.y, client.z
    if out.is_known and client.country != 0:
        out.country = client.country
        out.borders_ms = table.borders_ms[subregion_of(table, client.country)]
    if out.is_known and table.n_landmarks > 0:
        find_near(table, slot, out)

# The seam: what a client's network has been measured at enters here.
cdef inline void path_ms(const TableData *table, const Start *start, const Pool *pool, int64_t version, Estimate *out) noexcept nogil:
    cdef int64_t measured_us = path_in(version)
    cdef double km = -1
    if start.is_known:
        km = distance_km(pool.pop.x * start.x + pool.pop.y * start.y + pool.pop.z * start.z)
    out.distance_km = km
    if start.leg == GATEWAY_POP and measured_us >= 0:
        out.path_ms = measured_us * 0.001
        out.evidence = PATH
        return
    out.path_ms = prior_ms(table, start, pool.pop, km)
    out.evidence = PRIOR
    if start.n_near > 0:
        out.path_ms = by_landmarks(start, pool.pop.number, km, out.path_ms, measured_us)

# A path of which nothing is known counts as the longest there is: the unknown never beats the known.
# slot: which version of the pool's figures, see Pace.
cdef inline void estimate(const TableData *table, const Start *start, const Pool *pool, int slot, Estimate *out) noexcept nogil:
    cdef int64_t version = load_relaxed(&pool.gate.versions[slot])
    path_ms(table, start, pool, version, out)
    # Where it is unknown control has put what its service takes elsewhere, and 0 only where nobody has answered.
    out.service_ms = service_in(version) * 0.001
    out.penalty_ms = load_relaxed(&pool.gate.penalty_us) * 0.001
    out.ms = out.path_ms + out.service_ms + out.penalty_ms
