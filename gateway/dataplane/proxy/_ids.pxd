"""Ids: the request's id and its trace context, as they go on with it.

Must not know how a head is composed.
"""
from libc.stdint cimport uint64_t

from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.proxy._forward cimport Facts

# The id and the trace context to go on with: the client's where they are sound (the id's only from a trusted hop), else made of random
# numbers.
cdef void settle_ids(const char *text, const RequestHead *head, uint64_t a, uint64_t b, uint64_t c, Facts *facts) noexcept nogil
