"""Ranges, the searched form: address -> place by binary search. Built from ranges.disjoint(); the memory is the locator's."""
from libc.stdint cimport int32_t, uint64_t

cdef struct Range:          # ends where the next one begins
    uint64_t high           # its first address
    uint64_t low

cdef struct Ranges:
    const Range *ranges     # [n], ascending, the first begins at 0
    const int32_t *places   # [n], below 0: nowhere
    int n
    int v4_first            # the ranges of ::ffff:0:0/96 are [v4_first, v4_end)
    int v4_end

cdef enum:
    NOWHERE = -1

# *bits: how many leading bits of the address say that it lies in this range.
cdef int32_t find_place(const Ranges *ranges, const unsigned char *address, int *bits) noexcept nogil
