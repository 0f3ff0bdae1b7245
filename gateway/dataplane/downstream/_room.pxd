"""Room: which connection goes for a new one, where there are as many as may be, or no descriptor is left.

Must not know how one is accepted.
"""
from libc.stdint cimport uint8_t

from gateway.dataplane._core cimport Connection, Core

# Of this worker's connections to a listener one goes: of the client that holds most, or the one that has been idle for longest. False:
# there is none.
cdef bint make_room(Core *core, int listener, const uint8_t *newcomer) noexcept nogil
# The same of all workers' connections; another worker's goes within a turn of it.
cdef bint make_room_anywhere(Core *core, int listener, const uint8_t *newcomer) noexcept nogil
# A descriptor for a request that goes up: who is idle makes room, of this worker's clients and upstreams. False: nobody is; another worker
# has been called, which gives one within a turn of it if it can.
cdef bint make_room_for_request(Core *core) noexcept nogil
# What others have called for.
cdef void make_room_for_others(Core *core) noexcept nogil
# Once a tick, where there are more than may be: the limit has been lowered, or a worker that hung turns again. Idle ones go at once,
# busy ones behind their answer, see ends_for_room().
cdef void shrink(Core *core) noexcept nogil
# Whether a client's connection ends with the answer that begins.
cdef bint ends_for_room(const Core *core, const Connection *downstream) noexcept nogil
