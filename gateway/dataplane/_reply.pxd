"""Reply: the gateway's own answers. No byte of the request is reflected."""
from gateway.dataplane._core cimport Buffer

# False: does not fit. is_head: no body follows.
cdef bint compose_reply(Buffer *out, int status, bint is_head, bint close, bint keep_alive) noexcept nogil
