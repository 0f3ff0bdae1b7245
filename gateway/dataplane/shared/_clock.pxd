"""Clock: the time for people and for control. A worker's own time, less its pauses, is for judging."""
from libc.stdint cimport int64_t

from gateway.dataplane._core cimport Core

cdef inline int64_t clock_us(const Core *core) noexcept nogil:
    return core.now_us + core.held_up_us
