"""Doors: which workers are told of a listener's new connections, so that these come to who has fewest.

Must not know how one is accepted.
"""
from gateway.dataplane._core cimport Connection, Core

# At all listeners: 0, or errno; then at none, or the next try would find some twice.
cdef int enter_doors(Core *core) noexcept nogil
cdef void leave_doors(Core *core) noexcept nogil
# Behind an accept, or a try: whether this worker is still to be told. Else it has left, and who has fewest connections is told.
cdef bint stays(Core *core, Connection *listener) noexcept nogil
# Where someone waited whom nobody else had taken for a tick: whoever is told there has no time. As stays(), but this worker comes back.
cdef bint comes_back(Core *core, Connection *listener) noexcept nogil
