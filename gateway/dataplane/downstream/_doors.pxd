"""Doors: which workers are told of a listener's new connections, so that these come to who has fewest.

Must not know how one is accepted.
"""
from gateway.dataplane._core cimport Core, Listener

# A worker is told of a listener's new connections, or no more. `core` may be another worker's; the listener is the caller's own, which
# knows its descriptor to be good. False, with errno: it can't be told.
cdef bint enter(Core *core, const Listener *listener) noexcept nogil
cdef void take_off(Core *core, const Listener *listener) noexcept nogil
# At all listeners: 0, or errno; then at none, or the next try would find some twice.
cdef int enter_doors(Core *core) noexcept nogil
cdef void leave_doors(Core *core) noexcept nogil
# Of a worker that is gone, whose epoll is about to be closed: descriptors may be others' by now.
cdef void forget_doors(Core *core) noexcept nogil
# Behind an accept, or a try: whether this worker is still to be told. Else it has left, and who has fewest connections is told.
cdef bint stays(Core *core, Listener *listener) noexcept nogil
# Where someone waited whom nobody else had taken for a tick: whoever is told there has no time. As stays(), but this worker comes back.
cdef bint comes_back(Core *core, Listener *listener) noexcept nogil
