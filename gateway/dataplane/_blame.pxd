"""Blame: which attempts that came to nothing are nobody's failure: by the client's doing, by ours, or by the endpoint's right.

Must not know what becomes of the attempt.
"""
from gateway.dataplane._core cimport Core, Exchange
from gateway.dataplane._head cimport ResponseHead

# The connection ended before an answer, and the endpoint may do so. While the exchange still has it.
cdef bint is_peers_right(Core *core, const Exchange *exchange) noexcept nogil
# An answer that was not taken: this client, or our own limit, left no way to pass it on.
cdef bint is_by_us(const ResponseHead *head, const Exchange *exchange) noexcept nogil
