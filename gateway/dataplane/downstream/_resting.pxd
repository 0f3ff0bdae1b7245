"""Resting: which of a listener's connections have been idle, or lingering, for longest: they may go for others.

Must not know for whom one goes.
"""
from gateway.dataplane._core cimport Connection, Core

# Into a listener's ring of those that are idle, or of those that linger, as the newest; out of either. The heads are in core.
cdef void enter_idle(Core *core, Connection *downstream) noexcept nogil
# As idle, where it is in neither.
cdef inline void rest_again(Core *core, Connection *downstream) noexcept nogil:
    if downstream.older == NULL:
        enter_idle(core, downstream)

cdef void enter_lingering(Core *core, Connection *downstream) noexcept nogil
cdef void leave_rest(Core *core, Connection *downstream) noexcept nogil
cdef Connection *oldest_idle(Core *core, int listener) noexcept nogil
cdef Connection *oldest_lingering(Core *core, int listener) noexcept nogil
