"""Worker: one thread's reactor.

turn(now) is the one entry point: tests drive it over socket pairs with a fake clock; run() is turn() in a loop,
without the GIL from beginning to end.
Must not know how a snapshot is built. Holds no Python object in a struct.
"""
from gateway.dataplane._core cimport Core
from gateway.dataplane.shared._counters cimport Counters
from gateway.dataplane.shared._snapshot cimport Snapshots
from routing_core._figures cimport Figures

cdef enum:
    WAIT_MS = 100               # the longest sleep: bounds how long an idle worker keeps an old snapshot

cdef class Worker:
    cdef Core *core             # owned; NULL when closed
    cdef Snapshots snapshots    # kept for core.board
    cdef Figures figures        # kept for the rows that tables point into
    cdef Counters counters      # kept for core.column
    cdef bint is_running
    cdef str name
    cdef Core *still_core(self) except NULL
