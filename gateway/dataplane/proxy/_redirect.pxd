"""Redirect: sends a client to its PoP's own address instead of passing its request on.

Never twice: whoever comes by the address of any PoP was sent there, or chose it, and is served. Must not know how a PoP is chosen.
"""
from gateway.dataplane._core cimport Core, Exchange
from gateway.dataplane.http1._head cimport RequestHead

# The exchange has its pool, and no attempt yet. False: its request is to be passed on. True: it has been answered.
cdef bint redirect(Core *core, Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil
