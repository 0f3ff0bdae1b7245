"""Splice: compiled endpoints of which most have been compiled before. Must not know what an EndpointSpec says, or figures."""
from libc.stdint cimport int32_t

from routing_core._table cimport Endpoint

# How many objects of two tuples are the same at the beginnings.
cdef Py_ssize_t same_first(tuple some, tuple than)
# And at the ends, of those that are left.
cdef Py_ssize_t same_last(tuple some, tuple than, Py_ssize_t first)
# Bytes of the names of `n` endpoints that lie one behind the other.
cdef size_t names_length(const Endpoint *endpoints, int32_t n) noexcept nogil
# The same endpoints, with their names from `text` on; answers where these end.
cdef char *copy_endpoints(Endpoint *out, const Endpoint *endpoints, int32_t n, char *text) noexcept nogil
# Whether one of the `n` from `first` on has the row, or the name, of another one of all.
cdef bint has_doubled(const Endpoint *endpoints, int32_t count, int32_t first, int32_t n) noexcept nogil
