"""Headroom: what a pool, and the PoP it is in, may still have in flight. Live figures of all workers, read when they are asked for.

Must not know requests or the decision.
"""
from libc.stdint cimport int64_t

from routing_core._figures cimport Crew
from routing_core._layout cimport Pool

cdef inline bint has_limit(const Pool *pool) noexcept nogil:
    return pool.high > 0 or pool.pop.high > 0

# Whether no more may be sent there while another has room.
cdef bint is_out_of_room(const Pool *pool, const Crew *crew) noexcept nogil
# In flight without tunnels, which may be idle for hours: what is load, and what a capacity bounds.
cdef int64_t requests_in(const Pool *pool, const Crew *crew) noexcept nogil
# The share of its capacity, or of its PoP's, that is free: below 0 when over, 1 without a capacity. What control spares is not counted, and
# what ended since it looked, a tenth of a second ago at most, may be spared twice.
cdef double free_share(const Pool *pool, const Crew *crew) noexcept nogil
