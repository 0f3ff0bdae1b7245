"""Shortage: where buffers have no room for what is new, whose go for it, and who waits.

Must not know how a head is read.
"""
from gateway.dataplane._core cimport Core, Stream

# Whether a head may be read, in a buffer that may still have to be opened. False: it waits, and is resumed when there may be room.
cdef bint finds_room(Core *core, Stream *downstream) noexcept nogil
# Once a turn, while core.gives_back.
cdef void go_on_giving(Core *core) noexcept nogil
# Once a tick, see _worker.
cdef void tend_shortage(Core *core) noexcept nogil
