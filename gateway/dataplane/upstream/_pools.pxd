"""Pools: a worker's connections to upstream endpoints, within what all workers may have of them.

Reused newest first, so that the rest can age; one that the peer has ended is noticed before reuse.
Must not know what an exchange does with a connection.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Connection, Core, Exchange, Stream, UpstreamPool
from routing_core._layout cimport Endpoint

cdef enum Lack:
    LACKS_NOTHING
    LACKS_OWN               # memory here
    LACKS_DESCRIPTOR        # the whole gateway
    LACKS_PORT              # towards this one address
    LACKS_ROOM              # in the queue of a unix socket's listener, where nobody can wait: it is there, and busy

# The pool of an endpoint's row, made when it is first asked for; NULL when there is no memory or no such row.
cdef UpstreamPool *pool_of(Core *core, const Endpoint *endpoint) noexcept nogil
# The newest idle connection that is still alive, taken out; NULL when there is none. careful: asks the socket itself.
cdef Stream *borrow(Core *core, UpstreamPool *pool, bint careful) noexcept nogil
# A place among the connections that the endpoint may have, of all workers'; a pooled one may go for it. False: there is none.
cdef bint take_place(Core *core, UpstreamPool *pool) noexcept nogil
# In the place that was taken, a new connection, CONNECTING or, when it is there at once, SERVING_UPSTREAM; NULL: failed at once,
# or not yet possible, for what is lacking.
cdef Stream *reach(Core *core, UpstreamPool *pool, const Endpoint *endpoint, Lack *lack) noexcept nogil
# A connection joins the pool's accounts.
cdef void adopt(Core *core, UpstreamPool *pool, Connection *upstream) noexcept nogil
# Back into the pool. The gate may say that it is of no more use: then it is closed.
cdef void put_back(Core *core, Stream *upstream) noexcept nogil
# Closes an upstream connection of any state, with its accounts.
cdef void drop_upstream(Core *core, Stream *upstream) noexcept nogil
# It is a tunnel's from now on: no longer one of those that its pool may have.
cdef void set_apart(Core *core, Stream *upstream) noexcept nogil
# Once a tick: closes idle connections to endpoints that take no more; wakes those who wait where there is room again; lists whom
# next_in_vain() is to give.
cdef void tend_pools(Core *core) noexcept nogil
# The same at once, of the rows that another worker has called for.
cdef void tend_called(Core *core, int64_t rows) noexcept nogil
# The next connection in use to tell that its endpoint is silent; NULL: all have been told since the last tick.
cdef Stream *next_in_vain(Core *core) noexcept nogil
# An idle connection of any pool is closed, for its descriptor. False: there is none.
cdef bint drop_any_idle(Core *core) noexcept nogil
# Whether a request could be asked there now, without a wait for its connection.
cdef bint has_room(Core *core, const Endpoint *endpoint) noexcept nogil
cdef void free_pools(Core *core) noexcept nogil
