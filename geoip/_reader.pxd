"""Reader: one MaxMind DB file as tree and data, and one lookup in it."""
from geoip._data cimport Data, Read, Record
from geoip._tree cimport Tree

cdef struct Reader:         # copied freely; all pointers are into the content of the Database it is of
    Tree tree
    Data data

# address: 16 bytes, IPv4 as ::ffff:a.b.c.d. Always fills *record; *bits as find_record().
cdef Read look_up(const Reader *reader, const unsigned char *address, Record *record, int *bits) noexcept nogil

cdef class Database:
    cdef Reader reader          # valid as long as this object
    cdef bytes content
    cdef bint has_asn           # as far as the sample shows
    cdef dict values
    cdef readonly str name
    cdef readonly str kind
    cdef readonly int ip_version
    cdef readonly object build_epoch    # up to 64 bits, whatever the file says
