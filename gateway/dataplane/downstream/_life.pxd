"""Life: how an exchange begins, changes its state and ends; and what becomes of its client's connection then.

Must not know attempts, nor what is sent.
"""
from gateway.dataplane._core cimport Connection, Core, Exchange, ExchangeState, Side, Stream

cdef enum:
    HEARD_MS = 1000     # who was answered without a word of the end is heard for so long: its next request is likely to be on its way

# For a downstream that has none; NULL when there is no memory. Takes the downstream over.
cdef Exchange *open_exchange(Core *core, Stream *downstream) noexcept nogil
# The one way to another state; one that is not listed is counted as a bug.
cdef void move(Core *core, Exchange *exchange, ExchangeState to) noexcept nogil
# The attempt is over: its accounts and its connection.
cdef void release_upstream(Core *core, Exchange *exchange, bint is_reusable) noexcept nogil
# What is held of an answered exchange, and needed no more.
cdef void shed_heads(Core *core, Exchange *exchange) noexcept nogil
# The answer is sent, whole.
cdef void finish(Core *core, Exchange *exchange) noexcept nogil
# Ends it with whatever state it is in; the client sees that the answer is not whole.
cdef void abort(Core *core, Exchange *exchange, Side by) noexcept nogil
# The downstream has no exchange: say that all is said, or close it at once.
cdef void linger_on(Core *core, Stream *downstream) noexcept nogil
cdef void close_downstream(Core *core, Stream *downstream) noexcept nogil
# Ends a connection, in whatever state it is: what it has under way is aborted, and the gateway did it.
cdef void end_downstream(Core *core, Connection *downstream) noexcept nogil
