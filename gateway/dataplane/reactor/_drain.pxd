"""Drain: what a worker does as the orders change. Control gives the orders; the sequence is its affair."""
from gateway.dataplane._core cimport Core

# Once a turn.
cdef void follow_orders(Core *core) noexcept nogil
# Once a tick while it is closing: some of them.
cdef void close_idle(Core *core) noexcept nogil
# Once a tick while it is aborting: all of them.
cdef void cut_all(Core *core) noexcept nogil
# At the worker's end: every connection ends, and what it kept for more of them is given back.
cdef void close_all(Core *core) noexcept nogil
