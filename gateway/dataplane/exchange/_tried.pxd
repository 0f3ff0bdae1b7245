"""Whom an exchange has been to: endpoints by their rows, which are not picked again. Must not know what came of it, nor who comes next."""
from libc.stdint cimport int32_t

from gateway.dataplane._core cimport Exchange
from routing_core._endpoints cimport MAX_TRIED
from routing_core._layout cimport Endpoint, Route

cdef enum Came:
    CAME_TO_NOTHING
    CAME_REFUSED            # no connection came about
    CAME_BY                 # passed by: it only lacked a port

# There is room to remember whom it asks next, and where that one falls silent whom it asks then.
cdef inline bint has_rows_left(const Exchange *exchange) noexcept nogil:
    return exchange.n_tried + 1 < MAX_TRIED

cdef void note_tried(Exchange *exchange, int32_t row, Came came) noexcept nogil
# The i-th of them may be picked again; the last one takes its place.
cdef void forget(Exchange *exchange, int32_t i) noexcept nogil
# Those that are in none of its route's pools: once the table is let go that held their rows these may be anybody's.
cdef void forget_gone(Exchange *exchange) noexcept nogil
# In any of the route's pools; NULL.
cdef const Endpoint *find_endpoint(const Route *route, int32_t row) noexcept nogil
