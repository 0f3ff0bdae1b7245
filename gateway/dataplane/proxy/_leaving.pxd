"""Leaving: who waits at an endpoint that has fallen silent goes elsewhere.

Must not know how it was found silent.
"""
from gateway.dataplane._core cimport Core

# Once a turn, a few at a time; core.silent is not NULL while some are left.
cdef void leave_silent(Core *core) noexcept nogil
