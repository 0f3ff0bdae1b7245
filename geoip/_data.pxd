"""Data section: bytes of a MaxMind DB record -> the few fields that steering uses.

Knows the format's types, pointers and the three shapes of records (nested as in GeoIP2, flat, country only or ASN).
Must not know the search tree, files, or what a location is made into.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum Read:
    READ_FOUND
    READ_ABSENT             # no record, or nothing in it that is used
    READ_BROKEN             # the file contradicts itself here

cdef struct Data:
    const unsigned char *bytes      # borrowed from the owner of the file's content
    uint64_t size

cdef struct Record:         # what is not in the file is zero
    double lat              # degrees, only when has_place
    double lon
    double accuracy_km
    uint32_t asn
    uint16_t country        # two ASCII letters, first in the high byte
    uint16_t continent
    bint has_place          # lat and lon are finite, in range, and not 0,0 (which means "don't know" in such files)

# Always fills *out (zero when not found). Bounded: a few thousand steps whatever the bytes are.
cdef Read read_record(const Data *data, uint64_t offset, Record *out) noexcept nogil
