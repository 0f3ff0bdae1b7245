"""Table: the immutable snapshot used to route, as `_layout` declares it.

Built by control from a TableSpec, never changed after; one block of memory owned by one `Table`, and one for the endpoints of each
pool that successive tables share. Who publishes it and frees it when workers have let go is the data plane's affair.
Must not know sockets, clocks or logging.
"""
from routing_core._layout cimport TableData
from routing_core._paths cimport Landmarks

cdef class Table:
    cdef TableData *data            # owned; immutable
    cdef readonly object spec       # what it was built from (gateway/control shows it)
    cdef object figures             # keeps the rows' memory
    cdef list members               # of each pool, in their order: Members
    cdef Landmarks landmarks
