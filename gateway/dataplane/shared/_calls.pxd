"""Calls: what a worker asks of another one, where a limit is the whole gateway's and what is to go or to come is the other's.

Must not know what is asked.
"""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Core
from routing_core._atomic cimport clear_bits
from routing_core._figures cimport is_hung

cdef enum:
    N_ROW_BITS = 62             # rows that share a bit share calls: a look more, of no harm

# Worker `worker` closes one of its connections to a listener: room for one here.
cdef void call_for_room(Core *core, int worker, int listener) noexcept nogil
# It closes an idle connection, whoever's: a descriptor for a request here.
cdef void call_for_descriptor(Core *core, int worker) noexcept nogil
# It looks at its pool of an endpoint's row: who waits there may go on, or is to be given a connection.
cdef void call_for_pool(Core *core, int worker, int row) noexcept nogil
# Whether this worker has been called: then what follows says what for, once.
cdef bint is_called(Core *core) noexcept nogil
cdef int64_t take_rows(Core *core) noexcept nogil
cdef int64_t take_wanted(Core *core, int listener) noexcept nogil
cdef int64_t take_descriptors(Core *core) noexcept nogil
# Whether another worker turns: one that hangs answers no call.
cdef bint is_turning(const Core *core, int worker) noexcept nogil
# Which of the others have been silent for so long that nobody waits for what they have: once a tick. See is_hung.
cdef void judge_others(Core *core) noexcept nogil
# Once a turn: whatever others have said of this worker.
cdef inline void say_that_it_turns(Core *core) noexcept nogil:
    if is_hung(core.crew, core.number):
        clear_bits(&core.crew.hung, <int64_t>1 << core.number)

# How many connections to a listener the others are still to close.
cdef int64_t called_for(const Core *core, int listener) noexcept nogil
