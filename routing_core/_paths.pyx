"""Borders: one look-up a PoP, in the row of the client's subregion, which is found once a decision. Paths: one for each landmark near the
client, and with it what the prior says of that path, so that a decision compares the two without working one out."""
cimport cython
from libc.stdint cimport int32_t

from routing_core._checks cimport number, whole
from routing_core._latency cimport LEAST_MS, distance_km
from routing_core._layout cimport MAX_SUBREGIONS, N_COUNTRIES, Path, Pop, TableData, country_bit
from routing_core._memory cimport TABLE, give, take

cdef enum:
    LONGEST_MS = 10000


cdef int fill_subregions(TableData *data, tuple subregions) except -1:
    cdef int bit
    if len(subregions) >= MAX_SUBREGIONS:
        raise ValueError(f"borders: must be of at most {MAX_SUBREGIONS - 1} subregions, got {len(subregions)}")
    for position, codes in enumerate(subregions, 1):
        for code in codes.split():
            bit = country_bit((ord(code[0]) << 8) | ord(code[1])) if len(code) == 2 else -1
            if bit < 0:
                raise ValueError(f"borders: a country must be two capitals, got {code!r}")
            if data.subregions[bit] != 0:
                raise ValueError(f"borders: must have each country in one subregion, got {code!r} twice")
            data.subregions[bit] = <unsigned char>position
    return 0


cdef int fill_borders(TableData *data, object borders) except -1:
    cdef int one, other
    cdef float ms
    for one in range(N_COUNTRIES):
        data.subregions[one] = 0
    fill_subregions(data, borders.subregions)
    if [len(row) for row in borders.costs_ms] != list(range(1, len(borders.subregions) + 1)):
        raise ValueError(f"borders: must have a row of costs a subregion, each up to itself, got {borders.costs_ms!r}")
    for one in range(MAX_SUBREGIONS):
        for other in range(MAX_SUBREGIONS):
            data.borders_ms[one][other] = <float>data.abroad_ms
    for one, row in enumerate(borders.costs_ms, 1):
        for other, cost in enumerate(row, 1):
            ms = <float>(data.abroad_ms + number(cost, 0, 1000, "borders"))
            data.borders_ms[one][other] = data.borders_ms[other][one] = ms
    return 0


cdef tuple numbers_of(object spec):
    return spec.intercept_ms, spec.slope_ms_per_km, spec.abroad_ms, spec.gateway_pop


cdef bint is_same_prior(object spec, object other):
    return spec.borders is other.borders and spec.paths is other.paths and numbers_of(spec) == numbers_of(other)


# What the prior says of the path between two PoPs.
cdef double between_ms(const TableData *data, const Pop *one, const Pop *other) noexcept nogil:
    cdef double ms = data.intercept_ms + data.slope_ms_per_km * distance_km(one.x * other.x + one.y * other.y + one.z * other.z)
    if one.country == 0 or one.country != other.country:
        ms += data.borders_ms[one.subregion][other.subregion]
    return max(ms, LEAST_MS)


cdef dict known_paths(object spec, int32_t n_pops):
    """{(from, to): ms}, there and back."""
    found = {}
    for one, other, ms in spec.paths:
        whole(one, 0, n_pops - 1, "paths")
        whole(other, 0, n_pops - 1, "paths")
        if one == other or (one, other) in found:
            raise ValueError(f"paths: must be between two PoPs, each path once, got {(one, other)!r}")
        found[one, other] = number(ms, 0, LONGEST_MS, "paths")
    return {(other, one): ms for (one, other), ms in found.items()} | found


@cython.final
cdef class Landmarks:
    """Round trips between PoPs, compiled; made by tables alone."""

    def __dealloc__(self):
        give(TABLE, self.pops)
        give(TABLE, self.paths)


cdef int fill_paths(Landmarks landmarks, const TableData *data, dict known) except -1:
    cdef Path *path = landmarks.paths
    cdef int32_t i, to
    for i in range(landmarks.n):
        for to in range(data.n_pops):
            path.ms = -1
            path.per_prior = <float>(1 / between_ms(data, &data.pops[landmarks.pops[i]], &data.pops[to]))
            path += 1
    places = {landmarks.pops[i]: i for i in range(landmarks.n)}
    for (one, other), ms in known.items():
        landmarks.paths[<size_t>places[one] * data.n_pops + <int32_t>other].ms = <float>ms
    return 0


cdef Landmarks landmarks_of(const TableData *data, object spec):
    cdef dict known = known_paths(spec, data.n_pops)
    cdef list pops = sorted({one for one, _ in known} | ({spec.gateway_pop} if data.gateway_pop >= 0 else set()))
    cdef Landmarks landmarks = Landmarks()
    cdef int32_t i
    if not pops:
        return landmarks
    landmarks.pops = <int32_t *>take(TABLE, len(pops) * sizeof(int32_t))
    landmarks.paths = <Path *>take(TABLE, len(pops) * <size_t>data.n_pops * sizeof(Path))
    if landmarks.pops == NULL or landmarks.paths == NULL:
        raise MemoryError
    landmarks.n = <int32_t>len(pops)
    for i in range(landmarks.n):
        landmarks.pops[i] = pops[i]
    fill_paths(landmarks, data, known)
    return landmarks


cdef bint are_same_places(object spec, object other):
    return spec.pops is other.pops or (
        [(pop.lat, pop.lon, pop.country) for pop in spec.pops] == [(pop.lat, pop.lon, pop.country) for pop in other.pops])


cdef Landmarks fill_landmarks(TableData *data, object spec, Landmarks before):
    cdef Landmarks landmarks = before
    data.gateway_pop = -1 if spec.gateway_pop is None else <int32_t>whole(spec.gateway_pop, 0, data.n_pops - 1, "gateway_pop")
    if before is None or not (is_same_prior(spec, before.spec) and are_same_places(spec, before.spec)):
        landmarks = landmarks_of(data, spec)
    landmarks.spec = spec
    data.n_landmarks = landmarks.n
    data.landmarks = landmarks.pops
    data.paths = landmarks.paths
    return landmarks
