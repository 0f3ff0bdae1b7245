"""Words: what a head is made of: fields and which they are, methods, causes to refuse one. Declarations; no text is read here."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    MAX_FIELDS = 128

cdef enum Verdict:
    BAD = -1            # no continuation can make it legal: head.status and head.cause say why; of the rest only n_fields is set
    NEED_DATA = 0       # legal so far
    WHOLE = 1

# Why a head was refused: isochrone_rejected_total{cause}. Names for people are CAUSES in _parsing_testing.
cdef enum RejectCause:
    CAUSE_NONE = 0
    CAUSE_START_LINE        # not method SP target SP version, or not version SP status; HTTP/0.9
    CAUSE_VERSION           # well-formed, but not HTTP/1
    CAUSE_METHOD_UNKNOWN
    CAUSE_METHOD_REFUSED    # CONNECT, TRACE
    CAUSE_TARGET            # no known form, or an octet that is not legal there
    CAUSE_PATH              # backslash, %00, %0a, %0d
    CAUSE_LINE_END          # bare LF, bare CR, two empty lines before a request
    CAUSE_FIELD_NAME        # empty, no colon, space before it, an octet that is no token's, `_` in a request where that is refused
    CAUSE_FIELD_VALUE       # control octet
    CAUSE_FOLD              # a line that begins with space
    CAUSE_HOST_ABSENT
    CAUSE_HOST_REPEATED
    CAUSE_HOST              # not host [":" port]
    CAUSE_CONTENT_LENGTH    # not one decimal number, or repeated
    CAUSE_TRANSFER_ENCODING     # not "chunked" alone, repeated, or with HTTP/1.0
    CAUSE_CODING_UNKNOWN    # ends in chunked after a coding that the gateway does not know
    CAUSE_BOTH_LENGTHS      # Content-Length beside Transfer-Encoding
    CAUSE_CONNECTION        # no list of tokens, too many, or names Host or the framing
    CAUSE_EXPECT
    CAUSE_TARGET_TOO_LONG
    CAUSE_HEAD_TOO_LARGE
    CAUSE_TOO_MANY_FIELDS
    N_CAUSES

# What to make of a request's field with `_` in its name: CGI and its heirs read `_` and `-` as one.
cdef enum Underscores:
    UNDERSCORES_REFUSED = 0
    UNDERSCORES_DROPPED
    UNDERSCORES_PASSED      # but what reads as a field that is known is dropped

# What the operator lets requests do that not everybody reads alike.
cdef struct Manners:
    Underscores underscores
    bint takes_non_ascii    # raw octets from 0x80 on in a target

cdef enum FieldId:
    FIELD_OTHER = 0
    FIELD_HOST
    FIELD_CONTENT_LENGTH
    FIELD_TRANSFER_ENCODING
    FIELD_CONNECTION
    FIELD_KEEP_ALIVE
    FIELD_PROXY_CONNECTION
    FIELD_TE
    FIELD_TRAILER
    FIELD_UPGRADE
    FIELD_EXPECT
    FIELD_MAX_FORWARDS
    FIELD_X_FORWARDED_FOR
    FIELD_X_FORWARDED_PROTO
    FIELD_X_FORWARDED_HOST
    FIELD_FORWARDED
    FIELD_ADDRESS           # x-real-ip and all others that name the client's address and nothing else
    FIELD_OF_HOP            # any other that only a hop may say: x-forwarded-port, x-original-url, client-cert
    FIELD_X_REQUEST_ID
    FIELD_TRACEPARENT
    FIELD_TRACESTATE
    FIELD_VIA
    FIELD_X_ISOCHRONE       # any name that begins with x-isochrone-
    FIELD_PROXY_AUTHENTICATE
    FIELD_PROXY_AUTHORIZATION
    FIELD_RETRY_AFTER
    FIELD_DATE
    FIELD_SERVER
    FIELD_COOKIE
    FIELD_EARLY_DATA
    FIELD_CACHE_CONTROL
    FIELD_UNDERSCORED       # `_` in its name: it goes no further and says nothing
    N_FIELD_IDS

cdef enum Method:
    METHOD_OTHER = 0        # registered with IANA, but nothing special here
    METHOD_GET
    METHOD_HEAD
    METHOD_POST
    METHOD_PUT
    METHOD_DELETE
    METHOD_OPTIONS
    METHOD_PATCH
    METHOD_TRACE
    METHOD_CONNECT

# A line is text[name_at:line_end_at], its CRLF included: runs of kept fields are copied in one piece.
cdef struct Field:
    uint32_t name_at
    uint32_t value_at           # without the spaces around it
    uint32_t value_length
    uint32_t line_end_at        # after CRLF: where the next line begins
    uint16_t name_length
    uint8_t id                  # FieldId
    uint8_t is_named_by_connection  # Connection lists it: hop-by-hop. Not said of Upgrade and Keep-Alive, which have ids

# What is worth as much as who says it: from anyone but a trusted hop nothing is decided by it, and nothing of it goes on.
cdef inline bint is_hops_word(uint8_t field_id) noexcept nogil:
    return FIELD_X_FORWARDED_FOR <= field_id <= FIELD_OF_HOP

cdef inline bint says_nothing(uint8_t field_id, bint is_trusted) noexcept nogil:
    return field_id == FIELD_UNDERSCORED or (not is_trusted and is_hops_word(field_id))
