"""Records are length-prefixed and contiguous: one that would wrap begins anew at the front, the rest is marked as skipped."""
from libc.stdint cimport int64_t

from routing_core._atomic cimport load_acquire, store_release
from routing_core._memory cimport RING, give, take

cdef enum:
    PREFIX = 8
    SKIP = -1               # the rest up to the end holds nothing

cdef struct Ring:
    int64_t written         # the producer's; a position that only grows
    int64_t padding[7]      # two writers, two cache lines
    int64_t read            # the consumer's
    int64_t padding_too[7]
    int64_t mask
    char *bytes             # in the same block


cdef Ring *open_ring(int64_t size_bytes) noexcept nogil:
    cdef Ring *ring = <Ring *>take(RING, sizeof(Ring) + size_bytes)
    if ring != NULL:
        ring.mask = size_bytes - 1
        ring.bytes = <char *>(ring + 1)
    return ring


cdef void close_ring(Ring *ring) noexcept nogil:
    give(RING, ring)


cdef inline int64_t whole(int64_t length) noexcept nogil:
    return PREFIX + ((length + 7) & ~<int64_t>7)


cdef char *reserve(Ring *ring, int64_t length, int parts) noexcept nogil:
    cdef int64_t at = ring.written & ring.mask
    cdef int64_t rest = ring.mask + 1 - at
    cdef int64_t needed = whole(length)
    cdef int64_t skipped = 0 if needed <= rest else rest
    if ring.written + skipped + needed - load_acquire(&ring.read) > (ring.mask + 1) // parts:
        return NULL
    if skipped:
        (<int64_t *>(ring.bytes + at))[0] = SKIP
        store_release(&ring.written, ring.written + skipped)
        at = 0
    return ring.bytes + at + PREFIX


cdef void commit(Ring *ring, int64_t length) noexcept nogil:
    (<int64_t *>(ring.bytes + (ring.written & ring.mask)))[0] = length
    store_release(&ring.written, ring.written + whole(length))


cdef const char *oldest(Ring *ring, int64_t *length) noexcept nogil:
    cdef int64_t written = load_acquire(&ring.written)
    cdef int64_t at
    while ring.read != written:
        at = ring.read & ring.mask
        length[0] = (<int64_t *>(ring.bytes + at))[0]
        if length[0] != SKIP:
            return ring.bytes + at + PREFIX
        store_release(&ring.read, ring.read + ring.mask + 1 - at)
    return NULL


cdef void release(Ring *ring, int64_t length) noexcept nogil:
    store_release(&ring.read, ring.read + whole(length))
