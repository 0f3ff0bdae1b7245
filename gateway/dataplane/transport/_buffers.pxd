"""Buffers: lent to connections and exchanges, taken back, and kept for the next ones; what all workers have taken of memory for them.

Must not know what lies in a buffer, nor who waits for one.
"""
from libc.stdint cimport int64_t, uint32_t

from gateway.dataplane._core cimport Buffer, Core, Spares
from routing_core._atomic cimport load_relaxed

# Whether what is new may have buffers: heads, and large ones for bodies. That is half of the bound; the other half is for what is under
# way, which takes small ones, and no more than twice what it began with. So nobody whose request was read waits for its answer's buffer.
cdef inline bint has_room(Core *core, uint32_t wanted) noexcept nogil:
    return room_for_new(core) >= wanted

cdef inline int64_t room_for_new(Core *core) noexcept nogil:
    return core.snapshot.settings.buffers_for_new - load_relaxed(&core.stock.held)

# False when there is no memory. wanted: bytes, at most LARGE_BYTES.
cdef bint open_buffer(Core *core, Buffer *buffer, uint32_t wanted) noexcept nogil
cdef void shut_buffer(Core *core, Buffer *buffer) noexcept nogil
# Of what is shut nothing is left to do, which is so of most.
cdef inline void close_buffer(Core *core, Buffer *buffer) noexcept nogil:
    if buffer.at != NULL:
        shut_buffer(core, buffer)

# Moves what is held to a buffer of twice the size. False when it is large already, or there is no memory.
cdef bint grow_buffer(Core *core, Buffer *buffer) noexcept nogil
# For more behind what is held, in the buffer that there is, a new one, or one of twice the size. False as there.
cdef bint make_room(Core *core, Buffer *buffer) noexcept nogil

# A block from the list, or NULL; back into it.
cdef void *take_spare(Spares *spares) noexcept nogil
cdef void put_spare(Spares *spares, void *block) noexcept nogil
# Once a tick: some of what nobody has needed is to go, buffers and exchanges.
cdef void trim_spares(Core *core) noexcept nogil
# All buffers that nobody uses now are to go.
cdef void shed_spare_buffers(Core *core) noexcept nogil
# Gives back what a turn may: each costs a call of some microseconds, and what else has happened waits so long. core.gives_back while some
# are left.
cdef void give_back(Core *core) noexcept nogil
cdef void free_spares(Core *core) noexcept nogil
