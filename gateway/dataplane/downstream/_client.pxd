"""Client: whose request it is. The socket's peer, or the Nth address from the right behind trusted hops.

Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. Must not know connections.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.shared._settings cimport Settings
from gateway.dataplane.transport._linux cimport sockaddr_storage

cdef enum:
    LOCAL_BYTES = 56        # INET6_ADDRSTRLEN, brackets, colon, port, and a zero that snprintf writes

cdef struct Span:           # text of a head
    const char *at
    size_t length

cdef inline bint is_v4(const uint8_t *address) noexcept nogil:
    return memcmp(address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0

cdef bint is_trusted(const Settings *settings, const uint8_t *address) noexcept nogil
# The first element of the first field of that name, commas inside quotes apart, without the spaces around it: anyone can have written it.
cdef bint first_element(const char *text, const RequestHead *head, uint32_t field_id, Span *found) noexcept nogil
# Narrows a forwarded-element (RFC 7239) to the value of a parameter, without quotes. name: with "=". False: it has none of that name.
cdef bint take_parameter(Span *element, const char *name, size_t name_length) noexcept nogil
# The element of the trusted hops' field that says for whom the request is. False: there are fewer, or one on the way is malformed.
cdef bint find_forwarded(const Settings *settings, const char *text, const RequestHead *head, Span *found) noexcept nogil
# False, and nothing set, when the field names fewer hops than configured or what stands there is no address: the peer counts then.
# What stands to the left of the element asked for changes nothing.
cdef bint read_forwarded(const Settings *settings, const char *text, const RequestHead *head, uint8_t *address) noexcept nogil
# A unix socket's peer is on this machine: 127.0.0.1.
cdef void read_peer(const sockaddr_storage *peer, uint8_t *address) noexcept nogil
# Writes at most 46 bytes, without a zero counted; returns how many.
cdef int write_address(const uint8_t *address, char *text) noexcept nogil
# The address a client connected to, as an authority: at most LOCAL_BYTES, not terminated; returns how many. Of a unix socket: "localhost".
cdef int write_local(const sockaddr_storage *local, char *text) noexcept nogil
# A literal address, not terminated, with port or brackets: "192.0.2.1:80", "[2001:db8::1]:80". False when it is none, to its last octet.
cdef bint parse_address(const char *text, size_t length, uint8_t *address) noexcept nogil
