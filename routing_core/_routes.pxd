"""Routes: which route a request takes. Precedence as in Gateway API (HTTPRoute, v1):

host: exact, then the longest wildcard, then none; within: exact path, longest prefix, method, number of headers,
number of query parameters, then the order of configuration. A less specific host is tried when no route of the more
specific one matches. 10,000 hosts cost no more than 10.
Must not know how a request was parsed.
"""
from libc.stdint cimport uint32_t

from routing_core._layout cimport Route, TableData
from routing_core._text cimport Text

cdef struct FieldView:          # a header field of the request, into the caller's memory
    const char *name
    const char *value
    uint32_t name_length
    uint32_t value_length

cdef struct RequestFacts:       # all pointers into the caller's memory, for the call only
    Text host                   # without port; any case
    Text path                   # without query; as received
    Text query                  # without "?"; length 0 when absent
    Text method
    const FieldView *fields
    int n_fields

# NULL when no route matches (404).
cdef const Route *match_route(const TableData *table, const RequestFacts *facts) noexcept nogil
# Control's side, called by Table while it builds: the routes of a TableSpec into one block, freed by free_matcher once for the table that
# it was built for, and once for each that shares it because its routes are the same.
cdef const void *build_matcher(object spec) except NULL
cdef const void *share_matcher(const void *matcher) noexcept nogil
cdef void free_matcher(const void *matcher) noexcept nogil
