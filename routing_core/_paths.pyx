"""Borders: one look-up a PoP, in the row of the client's subregion, which is found once a decision."""
from routing_core._checks cimport number
from routing_core._layout cimport MAX_SUBREGIONS, N_COUNTRIES, TableData, country_bit


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
