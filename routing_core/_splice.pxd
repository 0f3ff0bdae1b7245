"""Splice: the endpoints of a pool compiled, most of which may have been before. Must not know pools, or what an EndpointSpec says."""
from libc.stdint cimport int32_t

from routing_core._layout cimport Endpoint

cdef enum:
    MAX_ENDPOINTS = 1000000     # of one pool: keeps counts, and sums of them, far inside 32 bits

cdef class Members:                 # of one pool, or of several that have just these
    cdef Endpoint *endpoints        # [count], owned; immutable
    cdef int32_t count
    cdef object spec                # the tuple that it was made of: keeps its id from being used again
