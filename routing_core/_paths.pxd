"""Paths: what the prior knows beside distances, as a decision looks it up: borders, and round trips between PoPs.

Must not know clients, or what this gateway measures.
"""
from libc.stdint cimport int32_t

from routing_core._layout cimport Path, TableData

cdef class Landmarks:           # round trips between PoPs; tables of which nothing is otherwise that these stand on share them
    cdef int32_t *pops          # [n], owned: numbers of the PoPs of which paths to others are known
    cdef Path *paths            # [n][number of PoPs], owned
    cdef int32_t n
    cdef object spec            # what they were made of

cdef int fill_borders(TableData *data, object borders) except -1
# The PoPs and borders are filled. `before`: of another table.
cdef Landmarks fill_landmarks(TableData *data, object spec, Landmarks before)
# Whether the prior of two specs is the same, but for what PoPs are.
cdef bint is_same_prior(object spec, object other)
