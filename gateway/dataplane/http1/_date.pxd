"""Date: the wall clock's time as HTTP writes it (RFC 9110 5.6.7). Must not know what it is written into."""
from libc.stdint cimport int64_t

cdef enum:
    DATE_BYTES = 29         # "Sun, 06 Nov 1994 08:49:37 GMT"

# Seconds since 1970, of the only clock here that others can compare with theirs. Nothing is decided by it.
cdef int64_t wall_s() noexcept nogil
# Not terminated. Of the years 0 to 9999.
cdef void write_date(int64_t epoch_s, char *text) noexcept nogil
