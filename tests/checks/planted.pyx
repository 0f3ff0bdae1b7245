"""Faults on purpose: a sanitizer build that does not report them is not a sanitizer build."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from routing_core._atomic cimport add_shared, load_relaxed
from routing_core._memory cimport BUFFER, take

cdef int64_t shared = 0
cdef int64_t arrived = 0
cdef int largest = 2147483647


cdef void add_plainly() noexcept nogil:
    # Two threads that overlap. Relaxed, so that the rendezvous orders nothing; without it the GIL's hand-over orders both
    # adds and there is no race to report.
    global shared
    add_shared(&arrived, 1)
    while load_relaxed(&arrived) < 2:
        pass
    shared += 1


cdef int read_after_free() noexcept nogil:
    cdef int *block = <int *>malloc(64)
    free(block)
    return block[3]


def race():
    with nogil:
        add_plainly()


def use_after_free():
    return read_after_free()


def overflow():
    global largest
    largest += 1
    return largest


def leak():
    return take(BUFFER, 12345) != NULL
