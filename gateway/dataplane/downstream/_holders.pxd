"""Holders: which client has which connections to a listener here, and who has most: that one goes first when room is short.

A client is the prefix of a peer's address (`limits.per_client`). Trusted hops and this machine speak for many: they hold nothing.
Each worker's own; who has most is published in its column. Must not know what is said on a connection.
"""
from libc.stdint cimport int32_t, uint8_t, uint64_t

from gateway.dataplane._core cimport Connection, Core
from gateway.dataplane.shared._tally cimport Tallied

# False when there is no memory.
cdef bint open_holders(Core *core) noexcept nogil
cdef void free_holders(Core *core) noexcept nogil
# A downstream begins, ends, has a part of a head, gets or loses its exchange. Where there is no memory for a holder it is held by nobody.
cdef void enter_holder(Core *core, Connection *downstream) noexcept nogil
cdef void leave_holder(Core *core, Connection *downstream) noexcept nogil
cdef void mark_begun(Connection *downstream) noexcept nogil
cdef void mark_busy(Connection *downstream) noexcept nogil
cdef void mark_calm(Connection *downstream) noexcept nogil
# Settings may be others than those by which it was entered: whose it is, and whether it counts. A downstream between exchanges. Those above
# the client's cap count too, and close behind their next answer.
cdef void refile(Core *core, Connection *downstream) noexcept nogil
# False: the client, by its address, has as many as it may have. Else *place is what give_place() wants; 0: nothing is counted.
cdef bint may_have_more(Core *core, const uint8_t *address, Tallied what, uint64_t *place) noexcept nogil
# How many of a listener's connections the client has here, by its address.
cdef int32_t held_by(const Core *core, int listener, const uint8_t *address) noexcept nogil
# Of the client that holds most of a listener's connections the one that goes first when another client is to have one; NULL: none should.
# newcomer NULL: none goes on which a request is under way.
cdef Connection *most_held(Core *core, int listener, const uint8_t *newcomer) noexcept nogil
