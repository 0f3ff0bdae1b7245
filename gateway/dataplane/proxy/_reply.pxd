"""Reply: the gateway's own answers. No byte of the request is reflected."""
from gateway.dataplane._core cimport Buffer

# A line of its own: who has a clock says when it answered (RFC 9110 6.6.1).
cdef void append_date(Buffer *out) noexcept nogil
# Into an empty buffer, which is large enough for each. status: one of those that the gateway gives. cause: its place in CAUSE_NAMES; the
# body says it where the client could not know. is_head: no body follows.
cdef void compose_reply(Buffer *out, int status, int cause, bint is_head, bint close, bint keep_alive) noexcept nogil
