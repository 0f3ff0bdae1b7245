"""Tally: how many connections and exchanges a client has in the whole gateway, for its caps. All workers write it.

Must not know what is counted.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from routing_core._figures cimport Crew

cdef enum Tallied:
    TALLIED_CONNECTIONS
    TALLIED_EXCHANGES

cdef struct Tally           # private to _tally.pyx

cdef Tally *open_tally(uint64_t secret) noexcept nogil
cdef void close_tally(Tally *tally) noexcept nogil
# One more for a client, by its prefix of 16 bytes, at a worker. Returns what give_place() wants; 0: it has `cap` already.
cdef uint64_t take_place(Tally *tally, int worker, const Crew *crew, const uint8_t *prefix, Tallied what, int64_t cap) noexcept nogil
# One less, at the same worker. 0: none was taken.
cdef void give_place(Tally *tally, int worker, uint64_t place) noexcept nogil
