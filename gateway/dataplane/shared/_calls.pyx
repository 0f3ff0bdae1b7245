"""A cell a worker that the others write, and a byte to its eventfd where it has not been called already. A call that is lost is made up
for by the tick."""
from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport write

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport Desk
from routing_core._atomic cimport add_shared, is_replaced, load_pointer, load_relaxed, set_bits

cdef enum:
    SILENT_MS = 300         # three ticks: such a worker hangs, or is not let run
    HUNG_MS = 2000          # as control says it


cdef void wake(Desk *desk) noexcept nogil:
    cdef uint64_t one = 1
    cdef Core *other = <Core *>load_pointer(&desk.core)
    if is_replaced(&desk.is_called, 0, 1) and other != NULL:
        write(other.wake, &one, sizeof(one))


cdef void call_for_room(Core *core, int worker, int listener) noexcept nogil:
    add_shared(&core.doors.desks[worker].wanted[listener], 1)
    wake(&core.doors.desks[worker])


cdef void call_for_descriptor(Core *core, int worker) noexcept nogil:
    add_shared(&core.doors.desks[worker].descriptors, 1)
    wake(&core.doors.desks[worker])


cdef void call_for_pool(Core *core, int worker, int row) noexcept nogil:
    set_bits(&core.doors.desks[worker].rows, <int64_t>1 << row % <int>N_ROW_BITS)
    wake(&core.doors.desks[worker])


cdef bint is_called(Core *core) noexcept nogil:
    cdef int64_t *cell = &core.doors.desks[core.number].is_called
    # Before what it is about is taken: what is asked from here on is another call. A plain store could be seen after those reads.
    return load_relaxed(cell) and is_replaced(cell, 1, 0)


cdef int64_t take_all(int64_t *cell) noexcept nogil:
    cdef int64_t seen = load_relaxed(cell)
    while seen and not is_replaced(cell, seen, 0):
        seen = load_relaxed(cell)
    return seen


cdef int64_t take_rows(Core *core) noexcept nogil:
    return take_all(&core.doors.desks[core.number].rows)


cdef int64_t take_wanted(Core *core, int listener) noexcept nogil:
    return take_all(&core.doors.desks[core.number].wanted[listener])


cdef int64_t take_descriptors(Core *core) noexcept nogil:
    return take_all(&core.doors.desks[core.number].descriptors)


cdef bint is_turning(const Core *core, int worker) noexcept nogil:
    return clock_us(core) // 1000 - load_relaxed(&(core.column + (worker - core.number)).beat_ms) < SILENT_MS


cdef void judge_others(Core *core) noexcept nogil:
    # Each takes its own bit off when it turns; set in that very moment, it is off a turn later.
    cdef int64_t now_ms = clock_us(core) // 1000
    cdef int worker
    # Who was stopped with all others may be the first to go on: they have three ticks for a beat.
    if core.now_us - core.resumed_us < SILENT_MS * 1000:
        return
    for worker in range(core.n_workers):
        if (now_ms - load_relaxed(&(core.column + (worker - core.number)).beat_ms) >= HUNG_MS and worker != core.number
                and not is_hung(core.crew, worker)):
            set_bits(&core.crew.hung, <int64_t>1 << worker)


cdef int64_t called_for(const Core *core, int listener) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(core.n_workers):
        if not is_hung(core.crew, worker):
            total += load_relaxed(&core.doors.desks[worker].wanted[listener])
    return total
