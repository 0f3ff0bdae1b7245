"""Paths: what the prior knows beside distances, as a decision looks it up. Must not know clients, or what was measured by this gateway."""
from routing_core._layout cimport TableData

cdef int fill_borders(TableData *data, object borders) except -1
