"""Latency: the expected time to first byte of a client at a PoP. GeoIP is the prior, measurements are the evidence.

Seam for a client network's own evidence (per prefix, ASN, country): path_ms is the one place that estimates a path.
"""
from routing_core._location cimport Location
from routing_core._table cimport Leg, Pool, TableData

cdef enum Evidence:             # what the path estimate stands on, weakest first
    PRIOR
    PATH                        # the gateway's own measured round trip

cdef struct Estimate:
    double ms                   # path + service
    double path_ms
    double service_ms
    double distance_km          # from the client, or by leg gateway-pop from the gateway; -1 when that place is unknown
    Evidence evidence

# Great-circle distance between two unit vectors, error below 1e-3 of the distance from 1 km on (mean radius 6371.0088 km).
cdef double distance_km(double dot) noexcept nogil
# A path of which nothing is known counts as the longest there is: the unknown never beats the known.
cdef void estimate(const TableData *table, Leg leg, const Pool *pool, const Location *client, Estimate *out) noexcept nogil
