"""Events: what becomes of a stream that has one, whose deadline has come, or that is to be looked at again.

Must not know who tells of it, nor when.
"""
from libc.stdint cimport uint32_t

from gateway.dataplane._core cimport Connection, Core
from gateway.dataplane.transport._timers cimport Timer

cdef void on_event(Core *core, Connection *connection, uint32_t events) noexcept nogil
# Of the wheel, see OnDue.
cdef void on_due(void *owner, Timer *timer) noexcept nogil
# Those that something else in this turn has moved on, and those whom they move on: a few rounds, then others come first.
cdef inline void resume_all(Core *core) noexcept nogil:
    if core.resumed.first != NULL:
        go_on_with_resumed(core)

cdef void go_on_with_resumed(Core *core) noexcept nogil
# Those whom turns before this one have put off, who has waited for longest first. Before the events: whoever comes with one waits behind
# them when they have moved enough.
cdef inline void resume_postponed(Core *core) noexcept nogil:
    core.is_shared = core.postponed.n > 1
    if core.postponed.first != NULL:
        go_on_with_postponed(core)

cdef void go_on_with_postponed(Core *core) noexcept nogil
