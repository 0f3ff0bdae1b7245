"""Blame: which attempts that came to nothing are nobody's failure: by the client's doing, by ours, or by the endpoint's right.

Must not know what becomes of the attempt.
"""
from gateway.dataplane._core cimport Core, Exchange
from gateway.dataplane.http1._head cimport ResponseHead

# The connection ended before an answer, and the endpoint may do so. While the exchange still has it.
cdef bint is_peers_right(Core *core, const Exchange *exchange) noexcept nogil
# The upstream's end, or a reset, has come; what it sent before may not have been read.
cdef void note_end(const Core *core, Exchange *exchange) noexcept nogil
# The answer that is under way ended before it was whole, or came to a stop: the endpoint's failure. While the exchange still has it.
cdef bint is_cut(const Core *core, const Exchange *exchange) noexcept nogil
# Of an answer's head that was not taken: a RejectCause or a BadAnswer.
cdef int fault_of(const ResponseHead *head) noexcept nogil
# An answer that was not taken: this client, or our own limit, left no way to pass it on.
cdef bint is_by_us(const ResponseHead *head, const Exchange *exchange) noexcept nogil
