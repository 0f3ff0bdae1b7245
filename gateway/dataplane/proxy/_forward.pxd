"""Forward: heads as the gateway passes them on. Bytes in, bytes out; no sockets.

Hop-by-hop fields and those that Connection names go first (RFC 9110 7.6.1), then ours are added.
"""
from libc.stdint cimport uint32_t

from gateway.dataplane._core cimport Buffer, Framing
from gateway.dataplane.downstream._client cimport LOCAL_BYTES
from gateway.dataplane.http1._head cimport RequestHead, ResponseHead
from gateway.dataplane.shared._settings cimport Settings
from routing_core._text cimport Text

cdef enum:
    ADDED_BYTES = 2048      # what is added to a request's head is shorter, whatever the settings and the head say
    ID_BYTES = 128          # longest x-request-id that is kept
    TRACE_BYTES = 55        # a traceparent of version 00

cdef struct Facts:          # what is added to a request
    const char *peer        # text of the socket's peer
    uint32_t peer_length
    bint is_trusted         # the peer is a trusted hop: what it says of the client is kept
    bint is_forwarded       # and it said for whom the request is
    char client[46]         # INET6_ADDRSTRLEN: text of the client's address, where the peer is a trusted hop
    uint32_t client_length
    char id[ID_BYTES]
    uint32_t id_length
    char trace[TRACE_BYTES]
    bint is_traced          # the client's own: what tracestate says belongs to it
    char local[LOCAL_BYTES]     # where the client connected to; read only for a request without host
    uint32_t local_length

# What does not fit sets out.end beyond the capacity, where it stays. value: not negative.
cdef void append(Buffer *out, const char *text, uint32_t length) noexcept nogil
cdef void append_number(Buffer *out, long long value) noexcept nogil
# Path and query as they came, whatever form: no octet of a target can end a line.
cdef void append_target(Buffer *out, const char *text, const RequestHead *head) noexcept nogil
# Whether Via says that the request has been here before: it would come again and again.
cdef bint has_been_here(const char *text, const RequestHead *head, const Settings *settings) noexcept nogil
# Whether Max-Forwards says that this is as far as the request may go (RFC 9110 7.6.2).
cdef bint ends_here(const char *text, const RequestHead *head) noexcept nogil
# False: does not fit the buffer, which is of no more use.
cdef bint compose_request(Buffer *out, const char *text, const RequestHead *head, const Settings *settings,
                          const Facts *facts) noexcept nogil
# An answer's head but for its end: fields may be added. framing: of the body as it goes down. close, keep_alive: see append_persistence.
# is_private: what is added is for this client alone, so no shared cache may keep it.
cdef void begin_response(Buffer *out, const char *text, const ResponseHead *head, Framing framing, bint close, bint keep_alive,
                         bint is_private) noexcept nogil
# close: the connection ends after it. keep_alive: an HTTP/1.0 client is told that it does not.
cdef void append_persistence(Buffer *out, bint close, bint keep_alive) noexcept nogil
cdef void append_debug(Buffer *out, const Text *pop, const char *reason) noexcept nogil
# False: does not fit the buffer, which is of no more use.
cdef bint end_head(Buffer *out) noexcept nogil
