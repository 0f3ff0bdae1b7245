"""Elsewhere: where an exchange goes next, when its pool has nobody for it. Must not know what an attempt is."""
from gateway.dataplane._core cimport Core, Exchange, UpstreamPool
from routing_core._decision cimport Decision

# Where there is no port towards an endpoint somebody else may serve it at once. False: nobody does, so it waits there.
cdef bint passes_by(Exchange *exchange, const UpstreamPool *pool) noexcept nogil
cdef enum Followed:
    FOLLOWED_NOT            # it has the newest table, or no route in it: then it keeps the one that it has
    FOLLOWED_STAYS          # in its PoP
    FOLLOWED_AWAY           # to another pool
    FOLLOWED_TO_NOBODY      # may serve it any more; it has what it had
    FOLLOWED_TO_REFUSAL     # its route is refused now; the same

# An exchange between two attempts, or in a line, is decided by the newest table, where that is another one. In a line, where it is counted
# by its pool, it may not leave: then nothing changes where it would go away.
cdef Followed follow_newest(Core *core, Exchange *exchange, bint may_leave) noexcept nogil
# What that would say, and by which decision where it stays or goes; nothing changes.
cdef Followed foresee_newest(Core *core, Exchange *exchange, Decision *found) noexcept nogil
# To the next fallback of its decision that is still open. False: there is none.
cdef bint next_fallback(Core *core, Exchange *exchange) noexcept nogil
# The same, or, where they are all spent, to whom it is decided for anew, without those; or back to who was passed by for want of a port, to
# wait there. False: nobody is there.
cdef bint next_pool(Core *core, Exchange *exchange) noexcept nogil
# Nobody is left who admits: where that is a panic all is decided once more for those who answer. And in a panic those that refused come
# last: when none that answers is left, once more for whoever there is. False: it is none, or that has been.
cdef bint heed_less(Core *core, Exchange *exchange) noexcept nogil
