"""Head: start line plus fields, of a request or a response.

A parser takes bytes and returns what they mean. It keeps nothing and sees no socket.
All offsets count from the first byte of the text that was given, also when an empty line came first.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from gateway.dataplane.http1._words cimport MAX_FIELDS, Field, Manners, Method, RejectCause, Verdict

cdef struct RequestHead:
    uint32_t length             # bytes, with the empty line; and with the one that may come first
    Method method
    uint32_t method_at
    uint32_t method_length
    uint32_t target_at          # as received
    uint32_t target_length
    uint32_t path_at            # raw; of the absolute form its path, where path_length 0 means "/"
    uint32_t path_length
    uint32_t query_at           # raw, without "?"
    uint32_t query_length
    uint32_t host_at            # without port, with the brackets of IPv6; of the absolute form, else of Host
    uint32_t host_length        # 0: HTTP/1.0 without Host
    uint32_t authority_at       # with port
    uint32_t authority_length
    uint32_t fields_at          # where the first field's line begins
    int64_t content_length      # bytes; -1 when absent
    int minor                   # 0 or 1: HTTP/1.2 to 1.9 are served as 1.1 (RFC 9110 2.5)
    bint is_absolute            # absolute form: Host is to be overwritten with the authority
    bint is_asterisk            # OPTIONS for the server itself: "*", or an absolute form without path
    bint is_chunked
    bint close                  # Connection: close, or HTTP/1.0 without keep-alive
    bint keep_alive_asked       # Connection: keep-alive
    bint is_upgrade             # Connection: upgrade with Upgrade, on 1.1; never for h2c (it would carry requests past the gateway)
    bint expects_continue       # on 1.1 only (RFC 9110 10.1.1)
    int32_t n_underscored       # fields that are FIELD_UNDERSCORED
    uint16_t status             # BAD: what to answer
    RejectCause cause
    int32_t n_fields
    Field fields[MAX_FIELDS]    # the first n_fields are set

cdef struct ResponseHead:
    uint32_t length
    int minor
    uint16_t status             # 100 to 999
    uint32_t reason_at
    uint32_t reason_length
    uint32_t fields_at
    int64_t content_length      # bytes; -1 when absent
    bint is_chunked
    bint close                  # Connection: close, or HTTP/1.0 without keep-alive
    bint is_upgrade             # 101 or 426 with Upgrade
    RejectCause cause
    int32_t n_fields
    Field fields[MAX_FIELDS]

# limit: bytes a head may have, at most 1 GiB. Without its end in reach of it: 414 when not even the start line ended, else 431.
# May be called with any prefix, and says BAD as soon as it can.
cdef Verdict parse_request(const char *text, size_t length, size_t limit, Manners manners, RequestHead *head) noexcept nogil

# How the body is framed (RFC 9112 6.3) depends on the request too: the exchange decides. BAD: the connection is of no more use.
cdef Verdict parse_response(const char *text, size_t length, size_t limit, ResponseHead *head) noexcept nogil

# Whether an empty line of any kind (CRLF CRLF, LF LF ...) is in text[scanned:length]; if not, *scanned moves on and the next call
# goes on from there. Begins with *scanned = 0. Cheap for senders that come byte by byte.
cdef bint has_end(const char *text, size_t length, size_t *scanned) noexcept nogil

# RFC 9110 9.2.2. Other registered methods count as not idempotent.
cdef bint is_idempotent(Method method) noexcept nogil
