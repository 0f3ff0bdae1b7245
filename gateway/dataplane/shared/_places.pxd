"""Places: what all workers together may have of an endpoint and of a listener, and how much of it is taken.

What a worker keeps that hangs is nobody's: the others go on as if it were free. When that worker turns again there may be more than may
be: then idle connections go, and busy ones behind their answer, as where a limit has been lowered.
Must not know how a connection is made or ends, nor who waits where.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Core, UpstreamPool

# A place among the connections that the endpoint may have. False: there is none.
cdef bint is_place_taken(const Core *core, UpstreamPool *pool) noexcept nogil
cdef void free_place(UpstreamPool *pool) noexcept nogil
cdef bint has_place(const Core *core, const UpstreamPool *pool) noexcept nogil
# There are more of them than may be.
cdef bint is_overfull(const Core *core, const UpstreamPool *pool) noexcept nogil
# A place among those that may wait for one. is_busy: see enqueue().
cdef bint is_wait_taken(const Core *core, UpstreamPool *pool, bint is_busy) noexcept nogil
# Clients' connections to a listener beyond `of_them`, which is what it may have, or one less for one that is still to come.
cdef bint has_more_clients(const Core *core, int listener, int64_t of_them) noexcept nogil
