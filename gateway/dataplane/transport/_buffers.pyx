"""Blocks go round in the worker's own free lists. What they have taken is counted where memory is taken and given back, in one cell of all
workers: who lends from a list counts nothing. Those on the lists count too, for they are as resident as the others; so there are none
where there is no room."""
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy, memmove

from gateway.dataplane._core cimport *
from routing_core._atomic cimport add_shared
from routing_core._memory cimport BUFFER, EXCHANGE, give, take_unset


cdef enum:
    KEPT_TICKS = 16         # of what nobody has needed, such a part goes each tick
    GIVEN_A_TURN = 128      # buffers: a millisecond at most


cdef void *take_spare(Spares *spares) noexcept nogil:
    cdef void *block = spares.first
    if block != NULL:
        spares.first = (<void **>block)[0]
        spares.n -= 1
        spares.least = min(spares.least, spares.n)
    return block


cdef void put_spare(Spares *spares, void *block) noexcept nogil:
    (<void **>block)[0] = spares.first
    spares.first = block
    spares.n += 1


cdef int step_of(uint32_t wanted) noexcept nogil:
    cdef int step = 0
    while step < <int>N_STEPS - 1 and <uint32_t>SMALL_BYTES << step < wanted:
        step += 1
    return step


cdef bint open_buffer(Core *core, Buffer *buffer, uint32_t wanted) noexcept nogil:
    cdef int step = step_of(wanted)
    buffer.capacity = <uint32_t>SMALL_BYTES << step
    buffer.begin = buffer.end = 0
    buffer.at = <char *>take_spare(&core.spare_buffers[step])
    if buffer.at == NULL:
        buffer.at = <char *>take_unset(BUFFER, buffer.capacity)
        if buffer.at != NULL:
            add_shared(&core.stock.held, buffer.capacity)
    return buffer.at != NULL


cdef void free_buffer(Core *core, void *block, int step) noexcept nogil:
    give(BUFFER, block)
    add_shared(&core.stock.held, -(<int64_t>SMALL_BYTES << step))


cdef void shut_buffer(Core *core, Buffer *buffer) noexcept nogil:
    if has_room(core, 0):
        put_spare(&core.spare_buffers[step_of(buffer.capacity)], buffer.at)
    else:
        free_buffer(core, buffer.at, step_of(buffer.capacity))
    buffer.at = NULL
    buffer.begin = buffer.end = 0


cdef bint grow_buffer(Core *core, Buffer *buffer) noexcept nogil:
    cdef Buffer larger
    if buffer.capacity == <uint32_t>LARGE_BYTES or not open_buffer(core, &larger, 2 * buffer.capacity):
        return False
    memcpy(larger.at, buffer.at, buffer.end)
    larger.begin = buffer.begin
    larger.end = buffer.end
    close_buffer(core, buffer)
    buffer[0] = larger
    return True


cdef bint make_room(Core *core, Buffer *buffer) noexcept nogil:
    if buffer.at == NULL:
        return open_buffer(core, buffer, SMALL_BYTES)
    if buffer.begin == buffer.end:
        buffer.begin = buffer.end = 0
    if buffer.end < buffer.capacity:
        return True
    if buffer.begin > 0:
        memmove(buffer.at, buffer.at + buffer.begin, buffer.end - buffer.begin)
        buffer.end -= buffer.begin
        buffer.begin = 0
        return True
    return grow_buffer(core, buffer)


cdef void shed(Core *core, Spares *spares, int32_t surplus) noexcept nogil:
    spares.surplus = max(spares.surplus, surplus)
    core.gives_back = core.gives_back or spares.surplus > 0


cdef void give_back(Core *core) noexcept nogil:
    cdef Spares *spares
    cdef int step
    core.gives_back = False
    for step in range(N_STEPS):
        spares = &core.spare_buffers[step]
        spares.surplus = min(spares.surplus, spares.n)      # others may have been lent since
        while spares.surplus > 0 and core.n_given < GIVEN_A_TURN:
            free_buffer(core, take_spare(spares), step)
            spares.surplus -= 1
            core.n_given += 1
        core.gives_back = core.gives_back or spares.surplus > 0


cdef void free_some_exchanges(Core *core, int32_t most) noexcept nogil:
    cdef Spares *spares = &core.spare_exchanges
    while most > 0 and spares.first != NULL:
        give(EXCHANGE, take_spare(spares))
        most -= 1
    spares.least = spares.n


cdef inline int32_t part_of(const Spares *spares) noexcept nogil:
    return (spares.least + KEPT_TICKS - 1) // KEPT_TICKS


cdef void trim_spares(Core *core) noexcept nogil:
    # A few at a time, and a part of them: a pause of a tick is no calm, and what a burst left behind is gone in some seconds.
    cdef int step
    cdef Spares *spares
    for step in range(N_STEPS):
        spares = &core.spare_buffers[step]
        shed(core, spares, part_of(spares))
        spares.least = spares.n
    free_some_exchanges(core, part_of(&core.spare_exchanges))


cdef void shed_spare_buffers(Core *core) noexcept nogil:
    cdef int step
    for step in range(N_STEPS):
        shed(core, &core.spare_buffers[step], core.spare_buffers[step].n)


cdef void free_spares(Core *core) noexcept nogil:
    cdef int step
    for step in range(N_STEPS):
        while core.spare_buffers[step].first != NULL:
            free_buffer(core, take_spare(&core.spare_buffers[step]), step)
    free_some_exchanges(core, core.spare_exchanges.n)
