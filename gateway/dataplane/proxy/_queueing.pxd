"""Queueing: who waits in an endpoint's line is looked at again: it may be its turn, or it would do better elsewhere.

Must not know how a line is kept, nor what an attempt does.
"""
from gateway.dataplane._core cimport Core, Exchange

cdef void resume_queued(Core *core, Exchange *exchange) noexcept nogil
