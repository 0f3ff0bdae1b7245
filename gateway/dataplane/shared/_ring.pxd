"""Ring: bytes from one producer to one consumer, each a thread, without a lock. A record that does not fit is not taken.

Must not know what a record says.
"""
from libc.stdint cimport int64_t

cdef struct Ring            # private to _ring.pyx

# size_bytes: a power of two. NULL when there is no memory.
cdef Ring *open_ring(int64_t size_bytes) noexcept nogil
cdef void close_ring(Ring *ring) noexcept nogil
# The producer: room for a record of that many bytes, contiguous and aligned to 8; NULL when there is none, or when more than one part in
# `parts` of the ring would be taken. commit() hands it over.
cdef char *reserve(Ring *ring, int64_t length, int parts) noexcept nogil
cdef void commit(Ring *ring, int64_t length) noexcept nogil
# The consumer: the oldest record and its length; NULL when there is none. release() gives its room back.
cdef const char *oldest(Ring *ring, int64_t *length) noexcept nogil
cdef void release(Ring *ring, int64_t length) noexcept nogil
