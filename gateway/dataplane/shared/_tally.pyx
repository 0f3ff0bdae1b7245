"""A count-min sketch: two counters a client, by a keyed hash, of which the lower one holds. Clients that share both with others would be
counted together; among 50,000 clients that is the case for a few, and only where the others hold as much as the cap.

A worker that hangs keeps its part of them, which it counts itself as well: where a cap is reached that is taken off, for nobody is served
there. When it turns again the client may have more than its cap, and gets no more until it has less.

A cap may be passed by one for each worker that counts at the same instant.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from routing_core._atomic cimport add_own, add_shared, load_pointer, load_relaxed, store_pointer
from routing_core._figures cimport MAX_WORKERS, Crew, is_hung
from routing_core._memory cimport FIGURES, give, take
from routing_core._random cimport mixed

cdef enum:
    N_PLACES = 32768        # a row
    SECOND_ROW = 32         # bits of a place: where the second row's begin

cdef struct Counts:
    int64_t cells[2 * N_PLACES]

cdef struct Tally:
    uint64_t secret
    Counts all
    void *own[MAX_WORKERS]      # of Counts, atomic, owned; NULL: that worker has counted nobody, or lacked the memory for it


cdef Tally *open_tally(uint64_t secret) noexcept nogil:
    cdef Tally *tally = <Tally *>take(FIGURES, sizeof(Tally))
    if tally != NULL:
        tally.secret = secret
    return tally


cdef void close_tally(Tally *tally) noexcept nogil:
    cdef int worker
    if tally == NULL:
        return
    for worker in range(MAX_WORKERS):
        give(FIGURES, tally.own[worker])
    give(FIGURES, tally)


cdef int64_t *first_of(Counts *counts, uint64_t place) noexcept nogil:
    return &counts.cells[place % <uint64_t>N_PLACES]


cdef int64_t *second_of(Counts *counts, uint64_t place) noexcept nogil:
    return &counts.cells[<uint64_t>N_PLACES + (place >> SECOND_ROW) % <uint64_t>N_PLACES]


cdef int64_t counted(Tally *tally, const Crew *crew, uint64_t place, bint without_hung) noexcept nogil:
    cdef int64_t first = load_relaxed(first_of(&tally.all, place))
    cdef int64_t second = load_relaxed(second_of(&tally.all, place))
    cdef Counts *own
    cdef int worker
    if without_hung:
        for worker in range(<int>crew.n_workers):
            own = <Counts *>load_pointer(&tally.own[worker])
            if own != NULL and is_hung(crew, worker):
                first -= load_relaxed(first_of(own, place))
                second -= load_relaxed(second_of(own, place))
    return min(first, second)


cdef Counts *own_of(Tally *tally, int worker) noexcept nogil:
    cdef Counts *own = <Counts *>load_pointer(&tally.own[worker])
    if own == NULL:
        own = <Counts *>take(FIGURES, sizeof(Counts))
        store_pointer(&tally.own[worker], own)
    return own


cdef uint64_t take_place(Tally *tally, int worker, const Crew *crew, const uint8_t *prefix, Tallied what, int64_t cap) noexcept nogil:
    cdef Counts *own
    cdef uint64_t halves[2]
    cdef uint64_t place
    memcpy(halves, prefix, 16)
    place = mixed(mixed(halves[0] ^ tally.secret) ^ halves[1] ^ <uint64_t>what)
    place |= <uint64_t>1 << 63      # of no row: a place is never 0
    if counted(tally, crew, place, False) >= cap and (load_relaxed(&crew.hung) == 0 or counted(tally, crew, place, True) >= cap):
        return 0
    add_shared(first_of(&tally.all, place), 1)
    add_shared(second_of(&tally.all, place), 1)
    own = own_of(tally, worker)
    if own != NULL:
        add_own(first_of(own, place), 1)
        add_own(second_of(own, place), 1)
    return place


cdef void take_off(int64_t *cell) noexcept nogil:
    # What was counted before there was memory for it is not there.
    if load_relaxed(cell) > 0:
        add_own(cell, -1)


cdef void give_place(Tally *tally, int worker, uint64_t place) noexcept nogil:
    cdef Counts *own
    if place == 0:
        return
    add_shared(first_of(&tally.all, place), -1)
    add_shared(second_of(&tally.all, place), -1)
    own = <Counts *>load_pointer(&tally.own[worker])
    if own != NULL:
        take_off(first_of(own, place))
        take_off(second_of(own, place))
