"""Locator: address -> Location, from immutable databases and overrides. One call, no allocation, safe from any thread.

An override by prefix (the longest) wins over one by AS, that over one by country, that over the databases. A private, loopback or
link-local address without an override by prefix stands at `home` when that is set. IPv4-mapped IPv6 is treated as IPv4 (6to4 and
Teredo are not followed).
Caching is the caller's (a worker's own, see _cache): this is the miss.

Location.source says where the coordinates are from. UNKNOWN: there are none, but country, continent and ASN are given where
a database has them all the same (a record may name a continent alone, which is enough for a jurisdiction).
Location.pin is the number of the longest pinned prefix that holds the address, whatever is known of its place.
"""
from libc.stdint cimport uint64_t

from routing_core._location cimport Location

cdef struct LocatorData     # private to _locator.pyx

cdef enum Lookup:           # for the metric isochrone_geoip_lookups_total{result}
    FOUND
    OVERRIDDEN
    NOT_FOUND
    BROKEN                  # the database contradicts itself there: location stays unknown
    N_LOOKUPS

# address: 16 bytes, IPv4 as ::ffff:a.b.c.d. Always fills *out (unknown when not found).
cdef Lookup locate(const LocatorData *data, const unsigned char *address, Location *out) noexcept nogil
# The same; *bits: all addresses that share so many leading bits with this one get the same answer from this locator.
cdef Lookup locate_network(const LocatorData *data, const unsigned char *address, Location *out, int *bits) noexcept nogil
# Differs between any two locators of this process, from 1; an address of memory would not.
cdef uint64_t serial_of(const LocatorData *data) noexcept nogil

cdef class Locator:
    cdef LocatorData *data      # owned; immutable
    cdef tuple kept             # what the data point into
