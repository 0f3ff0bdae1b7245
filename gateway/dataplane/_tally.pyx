"""A count-min sketch: two counters a client, by a keyed hash, of which the lower one holds. Clients that share both with others would be
counted together; among 50,000 clients that is the case for a few, and only where the others hold as much as the cap.

A cap may be passed by one for each worker that counts at the same instant.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from routing_core._atomic cimport add_shared, load_relaxed
from routing_core._memory cimport FIGURES, give, take
from routing_core._random cimport mixed

cdef enum:
    N_PLACES = 32768        # a row
    SECOND_ROW = 32         # bits of a place: where the second row's begin

cdef struct Tally:
    uint64_t secret
    int64_t counts[2 * N_PLACES]


cdef Tally *open_tally(uint64_t secret) noexcept nogil:
    cdef Tally *tally = <Tally *>take(FIGURES, sizeof(Tally))
    if tally != NULL:
        tally.secret = secret
    return tally


cdef void close_tally(Tally *tally) noexcept nogil:
    give(FIGURES, tally)


cdef int64_t *first_of(Tally *tally, uint64_t place) noexcept nogil:
    return &tally.counts[place % <uint64_t>N_PLACES]


cdef int64_t *second_of(Tally *tally, uint64_t place) noexcept nogil:
    return &tally.counts[<uint64_t>N_PLACES + (place >> SECOND_ROW) % <uint64_t>N_PLACES]


cdef uint64_t take_place(Tally *tally, const uint8_t *prefix, Tallied what, int64_t cap) noexcept nogil:
    cdef uint64_t halves[2]
    cdef uint64_t place
    memcpy(halves, prefix, 16)
    place = mixed(mixed(halves[0] ^ tally.secret) ^ halves[1] ^ <uint64_t>what)
    place |= <uint64_t>1 << 63      # of no row: a place is never 0
    if min(load_relaxed(first_of(tally, place)), load_relaxed(second_of(tally, place))) >= cap:
        return 0
    add_shared(first_of(tally, place), 1)
    add_shared(second_of(tally, place), 1)
    return place


cdef void give_place(Tally *tally, uint64_t place) noexcept nogil:
    if place:
        add_shared(first_of(tally, place), -1)
        add_shared(second_of(tally, place), -1)
